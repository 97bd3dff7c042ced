"""The study's table as a bar figure: ours with intervals and single seeds, the paper's beside it.

Two panels, because the paper's numbers are of another data set: the same bars in the same places,
each panel on an axis of its own that starts at 0. Only cells that exist take a place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitcli.report.collect import Study
from vitcli.report.references import references
from vitcli.report.style import (
    COLOURS,
    FAINT,
    GREY,
    INK,
    OTHER_DATA,
    RULE,
    bare,
    short,
    width_of,
    wrapped,
)
from vitcli.report.tables import Entry, entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches: a bar's place; the panels; the numbers beside them; the gap between; foot, title, a line.
_SLOT, _OURS, _PAPER = 0.33, 4.2, 2.2
_OURS_TEXT, _PAPER_TEXT, _GAP = 1.6, 0.85, 0.25
_FOOT, _TITLE, _LINE = 0.62, 0.5, 0.19


def draw(study: Study) -> Figure:
    """Returns the figure of a study whose `figure` is `bars`."""
    from matplotlib.figure import Figure

    slots = _slots(study)
    names = {x.id: short(x.label) for x in study.rows}
    with_paper = any(cell.paper is not None for cell in study.cells)
    here = wrapped(f"Here: {study.metric_label}, scale {study.scale}", _OURS + _OURS_TEXT - 0.3)
    paper = study.paper
    there = wrapped(f"The paper, {paper.where}, n = {paper.n}: {paper.metric}", _PAPER + 0.7)
    lines = max(here.count("\n"), there.count("\n") if with_paper else 0) + 1
    margin = 0.3 + width_of(list(names.values()))
    width = margin + _OURS + _OURS_TEXT + (_GAP + _PAPER + _PAPER_TEXT if with_paper else 0)
    bars = _SLOT * len(slots)
    height = _FOOT + bars + _TITLE + _LINE * lines
    figure = Figure(figsize=(width, height))
    figure.text(margin / width, 1 - 0.15 / height, study.title, weight="bold", size=11, va="top")

    def panel(left: float, inches: float, title: str, note: str) -> Axes:
        ax = figure.add_axes((left / width, _FOOT / height, inches / width, bars / height))
        ax.set_ylim(len(slots) - 0.5, -0.5)
        ax.grid(axis="x", color=RULE, linewidth=0.6)
        ax.set_yticks([])
        bare(ax, title, note, 22)
        return ax

    note = "bar: mean   line: 95 % t-interval   points: single seeds"
    apart = [r.label for r in references(study) if r.value is None]
    ax = panel(margin, _OURS, here, note + "".join(f"   tick: {label}" for label in apart))
    _ours(ax, study, slots)
    cells = [(y, slot.cell) for y, slot in enumerate(slots) if isinstance(slot, Entry)]
    ax.set_yticks([y for y, _ in cells], [names[cell.row] for _, cell in cells])
    ax.tick_params(axis="y", length=0)
    if with_paper:
        left = margin + _OURS + _OURS_TEXT + _GAP
        _papers(panel(left, _PAPER, there, OTHER_DATA), slots)
    return figure


def _slots(study: Study) -> list[Entry | str]:
    """Returns what stands where from the top: a column's label, then its cells, row by row."""
    slots: list[Entry | str] = []
    for column in study.columns:
        slots.append(column.label)
        for row in study.rows:
            slots += [entry(c) for c in study.cells if (c.row, c.column) == (row.id, column.id)]
    return slots


def _ours(ax: Axes, study: Study, slots: list[Entry | str]) -> None:
    colours = {row.id: COLOURS[i % len(COLOURS)] for i, row in enumerate(study.rows)}
    ends = [0.0]
    _beside(ax, 0, "mean ± interval (n)", FAINT)
    for y, slot in enumerate(slots):
        if isinstance(slot, str):
            ax.text(
                0.01, y + 0.1, slot, transform=ax.get_yaxis_transform(), weight="bold", va="center"
            )
            continue
        _beside(ax, y, slot.text, FAINT if slot.mean is None else INK)
        if slot.mean is None:
            continue
        ax.barh(y, slot.mean, 0.74, color=colours[slot.cell.row], alpha=0.7, linewidth=0)
        seeds = [run.value for run in slot.cell.runs.values() if run.value is not None]
        # A lane of their own in the bar, so that no point hides under the interval.
        ax.scatter(seeds, [y - 0.2] * len(seeds), s=12, color=INK, alpha=0.45, linewidth=0)
        half = slot.half_width or 0.0
        if slot.half_width is not None:
            ax.errorbar(slot.mean, y + 0.1, xerr=half, color=INK, capsize=3, linewidth=1.3)
        ends += [slot.mean - half, slot.mean + half, *seeds]
    for reference in references(study):
        if reference.value is not None:
            ax.axvline(reference.value, color=FAINT, linewidth=1, linestyle=":")
            ax.text(reference.value, -0.45, f" {reference.label}", color=FAINT, size=8, va="top")
            ends.append(reference.value)
        for y, slot in enumerate(slots):
            if isinstance(slot, Entry) and slot.cell.id in reference.by_cell:
                at = reference.by_cell[slot.cell.id]
                ax.scatter(at, y, marker="|", s=150, color=FAINT, zorder=3)
                ends.append(at)
    _limits(ax, ends)


def _papers(ax: Axes, slots: list[Entry | str]) -> None:
    ends = [0.0]
    for y, slot in enumerate(slots):
        if isinstance(slot, Entry) and slot.cell.paper is not None:
            ax.barh(y, slot.cell.paper, 0.74, color=GREY, linewidth=0)
            _beside(ax, y, slot.paper, INK)
            ends.append(slot.cell.paper)
    _limits(ax, ends)


def _beside(ax: Axes, y: float, text: str, colour: str) -> None:
    place = ax.get_yaxis_transform()
    ax.text(1.03, y, text, transform=place, va="center_baseline", color=colour)


def _limits(ax: Axes, ends: list[float]) -> None:
    low, high = min(ends), max(ends)
    ax.set_xlim(low * 1.03, high * 1.03 if high > low else 1.0)
