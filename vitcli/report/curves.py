"""A study's rows as curves over a log x-axis; the paper's points on a panel of their own beside.

A line joins the means over seeds, a band is their 95 % t-interval, faint points are single seeds.
Rows are told apart by colour and by marker, and named at the end of their line. The paper's numbers
are of other data: they share no axis with ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vitcli.report.collect import Study
from vitcli.report.references import references
from vitcli.report.style import (
    COLOURS,
    FAINT,
    GREY,
    OTHER_DATA,
    RULE,
    bare,
    short,
    width_of,
    wrapped,
)
from vitcli.report.tables import entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
# Inches: the panels' height and widths; the y-axis's numbers; the gap between; foot, title, a line.
_HEIGHT, _OURS, _PAPER, _TICKS = 3.4, 4.4, 2.7, 0.62
_GAP, _FOOT, _TITLE, _LINE = 0.2, 1.0, 0.5, 0.19
_NAME = 28  # characters of a row's name: longer ones would make the figure wide and its text small
_KEY = 0.26  # inches from a panel's edge to the names at the lines' ends
_PAPER_X = {"exaflops": "Training exaFLOPs", "images": "Images of pre-training"}


@dataclass(frozen=True)
class _Series:
    """A named line: its points, x rising, and how it is drawn."""

    name: str
    points: list[tuple[float, float]]
    colour: str
    marker: str


@dataclass(frozen=True)
class _Place:
    """A cell on a curve. `half`: of its interval; None: n < 2."""

    x: float
    mean: float
    half: float | None
    values: list[float]  # of single seeds


def draw(study: Study, fits: Mapping[str, Callable[[float], float]]) -> Figure:
    """Returns the figure of a study whose `figure` is `curve`."""
    from matplotlib.figure import Figure

    names, theirs = [short(row.label, _NAME) for row in study.rows], _papers(study)
    here = wrapped(f"Here: {study.metric_label}, scale {study.scale}", _OURS)
    paper = study.paper
    there = wrapped(f"The paper, {paper.where}, n = {paper.n}: {paper.metric}", _PAPER + 0.6)
    lines = max(here.count("\n"), there.count("\n") if theirs else 0) + 1
    beside = _KEY + 0.15 + width_of(names)
    width = _TICKS + _OURS + beside
    if theirs:
        width += _GAP + _TICKS + _PAPER + _KEY + 0.15 + width_of([s.name for s in theirs])
    height = _FOOT + _HEIGHT + _TITLE + _LINE * lines
    figure = Figure(figsize=(width, height))
    figure.text(0.12 / width, 1 - 0.15 / height, study.title, weight="bold", size=11, va="top")

    def panel(left: float, inches: float) -> Axes:
        place = (left / width, _FOOT / height, inches / width, _HEIGHT / height)
        ax = figure.add_axes(place, xscale="log")
        ax.grid(axis="y", color=RULE, linewidth=0.6)
        return ax

    ax = panel(_TICKS, _OURS)
    note = _ours(ax, study, fits)
    bare(ax, here, note, 42)
    if theirs:
        left = _TICKS + _OURS + beside + _GAP + _TICKS
        ax = panel(left, _PAPER)
        _theirs(ax, study, theirs)
        bare(ax, there, OTHER_DATA, 42)
    return figure


def _ours(ax: Axes, study: Study, fits: Mapping[str, Callable[[float], float]]) -> str:
    """Draws our panel; returns the note below it, which names what is drawn."""
    assert study.axis is not None
    ax.set_xlabel(study.axis.label)
    note = "line: mean   band: 95 % t-interval   points: single seeds\n"
    note += "dotted: fit, extrapolated   " if fits else ""
    series, seen, ends = [], [], []
    for i, row in enumerate(study.rows):
        placed = _placed(study, row.id)
        if not placed:
            continue
        points = [(place.x, place.mean) for place in placed]
        line = _Series(short(row.label, _NAME), points, COLOURS[i % len(COLOURS)], _MARKERS[i % 8])
        series.append(line)
        seen += _draw_row(ax, line, placed)
        ends += [p.mean + sign * (p.half or 0) for p in placed for sign in (-1, 1)]
        if row.id in fits:
            seen += _draw_beyond(ax, line, fits[row.id])
    if not series:
        ax.text(0.5, 0.5, "no result", transform=ax.transAxes, ha="center", color=FAINT)
        ax.set_xticks([], minor=True)
        ax.set_yticks([])
        return note
    levels, lines = _draw_references(ax, study)
    note += "dashes: untrained" if len(levels) > len(lines) else ""
    # Two seeds have an interval of 13 standard errors: it may run out of the panel, no point may.
    ys = [y for _, y in seen] + levels
    room = 0.4 * ((max(ys) - min(ys)) or 0.1)
    _limit(
        ax,
        [x for x, _ in seen],
        [max(min(ends), min(ys) - room), min(max(ends), max(ys) + room), *ys],
    )
    if study.axis.of == "column":
        ticks = [(c.value, short(c.label)) for c in study.columns if c.value is not None]
        ax.set_xticks([x for x, _ in ticks], [label for _, label in ticks])
        ax.set_xticks([], minor=True)
    right = ax.get_xlim()[1]
    series += [_Series(label, [(right, y)], FAINT, "") for label, y in lines]
    _name(ax, series, _OURS)
    return note


def _placed(study: Study, row: str) -> list[_Place]:
    found = []
    for cell in study.cells:
        if cell.row == row and (x := study.x(cell)) is not None:
            e = entry(cell)
            values = [run.value for run in cell.runs.values() if run.value is not None]
            if e.mean is not None:
                found.append(_Place(x, e.mean, e.half_width, values))
    return sorted(found, key=lambda place: place.x)


def _draw_row(ax: Axes, line: _Series, placed: list[_Place]) -> list[tuple[float, float]]:
    """Draws one row: band, seeds, means; returns every point."""
    banded = [(p.x, p.mean - p.half, p.mean + p.half) for p in placed if p.half is not None]
    xs, low, high = zip(*banded, strict=True) if banded else ((), (), ())
    ax.fill_between(xs, low, high, color=line.colour, alpha=0.14, linewidth=0)
    seeds = [(p.x, value) for p in placed for value in p.values]
    marks: Any = {"color": line.colour, "marker": line.marker}
    ax.plot(*_xy(seeds), linestyle="none", markersize=3, alpha=0.4, markeredgewidth=0, **marks)
    ax.plot(*_xy(line.points), linewidth=1.5, markersize=5.5, **marks)
    return seeds + line.points


def _draw_beyond(
    ax: Axes, line: _Series, fit: Callable[[float], float]
) -> list[tuple[float, float]]:
    """Draws the fit one step beyond the row's last x, a step as long as the last; returns it."""
    xs = [x for x, _ in line.points]
    ratio = xs[-1] / xs[-2] if len(xs) > 1 else 2.0
    points = [(x, fit(x)) for x in (xs[-1] * ratio ** (i / 20) for i in range(21))]
    ax.plot(*_xy(points), color=line.colour, linewidth=1.3, linestyle=":")
    return points


