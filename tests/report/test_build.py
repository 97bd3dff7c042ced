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

from vitcli.report.build import is_current, show, show_index, write_index, write_report

Make = Callable[..., tuple[Path, Path]]
FILES = {
    "table.md",
    "table.csv",
    "table.tex",
    "claims.json",
    "claims.md",
    "report.md",
    "report.html",
    "figures/bars.png",
    "figures/bars.svg",
    "figures/bars.pdf",
}


def test_the_report_is_whole_and_leaves_nothing_else(make: Make, whole: dict[str, Any]) -> None:
    report = write_report(*make(whole))
    out = report.parent
    assert report.name == "report.html"
    assert {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()} == FILES
    text = (out / "report.md").read_text()
    for said in (
        "on digits",
        "upstream: glyphs, 60,000 images",
        "scale laptop",
        "n = 3 of 3 seeds",
        "Glyphs stand in for JFT-300M.",
        "torch 2.15.0",
        "commit 0123abc",
        "24 of 24 finished",
        "12 min 00 s",
        "4.8e+13 training FLOPs",
        "201,354",
        "[run-learned\\_2d-every\\_layer-s2](../../../runs/run-learned_2d-every_layer-s2/)",
    ):
        assert said in text
    order = [
        text.index(f"## {part}") for part in ("Verdicts", "Table", "Figure", "Methods", "Runs")
    ]
    assert order == sorted(order)
    assert "(figures/bars.png)" in text
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
    assert said.endswith(str(study_dir / "report" / "report.html"))


def test_a_failed_run_is_reported(make: Make, whole: dict[str, Any]) -> None:
    whole["none-stem"] = {s: {"state": "failed", "error": "out of memory"} for s in range(3)}
    text = (write_report(*make(whole)).parent / "report.md").read_text()
    assert "**undecided**: Some position information" in text
    assert "no seed has finished in both cells" in text
    assert "| none (stem) | 2 | failed: out of memory | -- | -- | [run-none-stem-s2](" in text
    assert "21 of 24 finished" in text


def test_one_seed_decides_nothing(make: Make, whole: dict[str, Any]) -> None:
    report = write_report(*make({cell: {0: seeds[0]} for cell, seeds in whole.items()}))
    text = (report.parent / "report.md").read_text()
    assert text.count("**undecided**") == 2
    assert "±" not in text.split("## Table")[1].split("Position embedding:")[0]


def test_a_study_without_claims_says_so(make: Make, whole: dict[str, Any]) -> None:
    report = write_report(*make(whole, claims=[]))
    for path in (report, report.parent / "report.md"):
        assert "This study tests no claim." in path.read_text()


@pytest.mark.parametrize(
    "changed", ["plan", "result", "status", "new result", "lost file", "source"]
)
def test_a_report_is_current_until_something_changes(
    make: Make, whole: dict[str, Any], changed: str
) -> None:
    whole["relative-stem"][2] = {"state": "interrupted"}
    study_dir, runs_dir = make(whole, sources={"upstream-s0": ["none (stem)"]})
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
            "source": runs_dir / "upstream-s0" / "result.json",
            "new result": runs_dir / "run-relative-stem-s2" / "result.json",
        }[changed]
        path.parent.mkdir(exist_ok=True)
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
        return b"<svg/>"

    monkeypatch.setattr("vitcli.report.figures.render", ends)
    write_report(study_dir, runs_dir)
    assert not is_current(study_dir, runs_dir)


def test_further_metrics_have_tables_of_their_own(make: Make, whole: dict[str, Any]) -> None:
    study_dir, runs_dir = make(whole, tables={"val/top1": "upstream validation top-1"})
    out = write_report(study_dir, runs_dir).parent
    assert {p.name for p in out.glob("table-*")} == {
        f"table-val-top1.{x}" for x in ("md", "csv", "tex")
    }
    lines = (out / "table-val-top1.md").read_text().splitlines()
    assert lines[2] == "| none | 0.750 ± 0.000 (3) | -- | -- |"  # the paper's are not of this
    text = (out / "report.md").read_text()
    assert "| cell | seed | state | fewshot/digits/5shot | val/top1 | wall time | run |" in text
    assert is_current(study_dir, runs_dir)
    (out / "table-val-top1.tex").unlink()
    assert not is_current(study_dir, runs_dir)


def test_sources_are_listed_and_counted_apart(make: Make, whole: dict[str, Any]) -> None:
    sources = {"run-none-stem-s1": ["1-D (stem)", "2-D (stem)"], "gone": ["relative (stem)"]}
    report = write_report(*make(whole, sources=sources))
    text = (report.parent / "report.md").read_text()
    assert "- Runs: 24 of 24 finished" in text
    assert "- Runs of the sources: 1 of 2 finished" in text
    assert "| 1-D (stem), 2-D (stem) | -- | done |" in text
    assert "| relative (stem) | -- | planned |" in text


def test_the_recipe_is_what_all_runs_share(make: Make, whole: dict[str, Any]) -> None:
    study_dir, runs_dir = make(whole)
    for folder in runs_dir.iterdir():
        kind = folder.name.split("-")[1]
        (folder / "config.yaml").write_text(
            "recipe: {optimizer: adamw, warmup: null}\nfinetune: {source: null, resize: auto}\n"
            f"pos_emb: {{kind: {kind}}}\nseed: {folder.name[-1]}\n"
        )
    text = (write_report(study_dir, runs_dir).parent / "report.md").read_text()
    assert "- Recipe: recipe.optimizer adamw\n" in text
    assert "- What differs between runs: pos\\_emb.kind\n" in text


def test_the_index_has_a_line_for_each_claim(
    make: Make, whole: dict[str, Any], curve: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    make(whole)
    study_dir, runs_dir = make(**curve)
    outputs = runs_dir.parent
    (outputs / "studies" / "old").mkdir()
    (outputs / "studies" / "old" / "plan.json").write_text('{"rows": []}')
    show_index(write_index(outputs), outputs)
    said = capsys.readouterr().out
    assert said.count("reproduced") == 3
    assert "plan.json: no key 'columns'" in said
    text = (outputs / "studies" / "index.html").read_text()
    assert text.count("</span> reproduced</span>") == 3
    assert 'href="data-scaling-laptop/report/report.html"' in text
    assert (study_dir / "report" / "report.html").exists()
    assert str(outputs) not in text


def test_an_index_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing is planned"):
        write_index(tmp_path)


def test_the_report_never_imports_torch_nor_the_table_matplotlib() -> None:
    code = (
        "import sys, vitcli.report.collect, vitcli.report.tables, vitcli.report.claims\n"
        "assert not {'matplotlib', 'scipy', 'rich', 'torch'} & set(sys.modules)\n"
        "import vitcli.report.build\n"
        "assert not {'matplotlib', 'torch', 'hydra'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
