"""Studies whose cells are made of axes, share runs, or fine-tune runs of their own."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from helpers import Ended, start, wait_for

from vitcli.compose import compose
from vitcli.evals.classification import Classification
from vitcli.frozen import read_config
from vitcli.identity import run_id
from vitcli.runner import run
from vitcli.status import read_status
from vitcli.study.board import states
from vitcli.study.estimate import cost
from vitcli.study.plan import Plan, freeze, make_plan, newest, read_plan
from vitcli.transfer import describe_source, transferred

TINY = ["model.depth=1", "data.size=64", "data.val_size=32", "data.num_classes=8"]
TINY += ["train.steps=5", "train.batch_size=8", "evals=upstream"]
LAPTOP = ["data=digits", "data.img_size=32", "data.val_size=32", "evals=upstream"]
LAPTOP += ["recipe=finetune_laptop", "train.steps=5", "train.batch_size=8"]
TUNE = {
    "title": "Resize",
    "metric": "val/top1",
    "rows": {"one": {"label": "Patch 4", "source": ["model.patch_size=4"]}},
    "columns": {
        "near": {"label": "nearest", "value": 1, "overrides": ["finetune.resize=nearest"]},
        "auto": {"label": "auto", "value": 2},
    },
    "paper": {"where": "3.2", "metric": "none"},
    "source": TINY,
    "scales": {
        "laptop": {"overrides": LAPTOP},
        "gpu": {
            "columns": {"near": {"label": "x", "value": 3, "overrides": ["data.img_size=64"]}},
            "seeds": [5],
            "source": ["recipe.lr=0.5"],
        },
    },
    "seeds": [0],
}

ALONE: dict[str, object] = {"source": None, "scales": {"laptop": {"overrides": LAPTOP}}}


@pytest.fixture
def place(tmp_path: Path) -> list[str]:
    """What every run of a test shares: one thread, the test's folder."""
    return ["threads=1", f"outputs={tmp_path / 'outputs'}"]


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., Path]:
    """Writes the study `tune`, with changes, into a folder for --config-dir."""

    def write(name: str = "tune", **changes: object) -> Path:
        path = tmp_path / "conf" / "study" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(TUNE | changes, sort_keys=False))
        return tmp_path / "conf"

    return write


def cell_runs(plan: Plan) -> dict[str, list[str]]:
    return {cell.id: list(cell.runs.values()) for cell in plan.study.cells}


def scratch_runs(plan: Plan) -> list[str]:
    return list(dict.fromkeys(run for cell in plan.study.cells for run in cell.scratch.values()))


def test_cells_are_the_product_of_the_axes(own: Callable[..., Path]) -> None:
    rows = {"a": {"label": "A", "overrides": ["recipe.lr=1"]}, "b": "B"}
    folder = own(rows=rows, **ALONE)
    cells = cell_runs(plan := make_plan("tune", [], folder))
    assert list(cells) == ["a-near", "a-auto", "b-near", "b-auto"]
    config = plan.configs[cells["a-near"][0]]
    assert (config.recipe.lr, config.finetune.resize) == (1, "nearest")
    assert plan.configs[cells["b-auto"][0]].finetune.resize == "auto"
    assert {key: axis.value for key, axis in plan.study.columns.items()} == {"near": 1, "auto": 2}
    assert (plan.study.sources, scratch_runs(plan)) == ({}, [])


def test_the_later_layer_has_the_last_word_also_on_the_duration(own: Callable[..., Path]) -> None:
    rows = {"a": {"label": "A", "overrides": ["train.images=80"]}, "b": "B"}
    folder = own(rows=rows, **ALONE)
    plan = make_plan("tune", [], folder)  # the scale has steps
    train = plan.configs[cell_runs(plan)["a-near"][0]].train
    assert (train.steps, train.images) == (None, 80)
    with pytest.raises(ValueError, match=r"train\.epochs is what tune varies"):
        make_plan("tune", ["train.epochs=2"], folder)
    plan = make_plan("tune", ["train.images=160"], own(rows={"b": "B"}, **ALONE))
    assert next(iter(plan.configs.values())).train.images == 160


