"""A study from plan to table: frozen plans, failing cells, kills, signals, a user's own study."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from helpers import ROOT, Ended, killed_after_its_result, start, wait_for

from vitcli.analysis.results import read_results
from vitcli.analysis.verdicts import judge
from vitcli.choices import SCALES
from vitcli.compose import compose
from vitcli.status import read_status, state_paths
from vitcli.study import slurm
from vitcli.study.board import states
from vitcli.study.estimate import CellCost, Estimate, _total, cost, estimate
from vitcli.study.launch import at_once, launch
from vitcli.study.plan import freeze, make_plan, newest, read_plan

OWN = {
    "title": "Depth",
    "metric": "val/top1",
    "rows": {
        "one": {"label": "1 layer", "overrides": ["model.depth=1"]},
        "two": {"label": "2 layers", "overrides": ["model.depth=2"]},
    },
    "columns": {"here": "Here"},
    "paper": {"where": "Fig. 8", "metric": "ImageNet 5-shot"},
    "scales": {"laptop": {}},
    "seeds": [0, 1],
}

PAPER = {"where": "Fig. 8", "metric": "ImageNet 5-shot"}
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}
CURVE = {"table": "table6", "x": "exaflops", "y": "average"}


def claim(**changes: object) -> dict[str, object]:
    """A claim of the study above, with changes."""
    pairs = [["one-here", "two-here"]]
    facts = {"id": "c", "statement": "s", "where": "w", "at_least": {"laptop": 0.01}}
    return facts | {"pairs": pairs} | changes


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., Path]:
    """Writes a study of the user's into a folder for --config-dir."""

    def write(**changes: object) -> Path:
        path = tmp_path / "conf" / "study" / "own_depth.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(OWN | changes))
        return tmp_path / "conf"

    return write


def budget(tiny: list[str]) -> list[str]:
    """The overrides but for model.depth, which the study varies."""
    return [o for o in tiny if not o.startswith("model.depth")]


def test_a_plan_of_rectangles_has_their_size_and_cost(tiny: list[str]) -> None:
    def planned(img_size: str) -> tuple[str, float]:
        plan = make_plan("pos-emb", [*tiny, f"data.img_size={img_size}"])
        return plan.study.setting, cost(next(iter(plan.configs.values()))).training

    setting, flops = planned("[16,24]")
    assert "images of 16x24 pixels" in setting
    assert planned("16")[1] < flops < planned("24")[1]
    assert planned("[24,16]")[1] == flops
    assert "images of 24 pixels" in planned("[24,24]")[0]


