"""conf/ as it is shipped: every file composes, and what is wrong is said in one line."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

import vitcli
from vitcli.argv import finetune_argv, split_argv
from vitcli.choices import SCALES
from vitcli.compose import compose, known_keys
from vitcli.evals import metrics_of
from vitcli.files import conf_dir
from vitcli.frozen import dump, read_config
from vitcli.identity import run_id
from vitcli.rules import OWN
from vitcli.study.plan import make_plan

OPTIONS = sorted((p.parent.name, p.stem) for p in conf_dir().glob("*/*.yaml"))
STUDIES = [name for group, name in OPTIONS if group == "study"]
PLANNED = [
    (name, scale)
    for name in STUDIES
    for scale in (SCALES if name != "tuning" else ["laptop"])  # a grid of rates is a scale's own
]


@pytest.mark.parametrize(
    ("group", "option"), [o for o in OPTIONS if o[0] not in ("study", "tuned")]
)
def test_every_option_composes(group: str, option: str) -> None:
    fitting = {  # what the option needs besides: images that its patches divide
        "model": ["data.img_size=224"],
        "stem": ["data.img_size=224"] + (["model=b"] if option == "resnet" else []),
    }.get(group, [])
    if (group, option) == ("stem", "resnet26"):
        fitting += ["model=s", "model.patch_size=32"]
    if group == "data" and option in OWN:
        fitting += ["data.path=images"]
    composed = compose([f"{group}={option}", *fitting])
    chosen = getattr(composed, group, None)
    if hasattr(chosen, "name") and group in ("model", "stem"):
        assert chosen.name == option


@pytest.mark.parametrize(("study", "scale"), PLANNED)
def test_every_study_composes_at_every_scale(study: str, scale: str) -> None:
    """With its claims rehearsed; the paper's scale needs no data."""
    plan = make_plan(study.replace("_", "-"), [f"scale={scale}"])
    found = plan.study
    cells = [run for cell in found.cells for run in cell.runs.values()]
    centres = 4 if study == "shape" else 0  # cells that are the run of another cell
    assert len(set(cells)) == (len(found.cells) - centres) * len(found.seeds)
    assert len(found.seeds) >= (4 if found.claims else 2)
    assert bool(found.sources) == (found.source is not None)
    wanted = {found.metric, *found.tables}
    for claim in found.claims:
        wanted |= {*claim.metric, *filter(None, (claim.pick, claim.against))}
    assert all(wanted <= set(metrics_of(plan.configs[run])) for run in cells)
    labels = [found.of_metric(name).label for name in wanted]
    assert not any("{" in text for text in [*wanted, *labels, *found.differences])
    linear = {c.model.family for c in plan.configs.values() if not c.model.head_hidden}
    said = any("head has one hidden layer" in text for text in found.differences)
    assert said == ("vit" in linear and found.claims != [])


def test_the_dev_split_is_the_paper_s() -> None:
    shares = {"cifar": 0.02, "imagenet": 0.01, "pets_flowers": 0.1}
    for name, share in shares.items():
        assert compose([f"recipe=finetune_{name}"]).finetune.dev_share == share


def test_user_beats_recipe_beats_scale() -> None:
    assert compose(["scale=gpu", "recipe=imagenet", "recipe.lr=0.5"]).recipe.lr == 0.5
    assert compose(["scale=gpu", "recipe=imagenet"]).recipe.lr == 3e-3
    assert compose(["scale=gpu"]).model.name == "micro"
    assert compose(["scale=gpu", "model=s"]).model.name == "s"


TUNED = [option for group, option in OPTIONS if group == "tuned"]


@pytest.mark.parametrize("option", TUNED)
def test_a_tuned_rate_is_its_model_s_and_the_user_s_is_stronger(option: str) -> None:
    of = {group: [o for g, o in OPTIONS if g == group] for group in ("recipe", "stem", "model")}
    each = itertools.product(*of.values())
    ((recipe, stem, model),) = (names for names in each if "_".join(names) == option)
    chosen = [f"recipe={recipe}", f"stem={stem}", f"model={model}"]
    tuned = compose(chosen).recipe
    assert tuned.lr != compose([f"recipe={recipe}"]).recipe.lr
    assert compose([*chosen, "recipe.lr=0.5"]).recipe.lr == 0.5
    assert compose([f"model={model}", f"stem={stem}", "recipe=gpu"]).recipe.lr == 1e-3
    with pytest.raises(ValueError, match="unknown key 'tuned'"):
        compose([f"tuned={option}"])


