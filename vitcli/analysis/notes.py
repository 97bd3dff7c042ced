"""What is known of a claim beside its verdict: where curves cross, how far apart rows are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from vitcli.analysis import curves
from vitcli.analysis.axes import frontier
from vitcli.analysis.curves import Series, Unformed
from vitcli.analysis.estimators import Arm
from vitcli.analysis.intervals import t_quantile
from vitcli.analysis.pairs import arms_of, labels, published_rows
from vitcli.analysis.results import Results
from vitcli.schema import Cell, Claim

_LEVEL = 0.95


def notes(results: Results, claim: Claim) -> list[str]:
    """Returns further sentences on a claim, none for most kinds."""
    found: dict[str, None] = {}
    for index, pair in enumerate(claim.pairs):
        try:
            arms, cells = arms_of(results, claim, pair)
            of_kind = NOTES.get(claim.of, _nothing)(results, claim, index, arms, cells)
        except Unformed:
            continue
        found |= dict.fromkeys(filter(None, [of_kind, *_left_out(results, pair, arms, cells)]))
    return list(found)


def _nothing(*_: object) -> None:
    """Says nothing: most kinds of contrast have no note of their own."""


def _left_out(
    results: Results, pair: Sequence[str], arms: list[Arm], cells: list[list[Cell]]
) -> Iterator[str]:
    """Yields which columns of each row are never the best at their compute."""
    for name, arm, of in zip(pair, arms, cells, strict=True):
        if not arm.best_at or arm.picks is None or not len(arm.picks):
            continue
        kept = frontier(arm.picks.mean(axis=0))
        worse = [results.study.columns[of[i].column].label for i in range(len(of)) if i not in kept]
        if worse:
            yield (
                f"Left out of {results.study.rows[name].label}: {', '.join(worse)}, as a cheaper "
                "model has a better upstream validation."
            )


def _crossing(
    results: Results, claim: Claim, index: int, arms: list[Arm], cells: list[list[Cell]]
) -> str | None:
    """Returns where the pair's rows cross; None for one row, or if they share a run."""
    if len(arms) != 2 or len(arms[0].y) < 2 or {*_runs(cells[0])} & {*_runs(cells[1])}:
        return None
    gap = curves.gap(arms[0].series()[1], arms[1].series()[1], arms[0].best_at)
    first, second = labels(results.study, claim, claim.pairs[index])
    at, between = curves.crossings(gap, t_quantile(len(gap.y) - 1, (1 + _LEVEL) / 2))
    text = f"{first} − {second} {_crosses(gap)} ({_where(at, between)}, {len(gap.y)} seeds)"
    if claim.paper is not None:
        one, other = (arm.series()[1] for arm in published_rows(claim.paper, index))
        unit = " images" if claim.paper.table == "table5" else " exaFLOPs"
        text += f"; the paper's own values: {_crosses(curves.gap(one, other, True), unit)}"
    return f"{text}."


def _where(at: Sequence[float], between: tuple[float, float] | None) -> str:
    """Returns where a gap may cross 0 at 95 %, if its mean does so at these x."""
    if between is None:
        return "at 95 %, no crossing inside"
    low, high = ("" if np.isinf(x) else said_x(x) for x in between)
    where = f"{low} to {high}" if low and high else f"from {low} up" if low else f"up to {high}"
    of = f"the crossing{'s'[: len(at) - 1]}" if at else "a possible crossing"
    return f"95 % interval of {of}: {where if low or high else 'anywhere'}"


def _crosses(gap: Series, unit: str = "") -> str:
    """Returns where the gap's mean crosses 0, x in this unit."""
    if at := curves.sign_changes(gap):
        return f"crosses 0 at x = {' and '.join(map(said_x, at))}{unit}"
    side = "above" if gap.mean[0] >= 0 else "below"
    low, high = said_x(gap.x[0]), said_x(gap.x[-1])
    return f"does not cross 0 inside x = {low} to {high}{unit}: it is {side} 0 at both ends"


def _spreads(
    results: Results, claim: Claim, index: int, arms: list[Arm], cells: list[list[Cell]]
) -> str | None:
    """Returns the sd between the pair's rows at each x, what noise makes of it taken out."""
    if len(arms[0].y) < 3:
        return None
    x, numbers = curves.spread_of([arm.series()[1] for arm in arms], arms[0].best_at)
    each = [
        f"{np.sqrt(max(0.0, variance)):.3f} at {said_x(place)}"
        for place, variance in zip(x, numbers.mean(axis=0), strict=True)
    ]
    text = "Standard deviation between the rows, without the part that noise makes"
    return f"{text}: {', '.join(each)}."


def _picks(
    results: Results, claim: Claim, index: int, arms: list[Arm], cells: list[list[Cell]]
) -> str | None:
    """Returns which column each row is at its best in, picked by its mean over the seeds."""
    found = []
    for name, arm, of in zip(claim.pairs[index], arms, cells, strict=True):
        if arm.picks is None or not len(arm.picks):
            return None
        best = of[int(np.argmax(arm.picks.mean(axis=0)))]
        left_out = len(results.row(name)) - len(of)
        more = f", of those {len(of)} that finished in all seeds" if left_out else ""
        label = results.study.columns[best.column].label
        found.append(f"{results.study.rows[name].label} at {label}{more}")
    return f"Picked by {results.study.of_metric(claim.pick or '').label}: {'; '.join(found)}."


def _overlap(
    results: Results, claim: Claim, index: int, arms: list[Arm], cells: list[list[Cell]]
) -> str | None:
    """Returns which values both rows reach, between which their distance along x is taken."""
    if not len(arms[0].y):
        return None
    low, high, points = curves.overlap(*(arm.series()[1] for arm in arms))
    if not points:
        return None
    return (
        f"Compared where both have values, {low:.3f} to {high:.3f}, at the {points} of their "
        "points that lie there."
    )


# By kind of contrast: (results, claim, index of the pair, its arms, their cells) -> a sentence.
NOTES: dict[str, Callable[[Results, Claim, int, list[Arm], list[list[Cell]]], str | None]] = {
    "best": _picks,
    "log_ratio": _overlap,
    "slope": _crossing,
    "spread": _spreads,
}


def said_x(log_x: float) -> str:
    """Returns an x, given as its logarithm of base 2: `27,000`, `2.5e+12`."""
    value = 2.0**log_x
    return f"{value:,.0f}" if 100 <= value < 1e7 else f"{value:.3g}"


def _runs(cells: Sequence[Cell]) -> list[str]:
    return [run for cell in cells for run in cell.runs.values()]
