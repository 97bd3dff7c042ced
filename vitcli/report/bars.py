"""The study's table as bars: ours with intervals and single seeds, the paper's beside it.

Two panels, because the paper's numbers are of another data set: the same bars in the same places,
each panel on an axis of its own that starts at 0. Only cells that exist take a place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitcli.analysis.nulls import nulls
from vitcli.analysis.results import Results
from vitcli.report.style import COLOURS, FAINT, GREY, INK, RULE, note, of_paper, short, wrapped
from vitcli.report.tables import Entry, entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Slots = list[Entry | str]  # from the top: a column's label, then its cells, row by row


def draw(results: Results) -> Figure:
    """Returns the figure of a study without an x-axis."""
    from matplotlib.figure import Figure

    study, slots = results.study, _slots(results)
    theirs = any(cell.paper is not None for cell in study.cells)
    figure = Figure(figsize=(10.5 if theirs else 7.5, 1.5 + 0.3 * len(slots)))
    figure.suptitle(study.title, weight="bold", size=11, x=0.01, ha="left")
    panels = figure.subplots(
        1, 2 if theirs else 1, squeeze=False, width_ratios=(2, 1)[: 1 + theirs]
    )
    for ax in panels[0]:
        ax.set_ylim(len(slots) - 0.5, -0.5)
        ax.grid(axis="x", color=RULE, linewidth=0.6)
        ax.set_yticks([])
    _ours(panels[0][0], results, slots)
    if theirs:
        ax = panels[0][1]
        for y, slot in enumerate(slots):
            if isinstance(slot, Entry) and slot.cell.paper is not None:
                ax.barh(y, slot.cell.paper, 0.74, color=GREY, linewidth=0)
                _beside(ax, y, slot.paper, INK)
        of_paper(ax, study.paper, 44)
    return figure


def _slots(results: Results) -> Slots:
    study, slots = results.study, Slots()
    for key, column in study.columns.items():
        slots.append(column.label)
        for row in study.rows:
            found = [c for c in study.cells if (c.row, c.column) == (row, key)]
            slots += [entry(results, cell, study.metric) for cell in found]
    return slots


def _ours(ax: Axes, results: Results, slots: Slots) -> None:
    study = results.study
    label = study.of_metric(study.metric).label
    ax.set_title(wrapped(f"Here: {label}, scale {study.scale}", 70))
    colours = {row: COLOURS[i % len(COLOURS)] for i, row in enumerate(study.rows)}
    _beside(ax, 0, "mean ± interval (n)", FAINT)
    ends = [0.0]
    for y, slot in enumerate(slots):
        if isinstance(slot, str):
            place = ax.get_yaxis_transform()
            ax.text(0.01, y + 0.1, slot, transform=place, weight="bold", va="center")
            continue
        _beside(ax, y, slot.text, FAINT if slot.mean is None else INK)
        if slot.mean is None:
            continue
        ax.barh(y, slot.mean, 0.74, color=colours[slot.cell.row], alpha=0.7, linewidth=0)
        # A lane of their own in the bar, so that no point hides under the interval.
        ax.scatter(slot.values, [y - 0.2] * slot.n, s=12, color=INK, alpha=0.45, linewidth=0)
        half = slot.half_width or 0.0
        if slot.half_width is not None:
            ax.errorbar(slot.mean, y + 0.1, xerr=half, color=INK, capsize=3, linewidth=1.3)
        ends += [slot.mean - half, slot.mean + half, *slot.values]
    apart = _nulls(ax, results, slots, ends)
    ax.set_xlim(min(ends) * 1.03, max(ends) * 1.03 if max(ends) > min(ends) else 1.0)
    ax.tick_params(axis="y", length=0)
    cells = [(y, slot.cell.row) for y, slot in enumerate(slots) if isinstance(slot, Entry)]
    ax.set_yticks([y for y, _ in cells], [short(study.rows[row].label) for _, row in cells])
    note(ax, "   ".join(["bar: mean", "line: 95 % t-interval", "points: single seeds", *apart]))


def _nulls(ax: Axes, results: Results, slots: Slots, ends: list[float]) -> list[str]:
    """Draws what there is without training, a line or a tick a cell; returns what ticks are."""
    said = []
    for null in nulls(results, results.study.metric):
        if not (values := list(null.by_cell.values())):
            continue
        low, high = min(values), max(values)
        ends += values
        if high - low < 0.002:
            ax.axvline((low + high) / 2, color=FAINT, linewidth=1, linestyle=":")
            side = "right" if high > 0.6 * max(ends) else "left"  # of the line there is room
            ax.text(high, -0.45, f" {null.label} ", color=FAINT, size=8, va="top", ha=side)
            continue
        said.append(f"tick: {null.label}")
        for y, slot in enumerate(slots):
            if isinstance(slot, Entry) and slot.cell.id in null.by_cell:
                ax.scatter(null.by_cell[slot.cell.id], y, marker="|", s=150, color=FAINT, zorder=3)
    return said


def _beside(ax: Axes, y: float, text: str, colour: str) -> None:
    place = ax.get_yaxis_transform()
    ax.text(1.03, y, text, transform=place, va="center_baseline", color=colour)
