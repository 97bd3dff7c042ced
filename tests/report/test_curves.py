"""Curves: means, bands and seeds where they belong, names that do not meet, the paper apart."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from vitcli.report import curves, figures
from vitcli.report.collect import Study, load
from vitcli.report.references import references

Make = Callable[..., tuple[Path, Path]]


@pytest.fixture
def study(make: Make, curve: dict[str, Any]) -> Study:
    return load(*make(**curve))


def texts(figure: Figure) -> list[str]:
    return [t.get_text() for ax in figure.axes for t in ax.texts if t.get_text()]


def solid(figure: Figure, panel: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the lines of a panel that join points in the data's coordinates."""
    ax = figure.axes[panel]
    kept = [x for x in ax.lines if x.get_linestyle() == "-" and len(x.get_xdata()) > 1]
    return [(np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in kept]


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_study_gives_the_same_bytes(study: Study, kind: str) -> None:
    assert figures.render(study, kind) == figures.render(study, kind)


def test_lines_are_means_over_seeds_at_the_columns_values(study: Study) -> None:
    figure = curves.draw(study, {})
    lines = solid(figure, 0)
    assert len(lines) == 5
    for (x, y), row in zip(lines, study.rows, strict=True):
        assert x.tolist() == [1000, 3000, 10_000, 30_000, 100_000, 300_000]
        cells = [study.values[f"{row.id}-c{int(size)}"] for size in x]
        assert y == pytest.approx([np.mean(list(cell.values())) for cell in cells])
    assert figure.axes[0].get_xscale() == "log"
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()][-1] == "300,000"


def test_rows_differ_in_colour_and_in_marker(study: Study) -> None:
    ax = curves.draw(study, {}).axes[0]
    lines = [x for x in ax.lines if x.get_linestyle() == "-" and len(x.get_xdata()) > 1]
    assert len({line.get_color() for line in lines}) == 5
    assert len({line.get_marker() for line in lines}) == 5


def test_names_keep_the_order_of_the_ends_and_do_not_meet(study: Study) -> None:
    figure = curves.draw(study, {})
    figure.draw_without_rendering()
    for ax in figure.axes:
        named = [t for t in ax.texts if t.get_text() and t.get_transform() is ax.transAxes]
        boxes = sorted((t.get_window_extent() for t in named), key=lambda box: box.y0)
        assert len(boxes) > 2
        for below, above in itertools.pairwise(boxes):
            assert below.y1 <= above.y0
        assert all(box.x1 <= figure.bbox.x1 for box in boxes)
    end = {
        row.label: np.mean(list(study.values[f"{row.id}-c300000"].values())) for row in study.rows
    }
    named = [t for t in figure.axes[0].texts if t.get_text() in end]
    by_place = sorted(named, key=lambda t: t.get_position()[1])
    assert [t.get_text() for t in by_place] == sorted(end, key=lambda label: end[label])


def test_the_paper_s_points_are_grey_and_on_axes_of_their_own(study: Study) -> None:
    figure = curves.draw(study, {})
    ours, theirs = figure.axes
    assert {"ViT", "ResNet", "Hybrid"} <= set(texts(figure))
    lines = solid(figure, 1)
    assert sum(len(x) for x, _ in lines) == 18
    assert max(x.max() for x, _ in lines) == 4262
    assert {line.get_color() for line in theirs.lines} == {"#A3A3A3"}
    assert theirs.get_xlabel() == "Training exaFLOPs"
    assert ours.get_ylim() != theirs.get_ylim()


def test_values_of_the_paper_in_cells_are_drawn_at_our_columns(
    make: Make, curve: dict[str, Any]
) -> None:
    curve["paper"] = curve["paper"] | {"curve": None}
    study_dir, runs_dir = make(**curve)
    assert len(curves.draw(load(study_dir, runs_dir), {}).axes) == 1
    plan = (study_dir / "plan.json").read_text()
    (study_dir / "plan.json").write_text(plan.replace('"paper": null', '"paper": 0.7', 3))
    figure = curves.draw(load(study_dir, runs_dir), {})
    ((x, y),) = solid(figure, 1)
    assert (x.tolist(), y.tolist()) == ([1000, 3000, 10_000], [0.7] * 3)
    assert texts(figure).count("ViT nano") == 2


