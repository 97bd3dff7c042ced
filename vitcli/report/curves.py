"""A study's rows as curves over a log x-axis; the paper's points on a panel of their own beside.

A line joins the means over seeds, a band is their 95 % t-interval, faint points are single seeds.
Where x is compute, the line is of what is best at each. The paper's numbers are of other data: they
share no axis with ours.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from vitcli.analysis.axes import AXES, place
from vitcli.analysis.nulls import nulls
from vitcli.analysis.pairs import best_line
from vitcli.analysis.results import Results
from vitcli.paper import curve
from vitcli.report.style import COLOURS, FAINT, GREY, MARKERS, RULE, note, of_paper, short, wrapped
from vitcli.report.tables import Entry, entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = Sequence[tuple[float, float]]
_LETTER = 0.016  # a letter's width in that of the panel
_PAPER_X = {"exaflops": "Training exaFLOPs", "images": "Images of pre-training"}


def draw(results: Results) -> Figure:
    """Returns the figure of a study with an x-axis."""
    from matplotlib.figure import Figure

    study, theirs = results.study, _papers(results)
    figure = Figure(figsize=(11 if theirs else 7.5, 4.6))
    figure.suptitle(study.title, weight="bold", size=11, x=0.01, ha="left")
    widths = (5, 3) if theirs else (1,)
    panels = figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]
    for ax in panels:
        ax.set_xscale("log")
        ax.grid(axis="y", color=RULE, linewidth=0.6)
    _ours(panels[0], results)
    if theirs:
        ax, paper = panels[1], study.paper
        for i, (name, points) in enumerate(theirs.items()):
            marks: Any = {"color": GREY, "marker": MARKERS[i % 8], "markersize": 5}
            ax.plot(*_xy(points), linewidth=1, label=short(name, 28), **marks)
        _ticks(ax, [x for points in theirs.values() for x, _ in points])
        assert study.x is not None
        ax.set_xlabel(_PAPER_X.get(paper.curve.x, paper.curve.x) if paper.curve else study.x.label)
        of_paper(ax, paper, 46)
        _legend(ax)
    return figure


def _ours(ax: Axes, results: Results) -> None:
    study = results.study
    assert study.x is not None
    ax.set_title(wrapped(f"Here: {study.of_metric(study.metric).label}, scale {study.scale}", 66))
    ax.set_xlabel(study.x.label)
    best = AXES[study.x.of].best_at
    said = ["line: the best at this compute, by upstream validation" if best else "line: mean"]
    said += [f"{'bars' if best else 'band'}: 95 % t-interval", "points: single seeds"]
    xs, ys, drawn = list[float](), list[float](), Counter[tuple[float, float]]()
    for i, (key, row) in enumerate(study.rows.items()):
        marks: Any = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % 8]}
        placed = [(place(results, c), entry(results, c, study.metric)) for c in results.row(key)]
        shown = sorted(
            ((x, e.mean, e) for x, e in placed if x is not None and e.mean is not None),
            key=lambda point: point[:2],
        )
        if shown:
            line = best_line(results, key, study.metric) if best else None
            _draw_row(ax, [(x, e) for x, _, e in shown], line, row.label, marks, drawn)
            xs += [x for x, _, _ in shown]
            ys += [value for _, _, e in shown for value in e.values]
    if not xs:
        ax.text(0.5, 0.5, "no result", transform=ax.transAxes, ha="center", color=FAINT)
        ax.set_xticks([], minor=True)
        ax.set_yticks([])
        return
    ys += _nulls(ax, results, said)
    said += ["rings: one point of several rows"] if max(drawn.values()) > 1 else []
    # Two seeds have an interval of 13 standard errors: it may run out of the panel, no point may.
    room = 0.4 * ((max(ys) - min(ys)) or 0.1)
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, min(ys) - room), min(high, max(ys) + room))
    _ticks(ax, xs)
    if study.x.of == "column":
        values = [(c.value, short(c.label)) for c in study.columns.values() if c.value is not None]
        named = sorted(values)
        ax.set_xticks([x for x, _ in named], _apart(named))
        ax.set_xticks([], minor=True)
    note(ax, "\n".join(("   ".join(said[:3]), "   ".join(said[3:]))).strip())
    _legend(ax)


def _draw_row(
    ax: Axes,
    cells: list[tuple[float, Entry]],
    line: Points | None,
    label: str,
    marks: Any,
    drawn: Counter[tuple[float, float]],
) -> None:
    """Draws one row: intervals, seeds, means; `line` joins them where they compete for the best.

    Args:
        drawn: how many rows have a mean at this place already: the next is a ring around theirs.
    """
    means = [(x, e.mean or 0.0) for x, e in cells]
    xs, ys = _xy(means)
    halves = [e.half_width or 0.0 for _, e in cells]
    colour = marks["color"]
    if line is not None:  # a band would join what is not best at its compute
        ax.errorbar(xs, ys, yerr=halves, fmt="none", ecolor=colour, alpha=0.5, capsize=2)
    elif any(halves):
        low, high = ([y + s * h for y, h in zip(ys, halves, strict=True)] for s in (-1, 1))
        ax.fill_between(xs, low, high, color=colour, alpha=0.14, linewidth=0)
    seeds = [(x, value) for x, e in cells for value in e.values]
    ax.plot(*_xy(seeds), linestyle="none", markersize=3, alpha=0.4, markeredgewidth=0, **marks)
    ax.plot(*_xy(line or means), linewidth=1.5, color=colour)
    marks |= {"linestyle": "none", "zorder": 3 - 0.001 * drawn.total()}  # the first row on top
    ax.plot(xs, ys, markersize=5.5, label=short(label, 28), **marks)
    for mean in means:
        if around := drawn[mean]:
            ax.plot(*mean, markersize=5.5 + 4 * around, markerfacecolor="none", **marks)
        drawn[mean] += 1


def _nulls(ax: Axes, results: Results, said: list[str]) -> list[float]:
    """Draws what there is without training, a line or a dash a cell; returns its ys."""
    ys, study = list[float](), results.study
    for null in nulls(results, study.metric):
        if not (values := list(null.by_cell.values())):
            continue
        ys += values
        if max(values) - min(values) < 0.002:
            ax.axhline(ys[-1], color=FAINT, linewidth=1, linestyle=":", zorder=1, label=null.label)
            continue
        said.append(f"dashes: {null.label}")
        for i, row in enumerate(study.rows):
            cells = [cell for cell in results.row(row) if cell.id in null.by_cell]
            points = [(x, null.by_cell[c.id]) for c in cells if (x := place(results, c))]
            ax.scatter(*_xy(points), marker="_", s=50, color=COLOURS[i % len(COLOURS)])
    return ys


def _papers(results: Results) -> dict[str, Points]:
    """Returns the paper's curves: its table's, or its values of our cells where those have an x."""
    study, found = results.study, dict[str, Points]()
    if (points := study.paper.curve) is not None:
        only = {} if points.test is None else {"test": points.test}
        return {**curve(points.table, points.x, points.y, **only)}
    if study.x is not None and study.x.of == "column":
        for key, row in study.rows.items():
            cells = [cell for cell in results.row(key) if cell.paper is not None]
            places = [(x, cell.paper) for cell in cells if (x := place(results, cell))]
            if places:
                found[row.label] = sorted((x, y) for x, y in places if y is not None)
    return found


def _legend(ax: Axes) -> None:
    """Names the lines right of the panel, in the order of their ends."""
    named = [line for line in ax.get_lines() if not str(line.get_label()).startswith("_")]
    # Lines of numbers; matplotlib types them as anything array-like.
    named.sort(key=lambda line: -cast(list[float], line.get_ydata())[-1])
    ax.legend(handles=named, loc="upper left", bbox_to_anchor=(1, 1))


def _ticks(ax: Axes, xs: list[float]) -> None:
    """Ends the axis a little beyond these x; a single one has a decade to itself."""
    from matplotlib.ticker import LogLocator

    room = (max(xs) / min(xs)) ** 0.06 if max(xs) > min(xs) else 3.0
    ax.set_xlim(min(xs) / room, max(xs) * room)
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0,) if max(xs) > 50 * min(xs) else (1, 2, 5)))
    ax.xaxis.set_major_formatter(lambda x, _: _number(x))
    ax.xaxis.set_minor_formatter(lambda x, _: "")


def _apart(named: Sequence[tuple[float, str]]) -> list[str]:
    """Returns the labels of ticks; one that would touch the one before it stands a line lower."""
    labels, axis = list[str](), math.log(named[-1][0] / named[0][0]) or 1.0
    for i, (x, label) in enumerate(named):
        before = named[i - 1] if i and not labels[-1].startswith("\n") else None
        room = 0 if before is None else _LETTER * max(len(label), len(before[1]))
        near = before is not None and math.log(x / before[0]) / axis < room
        labels.append(f"\n{label}" if near else label)
    return labels


def _number(x: float) -> str:
    """Returns `30,000` or, from a million up, `2·10¹⁵`."""
    if 1e-3 <= x < 1e6:
        return f"{x:,g}"
    mantissa, exponent = f"{x:.0e}".split("e")
    power = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return power if mantissa == "1" else f"{mantissa}·{power}"


def _xy(points: Points) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