def test_a_scale_has_rows_columns_and_seeds_of_its_own(own: Callable[..., Path]) -> None:
    plan = make_plan("tune", ["scale=gpu"], own())
    assert list(cell_runs(plan)) == ["one-near"]
    assert plan.study.seeds == [5]
    (source,) = plan.study.sources
    assert plan.configs[source].recipe.lr == 0.5
    assert make_plan("tune", ["scale=gpu", "seeds=2"], own()).study.seeds == [0, 1]


def test_a_study_like_another_takes_the_place_of_what_it_names(own: Callable[..., Path]) -> None:
    folder = own(claims=[], tables=["val/top5"])
    columns = {"a": {"label": "A", "overrides": ["recipe.lr=0.5"], "value": 7}}
    other = {"like": "tune", "columns": columns, "metric": "train/top1"}
    other |= {"x": {"of": "column", "label": "X"}}
    (folder / "study" / "other.yaml").write_text(yaml.safe_dump(other))
    plain, found = (make_plan(name, [], folder) for name in ("tune", "other"))
    assert (plain.folder.name, found.folder.name) == ("tune-laptop", "other-laptop")
    assert (plain.study.tables, found.study.tables) == (["val/top5"], [])
    assert (found.study.metric, found.study.title) == ("train/top1", "Resize")
    assert list(cell_runs(found)) == ["one-a"]
    assert set(plain.study.sources) == set(found.study.sources)


def test_pos_emb_patch_has_the_kinds_on_each_grid() -> None:
    sides = {"laptop": [2, 4, 8], "gpu": [4, 8, 16], "paper": [7, 14, 28]}
    for scale, expected in sides.items():
        plan = make_plan("pos-emb-patch", [f"scale={scale}"])
        runs, columns = cell_runs(plan), plan.study.columns
        assert [column.value for column in columns.values()] == expected
        assert len(runs) == 9
        for key, column in columns.items():
            config = plan.configs[runs[f"relative-{key}"][0]]
            assert config.data.img_size // config.model.patch_size == column.value


def test_studies_share_the_runs_that_are_the_same() -> None:
    table, patch = (make_plan(name, ["scale=gpu"]) for name in ("pos-emb", "pos-emb-patch"))
    for kind in ("learned_1d", "learned_2d", "relative"):
        assert cell_runs(table)[f"{kind}-stem"] == cell_runs(patch)[f"{kind}-p4"]


def test_a_seed_draws_other_data_for_source_and_cell_alike(own: Callable[..., Path]) -> None:
    plan = make_plan("tune", ["seeds=[0,3]"], own())
    assert [config.data.seed == config.seed for config in plan.configs.values()] == [True] * 8
    for cell in plan.study.cells:
        config = plan.configs[cell.runs["3"]]
        source = plan.configs[config.finetune.weights or ""]
        assert (config.data.seed, source.data.seed) == (3, 3)
    assert "the split of digits into training and test images" in plan.study.methods["A seed draws"]


def test_each_cell_has_itself_from_scratch_as_its_null(own: Callable[..., Path]) -> None:
    columns = {
        "near": {"label": "nearest", "overrides": ["finetune.resize=nearest"]},
        "big": {"label": "big", "overrides": ["data.img_size=64"]},
    }
    plan = make_plan("tune", ["evals.zero_shot=true"], own(columns=columns))
    near, big = plan.study.cells
    tuned, null = plan.configs[near.runs["0"]], plan.configs[near.scratch["0"]]
    assert (null.finetune.source, null.finetune.weights) == (None, None)
    assert (null.model, null.data, null.train) == (tuned.model, tuned.data, tuned.train)
    assert (tuned.evals.zero_shot, null.evals.zero_shot) == (True, False)
    assert near.scratch["0"] != big.scratch["0"]
    same = make_plan("tune", [], own())  # how weights are resized is nothing from scratch
    assert len(scratch_runs(same)) == 1
    assert len(same.configs) == 4