def test_a_gpu_takes_one_run_at_a_time(tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert at_once(make_plan("pos-emb", [*tiny, "device=auto"]), 24) == 1
    here = make_plan("pos-emb", [*tiny, "device=cpu"])
    monkeypatch.setattr("vitcli.study.launch.cores", lambda: 6)
    assert at_once(here, 24) == 6
    assert at_once(make_plan("pos-emb", [*tiny, "device=cpu", "threads=4"]), 24) == 1
    assert at_once(make_plan("pos-emb", [*tiny, "device=cpu", "threads=3"]), 24) == 2
    assert at_once(here, 1) == 1
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    elsewhere = make_plan("pos-emb", [*tiny, "device=cuda"])
    assert at_once(elsewhere, 24, "cuda") == 1  # to be planned here, for another machine
    with pytest.raises(ValueError, match="device=cuda: there is none here; choose from auto, cpu"):
        launch(elsewhere)


def test_pos_emb_is_the_paper_s_table(tiny: list[str]) -> None:
    plan = make_plan("pos-emb", tiny)
    assert len(plan.study.cells) == 8
    cell = plan.study.cell("learned_2d-shared")
    assert cell is not None
    assert cell.paper == 0.64022
    config = plan.configs[cell.runs["1"]]
    assert (config.pos_emb.kind, config.pos_emb.where, config.seed) == ("learned_2d", "shared", 1)
    assert len(plan.configs) == 40


def test_a_key_below_a_group_that_options_do_not_tell_apart_is_the_user_s() -> None:
    """All the ViTs of `compute` have as many layers; its ResNets have none of the kind."""
    for study in ("pos-emb", "compute", "shape"):
        word = "model.num_heads=1" if study == "shape" else "model.depth=2"
        own = make_plan(study, ["seeds=1", word])
        assert len(own.configs) == len(make_plan(study, ["seeds=1"]).configs)


def test_the_newest_plan_is_the_one_asked_for_last(
    tiny: list[str], vitcli: Callable[..., Ended], tmp_path: Path
) -> None:
    first, second = (make_plan("pos-emb", [*tiny, *more]) for more in (["seeds=2"], ["seeds=3"]))
    for number, plan in enumerate((first, second)):
        freeze(plan)
        os.utime(plan.folder / "plan.json", (number, number))
    outputs = tmp_path / "outputs"
    assert newest("pos-emb", outputs) == second.folder
    shown = [vitcli("status", "pos-emb", "--outputs", str(outputs)).out]
    freeze(first)
    assert newest("pos-emb", outputs) == first.folder
    shown.append(vitcli("status", "pos-emb", "--outputs", str(outputs)).out)
    assert ["seeds=3" in text for text in shown] == [True, False]
    assert ["seeds=2" in text for text in shown] == [False, True]


def test_plans_are_named_by_what_they_change(tiny: list[str]) -> None:
    names = [
        make_plan("pos-emb", o).folder.name
        for o in ([], ["scale=gpu"], ["outputs=x"], ["recipe.lr=1"], ["recipe.lr=1", "seeds=2"])
    ]
    assert names[:3] == ["pos-emb-laptop", "pos-emb-gpu", "pos-emb-laptop"]
    assert len(set(names[2:])) == 3
    assert all(name.startswith("pos-emb-laptop") for name in names[2:])


def test_a_frozen_run_does_not_change(tiny: list[str]) -> None:
    plan = make_plan("pos-emb", [*tiny, "seeds=1"])
    freeze(plan)
    runs = plan.folder.parent.parent / "runs"
    files = sorted(runs.glob("*/config.yaml"))
    assert len(files) == 8
    before = [path.stat().st_mtime_ns for path in files]
    freeze(plan)
    assert [path.stat().st_mtime_ns for path in files] == before
    other = make_plan("pos-emb", [*tiny, "seeds=1", "recipe.lr=0.5"])
    assert not set(other.configs) & set(plan.configs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pos-em"], "did you mean 'pos-emb'?"),
        (["pos-emb", "scale=huge"], "scale=huge: pos-emb has laptop, gpu, paper"),
        (["pos-emb", "seeds=0"], "seeds=0: a number of seeds"),
        (["pos-emb", "seeds=[1,1]"], "seeds=[1, 1]: a list of different seeds"),
        (["pos-emb", "seeds=0"], "seeds=0: a number of seeds of at least 1"),
        (["pos-emb", "scale"], "scale: a setting is written key=value"),
        (["pos-emb", "seeds=x"], "seeds=x: a number"),
        (["pos-emb", "pos_emb=none"], "pos_emb is what pos-emb varies"),
        (
            ["pos-emb", "pos_emb.kind=learned_2d"],
            "so this can't be fixed: it is none in none-stem, learned_1d in learned_1d-stem",
        ),
        (
            ["compute", "model.depth=2", "model.embed_dim=32"],
            "model.embed_dim=32: compute varies model, so this can't be fixed: it is 32 in vit-p1",
        ),
        (
            ["data-scaling-finetune", "source.model.embed_dim=32"],
            "it is 32 in vit_small-d1, 64 in vit_large-d1",
        ),
        (
            ["shape", "threads=1", "model=pico"],
            "vitcli: model=pico: depth-centre and width-less of shape would be the same runs",
        ),
        (["pos-emb", "+seeds=2"], "+seeds=2: write seeds=2, without +"),
        (["pos-emb", "source.scale=gpu"], "source.scale=gpu: write scale=gpu, without source."),
        (["pos-emb", "seed=3"], "seed is what pos-emb varies, it can't be fixed (seeds=5,"),
        (["pos-emb", "trian.steps=3"], "did you mean 'train.steps'?"),
        (["pos-emb", "seedz=2"], "unknown key 'seedz'; did you mean 'seeds'?"),
        (["pos-emb", "data.seed=3"], "data.seed is what pos-emb varies"),
        (["pos-emb", "mode=patch"], "unknown key 'mode'"),
        (["pos-emb-patch", "model.patch_size=4"], "model.patch_size is what pos-emb-patch varies"),
        (["pos-emb", "flops_per_second=1e12"], "only `vitcli plan` has it"),
        (["pos-emb", "source.train.steps=5"], "pos-emb fine-tunes no runs of its own"),
        (["pos-emb", "finetune.source=x"], "a study fine-tunes only the runs of its own `source`"),
        (["pos-emb", "model=bit_nano"], "with model.family=resnet"),
        (["pos-emb", "hydra/launcher=nope"], "hydra/launcher"),
    ],
)
def test_bad_studies_are_one_line_and_exit_2(
    vitcli: Callable[..., Ended], tmp_path: Path, arguments: list[str], message: str
) -> None:
    ended = vitcli("ablate", *arguments, f"outputs={tmp_path}")
    assert ended.code == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sedes": [1]}, "sedes: unknown key; did you mean 'seeds'?"),
        ({"seeds": [0, 0]}, "seeds=[0, 0]: a list of different seeds"),
        ({"seeds": [0, "1"]}, "seeds.1='1': "),
        ({"title": 3}, "title=3: "),
        ({"cells": [{"row": "three", "column": "here"}]}, "row=three: choose from one, two"),
        ({"cells": [{"row": "one", "column": "here"}] * 2}, "two cells"),
        ({"claims": [claim(tests="greater")]}, "claims.0.tests: unknown key"),
        (
            {"claims": [claim(mertic="val/top1")]},
            "claims.0.mertic: unknown key; did you mean 'metric'",
        ),
        ({"claims": [claim(test="less")]}, "claims.test=less: write at_least or within"),
        ({"modes": {"more": {}}}, "modes: each is a study file of its own"),
        ({"claims": [claim(of="slop")]}, "claim c: of=slop: choose from difference, interaction"),
        ({"claims": [claim(pairs=[["on-here", "two-here"]])]}, "no cell on-here; did you mean"),
        ({"claims": [claim(of="spread", pairs=[["one", "too"]])]}, "no row too; did you mean"),
        ({"claims": [claim(at_least={"gpu": 0.1})]}, "no size for scale=laptop"),
        ({"claims": [claim(of="slope", pairs=[["one", "two"]])]}, "the study has no x-axis"),
        ({"x": {"of": "row", "label": "x"}}, "x.of=row: choose from column, train_flops"),
        ({"x": {"of": "column", "label": "x"}}, "columns.here.value=None: x.of=column"),
        ({"scales": {"tiny": {}}}, "scales=tiny: choose from laptop, gpu, paper"),
        ({"scales": {}}, "give at least one of laptop, gpu, paper"),
        ({"scales": {"laptop": []}}, "scales.laptop=[]: must be a mapping"),
        ({"scales": {"laptop": {"overrides": ["train.step=3"]}}}, "did you mean 'train.steps'"),
        ({"scales": {"laptop": {"columns": {}}}}, "at scale=laptop: "),
        ({"columns": {"here": {"label": "Here", "overides": []}}}, "columns.here.overides"),
        ({"columns": {"here": {"label": "Here", "value": "big"}}}, "columns.here.value='big'"),
        (
            {"rows": {"one": {"label": "1", "source": ["model=b"]}}},
            "only in a study with a `source`",
        ),
        ({"source": []}, "model.depth=1: the model is that of the source"),
        (
            {"columns": {"here": {"label": "H", "overrides": ["finetune.source=x"]}}},
            "only the runs of its own `source`",
        ),
        ({"paper": PAPER | {"n": 0}}, "paper.n=0: must be at least 1"),
        ({"paper": {"where": "Fig. 8"}}, "paper.metric: is missing"),
        ({"paper": PAPER | {"curve": {"table": "table9", "x": "a", "y": "b"}}}, "table=table9"),
        (
            {"paper": PAPER | {"curve": CURVE | {"y": "avrage"}}},
            "paper.curve: table6 has no column avrage",
        ),
        ({"differences": [{"Ours": "small"}]}, "differences.0: "),
        (
            {"rows": {"one": {"label": "R"}, "two": {"label": "R"}}},
            "rows: two have the label R",
        ),
        *(
            (
                {"rows": {"one": {"label": "1", "overrides": [word]}}},
                f"{word}: the same for all runs",
            )
            for word in ("outputs=/elsewhere", "tracker=wandb")
        ),
        *(
            ({"scales": {"laptop": {"overrides": [word]}}}, f"{word}: a setting of Hydra's own")
            for word in ("hydra.job.chdir=true", "hydra/launcher=joblib", "+hydra.x=1")
        ),
        (
            {"seeds": [2**63]},
            "seeds=[9223372036854775808]: whole numbers of at least 0, below 2^63",
        ),
        *(
            ({key: value}, f"{key}={value!r}: planning fills it in")
            for key, value in (
                ("name", "x"),
                ("scale", "laptop"),
                ("overrides", ["seed=1"]),
                ("setting", "x"),
                ("methods", {}),
                ("metrics", {}),
                ("sources", {}),
            )
        ),
        *(
            ({"cells": [{"row": "one", "column": "here", key: {"0": "x"}}]}, "planning fills it in")
            for key in ("runs", "scratch", "settings")
        ),
        ({"tables": ["val/nope"]}, "tables=val/nope: no run measures it"),
        ({"metric": "val/nope"}, "metric=val/nope: no run measures it"),
        *(
            (
                {"rows": {"one": {"label": "1"}, "two": {"label": "2", "overrides": [word]}}},
                f"cell two-here: {said}",
            )
            for word, said in (
                ("model.depth=four", "model.depth: Value 'four' of type 'str'"),
                ("model.depth=1,2", "Ambiguous value for argument 'model.depth=1,2'"),
                ("model.depth=${nope}", "model.depth: Interpolation key 'nope' not found"),
                ("model.num_heads=7", "model.num_heads=7 does not divide"),
            )
        ),
        ({"like": "pos-emp"}, "did you mean 'pos-emb'"),
        ({"like": "pos-emb", "rows": ["nonne"]}, "rows=nonne: choose from none"),
        ({"claims": [claim(at_least={"laptop": 0.1, "gpuu": 0.5})]}, "at_least=gpuu: choose from"),
    ],
)
def test_a_study_file_with_a_mistake_is_named(
    own: Callable[..., Path], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=r"^own_depth\.yaml: ") as raised:
        make_plan("own-depth", [], own(**changes))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_mistake_of_the_user_s_is_not_the_file_s(own: Callable[..., Path]) -> None:
    for word, said in (
        ("model.embed_dim=x", r"^cell one-here: model\.embed_dim: Value 'x'"),
        ("model.num_heads=7", r"^cell one-here: model\.num_heads=7 does not divide"),
        ("hydra.x=1", r"^hydra\.x=1: only `vitcli ablate` has it"),
        ("seeds=[9223372036854775808]", r"^seeds=\[9223372036854775808\]: .* below 2\^63$"),
    ):
        with pytest.raises(ValueError, match=said):
            make_plan("own-depth", [word], own())


