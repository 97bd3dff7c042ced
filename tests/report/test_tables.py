"""Tables: the paper's layout, honest counts, and nothing from a file read as markup."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from vitcli.report import tables
from vitcli.report.collect import Study, load
from vitcli.report.methods import totals

Make = Callable[..., tuple[Path, Path]]
FAILED = {"state": "failed", "error": "RuntimeError: loss is nan\nat step 41", "traceback": "..."}


def paper(**curve: str) -> dict[str, Any]:
    return {"paper": {"where": "", "metric": "", "n": 1, "curve": curve}}


def shown(study: Study, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), legacy_windows=False)
    with console.capture() as capture:
        console.print(tables.terminal(study))
    return capture.get()


def test_the_table_is_laid_out_as_the_paper_s(make: Make, whole: dict[str, Any]) -> None:
    whole["none-stem"] = {0: 0.50, 1: 0.52, 2: 0.54}
    lines = tables.markdown(load(*make(whole))).splitlines()
    assert lines[0] == "|  | stem | every layer | every layer, shared |"
    # sd 0.02, t(0.975, 2) = 4.3027
    assert lines[2] == "| none | 0.520 ± 0.050 (3) [0.61382] | -- | -- |"
    assert [line.split(" | ")[0] for line in lines[2:6]] == [
        "| none",
        "| 1-D",
        "| 2-D",
        "| relative",
    ]
    for value in ("0.64206", "0.63964", "0.64292"):
        assert f"[{value}]" in lines[3]


def test_the_caption_says_data_scale_and_n(make: Make, whole: dict[str, Any]) -> None:
    caption = tables.caption(load(*make(whole)))
    for said in ("digits", "glyphs", "laptop", "n = 3 of 3 seeds", "ImageNet", "Table 8, n = 1"):
        assert said in caption.replace(
            "Table 8: ImageNet 5-shot linear top-1, n", "ImageNet Table 8, n"
        )


def test_lost_runs_are_counted_out_and_named(make: Make, whole: dict[str, Any]) -> None:
    whole["none-stem"][1] = FAILED
    whole["relative-stem"] = {s: {"state": "planned"} for s in range(3)}
    lost = {"state": "running", "host": "another", "pid": 1, "beat": 0.0}
    whole["learned_1d-stem"] |= {0: lost, 1: {"state": "interrupted"}}
    study = load(*make(whole))
    text = tables.markdown(study)
    assert "(2)<sup>1</sup> [0.61382]" in text
    assert "<sup>1</sup> none (stem): seed 1 failed: RuntimeError: loss is nan at step 41" in text
    assert "(1)<sup>2</sup> [0.64206]" in text
    assert "<sup>2</sup> 1-D (stem): seed 0 lost; seed 1 interrupted" in text
    assert "| no result<sup>3</sup> [0.64032] |" in text
    assert "<sup>3</sup> relative (stem): seeds 0, 1, 2 planned" in text
    assert "n = 0 to 3 of 3 seeds" in text


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ('{"metrics": {"fewshot/digits/5shot": NaN}}', "fewshot/digits/5shot is nan"),
        ('{"metrics": {"fewshot/digits/5shot": null}}', "fewshot/digits/5shot is None"),
        ('{"metrics": {"val/top1": 0.5}}', "result.json has no metric fewshot/digits/5shot"),
        ('{"metrics"', "result.json: not valid JSON"),
        ("[]", "result.json has no metrics"),
    ],
)
def test_a_result_without_the_number_is_an_error(
    make: Make, whole: dict[str, Any], result: str, said: str
) -> None:
    study_dir, runs_dir = make(whole)
    (runs_dir / "run-none-stem-s1" / "result.json").write_text(result)
    study = load(study_dir, runs_dir)
    run = study.cells[0].runs[1]
    assert run.value is None
    assert said in (run.error or "")
    assert str(runs_dir) not in (run.error or "")
    assert study.values["none-stem"][1] is None
    assert "(2)" in tables.entry(study.cells[0]).text


@pytest.mark.parametrize("status", ["{", "[]", "{}", '{"state": "running"}'])
def test_a_status_that_cannot_be_read_is_that_run_s_error(
    make: Make, whole: dict[str, Any], status: str
) -> None:
    whole["none-stem"][1] = {"state": "planned"}
    study_dir, runs_dir = make(whole)
    (runs_dir / "run-none-stem-s1" / "status.json").write_text(status)
    run = load(study_dir, runs_dir).cells[0].runs[1]
    assert (run.state, run.value) == ("unreadable", None)
    assert (run.error or "").startswith("status.json")


def test_runs_without_files_or_result_are_not_done(make: Make, whole: dict[str, Any]) -> None:
    study_dir, runs_dir = make(whole)
    (runs_dir / "run-none-stem-s0" / "result.json").unlink()
    for name in ("status.json", "result.json"):
        (runs_dir / "run-none-stem-s1" / name).unlink()
    runs = load(study_dir, runs_dir).cells[0].runs
    assert runs[0].error == "status.json says done, but there is no result.json"
    assert (runs[1].state, runs[1].error) == ("planned", None)
    assert runs[2].value is not None


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (
            {"rows": [{"id": "none", "label": "none", "value": None}]},
            "row=learned_1d is not in rows",
        ),
        ({"claims": [{"id": "c", "test": "best", "alpha": 0.05}]}, "test=best"),
        ({"claims": [{"id": "c", "test": "greater", "alpha": 0.6}]}, "alpha=0.6"),
        ({"claims": [{"id": "c", "test": "equivalent", "alpha": 0.05}]}, "margin=None"),
        ({"paper": {}}, "no key 'where'"),
        ({"figure": "pie"}, "figure=pie"),
        ({"figure": "curve"}, "x=None"),
        ({"x": {"of": "steps", "label": "x"}}, "of=steps"),
        ({"x": {"of": "column", "label": "x"}}, "columns: stem: value=None"),
        (paper(table="table9", x="images", y="top1"), "table=table9"),
        (paper(table="table6", x="exaflops"), "no key 'y'"),
    ],
)
def test_a_plan_that_makes_no_sense_is_named(
    make: Make, whole: dict[str, Any], plan: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=r"plan\.json") as error:
        load(*make(whole, **plan))
    assert said in str(error.value)


def test_totals_count_a_shared_run_once(make: Make, whole: dict[str, Any]) -> None:
    study_dir, runs_dir = make(whole)
    plan = json.loads((study_dir / "plan.json").read_text())
    plan["cells"][1]["runs"] = plan["cells"][0]["runs"]
    (study_dir / "plan.json").write_text(json.dumps(plan))
    found = totals(load(study_dir, runs_dir).runs)
    assert (found.runs, found.done) == (21, 21)
    assert found.wall_s == pytest.approx(21 * 30)
    assert found.train_flops == pytest.approx(21 * 2e12)
    assert found.environments[0][1] == 21


def test_csv_reads_back(make: Make, whole: dict[str, Any]) -> None:
    whole["none-stem"][1] = FAILED
    study = load(*make(whole))
    lines = list(csv.DictReader(io.StringIO(tables.to_csv(study))))
    assert len(lines) == 8 * 3
    for line in lines:
        value = study.values[line["cell"]][int(line["seed"])]
        assert (float(line["value"]) if line["value"] else None) == value
        kept = [v for v in study.values[line["cell"]].values() if v is not None]
        assert int(line["n"]) == len(kept)
        assert float(line["mean"]) == pytest.approx(sum(kept) / len(kept))
    assert lines[1]["state"] == "failed"
    assert lines[1]["value"] == ""
    assert float(lines[0]["paper"]) == 0.61382


def test_markup_in_files_stays_text(make: Make, whole: dict[str, Any]) -> None:
    nasty = "50 % | a_b & $x$ #1 {~^}\\ <b> [c]*\nnext"
    rows = ["none", "learned_1d", "learned_2d", "relative"]
    whole["none-stem"][1] = {"state": "failed", "error": nasty}
    labels = [{"id": r, "label": f"{r} {nasty}", "value": None} for r in rows]
    study = load(*make(whole, rows=labels, title=nasty))
    markdown = tables.markdown(study).splitlines()
    assert r"50 % \| a\_b \& \$x\$ #1 {\~^}\\ \<b\> \[c\]\* next" in markdown[2]
    assert all(line.replace(r"\|", "").count("|") == 5 for line in markdown[:6])
    latex = tables.latex(study)
    escaped = (
        r"50 \% \textbar{} a\_b \& \$x\$ \#1 \{\textasciitilde{}\textasciicircum{}\}"
        r"\textbackslash{} \textless{}b\textgreater{} {[}c{]}* next"
    )
    assert latex.count(escaped) == 1 + 4 + 2  # caption; rows; a footnote's label and error
    assert "[c]" in shown(study, 200)  # not eaten as rich markup


def test_latex_is_a_balanced_booktabs_table(make: Make, whole: dict[str, Any]) -> None:
    lines = tables.latex(load(*make(whole))).splitlines()
    assert r"\begin{tabular}{lccc}" in lines
    rows = [line for line in lines if line.endswith(r"\\")]
    assert len(rows) == 5
    assert all(line.count(" & ") == 3 for line in rows)
    text = "\n".join(lines).replace(r"\{", "").replace(r"\}", "")
    assert text.count("{") == text.count("}")
    assert r"$\pm$" in text
    assert "±" not in text


def test_the_terminal_s_table_loses_no_digit_in_80_columns(
    make: Make, whole: dict[str, Any]
) -> None:
    whole["none-stem"][1] = FAILED
    study = load(*make(whole))
    text = shown(study, 80)
    for cell in study.cells:
        found = tables.entry(cell)
        assert found.text in text
        assert f"[{found.paper}]" in text
    assert "1 none (stem): seed 1 failed: RuntimeError" in text
    assert "…" not in text
