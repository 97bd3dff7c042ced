"""The report's folder: whole, honest, always of what the files say now; and no torch."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up import claim, results, with_run, with_study, write

from vitcli.analysis.load import load
from vitcli.analysis.results import Results
from vitcli.analysis.verdicts import judge
from vitcli.report import content
from vitcli.report.build import show, show_index, write_index, write_report
from vitcli.report.content import format_p
from vitcli.report.tables import EMPTY
from vitcli.schema import ClaimPaper

FILES = {"report.html", "report.md", "table.tex", "runs.csv", "claims.json"} | {
    f"figures/{stem}" for stem in ("main.svg", "main.png", "main.pdf", "forest.svg")
}


def made(found: Results, outputs: Path) -> Path:
    """Returns the report's folder of a study written and reported."""
    return write_report(write(found, outputs), outputs / "runs") / "report"


def test_the_report_is_whole_and_leaves_nothing_else(whole: Results, tmp_path: Path) -> None:
    out = made(whole, tmp_path)
    assert {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()} == FILES
    text = (out / "report.md").read_text()
    for said in (
        "on digits",
        "upstream: glyphs, 60,000 images",
        "scale laptop",
        "n = 5 of 5 seeds",
        "Glyphs stand in for JFT-300M.",
        "torch 2.15.0",
        "commit 0123abc",
        "40 of 40 finished",
        "20 min of wall time",
        "201,354",
        "Correlation of two cells over the seeds",
        "those of all pairs, where a claim has several, less often",
    ):
        assert said in text
    order = [text.index(f"\n## {part}\n") for part in ("Verdicts", "Results", "Methods")]
    assert order == sorted(order)
    assert str(tmp_path) not in text
    assert text.endswith("\n")


def test_verdicts_as_data(whole: Results, tmp_path: Path) -> None:
    found = json.loads((made(whole, tmp_path) / "claims.json").read_text())
    first, second = found["claims"]
    assert [first["verdict"], second["verdict"]] == ["reproduced", "reproduced"]
    pair = first["pairs"][first["decisive"]]
    assert (pair["n"], pair["paper"]) == (5, pytest.approx(0.02824))
    assert pair["interval"][0] > first["size"] == 0.04
    assert first["p_for"] < 0.05 < first["p_against"]
    assert len(pair["numbers"]) == 5


def test_every_run_is_a_row_of_runs_csv(whole: Results, tmp_path: Path) -> None:
    text = (made(whole, tmp_path) / "runs.csv").read_text()
    read = list(csv.DictReader(text.splitlines()))
    assert len(read) == 40
    assert float(read[0]["m"]) == whole.runs["none-stem-c0-0"].metrics["m"]