def test_all_runs_of_a_study_go_to_one_place(own: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match=r"^outputs=at-1, at-2: the same for all runs of a study"):
        make_plan("own-depth", ["outputs=at-${model.depth}"], own())


def test_a_table_that_only_the_user_s_settings_do_without_is_left_out() -> None:
    study = make_plan("equivariance", ["evals.shifts=[1,4]", "seeds=2"]).study
    assert study.tables == ["shift/4/error", "shift/1/invariance"]


def test_a_table_that_one_row_alone_measures_is_kept(own: Callable[..., Path]) -> None:
    few = ["evals=fewshot", "evals.downstream=[digits]"]
    rows = {"one": {"label": "1"}, "two": {"label": "2", "overrides": few}}
    folder = own(
        rows=rows,
        tables=["fewshot/digits/5shot"],
        scales={"laptop": {"overrides": ["evals=upstream"]}},
    )
    assert make_plan("own-depth", [], folder).study.tables == ["fewshot/digits/5shot"]


def test_a_metric_that_takes_another_s_place_is_said(
    own: Callable[..., Path], vitcli: Callable[..., Ended]
) -> None:
    folder = own(
        metric="fewshot/{downstream}/5shot", scales={"laptop": {"overrides": ["evals=upstream"]}}
    )
    said = "val/top1 is judged in place of few-shot top-1: there is no few-shot set"
    planned = vitcli("plan", "own-depth", "--config-dir", str(folder))
    assert said in " ".join(planned.out.split())
    methods = make_plan("own-depth", [], folder).study.methods
    assert methods["In place of another metric"] == said
    assert "In place of another metric" not in make_plan("pos-emb", ["seeds=2"]).study.methods