def test_a_source_is_planned_before_it_is_trained(
    own: Callable[..., Path], place: list[str]
) -> None:
    plan = make_plan("tune", [*place, "train.steps=6", "source.train.steps=7"], own())
    (source,) = plan.study.sources
    assert plan.study.sources == {source: ["Patch 4"]}
    runs = [run for of in cell_runs(plan).values() for run in of]
    assert sorted(plan.configs) == sorted([source, *runs, *scratch_runs(plan)])
    assert next(iter(plan.configs)) == source
    first = plan.configs[source]
    assert (first.train.steps, first.data.name, first.threads) == (7, "glyphs", 1)
    for (run_,) in cell_runs(plan).values():
        config = plan.configs[run_]
        assert config.finetune.weights == source
        assert f"-from-{source.rpartition('-')[2][:6]}-digits" in run_
        assert config.train.steps == 6
        assert (config.model.depth, config.model.head_hidden) == (1, False)
    assert "upstream glyphs (plain, 64 images of 16 pixels, 8 classes)" in plan.study.setting
    assert "fine-tuned on digits (all images of 32 pixels" in plan.study.setting


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model=micro", "model=micro: the model is that of the source, write source.model=micro"),
        ("source.model.patch_size=8", "source.model.patch_size is what tune varies"),
        ("source.seed=3", "source.seed is what tune varies"),
        ("source.data.seed=3", "source.data.seed is what tune varies"),
        ("data.seed=3", "data.seed is what tune varies"),
        ("finetune.resize=nearest", "finetune.resize is what tune varies"),
        ("finetune.weights=x", "a study fine-tunes only the runs of its own `source`"),
        ("source.finetune.source=x", "a study fine-tunes only the runs of its own `source`"),
        ("source.trian.steps=3", "unknown key 'trian.steps'; did you mean 'train.steps'?"),
    ],
)
def test_what_is_not_the_user_s_to_set(
    own: Callable[..., Path], override: str, message: str
) -> None:
    with pytest.raises(ValueError, match=r"\S") as raised:
        make_plan("tune", [override], own())
    assert message in str(raised.value)


@pytest.mark.slow
def test_a_study_trains_its_sources_then_its_cells(
    vitcli: Callable[..., Ended], own: Callable[..., Path], place: list[str], tmp_path: Path
) -> None:
    arguments = ["tune", "--config-dir", str(own()), *place]
    planned = vitcli("plan", *arguments)
    assert "4 of 4 runs to go" in " ".join(planned.out.split())
    assert "source, Patch 4" in planned.out
    ended = vitcli("ablate", *arguments)
    assert ended.code == 0, ended.err
    assert "[4/4]" in ended.out
    folder = newest("tune", tmp_path / "outputs")
    (source,) = read_plan(folder).sources
    found = states(folder)
    assert [run.state for run in found.values()] == ["done"] * 4
    assert next(iter(found)) == source
    shown = vitcli("status", "tune", "--outputs", str(tmp_path / "outputs")).out
    assert "source, Patch 4" in shown
    assert "4 done" in shown
    assert "from scratch, one-near" in shown

    # Fine-tuning the folder by hand is the same run, and the weights are the source's.
    runs = tmp_path / "outputs" / "runs"
    by_hand = ["finetune", str(runs / source), *LAPTOP, *place]
    assert "is trained already" in vitcli(*by_hand).out
    # Another study with one cell of the same: nothing is trained.
    other = make_plan("again", place, own("again", columns={"auto": "Auto"}))
    assert set(other.configs) < set(found)
    again = vitcli("ablate", "again", "--config-dir", str(tmp_path / "conf"), *place)
    assert (again.code, "[" in again.out.splitlines()[0]) == (0, False)