def test_the_terminal_shows_table_verdicts_and_where_the_report_is(
    whole: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study_dir = write(whole, tmp_path)
    show(study_dir)
    said = " ".join(capsys.readouterr().out.split())
    assert "reproduced: A statement." in said
    assert "97.5 % interval" in said
    assert "[0.61382]" in said
    assert said.endswith(str(study_dir / "report" / "report.html"))


def test_a_failed_run_is_named_and_blocks_a_reproduction(whole: Results, tmp_path: Path) -> None:
    failed = with_run(whole, "none-stem-c0-2", state="failed", error="out of memory", metrics={})
    text = (made(failed, tmp_path) / "report.md").read_text()
    assert "| **undecided** | A statement. |" in text
    assert "Not called reproduced, since seed 2 of none (stem) failed." in text
    assert "none (stem): seed 2 failed: out of memory" in text
    assert "39 of 40 finished" in text


def test_one_seed_decides_nothing(whole: Results, tmp_path: Path) -> None:
    text = (made(with_study(whole, seeds=[0]), tmp_path) / "report.md").read_text()
    assert text.count("| **undecided** |") == 2
    assert text.count("only one seed has finished") >= 2
    assert "reproduced**" not in text


@pytest.mark.parametrize("seeds", [5, 1])
def test_a_claim_of_any_amount_has_no_place_in_the_forest(
    whole: Results, tmp_path: Path, seeds: int
) -> None:
    claims = [replace(claim, at_least={"laptop": 0.0}) for claim in whole.study.claims]
    study = replace(whole.study, claims=claims, seeds=whole.study.seeds[:seeds])
    text = (made(replace(whole, study=study), tmp_path) / "report.md").read_text()
    assert "any amount" in text
    assert "forest.svg" not in text
    sized = replace(claims[0], at_least={"laptop": 0.04})
    both = replace(whole, study=replace(study, claims=[sized, *claims[1:]]))
    assert "forest.svg" in (made(both, tmp_path) / "report.md").read_text()


def test_a_study_without_claims_says_so(whole: Results, tmp_path: Path) -> None:
    out = made(with_study(whole, claims=[]), tmp_path)
    for name in ("report.html", "report.md"):
        assert "This study tests no claim." in (out / name).read_text()
    assert not (out / "figures" / "forest.svg").exists()


def test_a_report_is_of_what_the_files_say_now(whole: Results, tmp_path: Path) -> None:
    out = made(whole, tmp_path)
    before = (out / "report.md").read_text()
    changed = with_run(whole, "none-stem-c0-2", metrics={"m": 0.123})
    assert made(changed, tmp_path) == out
    assert (out / "report.md").read_text() != before
    assert "0.123" in (out / "runs.csv").read_text()


def test_the_same_files_give_the_same_report(whole: Results, tmp_path: Path) -> None:
    out = made(whole, tmp_path)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    made(whole, tmp_path)
    assert {path: path.read_bytes() for path in before} == before


def test_the_index_has_a_line_for_each_claim(
    whole: Results, curve: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(whole, tmp_path)
    study_dir = write(curve, tmp_path)
    old = tmp_path / "studies" / "old"
    old.mkdir()
    (old / "plan.json").write_text('{"title": "Old", "metric": "m", "rows": []}')
    show_index(write_index(tmp_path), tmp_path)
    said = capsys.readouterr().out
    assert said.count("reproduced: A statement.") == 3
    assert "plan.json: rows=[]: must be a mapping" in said
    text = (tmp_path / "studies" / "index.html").read_text()
    assert text.count("</span> reproduced</span>") == 3
    assert 'href="data-scaling-laptop/report/report.html"' in text
    assert (study_dir / "report" / "report.html").exists()
    assert str(tmp_path) not in text


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", "\xff\xfe", '{"rows": []}', '{"seeds": 3}']
)
def test_a_plan_that_makes_no_sense_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"plan\.json: ") as raised:
        load(tmp_path, tmp_path)
    assert "\n" not in str(raised.value)