def test_rows_may_be_named_as_the_field_names_models(own: Callable[..., Path]) -> None:
    four = {"label": "four", "overrides": ["model.depth=2"]}
    rows: dict[object, object] = {"ViT-B/16": {"label": "B"}, 4: four}
    folder = own(rows=rows, claims=[claim(pairs=[["ViT-B/16-here", "4-here"]])])
    assert list(make_plan("own-depth", [], folder).study.rows) == ["ViT-B/16", "4"]


def test_the_key_that_was_meant_is_one_of_its_own_place(own: Callable[..., Path]) -> None:
    with pytest.raises(
        ValueError, match=r"claims\.0\.seeds: unknown key$"
    ):  # the study has such a key
        make_plan("own-depth", [], own(claims=[claim(seeds=[0])]))


def test_claims_from_before_they_had_sizes_are_read_and_said(own: Callable[..., Path]) -> None:
    greater, within = (
        claim(test="greater"),
        claim(id="d", test="equivalent", margin={"laptop": 0.2}),
    )
    for one in (greater, within):
        del one["at_least"]
    folder = own(claims=[greater, within], metric_label="how often it is right", modes=None)
    study = make_plan("own-depth", [], folder).study
    assert study.claims[0].at_least == dict.fromkeys(SCALES, 0.0)
    assert study.claims[1].within == {"laptop": 0.2}
    assert study.metrics["val/top1"].label == "how often it is right"
    first = judge(read_results(study, folder))[0]
    assert first.tested == "how often it is right: 1 layer is any amount above 2 layers."


