"""The report's folder: whole, honest, old exactly when something has changed; and no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vitcli.report.build import is_current, show, write_report

Make = Callable[..., tuple[Path, Path]]
FILES = {
    "table.md",
    "table.csv",
    "table.tex",
    "claims.json",
    "claims.md",
    "report.md",
    "figures/table.png",
    "figures/table.svg",
}


def test_the_report_is_whole_and_leaves_nothing_else(make: Make, whole: dict[str, Any]) -> None:
    report = write_report(*make(whole))
    out = report.parent
    assert report.name == "report.md"
    assert {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()} == FILES
    text = report.read_text()
    for said in (
        "on digits",
        "upstream: glyphs, 60,000 images",
        "scale `laptop`",
        "n = 3 of 3 seeds",
        "Glyphs stand in for JFT-300M.",
        "torch 2.15.0",
        "commit 0123abc",
        "24 of 24 finished",
        "12 min 00 s",
        "4.8e+13 training FLOPs",
        "201,354",
        "run-learned\\_2d-every\\_layer-s2",
        "val/top1 0.75",
    ):
        assert said in text
    order = [
        text.index(f"## {part}") for part in ("Verdicts", "Table", "Figure", "Methods", "Runs")
    ]
    assert order == sorted(order)
    assert "(figures/table.png)" in text
    assert str(out.parent.parent) not in text


def test_verdicts_as_data(make: Make, whole: dict[str, Any]) -> None:
    out = write_report(*make(whole)).parent
    found = json.loads((out / "claims.json").read_text())
    assert [claim["verdict"] for claim in found["claims"]] == ["reproduced", "reproduced"]
    assert found["claims"][0]["decisive"]["n"] == 3
    text = (out / "claims.md").read_text()
    assert "- **reproduced**: Some position information is much better than none." in text
    assert "| +0.028 |" in text


def test_the_terminal_shows_table_verdicts_and_where_the_report_is(
    make: Make, whole: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    study_dir, _ = make(whole)
    show(study_dir)
    said = " ".join(capsys.readouterr().out.split())
    assert "reproduced: Some position information is much better than none." in said
    assert "90 % interval" in said
    assert "[0.61382]" in said
    assert said.endswith(str(study_dir / "report" / "report.md"))


def test_a_failed_run_is_reported(make: Make, whole: dict[str, Any]) -> None:
    whole["none-stem"] = {s: {"state": "failed", "error": "out of memory"} for s in range(3)}
    text = write_report(*make(whole)).read_text()
    assert "**undecided**: Some position information" in text
    assert "no seed has finished in both cells" in text
    assert "| none (stem) | 2 | failed: out of memory | -- | -- | run-none-stem-s2 |" in text
    assert "21 of 24 finished" in text


def test_one_seed_decides_nothing(make: Make, whole: dict[str, Any]) -> None:
    text = write_report(*make({cell: {0: seeds[0]} for cell, seeds in whole.items()})).read_text()
    assert text.count("**undecided**") == 2
    assert "±" not in text.split("## Table")[1].split("Position embedding:")[0]


def test_a_study_without_claims_says_so(make: Make, whole: dict[str, Any]) -> None:
    assert "This study tests no claim." in write_report(*make(whole, claims=[])).read_text()


@pytest.mark.parametrize("changed", ["plan", "result", "status", "new result", "lost file"])
def test_a_report_is_current_until_something_changes(
    make: Make, whole: dict[str, Any], changed: str
) -> None:
    whole["relative-stem"][2] = {"state": "interrupted"}
    study_dir, runs_dir = make(whole)
    assert not is_current(study_dir, runs_dir)
    report = write_report(study_dir, runs_dir)
    assert is_current(study_dir, runs_dir)
    if changed == "lost file":
        (report.parent / "table.tex").unlink()
    else:
        path = {
            "plan": study_dir / "plan.json",
            "result": runs_dir / "run-none-stem-s0" / "result.json",
            "status": runs_dir / "run-none-stem-s0" / "status.json",
            "new result": runs_dir / "run-relative-stem-s2" / "result.json",
        }[changed]
        path.write_text(path.read_text() if path.exists() else '{"metrics": {}}')
    assert not is_current(study_dir, runs_dir)
    write_report(study_dir, runs_dir)
    assert is_current(study_dir, runs_dir)


def test_a_run_that_ends_while_the_report_is_written_makes_it_old(
    make: Make, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole["relative-stem"][2] = {"state": "interrupted"}
    study_dir, runs_dir = make(whole)

    def ends(*_: object) -> bytes:
        (runs_dir / "run-relative-stem-s2" / "result.json").write_text('{"metrics": {}}')
        return b""

    monkeypatch.setattr("vitcli.report.figures.render", ends)
    write_report(study_dir, runs_dir)
    assert not is_current(study_dir, runs_dir)


def test_the_report_never_imports_torch_nor_the_table_matplotlib() -> None:
    code = (
        "import sys, vitcli.report.collect, vitcli.report.tables, vitcli.report.claims\n"
        "assert not {'matplotlib', 'scipy', 'rich', 'torch'} & set(sys.modules)\n"
        "import vitcli.report.build\n"
        "assert not {'matplotlib', 'torch', 'hydra'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
