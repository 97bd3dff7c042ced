"""The study's table as a bar figure: ours with intervals and single seeds, the paper's beside it.

Two panels, because the paper's numbers are of another data set: the same bars in the same places,
each panel on an axis of its own that starts at 0. Only cells that exist take a place.
"""

from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING, Any

from vitcli.report.collect import Study
from vitcli.report.tables import Entry, entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito 2008: told apart with any colour vision.
_COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#0072B2", "#F0E442")
_GREY, _INK, _FAINT = "#B5B5B5", "#222222", "#6B6B6B"
_DPI = 160
# Inches: a bar's place; the panels; the numbers beside them; the gap between; foot, title, a line.
_SLOT, _OURS, _PAPER = 0.33, 4.2, 2.2
_OURS_TEXT, _PAPER_TEXT, _GAP = 1.6, 0.85, 0.25
_FOOT, _TITLE, _LINE = 0.62, 0.5, 0.19
_STYLE: Any = {
    "font.family": "DejaVu Sans",  # shipped with matplotlib, so it looks alike everywhere
    "font.size": 9,
    "text.parse_math": False,  # a $ in a label is a $
    "svg.hashsalt": "vitcli",
}


def render(study: Study, kind: str) -> bytes:
    """Returns the figure as `png` or `svg`: the same bytes for the same study."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    out = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure = _draw(study)
        FigureCanvasAgg(figure)
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(out, format=kind, dpi=_DPI, metadata=metadata)
    return out.getvalue()


def _draw(study: Study) -> Figure:
    from matplotlib.figure import Figure

    slots = _slots(study)
    names = {x.id: textwrap.shorten(x.label, 40, placeholder="…") for x in study.rows}
    with_paper = any(cell.paper is not None for cell in study.cells)
    here = textwrap.wrap(f"Here: {study.metric_label}, scale {study.scale}", 72)
    paper = study.paper
    there = textwrap.wrap(f"The paper, {paper.where}, n = {paper.n}: {paper.metric}", 40)
    margin = 0.3 + 0.075 * max(len(name) for name in names.values())
    width = margin + _OURS + _OURS_TEXT + (_GAP + _PAPER + _PAPER_TEXT if with_paper else 0)
    bars = _SLOT * len(slots)
    height = _FOOT + bars + _TITLE + _LINE * max(len(here), len(there) if with_paper else 0)
    figure = Figure(figsize=(width, height))
    figure.text(
        margin / width, 1 - 0.15 / height, study.title, weight="bold", size=11, va="top", color=_INK
    )

    def panel(left: float, inches: float, title: list[str], note: str) -> Axes:
        ax = figure.add_axes((left / width, _FOOT / height, inches / width, bars / height))
        ax.set_ylim(len(slots) - 0.5, -0.5)
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="x", color="#E4E4E4", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.set_yticks([])
        ax.set_title("\n".join(title), loc="left", fontsize=9, color=_INK)
        ax.set_xlabel(note, fontsize=8, color=_FAINT, loc="left")
        return ax

    ax = panel(margin, _OURS, here, "bar: mean   line: 95 % t-interval   points: single seeds")
    _ours(ax, study, slots)
    cells = [(y, slot.cell) for y, slot in enumerate(slots) if isinstance(slot, Entry)]
    ax.set_yticks([y for y, _ in cells], [names[cell.row] for _, cell in cells])
    ax.tick_params(axis="y", length=0)
    if with_paper:
        left = margin + _OURS + _OURS_TEXT + _GAP
        _papers(panel(left, _PAPER, there, "other data: compare patterns, not lengths"), slots)
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
    colours = {row.id: _COLOURS[i % len(_COLOURS)] for i, row in enumerate(study.rows)}
    ends = [0.0]
    _beside(ax, 0, "mean ± interval (n)", _FAINT)
    for y, slot in enumerate(slots):
        if isinstance(slot, str):
            ax.text(
                0.01, y + 0.1, slot, transform=ax.get_yaxis_transform(), weight="bold", va="center"
            )
            continue
        _beside(ax, y, slot.text, _FAINT if slot.mean is None else _INK)
        if slot.mean is None:
            continue
        ax.barh(y, slot.mean, 0.74, color=colours[slot.cell.row], alpha=0.7, linewidth=0)
        seeds = [run.value for run in slot.cell.runs.values() if run.value is not None]
        # A lane of their own in the bar, so that no point hides under the interval.
        ax.scatter(seeds, [y - 0.2] * len(seeds), s=12, color=_INK, alpha=0.45, linewidth=0)
        half = slot.half_width or 0.0
        if slot.half_width is not None:
            ax.errorbar(slot.mean, y + 0.1, xerr=half, color=_INK, capsize=3, linewidth=1.3)
        ends += [slot.mean - half, slot.mean + half, *seeds]
    _limits(ax, ends)


def _papers(ax: Axes, slots: list[Entry | str]) -> None:
    ends = [0.0]
    for y, slot in enumerate(slots):
        if isinstance(slot, Entry) and slot.cell.paper is not None:
            ax.barh(y, slot.cell.paper, 0.74, color=_GREY, linewidth=0)
            _beside(ax, y, slot.paper, _INK)
            ends.append(slot.cell.paper)
    _limits(ax, ends)


def _beside(ax: Axes, y: float, text: str, colour: str) -> None:
    place = ax.get_yaxis_transform()
    ax.text(1.03, y, text, transform=place, va="center_baseline", color=colour)


def _limits(ax: Axes, ends: list[float]) -> None:
    low, high = min(ends), max(ends)
    ax.set_xlim(low * 1.03, high * 1.03 if high > low else 1.0)