def test_a_cell_whose_source_failed_is_left_and_said_so(
    vitcli: Callable[..., Ended], own: Callable[..., Path], place: list[str], tmp_path: Path
) -> None:
    explode = ["recipe.lr=1e30", "recipe.grad_clip=0", "train.steps=30"]
    rows = {"good": "Good", "bad": {"label": "Bad", "source": explode}}
    columns = {"auto": "Auto"}
    arguments = ["tune", "--config-dir", str(own(rows=rows, columns=columns)), *place]
    arguments += ["checkpoint.every=7"]
    ended = vitcli("ablate", *arguments)
    assert ended.code == 1
    folder = newest("tune", tmp_path / "outputs")
    study = read_plan(folder)
    good, bad = (cell.runs["0"] for cell in study.cells)
    failed = next(run for run, labels in study.sources.items() if labels == ["Bad"])
    found = {name: run.state for name, run in states(folder).items()}
    assert (found[good], found[bad], found[failed]) == ("done", "planned", "failed")
    reason = f"its source has no result (failed): {failed}"
    assert f"{bad}: planned: {reason}" in ended.err
    assert "its source has no result (failed)" in (folder / "report/report.md").read_text()
    shown = vitcli("status", "tune", "--outputs", str(tmp_path / "outputs")).out
    assert "its source has no result (failed)" in " ".join(shown.split())


def test_the_identity_of_a_run_s_folder_is_its_id(
    own: Callable[..., Path], place: list[str], tmp_path: Path
) -> None:
    source = run(compose([*TINY, *place]), quiet=True).folder
    words = ["data=digits", "evals=upstream", "recipe=finetune_laptop", *place]
    config = describe_source(compose([*words, f"finetune.source={source}"]))
    assert config.finetune.weights == source.name
    config.finetune.weights = "another"
    with pytest.raises(ValueError, match=r"its weights are not another"):
        transferred(config, 10)
    weights = source / "checkpoints" / "model.safetensors"
    bare = describe_source(compose([*words, f"finetune.source={weights}"]))
    assert bare.finetune.weights is not None
    assert len(bare.finetune.weights) == 16  # a file's identity is its weights'
    assert f"-from-{bare.finetune.weights[:6]}-" in run_id(bare)


def test_frozen_cells_find_their_source_where_outputs_is(
    own: Callable[..., Path], place: list[str], tmp_path: Path
) -> None:
    from omegaconf import OmegaConf

    from vitcli.study.job import job

    plan = make_plan("tune", place, own(columns={"auto": "Auto"}))
    freeze(plan)
    moved = tmp_path / "moved"
    (tmp_path / "outputs").rename(moved)
    folder = moved / "studies" / plan.folder.name
    for name in plan.configs:  # sources first
        words = {"folder": str(folder), "run": name, "threads": 1, "launcher": None, "stop": "stop"}
        job(OmegaConf.create(words))
        assert read_status(moved / "runs" / name)["state"] == "done"
    assert read_config(moved / "runs" / name / "config.yaml").finetune.weights is not None


@pytest.mark.slow
def test_a_cost_needs_no_data_and_knows_the_published_sizes(
    vitcli: Callable[..., Ended], own: Callable[..., Path], place: list[str]
) -> None:
    imagenet = ["data=imagenet", "data.path=/nowhere", "evals=upstream"]
    config = compose(["model=b", *imagenet, "train.epochs=2", "train.batch_size=1000"])
    found = cost(config)
    # B/16 at 224 pixels: 86.6 million parameters, 17.56e9 multiply-adds (timm), 6 FLOPs for each.
    assert found.parameters == pytest.approx(86.6e6, rel=0.01)
    assert found.training == pytest.approx(6 * 17.56e9 * 2 * 1_281_167, rel=0.01)
    tuned = compose(["data=digits", "finetune.source=x", "finetune.lr_grid=[0.1,0.2]"])
    plain = compose(["data=digits"])
    assert cost(tuned).training == 3 * cost(plain).training
    with pytest.raises(ValueError, match=r"train\.epochs=2 with data\.size=null"):
        cost(compose(["data=imagefolder", "data.path=x", "train.epochs=2", "evals=upstream"]))
    paper = {"overrides": [*imagenet, "recipe=finetune_imagenet", "train.steps=10"]}
    arguments = ["tune", "--config-dir", str(own(scales={"paper": paper})), *place, "scale=paper"]
    said = " ".join(vitcli("plan", *arguments, "flops_per_second=1e12").out.split())
    assert "exaFLOPs a run" in said
    assert "at 1e+12 FLOP/s about" in said
    assert "GPU-hours" in said
    timed = vitcli("plan", "tune", "--config-dir", str(own()), *place, "--time").out
    assert "at a time on this machine (by timed steps)" in " ".join(timed.split())
    wrong = vitcli("plan", *arguments, "flops_per_second=-3")
    assert (wrong.code, "flops_per_second=-3: a number above 0" in wrong.err) == (2, True)