def test_training_flops_are_a_place_of_their_own(make: Make, curve: dict[str, Any]) -> None:
    study = load(*make(**curve | {"x": {"of": "train_flops", "label": "Training FLOPs"}}))
    x, _ = solid(curves.draw(study, {}), 0)[0]
    assert x.tolist() == [2e12] * 6


def test_lost_runs_leave_gaps(make: Make, curve: dict[str, Any]) -> None:
    lost = {"state": "failed", "error": "x"}
    runs = curve["runs"]
    runs["vit_nano-c1000"] = dict.fromkeys(range(3), lost)
    runs["vit_nano-c3000"] |= {1: lost, 2: lost}
    for cell in runs:
        if cell.startswith("hybrid"):
            runs[cell] = dict.fromkeys(range(3), lost)
    figure = curves.draw(load(*make(**curve)), {})
    lines = solid(figure, 0)
    assert len(lines) == 4
    assert lines[0][0][0] == 3000
    assert "Hybrid nano" not in texts(figure)


def test_a_study_without_any_result_says_so(make: Make, curve: dict[str, Any]) -> None:
    curve["runs"] = {cell: {0: {"state": "planned"}} for cell in curve["runs"]}
    study = load(*make(**curve))
    assert "no result" in texts(curves.draw(study, {}))
    assert figures.render(study, "svg")


def test_every_seed_is_in_the_panel_even_where_an_interval_is_not(
    make: Make, curve: dict[str, Any]
) -> None:
    runs = {cell: {s: v for s, v in of.items() if s < 2} for cell, of in curve["runs"].items()}
    runs["hybrid-c1000"] = {0: 0.3, 1: 0.9}  # an interval of 3.8 to either side
    low, high = curves.draw(load(*make(**curve | {"runs": runs})), {}).axes[0].get_ylim()
    assert -0.3 < low < 0.3
    assert 0.9 < high < 1.5


def test_fits_go_on_dotted_for_one_step(study: Study) -> None:
    figure = curves.draw(study, {"vit_nano": lambda x: 0.5 + 1e-7 * x})
    ax = figure.axes[0]
    (line,) = [x for x in ax.lines if x.get_linestyle() == ":"]
    xs = np.asarray(line.get_xdata())
    assert (xs[0], xs[-1]) == (300_000, pytest.approx(900_000))
    assert ax.get_xlim()[1] > 900_000
    assert any("extrapolated" in text for text in texts(figure))


def test_references_are_a_line_where_they_are_one_number(make: Make, curve: dict[str, Any]) -> None:
    def also(cell: str, seed: int) -> dict[str, float]:
        return {"pixels/digits/5shot": 0.4, "untrained/digits/5shot": 0.3 + 0.01 * seed}

    study = load(*make(**curve, also=also))
    pixels, untrained = references(study)
    assert (pixels.label, pixels.value) == ("raw pixels", 0.4)
    assert untrained.value is None
    assert untrained.by_cell["hybrid-c1000"] == pytest.approx(0.31)
    figure = curves.draw(study, {})
    assert "raw pixels" in texts(figure)
    assert any("dashes: untrained" in text for text in texts(figure))
    assert figure.axes[0].get_ylim()[0] < 0.31


def test_references_need_every_run_and_a_few_shot_metric(make: Make, curve: dict[str, Any]) -> None:
    some = make(**curve, also=lambda cell, s: {"pixels/digits/5shot": 0.4} if s else {})
    assert references(load(*some)) == []
    every = load(*make(**curve, also=lambda cell, seed: {"pixels/digits/5shot": 0.4}))
    assert references(every.measured_by("val/top1", "upstream")) == []


def test_labels_are_no_markup(make: Make, curve: dict[str, Any]) -> None:
    curve["rows"][0]["label"] = "$x_1$ <b> & --> %"
    curve["x"]["label"] = "cost in $ and $"
    svg = figures.render(load(*make(**curve)), "svg").decode()
    assert re.search(r"<!-- cost in \$ and \$ -->", svg)
    assert "<b>" not in re.sub(r"<!--.*?-->", "", svg)