def test_a_file_that_is_no_study_is_named(own: Callable[..., Path]) -> None:
    folder = own()
    for text in ("- a list", "title: [unclosed", ""):
        (folder / "study" / "own_depth.yaml").write_text(text)
        with pytest.raises(ValueError, match=r"^own_depth\.yaml: ") as raised:
            make_plan("own-depth", [], folder)
        assert "\n" not in str(raised.value)


def test_a_user_s_study_runs_reports_and_answers_from_files(
    vitcli: Callable[..., Ended], own: Callable[..., Path], tiny: list[str], tmp_path: Path
) -> None:
    arguments = ["own-depth", "--config-dir", str(own()), *budget(tiny)]
    planned = vitcli("plan", *arguments)
    assert planned.code == 0
    assert "4 of 4 runs to go" in " ".join(planned.out.split())
    assert "memory" not in planned.out
    shared = vitcli("plan", *arguments, "--processes", "2")
    assert "memory: of each process, with 2 a run; known for" in " ".join(shared.out.split())
    assert re.search(r"\d MB", shared.out)
    assert not (tmp_path / "outputs").exists()
    ended = vitcli("ablate", *arguments)
    assert ended.code == 0, ended.err
    assert "[4/4]" in ended.out
    folder = newest("own-depth", tmp_path / "outputs")
    table = (folder / "report/report.md").read_text()
    assert table.count(" (2) |") == 2
    outputs = ["--outputs", str(tmp_path / "outputs")]
    assert "4 done" in vitcli("status", "own-depth", *outputs).out
    assert "1 layer" in vitcli("report", folder.name, *outputs).out
    killed = next((tmp_path / "outputs" / "runs").iterdir())
    killed_after_its_result(killed)
    again = vitcli("ablate", *arguments)
    assert again.code == 0
    assert (read_status(killed)["state"], state_paths(killed)[0].exists()) == ("done", False)
    assert "[" not in again.out.split("1 layer")[0].splitlines()[0]
    more = vitcli("ablate", *arguments, "seeds=3")  # shares the four, trains two
    assert "[6/6]" in more.out
    assert "[4/6]" not in more.out