@pytest.mark.parametrize("size", ["64", "null"])
def test_each_validation_of_early_stopping_counts(size: str) -> None:
    words = ["train.images=null", "train.steps=1000", "train.keep=best", "train.val_every=10"]
    config = compose([*words, f"data.size={size}", "data.val_size=50"])
    assert 100 * 50 < Classification.images(config) < 105 * 50 + 2 * 64


def test_evaluations_count_in_the_cost() -> None:
    length = ["train.steps=8", "train.batch_size=16"]
    none, two = (cost(compose([f"evals.shifts={shifts}", *length])) for shifts in ([], [1, 2]))
    forward = none.training / (8 * 16) / 3
    assert none.training == two.training < none.flops
    # 250 images, still and in four directions by two shifts, before and after training.
    assert two.flops - none.flops == pytest.approx(2 * 250 * 9 * forward)


def test_so_do_all_looks_of_early_stopping() -> None:
    length = ["train.steps=1000", "train.batch_size=16", "evals=upstream", "train.keep=best"]
    ten = cost(compose(length))
    each = cost(compose([*length, "train.val_every=1"]))
    forward = ten.training / (1000 * 16) / 3
    val_size = compose(length).data.val_size or 0
    assert each.flops - ten.flops == pytest.approx((1000 - 10) * val_size * forward)


def test_a_shared_run_is_counted_once(
    vitcli: Callable[..., Ended], own: Callable[..., Path], place: list[str]
) -> None:
    rows = {"a": "A", "b": "B"}  # the same runs under two names
    ended = vitcli("plan", "tune", "--config-dir", str(own(rows=rows)), *place)
    assert "4 of 4 runs to go" in " ".join(ended.out.split())
    counts = [line.split("│")[4].strip() for line in ended.out.splitlines() if line.count("│") > 4]
    assert counts == ["1", "1", "1", "0", "0", "1"]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["source", "cell"])
def test_an_interrupt_in_either_stage_goes_on(
    own: Callable[..., Path], place: list[str], tmp_path: Path, stage: str
) -> None:
    long = "train.steps=1000" if stage == "cell" else "source.train.steps=1000"
    arguments = ["ablate", "tune", "--config-dir", str(own(columns={"auto": "Auto"})), *place]
    arguments += [long, "checkpoint.every=20"]
    process = start(*arguments, cwd=tmp_path)
    runs = tmp_path / "outputs" / "runs"
    kind = "-from-" if stage == "cell" else "-glyphs-"
    wait_for(lambda: any(kind in str(path) for path in runs.glob("*/checkpoints/state.pt")))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=600)
    assert (process.returncode, "resumes it" in errors) == (130, True)
    # The run from scratch, beside the cell's own, may have ended before a second worker had begun.
    assert not any(kind in path.parent.name for path in runs.glob("*/result.json"))
    process = start(*arguments, cwd=tmp_path)
    process.communicate(timeout=600)
    assert process.returncode == 0
    assert len(list(runs.glob("*/result.json"))) == 3
