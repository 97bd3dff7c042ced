"""Seeds needed, from the spread of what has finished."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from vitcli import cli
from vitcli.files import read_json, write_json
from vitcli.report.power import seeds_needed
from vitcli.study.plan import make_plan


def lines(folders: tuple[Path, Path]) -> list[str]:
    folder, runs = folders
    return seeds_needed(read_json(folder / "plan.json"), runs)


def test_each_claim_has_a_line(make: Callable[..., Any], whole: dict[str, Any]) -> None:
    # Differences of 0.14, 0.15 and 0.16: sd 0.01. Half of the effect is 7.5 sd: 2 seeds at 0.05,
    # 3 at the 0.025 of two claims.
    whole["none-stem"] = {0: 0.5, 1: 0.5, 2: 0.5}
    whole["learned_1d-stem"] = {0: 0.64, 1: 0.65, 2: 0.66}
    whole["learned_2d-stem"] = {0: 0.60, 1: 0.65, 2: 0.70}
    position, kind = lines(make(whole))
    assert position == (
        "position-matters: 3 seeds for half of the effect so far, +0.075 "
        "(sd 0.01 over 3 seeds of 1-D (stem) − none (stem))"
    )
    # The wider of its pairs counts: sd 0.04 for a margin of 0.04.
    assert kind.startswith("kind-does-not-matter: 13 seeds for a margin of ±0.04 (sd 0.04 over 3")
    assert "1-D (stem) − 2-D (stem)" in kind


def test_without_finished_runs_there_is_none(make: Callable[..., Any]) -> None:
    cells = ("none-stem", "learned_1d-stem", "learned_2d-stem", "relative-stem")
    assert lines(make({cell: {0: {"state": "running"}} for cell in cells})) == []


def test_one_finished_seed_cannot_tell(make: Callable[..., Any], whole: dict[str, Any]) -> None:
    found = lines(make({cell: {0: seeds[0]} for cell, seeds in whole.items()}))
    assert all("no telling how many seeds it needs" in line for line in found)
    assert "only one seed has finished in both cells" in found[0]


def test_plan_prints_them_after_the_costs(tiny: list[str], tmp_path: Path) -> None:
    plan = make_plan("pos-emb", tiny)
    for i, run in enumerate(plan.configs):
        result = {"metrics": {plan.facts["metric"]: 0.5 + 0.01 * (i * i % 7)}, "wall_s": 1.0}
        write_json(plan.folder.parent.parent / "runs" / run / "result.json", result)
    ended = CliRunner().invoke(cli.app, ["plan", "pos-emb", *tiny])
    assert ended.exit_code == 0, ended.output
    after = ended.output.split("0 of 24 runs to go")[1]
    assert "position-matters: " in after
    assert "kind-does-not-matter: " in after
    assert not (plan.folder / "plan.json").exists()