@pytest.mark.slow
def test_one_failing_cell_does_not_stop_the_others(
    vitcli: Callable[..., Ended], own: Callable[..., Path], tiny: list[str], tmp_path: Path
) -> None:
    explode = ["recipe.lr=1e30", "recipe.grad_clip=0", "train.steps=30"]
    cells = [
        {"row": "one", "column": "here", "overrides": explode},
        {"row": "two", "column": "here", "overrides": ["recipe.lr=1e-3", "train.steps=8"]},
    ]
    few = [o for o in budget(tiny) if not o.startswith("train.steps")]
    arguments = ["own-depth", "--config-dir", str(own(cells=cells)), *few, "checkpoint.every=7"]
    ended = vitcli("ablate", *arguments)
    assert ended.code == 1
    assert "FloatingPointError: the loss is" in ended.err
    folder = newest("own-depth", tmp_path / "outputs")
    assert [run.state for run in states(folder).values()] == ["failed"] * 2 + ["done"] * 2
    table = (folder / "report/report.md").read_text()
    assert "| 1 layer | no result<sup>1</sup> |" in table
    assert "<sup>1</sup> 1 layer: seeds 0, 1 failed: FloatingPointError: the loss is" in table
    assert table.count(" (2) |") == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "interrupt", "basic", "worker", "launcher"])
def test_a_broken_study_goes_on_to_the_same_table(
    vitcli: Callable[..., Ended],
    own: Callable[..., Path],
    tiny: list[str],
    tmp_path: Path,
    how: str,
) -> None:
    few = [o for o in budget(tiny) if not o.startswith(("outputs=", "train.steps"))]
    arguments = ["ablate", "own-depth", "--config-dir", str(own()), *few]
    arguments += ["train.steps=300", "checkpoint.every=10"]

    def finish(place: str) -> list[dict[str, str]]:
        """Returns the table of the study, what is left of it trained in this process."""
        ended = vitcli(*arguments, f"outputs={tmp_path / place}", "hydra/launcher=basic")
        assert ended.code == 0, ended.err
        folder = newest("own-depth", tmp_path / place)
        rows = csv.DictReader((folder / "report/runs.csv").read_text().splitlines())
        return [row | {"seconds": ""} for row in rows]

    unbroken = finish("unbroken")
    launcher = ["hydra/launcher=basic"] if how == "basic" else []
    process = start(*arguments, "outputs=broken", *launcher, cwd=tmp_path)
    runs = tmp_path / "broken/runs"
    wait_for(lambda: len(list(runs.glob("*/checkpoints/state.pt"))) >= 1)
    if how == "kill":
        os.killpg(process.pid, signal.SIGKILL)
    elif how == "launcher":  # alone: its workers save, and begin nothing else
        process.kill()
    elif how in ("interrupt", "basic"):
        process.send_signal(signal.SIGINT)
    else:
        busy = next(runs.glob("*/checkpoints/state.pt")).parent.parent
        os.kill(read_status(busy)["pid"], signal.SIGKILL)
    _, errors = process.communicate(timeout=600)
    if how in ("interrupt", "basic"):
        assert process.returncode == 130
        assert "resumes it" in errors
        assert "interrupted" in [read_status(folder)["state"] for folder in runs.iterdir()]
    if how == "launcher":  # its workers, too, had let go of their output
        found = [read_status(folder)["state"] for folder in runs.iterdir()]
        assert "interrupted" in found
        assert set(found) <= {"interrupted", "planned", "done"}
    if how == "worker":  # the rest was run all the same
        assert process.returncode == 1
        assert "its process was killed" in errors
        assert len(list(runs.glob("*/result.json"))) >= 2
    assert finish("broken") == unbroken


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        ("vitcli.study.slurm.find_spec", "needs pip install 'vitcli[cluster]'"),
        ("shutil.which", "there is no squeue on this machine"),
    ],
)
def test_a_machine_without_slurm_says_what_is_not_there(
    lacking: str,
    said: str,
    own: Callable[..., Path],
    tiny: list[str],
    vitcli: Callable[..., Ended],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lacking, lambda name: None)
    words = ["own-depth", "--config-dir", str(own()), *budget(tiny), "hydra/launcher=slurm"]
    ended = vitcli("ablate", *words)
    assert ended.code == 2
    assert said in ended.err
    assert len(ended.err.splitlines()) == 1