def test_power_is_simulated_once_for_the_page_and_the_index(
    whole: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = [replace(claim, at_least={"laptop": 0.15}) for claim in whole.study.claims[:1]]
    write(with_study(whole, claims=tested), tmp_path)
    asked = []
    monkeypatch.setattr(content, "needs", lambda verdict: asked.append(verdict.word) or "more")
    (listed,) = write_index(tmp_path)
    assert listed.verdicts[0].said[-1] == "More."
    assert asked == ["undecided"]


def test_a_factor_is_claimed_as_one() -> None:
    values = {row: 0.3 + 0.1 * np.arange(4) + np.array([[0.01], [0.0], [-0.02]]) for row in "AB"}
    values["B"] = values["B"] + np.array([[0.0], [0.02], [0.01]])
    tested = claim("log_ratio", ["A", "B"], within=1.0)
    found = results(values, tested, x="train_flops", metrics={"val/top1": values})
    (line,) = content.lines(found, judge(found))
    assert "claimed: within a factor of 2;" in f"{line.beside};"


def test_a_factor_below_1_has_all_beside_it_turned() -> None:
    """The sentence is of the arm that needs more; so are the interval, the claim, the paper."""
    values = {"A": 0.3 + 0.1 * np.arange(4) + np.array([[0.01], [0.0], [-0.02]])}
    values["B"] = values["A"] + np.array([[0.001], [0.002], [0.0]])
    curves = ClaimPaper("table6", "average", [["vit", "resnet"]])
    found = results(
        values,
        claim("log_ratio", ["A", "B"], at_least=1.0, paper=curves),
        claim("log_ratio", ["B", "A"], at_least=1.0),
        x="train_flops",
        flops={"A": 16.0},
        metrics={"val/top1": values},
    )
    below, above = content.lines(found, judge(found))
    assert below.sentence == above.sentence
    assert re.search(
        r"^For equal values A needs 1[67]\.?\d? times the images of B$", below.sentence
    )
    assert "claimed: below ×1/2; the paper: ×1/" in below.beside
    assert "claimed: above ×2" in above.beside
    assert below.numbers["claimed"] == "above ×2"
    assert below.numbers["the paper"].startswith("×4.")


def test_what_is_0_by_construction_has_no_interval_and_no_p() -> None:
    noise = np.random.default_rng(0).normal(0, 0.004, (5, 4))
    falling = np.array([0.6, 0.5, 0.4, 0.3]) + noise
    tested = claim("slope", ["A"])
    picks = {"val/top1": {"A": falling}}
    found = results({"A": falling}, tested, x="train_flops", metrics=picks)
    (line,) = content.lines(found, judge(found))
    assert (
        line.sentence
        == "Slope of A is 0, as no model that costs more has a better upstream validation"
    )
    assert line.beside == "claimed: above +0.0100"
    assert [line.numbers[key] for key in ("95 % interval", "p for", "p against")] == [EMPTY] * 3


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_cells_that_are_the_same_runs_are_correlated_once(shift: float) -> None:
    noise = np.random.default_rng(0).normal(size=(5, 3))
    noise[:, 2] = noise[:, 1]
    cells = {row: (shift * noise[:, 0] + noise[:, k])[:, None] for k, row in enumerate("ABC")}
    found, fewer = results(cells), results({row: cells[row] for row in "AB"})
    assert found.correlation() != pytest.approx(fewer.correlation())  # as if there were three
    of = {cell.row: cell for cell in found.study.cells}
    of["C"].runs = dict(of["B"].runs)
    assert found.correlation() == pytest.approx(fewer.correlation())


def test_a_correlation_of_nothing_has_no_sign(
    whole: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Results, "correlation", lambda results: -0.001)
    text = (made(whole, tmp_path) / "report.md").read_text()
    assert " 0.00 (above 0: comparing cells seed by seed" in text


def test_machines_with_as_many_runs_are_all_named(whole: Results, tmp_path: Path) -> None:
    half = len(whole.runs) // 2
    runs = {
        name: replace(run, env={"precision": "fp32" if i < half else "bf16"})
        for i, (name, run) in enumerate(whole.runs.items())
    }
    text = (made(Results(whole.study, runs), tmp_path) / "report.md").read_text()
    assert f"- Machine and versions 1 ({half} runs): precision fp32" in text
    assert f"- Machine and versions 2 ({half} runs): precision bf16" in text


def test_an_index_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing is planned"):
        write_index(tmp_path)


def test_the_analysis_loads_numbers_only_and_the_report_no_torch() -> None:
    code = (
        "import sys, vitcli.analysis.verdicts, vitcli.analysis.power, vitcli.analysis.rows\n"
        "assert not {'matplotlib', 'rich', 'jinja2', 'torch', 'hydra'} & set(sys.modules)\n"
        "import vitcli.report.build\n"
        "assert not {'matplotlib', 'torch', 'hydra'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)


def test_a_p_below_the_level_is_shown_below_it() -> None:
    shown = [format_p(p) for p in (0.0004, 0.012, 0.0496, 0.05, 0.2)]
    assert shown == ["< 0.001", "0.012", "0.0496", "0.05", "0.2"]