def test_one_duration_replaces_the_recipe_s() -> None:
    train = compose(["train.epochs=2"]).train
    assert (train.steps, train.epochs, train.images) == (None, 2.0, None)


def test_a_written_config_reads_back_the_same(tmp_path: Path) -> None:
    config = compose(["model=bit_nano", "seed=3", "data.size=null", "data.img_size=[16,24]"])
    (tmp_path / "config.yaml").write_text(dump(config))
    assert read_config(tmp_path / "config.yaml") == config


def test_images_are_squares_or_rectangles(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "wide.yaml").write_text("name: glyphs\nimg_size: [16, 24]\n")
    for overrides, expected in (
        (["data=wide"], [16, 24]),
        (["data=wide", "data.img_size=32"], 32),
        (["data=wide", "data.img_size=[32,32]"], 32),
        (["data.img_size=[32,8]"], [32, 8]),
    ):
        composed = compose(overrides, tmp_path)
        assert composed.data.img_size == expected
        assert type(composed.data.img_size) is type(expected)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["modle=b"], "unknown key 'modle'; did you mean 'model'?"),
        (["train.step=1"], "unknown key 'train.step'; did you mean 'train.steps'?"),
        (["+foo=1"], "unknown key 'foo'"),
        (["lr=1"], "unknown key 'lr'; did you mean 'recipe.lr'?"),
        (["evals.shots=5"], "evals.shots: give a list: [1,2]"),
        (["model=vit_b"], "model=vit_b: choose from b, "),
        (["pos_emb=learned1d"], "did you mean 'learned_1d'?"),
        (["train.steps=abc"], "train.steps: Value 'abc'"),
        (["train.steps=0"], "train.steps=0: must be at least 1"),
        (["seed=1.5"], "seed: Value '1.5'"),
        (["recipe.lr=nan"], "recipe.lr=nan: must be at least 0.0"),
        (["recipe.schedule=cos"], "did you mean 'cosine'?"),
        (["model.num_heads=7"], "model.num_heads=7 does not divide model.embed_dim=64"),
        (["model.patch_size=5"], "model.patch_size=5 does not divide data.img_size=16"),
        (["data.img_size=[16,26]"], "model.patch_size=4 does not divide data.img_size=[16, 26]"),
        (["data.img_size=2"], "data.img_size=2: a side or [height, width] in whole pixels, at"),
        (["data.img_size=16x24"], "data.img_size='16x24': a side or [height, width]"),
        (["data.img_size=16.5"], "data.img_size=16.5: a side"),
        (["data.img_size=null"], "data.img_size=None: a side"),
        (["data.img_size=true"], "data.img_size=True: a side"),
        (["data.img_size=[16]"], "data.img_size=[16]: a side"),
        (["data.img_size=[16,24,3]"], "data.img_size=[16, 24, 3]: a side"),
        (["data.img_size=[2,16]"], "data.img_size=[2, 16]: a side"),
        (["data.img_size=[16,24.5]"], "data.img_size=[16, 24.5]: a side"),
        (["pos_emb=relative", "pos_emb.where=shared"], "pos_emb.where=shared with pos_emb.kind="),
        (["pos_emb.offsets=2d"], "pos_emb.offsets=2d with pos_emb.kind=learned_1d"),
        (["model=bit_nano", "pos_emb=relative"], "pos_emb.kind=relative with model.family=resnet"),
        (["stem=resnet"], "model.patch_size=4 with stem=resnet"),
        (["train.steps=1", "train.images=5"], "train.steps and train.images set"),
        (["data.size=10"], "data.size=10 is below data.num_classes=64"),
        (["data=digits", "data.num_classes=5"], "data.num_classes=5"),
        (["evals.downstream=cifar"], "evals.downstream=cifar"),
        (["evals.downstream=[digits,cifar]"], "evals.downstream=['digits', 'cifar']: choose from"),
        (["evals.downstream=[digits,digits]"], "each set once"),
        (["evals.downstream=[wds,imagenet]", "evals.path=x"], "one of imagefolder, imagenet,"),
        (["data=digits", "evals.downstream=letters"], "letters are classes of glyphs"),
        (["evals.zero_shot=true"], "evals.zero_shot=true without finetune.source"),
        (["train.val_every=5"], "train.val_every=5 with train.keep=last"),
        (["train.keep=newest"], "train.keep=newest: choose from last, best"),
        (["train.steps=[1"], "train.steps=[1^: cannot be read from ^ on; brackets are closed"),
        (["evals.shots=[1 2}]"], "evals.shots=[1 2^}]: cannot be read from ^ on"),
        (["recipe.lr=é"], "recipe.lr=^é: cannot be read from ^ on"),
        (["model"], "model: a setting is written key=value"),
        (["seed=foo(1)"], "'foo(1)': Unknown function 'foo' Available: bool,"),
        (["seed=1,2"], "To sweep over it, add --multirun"),
        (["hydra.foo=1"], "hydra.foo=1: a setting of Hydra's own"),
        (["hydra.job.chdir=true"], "hydra.job.chdir=true: a setting of Hydra's own"),
        (["hydra/launcher=joblib"], "hydra/launcher=joblib: a setting of Hydra's own"),
        (["model=null"], "model=None: choose from"),
    ],
)
def test_bad_overrides_are_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (checked below)
        compose(overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_runs_of_the_reference_report_keep_their_names() -> None:
    rows = conf_dir().parent / "outputs/reference/laptop/pos-emb/runs.csv"
    assert run_id(compose(["evals.downstream=[digits]"])) in rows.read_text()


def test_flags_may_stand_anywhere() -> None:
    argv = ["model=b", "--cfg", "job", "seed=1", "-m", "--config-dir=x", "--info", "searchpath"]
    flags, overrides = split_argv(argv)
    assert flags == ["--cfg", "job", "-m", "--config-dir", "x", "--info", "searchpath"]
    assert overrides == ["model=b", "seed=1"]
    with pytest.raises(ValueError, match="unknown flag --multi; did you mean '--multirun'"):
        split_argv(["--multi"])
    with pytest.raises(ValueError, match="--cfg needs a value"):
        split_argv(["--cfg"])
    for flag, message in (
        ("--cfg=foo", "--cfg=foo: choose from job, hydra, all"),
        ("-c=jobs", "-c=jobs: choose from job, hydra, all; did you mean 'job'?"),
        ("--info=foo", "--info=foo: choose from all, config, "),
        ("--run=1", "--run=1: --run takes no value"),
        ("-sc", "unknown flag -sc"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            split_argv([flag, "install=bash"])
    for flag, message in (
        ("--seed=3", "--seed=3: write seed=..., a setting has no dashes"),
        ("--lr", "unknown flag --lr; did you mean 'recipe.lr'?"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            split_argv([flag], known_keys())


@pytest.mark.parametrize("word", ["scale=paper", "+experiment=r50_b_16"])
def test_fine_tuning_refuses_what_it_would_not_read(word: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{word}: `vitcli finetune` does not read it")):
        finetune_argv("outputs/runs/RUN", ["data=digits", word])


def test_a_user_s_option_may_not_hide_behind_ours(tmp_path: Path) -> None:
    tmp_path = tmp_path / "it's mine, [1]=a b"
    tmp_path.mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text((conf_dir() / "model/nano.yaml").read_text())
    assert compose(["model=mine"], tmp_path).model.embed_dim == 64
    (tmp_path / "model" / "b.yaml").write_text("name: b\n")
    with pytest.raises(ValueError, match="model=b exists already"):
        compose([], tmp_path)
    with pytest.raises(ValueError, match="no such folder"):
        compose([], tmp_path / "nowhere")


def test_create_model() -> None:
    import torch

    model = vitcli.create_model(
        "model=ti", "pos_emb=relative", "model.patch_size=16", img_size=(32, 48), num_classes=7
    )
    assert model(torch.zeros(2, 3, 32, 48)).shape == (2, 7)
    with torch.device("meta"):
        parameters = sum(p.numel() for p in vitcli.create_model("model=h").parameters())
    assert parameters == 632_045_800
    with pytest.raises(ValueError, match=r"model.pool=mean: choose from token, gap"):
        vitcli.create_model("model.pool=mean")
    with pytest.raises(ValueError, match="num_classes=0"):
        vitcli.create_model(num_classes=0)
