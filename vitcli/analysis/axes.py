"""The x-axes of curves, and which cells are best at each compute: those over FLOPs use only these.

Rows over FLOPs join trainings of several sizes and lengths: a point may be worse than another that
cost less. So a row is what is best at each x by the runs' own upstream validation: lines between
the points that validate better than all cheaper ones, and level after the last. Which points those
are is itself uncertain: a point is in doubt if its difference is not clear in a paired t test.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vitcli.analysis.intervals import Array, t_quantile
from vitcli.analysis.results import Results
from vitcli.schema import Cell

UPSTREAM = "val/top1"  # the validation that picks what is best at some compute
# One-sided level at which a choice counts as clear. By simulation at 0.01, intervals over the
# choices left covered in 94 % or more, where picks by the mean alone covered in 72 to 96 %.
_CLEAR = 0.01
MOST = 1000  # frontiers in doubt, of all rows together: 20 points that are alike have 2 to the 19


@dataclass(frozen=True)
class AxisKind:
    """What places a cell on an x-axis.

    Attributes:
        place: returns the cell's x, above 0; None if that takes a run and none has finished.
        lacks: what is missing then, in words.
        best_at: whether cells at different x compete, so that a row is what is best at each.
    """

    place: Callable[[Results, Cell], float | None]
    lacks: str
    best_at: bool = False


def _column(results: Results, cell: Cell) -> float | None:
    return results.study.columns[cell.column].value


def _train_flops(results: Results, cell: Cell) -> float | None:
    found = [results.runs[run].train_flops for run in cell.runs.values()]
    done = [flops for flops in found if flops]
    return sum(done) / len(done) if done else None


AXES = {
    "column": AxisKind(_column, "its column has no value"),
    "train_flops": AxisKind(_train_flops, "no seed has finished in it", best_at=True),
}


def place(results: Results, cell: Cell) -> float | None:
    """Returns the cell's x on the study's axis, or None."""
    x = None if results.study.x is None else AXES[results.study.x.of].place(results, cell)
    return x if x is not None and x > 0 and math.isfinite(x) else None


def best_at(x: Array, picks: Array) -> tuple[list[Array], Array]:
    """Returns weights (C, C) of a row's C values, for each frontier in doubt and for the likeliest.

    `values @ weights.T` are the best values at each of the row's x. There are at most MOST + 1.

    Args:
        x: logarithms of the row's x (C,), rising.
        picks: what a point is chosen by (S, C), the higher the better.
    """
    doubtful = itertools.islice(_doubtful(clearly_below(picks), (0,)), MOST + 1)
    found = [_lines(x, kept) for kept in doubtful]
    return found, _lines(x, frontier(picks.mean(axis=0)))


def clearly_below(picks: Array) -> Array:
    """Returns (C, C): whether the first column's mean is clearly below the second's, paired."""
    n = len(picks)
    if n < 2:
        means = picks.mean(axis=0)
        return np.asarray(means[:, None] < means[None, :])
    gaps = picks[:, None, :] - picks[:, :, None]  # of the second over the first
    se = gaps.std(axis=0, ddof=1) / np.sqrt(n)
    return np.asarray(gaps.mean(axis=0) > t_quantile(n - 1, 1 - _CLEAR) * se)


def _doubtful(below: Array, kept: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yields what `kept` may go on to: no point clearly below the last, none left out above it."""
    for point in range(kept[-1] + 1, len(below)):
        if not below[point, kept[-1]]:
            yield from _doubtful(below, (*kept, point))
        if below[kept[-1], point]:
            return
    yield kept


def frontier(means: Array) -> list[int]:
    """Returns the points that validate better than all cheaper ones, of means in order of x."""
    kept = [0]
    for point in range(1, len(means)):
        if means[point] > means[kept[-1]]:
            kept.append(point)
    return kept


def _lines(x: Array, kept: Sequence[int]) -> Array:
    """Returns the weights (C, C) of lines between the kept points, level after the last."""
    at = np.eye(len(x))[list(kept)]
    return np.array([np.interp(x, x[list(kept)], column) for column in at.T]).T