def test_status_asks_slurm_only_of_what_waits_and_does_without_its_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def down(*command: str) -> str:
        asked.append(command[0])
        raise RuntimeError("slurm_load_jobs error")

    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(slurm, "_slurm", down)
    job = {"id": "1", "submitted": 1.0, "tries": 1, "log": "x", "format": 1}
    for state in ("done", "queued"):
        (tmp_path / state).mkdir()
        (tmp_path / state / "job.json").write_text(json.dumps(job))
        (tmp_path / state / "status.json").write_text(json.dumps({"state": state}))
    slurm.look([tmp_path / "done"])
    assert asked == []
    slurm.look([tmp_path / "done", tmp_path / "queued"])
    assert asked == ["squeue"]


def test_one_run_to_go_is_not_divided_among_cores(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitcli.study.launch.cores", lambda: 8)
    plan = make_plan("pos-emb", [*tiny, "device=cpu", "seeds=2"])
    cell = CellCost("a", 1, 1.0, 1.0, None, 16, 15, 600.0)
    assert "about 10 min, 1 at a time" in _total(Estimate(plan, [cell], None, None, "runs"))
    assert "about 5 min, 2 at a time" in _total(
        Estimate(plan, [replace(cell, done=14)], None, None, "runs")
    )


def test_the_time_says_what_it_is_known_by(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitcli.bench.flops_per_second", lambda config: 1e9)
    plan = make_plan("pos-emb", [*tiny, "device=cpu", "seeds=1"])
    freeze(plan)
    by = [estimate(plan).by, estimate(plan, timed=True).by, estimate(plan, given=1e9).by]
    assert by == ["", "timed steps", ""]
    done = plan.outputs / "runs" / plan.study.cells[0].runs["0"]
    (done / "result.json").write_text('{"metrics": {}, "wall_s": 1.0}')
    assert estimate(plan).by == "finished runs"
    assert estimate(plan, timed=True).by == "timed steps"  # of the other kinds, all that are to go
    more = make_plan("pos-emb", [*tiny, "device=cpu", "seeds=2"])
    assert estimate(more, timed=True).by == "finished runs and timed steps"
    assert "on this machine (by finished runs)" in _total(estimate(plan))


def test_only_a_cluster_s_jobs_go_on_alone(
    own: Callable[..., Path], tiny: list[str], vitcli: Callable[..., Ended]
) -> None:
    ended = vitcli("ablate", "own-depth", "--config-dir", str(own()), *budget(tiny), "--detach")
    assert ended.code == 2
    assert "only a cluster's jobs run on without this command (hydra/launcher=slurm)" in ended.err


def test_status_names_what_there_is(vitcli: Callable[..., Ended], tmp_path: Path) -> None:
    ended = vitcli("status", "pos-emb", "--outputs", str(tmp_path))
    assert ended.code == 2
    assert "nothing is planned" in ended.err


def test_plan_json_is_all_the_report_needs(tiny: list[str]) -> None:
    plan = make_plan("pos-emb", [*tiny, "seeds=1"])
    freeze(plan)
    assert read_plan(plan.folder) == plan.study
    assert plan.study.size(plan.study.claims[1]) == 0.02
    assert "glyphs (plain, 256 images of 16 pixels, 8 classes)" in plan.study.setting


def test_a_study_like_another_has_its_runs_and_none_of_its_claims() -> None:
    """`equivariance` is like `data-scaling`, with claims and a metric of its own."""
    own, other = make_plan("equivariance"), make_plan("data-scaling")
    assert list(own.configs) == list(other.configs)
    assert own.study.metric == "shift/1/consistency" != other.study.metric
    ids = [{claim.id for claim in plan.study.claims} for plan in (own, other)]
    assert ids[0]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize("scale", SCALES)
def test_a_study_like_another_may_pick_rows(scale: str) -> None:
    """`hybrid` is `compute` with the ViTs and the hybrids."""
    own, other = (make_plan(name, [f"scale={scale}"]) for name in ("hybrid", "compute"))
    assert set(own.configs) < set(other.configs)
    assert {cell.row for cell in own.study.cells} == {"vit", "hybrid"}
    runs = {cell.id: cell.runs for cell in other.study.cells}
    assert all(cell.runs == runs[cell.id] for cell in own.study.cells)
    assert len(own.study.cells) < len(runs)


def test_a_study_like_one_without_scales_has_its_own(own: Callable[..., Path]) -> None:
    folder = own(scales=None)
    (folder / "study" / "mine.yaml").write_text("like: own-depth\nrows: [two]\nscales: {laptop: }")
    with pytest.raises(ValueError, match=r"^mine\.yaml: scales\.laptop=None: must be a mapping"):
        make_plan("mine", [], folder)
    (folder / "study" / "mine.yaml").write_text(
        "like: own-depth\nrows: [two]\nscales: {laptop: {}}"
    )
    assert [cell.id for cell in make_plan("mine", [], folder).study.cells] == ["two-here"]


def test_a_study_like_another_has_differences_of_its_own() -> None:
    """The paper measured Table 8, and nothing of what it says about the grid."""
    study = make_plan("pos-emb-patch", ["seeds=1"]).study
    assert not any("ran each cell once" in line for line in study.differences)
    assert "measures nothing of it" in study.differences[0]


def test_a_seed_draws_other_data_the_same_in_every_cell(tiny: list[str]) -> None:
    plan = make_plan("pos-emb", tiny)
    for seed in ("0", "1", "4"):
        for cell in plan.study.cells:
            config = plan.configs[cell.runs[seed]]
            assert (config.seed, config.data.seed) == (int(seed), int(seed))
    assert plan.study.methods["A seed draws"].startswith("initial weights, the order of images")
    assert "the few-shot supports on digits" in plan.study.methods["A seed draws"]


def test_a_run_alone_keeps_its_data_seed() -> None:
    assert (compose(["seed=1"]).seed, compose(["seed=1"]).data.seed) == (1, 0)


def test_planning_is_quick_and_times_nothing(
    vitcli: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def timed(config: object) -> float:
        raise AssertionError("timed")

    monkeypatch.setattr("vitcli.bench.flops_per_second", timed)
    planned = vitcli("plan", "pos-emb", f"outputs={tmp_path}")
    assert planned.code == 0, planned.err
    assert "time not known: --time measures it by a few steps of each model" in planned.out
    elsewhere = vitcli("plan", "pos-emb", f"outputs={tmp_path}", "flops_per_second=1e12")
    assert "at 1e+12 FLOP/s about" in elsewhere.out
    asked = vitcli("plan", "pos-emb", "--time", f"outputs={tmp_path}")
    assert asked.code == 1
    assert asked.err.startswith("vitcli: AssertionError: timed")


def test_planning_loads_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['vitcli', 'plan', 'data-scaling-finetune']\n"
        "from vitcli.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env=ENV)


def test_a_column_of_more_images_than_the_user_s_set_has_is_all_there_are() -> None:
    study = make_plan("data-scaling", ["data=fashion_mnist"]).study
    assert [axis.label for axis in study.columns.values()] == ["1,000", "7,000", "45,000", "60,000"]
    assert study.columns["d5"].value == 60_000
    assert study.differences[-1] == (
        "fashion_mnist has 60,000 training images: all of them stand where the study has 300,000."
    )
    plan = make_plan("data-scaling", ["data=fashion_mnist", "seeds=1"])
    sizes = {plan.configs[cell.runs["0"]].data.size for cell in plan.study.cells}
    assert sizes == {1000, 7000, 45_000, 60_000}


def test_columns_that_would_be_the_same_are_refused() -> None:
    with pytest.raises(ValueError, match="digits: it has 1,297 training images, and more than one"):
        make_plan("data-scaling", ["data=digits"])


def test_so_it_is_with_the_images_of_a_source() -> None:
    own = ["source.data=fashion_mnist", "source.evals.downstream=null", "seeds=1"]
    plan = make_plan("data-scaling-finetune", own)
    assert [a.label for a in plan.study.columns.values()] == ["1,000", "10,000", "60,000"]
    sizes = {plan.configs[run].data.size for run in plan.study.sources}
    assert sizes == {1000, 10_000, 60_000}
