"""Curves: means, bands and seeds where they belong, the best at each compute, the paper apart."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
from made_up import results, with_run, with_study
from matplotlib.figure import Figure

from vitcli.analysis.results import Results
from vitcli.report import curves
from vitcli.report.style import save, short
from vitcli.schema import Metric, Paper, XAxis

SIZES = [1000, 3000, 9000, 27_000, 81_000]


def texts(figure: Figure) -> list[str]:
    return [t.get_text() for ax in figure.axes for t in ax.texts if t.get_text()]


def names(figure: Figure, panel: int) -> list[str]:
    legend = figure.axes[panel].get_legend()
    return [] if legend is None else [t.get_text() for t in legend.get_texts()]


def joined(figure: Figure, panel: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the lines of a panel that join points."""
    kept = [x for x in figure.axes[panel].lines if x.get_linestyle() == "-"]
    return [(np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in kept]


def test_two_cells_at_one_place_with_one_mean_are_drawn() -> None:
    values = {"vit": np.array([[0.5, 0.5, 0.6], [0.5, 0.5, 0.62]])}
    found = results(values, x="train_flops", places=[1e9, 1e9, 2e9])
    (line,) = joined(curves.draw(found), 0)[:1]
    assert line[0].tolist()[-1] == 2e9


def test_a_long_label_without_spaces_is_cut_and_not_lost() -> None:
    assert short("my_own_data_set_with_a_long_name", 10) == "my_own_da…"
    assert short("two  words", 10) == "two words"


def lost(found: Results, *cells: str, seeds: Any = range(3)) -> Results:
    for cell in cells:
        for seed in seeds:
            found = with_run(found, f"{cell}-{seed}", state="failed", error="x", metrics={})
    return found


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_study_gives_the_same_bytes(curve: Results, kind: str) -> None:
    first, second = (save(lambda: curves.draw(curve), [kind]) for _ in range(2))
    assert first == second


def test_lines_are_means_over_seeds_at_the_columns_values(curve: Results) -> None:
    figure = curves.draw(curve)
    lines = joined(figure, 0)
    assert len(lines) == 5
    for (x, y), row in zip(lines, curve.study.rows, strict=True):
        assert x.tolist() == SIZES
        expected = curve.values(curve.row(row), ["m"]).mean(axis=0)
        assert y == pytest.approx(expected)
    assert figure.axes[0].get_xscale() == "log"
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()][-1] == "81000"


@pytest.mark.parametrize("places", [[1000, 7000, 45_000, 60_000], [50_000, 1000, 60_000, 40_000]])
def test_labels_of_near_columns_do_not_touch(places: list[float]) -> None:
    values = {row: np.array([[0.5, 0.6, 0.7, 0.71]] * 2) for row in ("vit", "bit")}
    figure = curves.draw(results(values, places=places))
    figure.draw_without_rendering()
    labels = figure.axes[0].get_xticklabels()
    assert [label.get_text().strip() for label in labels] == [f"{x:g}" for x in sorted(places)]
    boxes = [label.get_window_extent() for label in labels if label.get_text()[0] != "\n"]
    lower = [label.get_window_extent() for label in labels if label.get_text()[0] == "\n"]
    assert lower
    for row in (boxes, lower):
        for one, other in itertools.pairwise(row):
            assert one.x1 < other.x0
    (said,) = (text for text in figure.axes[0].texts if text.get_text().startswith("line: mean"))
    assert said.get_window_extent().y1 < figure.axes[0].xaxis.label.get_window_extent().y0


def test_rows_differ_in_colour_and_in_marker(curve: Results) -> None:
    ax = curves.draw(curve).axes[0]
    named = [line for line in ax.lines if not str(line.get_label()).startswith("_")]
    assert len({line.get_color() for line in named}) == 5
    assert len({line.get_marker() for line in named}) == 5


def test_names_have_the_order_of_the_ends(curve: Results) -> None:
    figure = curves.draw(curve)
    end = {
        axis.label: curve.values(curve.row(row), ["m"]).mean(axis=0)[-1]
        for row, axis in curve.study.rows.items()
    }
    assert names(figure, 0) == sorted(end, key=lambda label: -end[label])


