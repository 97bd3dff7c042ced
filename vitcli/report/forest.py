"""All pairs of a study's claims at a glance: effect, interval, the paper's own, and what matters.

Contrasts have different units, so each effect is divided by the threshold for its claim:
beyond 1 it matters, the grey band is too small to. A claim of any amount has no such unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vitcli.analysis.verdict import Pair, Verdict, lies
from vitcli.report.style import GREY, INK, OF_WORD, RULE, note, short, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(verdicts: Sequence[Verdict]) -> Figure:
    """Returns the forest plot of one claim or more, each with a size above 0."""
    from matplotlib.figure import Figure

    count = sum(1 + len(verdict.pairs) for verdict in verdicts)
    figure = Figure(figsize=(10.5, 1.2 + 0.27 * count))
    ax = figure.subplots()
    ax.set_xscale("symlog", linthresh=2, linscale=1)
    reach = _reach(verdicts)
    ax.set_xlim(-reach, reach)
    ax.set_ylim(count - 0.4, -0.6)
    ax.axvspan(-1, 1, color=RULE, linewidth=0)
    ax.axvline(0, color=GREY, linewidth=0.8)
    names, y = list[tuple[int, str]](), 0
    beside: Any = {"transform": ax.get_yaxis_transform(), "va": "center", "weight": "bold"}
    for verdict in verdicts:
        ax.text(-reach, y, short(verdict.claim.statement, 110), weight="bold", va="center", size=8)
        ax.text(1.01, y, verdict.word, color=OF_WORD[verdict.word], **beside)
        for pair in verdict.pairs:
            y += 1
            names.append((y, wrapped(pair.name, 64)))
            colour = OF_WORD[_word(verdict, pair)]
            if (interval := verdict.shown(pair)) is not None and pair.effect is not None:
                low, high = (min(max(v / verdict.size, -reach), reach) for v in interval)
                ax.plot([low, high], [y, y], color=colour, linewidth=2, solid_capstyle="butt")
            if pair.effect is not None:
                filled = colour if pair.interval else "none"
                at = min(max(pair.effect / verdict.size, -reach), reach)
                ax.plot(at, y, marker="o", color=colour, markerfacecolor=filled, markersize=6)
            if pair.paper is not None:
                at = min(max(pair.paper / verdict.size, -reach), reach)
                ax.plot(at, y, marker="D", color=INK, markerfacecolor="none", markersize=5)
        y += 1
    ax.set_yticks([y for y, _ in names], [name for _, name in names], size=7.5, linespacing=1)
    ax.tick_params(axis="y", length=0)
    ticks = [t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500) if t < reach]
    ax.set_xticks([-t for t in reversed(ticks)] + [0, *ticks], minor=False)
    ax.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    ax.set_xticks([], minor=True)
    ax.set_xlabel("effect, divided by its threshold")
    note(
        ax,
        "point: effect   line: interval   diamond: the paper's own effect\n"
        "grey band: smaller than the threshold   hollow: not judged   colour: of this pair alone\n"
        "the axis is even to 2, logarithmic beyond",
    )
    return figure


def _word(verdict: Verdict, pair: Pair) -> str:
    """Returns what the pair would say alone, at the level of the interval that is drawn."""
    interval = verdict.shown(pair)
    if interval is None or pair.problem is not None:
        return "not judged"
    return lies(verdict.claim, interval, verdict.size)


def _reach(verdicts: Sequence[Verdict]) -> float:
    """Returns where the axis ends, in thresholds."""
    found = [3.0]
    for verdict in verdicts:
        for pair in verdict.pairs:
            ends = [*(verdict.shown(pair) or ()), pair.effect or 0.0, pair.paper or 0.0]
            found += [abs(end) / verdict.size for end in ends if math.isfinite(end)]
    return min(1.2 * max(found), 600.0)