def _draw_references(ax: Axes, study: Study) -> tuple[list[float], list[tuple[str, float]]]:
    """Draws what there is without training; returns its ys, and the lines among it, named."""
    ys, lines = [], []
    for reference in references(study):
        if reference.value is not None:
            lines.append((reference.label, reference.value))
            ys.append(reference.value)
            ax.axhline(reference.value, color=FAINT, linewidth=1, linestyle=":", zorder=1)
        for i, row in enumerate(study.rows):
            cells = [c for c in study.cells if c.row == row.id and c.id in reference.by_cell]
            points = [(x, reference.by_cell[c.id]) for c in cells if (x := study.x(c))]
            ax.scatter(*_xy(points), marker="_", s=50, color=COLOURS[i % len(COLOURS)])
            ys += [y for _, y in points]
    return ys, lines


def _papers(study: Study) -> list[_Series]:
    """Returns the paper's curves: its table's, or its values of our cells where those have an x."""
    found = dict(study.paper.points)
    if not found and study.axis is not None and study.axis.of == "column":
        for row in study.rows:
            cells = [c for c in study.cells if c.row == row.id and c.paper is not None]
            points = [(x, c.paper) for c in cells if (x := study.x(c)) and c.paper is not None]
            if points:
                found[row.label] = sorted(points)
    return [
        _Series(short(name, _NAME), points, GREY, _MARKERS[i % 8])
        for i, (name, points) in enumerate(found.items())
    ]


def _theirs(ax: Axes, study: Study, series: list[_Series]) -> None:
    assert study.axis is not None
    x = study.paper.x
    ax.set_xlabel(study.axis.label if x is None else _PAPER_X.get(x, x))
    for line in series:
        ax.plot(*_xy(line.points), linewidth=1, markersize=5, color=GREY, marker=line.marker)
    points = [point for line in series for point in line.points]
    _limit(ax, *_xy(points))
    _name(ax, series, _PAPER)


def _limit(ax: Axes, xs: list[float], ys: list[float]) -> None:
    """Ends the axes a little beyond these points; a single x has a decade to itself."""
    from matplotlib.ticker import LogLocator

    room = (max(xs) / min(xs)) ** 0.06 if max(xs) > min(xs) else 3.0
    ax.set_xlim(min(xs) / room, max(xs) * room)
    room = 0.05 * ((max(ys) - min(ys)) or 0.1)
    ax.set_ylim(min(ys) - room, max(ys) + room)
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0,) if max(xs) > 50 * min(xs) else (1, 2, 5)))
    ax.xaxis.set_major_formatter(lambda x, _: _number(x))
    ax.xaxis.set_minor_formatter(lambda x, _: "")


def _number(x: float) -> str:
    """Returns `30,000` or, from a million up, `2·10¹⁵`."""
    if 1e-3 <= x < 1e6:
        return f"{x:,g}"
    mantissa, exponent = f"{x:.0e}".split("e")
    power = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return power if mantissa == "1" else f"{mantissa}·{power}"


def _name(ax: Axes, series: Sequence[_Series], inches: float) -> None:
    """Writes each row's marker and name right of its last point, moved apart where they'd meet."""
    from scipy.optimize import isotonic_regression

    low, high = ax.get_ylim()
    gap = 0.165 / _HEIGHT
    order = sorted(series, key=lambda line: line.points[-1][1])
    wanted = [(line.points[-1][1] - low) / (high - low) - i * gap for i, line in enumerate(order)]
    # The nearest places, by least squares, that keep order and distance.
    places = isotonic_regression(wanted).x
    key, outside = _KEY / inches, {"transform": ax.transAxes, "clip_on": False}
    for i, (line, place) in enumerate(zip(order, places, strict=True)):
        y = float(place) + i * gap
        leader = {"arrowstyle": "-", "color": line.colour, "linewidth": 0.5, "alpha": 0.5}
        end: Any = {"xytext": (1 + 0.45 * key, y), "textcoords": "axes fraction"}
        ax.annotate("", line.points[-1], arrowprops=leader, **end)
        mark: Any = {"marker": line.marker, "color": line.colour, "markersize": 5, **outside}
        ax.plot(1 + 0.6 * key, y, **mark)
        ax.text(1 + key, y, line.name, va="center_baseline", transform=ax.transAxes)


def _xy(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