def test_the_paper_s_points_are_grey_and_on_axes_of_their_own(curve: Results) -> None:
    figure = curves.draw(curve)
    ours, theirs = figure.axes
    assert set(names(figure, 1)) == {"ViT", "ResNet", "Hybrid"}
    lines = joined(figure, 1)
    assert sum(len(x) for x, _ in lines) == 18
    assert max(x.max() for x, _ in lines) == 4262
    assert {line.get_color() for line in theirs.lines} == {"#A3A3A3"}
    assert theirs.get_xlabel() == "Training exaFLOPs"
    assert ours.get_ylim() != theirs.get_ylim()


def test_values_of_the_paper_in_cells_are_drawn_at_our_columns(curve: Results) -> None:
    found = with_study(curve, paper=Paper("Fig. 4", "top-1"))
    assert len(curves.draw(found).axes) == 1
    for cell in found.study.cells[:3]:
        cell.paper = 0.7
    ((x, y),) = joined(curves.draw(found), 1)
    assert (x.tolist(), y.tolist()) == (SIZES[:3], [0.7] * 3)


def test_over_compute_the_line_is_of_the_best_at_each() -> None:
    """What costs more and is worse by upstream validation is drawn, but the line passes it over."""
    values = {"a": [[0.2, 0.5, 0.3, 0.8]] * 3}
    found = results(values, metrics={"val/top1": values})
    found = with_study(found, x=XAxis("train_flops", "Training FLOPs"))
    figure = curves.draw(found)
    ((x, y),) = joined(figure, 0)
    assert x == pytest.approx([1e3, 3e3, 9e3, 27e3])
    assert y == pytest.approx([0.2, 0.5, 0.65, 0.8])  # at 9e3 that of the line
    (points,) = [line for line in figure.axes[0].lines if not str(line.get_label()).startswith("_")]
    assert np.asarray(points.get_xdata()).tolist() == [1e3, 3e3, 9e3, 27e3]
    assert any("the best at this compute, by upstream validation" in t for t in texts(figure))


def test_lost_runs_leave_gaps(curve: Results) -> None:
    found = lost(curve, "vit_nano-c0", *(f"hybrid-c{j}" for j in range(5)))
    figure = curves.draw(lost(found, "vit_nano-c1", seeds=(1, 2)))
    lines = joined(figure, 0)
    assert len(lines) == 4
    assert lines[0][0][0] == 3000
    assert "HYBRID" not in names(figure, 0)


def test_a_study_without_any_result_says_so(curve: Results) -> None:
    found = lost(curve, *(cell.id for cell in curve.study.cells))
    assert "no result" in texts(curves.draw(found))
    assert save(lambda: curves.draw(found), ["svg"])


def test_every_seed_is_in_the_panel_even_where_an_interval_is_not(curve: Results) -> None:
    found = lost(curve, *(cell.id for cell in curve.study.cells), seeds=[2])
    for seed, value in enumerate((0.3, 0.9)):  # an interval of 3.8 to either side
        found = with_run(found, f"hybrid-c0-{seed}", metrics={"m": value})
    low, high = curves.draw(found).axes[0].get_ylim()
    assert -0.3 < low < 0.3
    assert 0.9 < high < 1.5


def test_nulls_are_a_line_where_they_are_one_number(curve: Results) -> None:
    found, rows = curve, list(curve.study.rows)
    for name, run in curve.runs.items():
        more = {"pixels": 0.4, "untrained": 0.3 + 0.01 * rows.index(name.split("-")[0])}
        found = with_run(found, name, metrics={**run.metrics, **more})
    nulls = {"raw pixels": "pixels", "untrained": "untrained"}
    found = with_study(found, metrics={"m": Metric("top-1", nulls=nulls)})
    figure = curves.draw(found)
    assert names(figure, 0)[-1] == "raw pixels"
    assert any("dashes: untrained" in text for text in texts(figure))
    assert figure.axes[0].get_ylim()[0] < 0.3


def test_labels_are_no_markup(curve: Results) -> None:
    curve.study.rows["vit_nano"].label = "$x_1$ <b> & --> %"
    found = with_study(curve, x=XAxis("column", "cost in $ and $"))
    svg = save(lambda: curves.draw(found), ["svg"])["svg"].decode()
    assert re.search(r"<!-- cost in \$ and \$ -->", svg)
    assert "<b>" not in re.sub(r"<!--.*?-->", "", svg)
