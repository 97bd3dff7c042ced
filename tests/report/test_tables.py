"""Tables: the paper's layout, honest counts, what there is without training, no digit lost."""

from __future__ import annotations

import io
from typing import Any

import pytest
from made_up import with_run, with_study
from rich.console import Console

from vitcli.analysis.results import Results
from vitcli.report.render import escape_latex, escape_markdown
from vitcli.report.tables import Table, table, tables, terminal

FAILED: dict[str, Any] = {"state": "failed", "error": "loss is nan at step 41", "metrics": {}}


def of(found: Results) -> Table:
    return table(found, "m")


def texts(found: Table) -> list[list[str]]:
    return [[label, *("--" if e is None else e.text for e in row)] for label, row in found.rows]


def shown(found: Results, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), legacy_windows=False)
    with console.capture() as capture:
        console.print(terminal(of(found), found.study.title))
    return capture.get()


def values(found: Results, cell: str, *new: float) -> Results:
    for seed, value in enumerate(new):
        run = f"{cell}-c0-{seed}"
        found = with_run(found, run, metrics={**found.runs[run].metrics, "m": value})
    return found


def test_the_table_is_laid_out_as_the_paper_s(whole: Results) -> None:
    found = of(values(whole, "none-stem", 0.50, 0.52, 0.54, 0.52, 0.52))
    assert found.columns == ["stem", "every layer", "every layer, shared"]
    # sd 0.0141, t(0.975, 4) = 2.776
    assert texts(found)[0] == ["none", "0.520 ± 0.018 (5)", "--", "--"]
    assert [label for label, _ in found.rows] == ["none", "1-D", "2-D", "relative"]
    papers = [e.paper for e in found.rows[1][1] if e is not None]
    assert papers == ["0.64206", "0.63964", "0.64292"]


def test_what_there_is_without_training_is_rows_of_the_table(whole: Results) -> None:
    found = of(whole)
    assert found.nulls[0] == ("raw pixels", ["0.400"] * 3)
    assert found.nulls[1] == ("untrained", ["0.300 to 0.370", "0.320 to 0.350", "0.330 to 0.360"])
    assert "raw pixels and untrained: means over the seeds" in found.caption
    text = shown(whole, 100)
    assert text.index("relative") < text.index("raw pixels") < text.index("untrained")


def test_the_caption_says_data_scale_and_n(whole: Results) -> None:
    caption = of(whole).caption
    for said in ("5-shot linear top-1 on digits", "glyphs", "laptop", "n = 5 of 5 seeds"):
        assert said.lower() in caption.lower()
    assert "[the paper's value, Table 8: ImageNet 5-shot linear top-1, n = 1]" in caption


def test_lost_runs_are_counted_out_and_named(whole: Results) -> None:
    found = with_run(whole, "none-stem-c0-1", **FAILED)
    for seed in range(5):
        found = with_run(found, f"relative-stem-c0-{seed}", state="planned", metrics={})
    found = with_run(found, "learned_1d-stem-c0-0", state="lost", metrics={})
    found = with_run(found, "learned_1d-stem-c0-1", state="interrupted", metrics={})
    found = with_run(found, "learned_1d-stem-c0-2", metrics={"m": float("nan")})
    made = of(found)
    assert made.notes == [
        "none (stem): seed 1 failed: loss is nan at step 41",
        "1-D (stem): seed 0 lost; seed 1 interrupted; seed 2 m is nan",
        "relative (stem): seeds 0, 1, 2, 3, 4 planned",
    ]
    entries = [row[0] for _, row in made.rows if row[0] is not None]
    assert [(e.n, e.mark) for e in entries] == [(4, 1), (2, 2), (5, 0), (0, 3)]
    assert entries[3].text == "no result"
    assert "n = 0 to 5 of 5 seeds" in made.caption


def test_one_seed_has_no_interval(whole: Results) -> None:
    found = with_study(whole, seeds=[0])
    assert texts(of(found))[0][1] == "0.524 (1)"
    assert "±" not in shown(found, 200).replace("Mean ± half-width", "")


def test_further_metrics_have_tables_of_their_own(whole: Results) -> None:
    first, second = tables(whole)
    assert (first.label, second.label) == ("5-shot linear top-1 on digits", "pixels")
    assert texts(second)[0][1] == "0.400 ± 0.000 (5)"
    assert all(e is None or not e.paper for _, row in second.rows for e in row)
    assert second.nulls == []


@pytest.mark.parametrize(
    ("escape", "expected"),
    [
        (escape_markdown, r"50 % \| a\_b \& \$x\$ #1 {\~^}\\ \<b\> \[c\]\* next"),
        (
            escape_latex,
            r"50 \% \textbar{} a\_b \& \$x\$ \#1 \{\textasciitilde{}\textasciicircum{}\}"
            r"\textbackslash{} \textless{}b\textgreater{} {[}c{]}* next",
        ),
    ],
)
def test_markup_is_escaped(escape: Any, expected: str) -> None:
    assert escape("50 % | a_b & $x$ #1 {~^}\\ <b> [c]*\nnext") == expected


def test_the_terminal_s_table_loses_no_digit_in_80_columns(whole: Results) -> None:
    found = with_run(whole, "none-stem-c0-1", **FAILED)
    text = shown(found, 80)
    for _, row in of(found).rows:
        for entry in row:
            if entry is not None:
                assert entry.text in text
                assert f"[{entry.paper}]" in text
    assert "1 none (stem): seed 1 failed: loss is nan" in text
    assert "…" not in text


def test_labels_are_no_markup_for_the_terminal(whole: Results) -> None:
    rows = dict(whole.study.rows)
    rows["none"].label = "no [bold]position[/bold]"
    assert "[bold]" in shown(with_study(whole, rows=rows), 200)
