"""A plan: its cells and runs, its name, its cost and time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import ROOT, Ended

from vitcli.compose import compose
from vitcli.study.estimate import CellCost, Estimate, _total, cost, estimate
from vitcli.study.launch import at_once, check
from vitcli.study.plan import freeze, make_plan, newest, read_plan

ENV = {**os.environ, "PYTHONPATH": str(ROOT)}


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
        check(elsewhere)


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
    twice = ["recipe.lr=2", "recipe.lr=1"]  # the last counts
    assert make_plan("pos-emb", twice).folder.name == names[3]
    assert make_plan("pos-emb", twice[::-1]).folder.name != names[3]
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


def test_plan_json_is_all_the_report_needs(tiny: list[str]) -> None:
    plan = make_plan("pos-emb", [*tiny, "seeds=1"])
    freeze(plan)
    assert read_plan(plan.folder) == plan.study
    assert plan.study.size(plan.study.claims[1]) == 0.02
    assert "glyphs (plain, 256 images of 16 pixels, 8 classes)" in plan.study.setting


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
