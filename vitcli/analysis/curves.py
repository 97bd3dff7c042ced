"""Numbers along x: slopes, gaps at equal x, horizontal gaps, spreads. Pure functions of arrays.

S seeds, C points. A series has x as logarithms of base 2: a slope is the change at each doubling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vitcli.analysis.intervals import Array


@dataclass(frozen=True)
class Series:
    """A row's values: y (S, C) at x (C,), logarithms of base 2, rising."""

    x: Array
    y: Array

    @property
    def mean(self) -> Array:
        """Returns the means over the seeds (C,)."""
        return np.asarray(self.y.mean(axis=0))


class Unformed(ValueError):
    """The contrast cannot be formed of these rows; says why."""


def along(rows: Sequence[Series], interpolate: bool) -> tuple[Array, list[Array]]:
    """Returns a common axis (C,), rising, and each row's values there, (S, C).

    Args:
        interpolate: take every x inside the rows' overlap, by lines in log x; else only those x
            that all rows have.
    Raises:
        Unformed: there is no common x.
    """
    if interpolate:
        every = np.unique(np.concatenate([row.x for row in rows]))
        low, high = max(row.x[0] for row in rows), min(row.x[-1] for row in rows)
        x = every[(every >= low) & (every <= high)]
        values = [np.array([np.interp(x, row.x, y) for y in row.y]) for row in rows]
    else:
        x = rows[0].x
        for row in rows[1:]:
            x = np.intersect1d(x, row.x)
        values = [row.y[:, np.isin(row.x, x)] for row in rows]
    if not len(x):
        raise Unformed("no x is common to its rows")
    return x, values


def gap(first: Series, second: Series, interpolate: bool) -> Series:
    """Returns first - second on their common axis."""
    x, (one, other) = along([first, second], interpolate)
    return Series(x, one - other)


def slope(row: Series) -> Array:
    """Returns each seed's least-squares slope (S,). Raises Unformed with fewer than two x."""
    if len(row.x) < 2:
        raise Unformed("fewer than two x are common to its rows")
    x = row.x - row.x.mean()
    return np.asarray(row.y @ x / np.sum(x**2))


def end_slope(row: Series) -> Array:
    """Returns each seed's slope over the last two x, (S,)."""
    return slope(Series(row.x[-2:], row.y[:, -2:]))


def spread_of(rows: Sequence[Series], interpolate: bool) -> tuple[Array, Array]:
    """Returns the variance between the rows' true means at each common x: (x, numbers (S, C)).

    The numbers' mean is unbiased whatever the noise, which a variance of the observed means is
    not: it is made of products of different seeds, whose noise is independent. The numbers are
    jackknife pseudo-values over the seeds, three of them or more.
    """
    x, values = along(rows, interpolate)
    apart = np.array(values)  # (R, S, C)
    apart = apart - apart.mean(axis=0)
    n = apart.shape[1]
    whole = _products(apart)
    left_out = np.array([_products(np.delete(apart, seed, axis=1)) for seed in range(n)])
    return x, n * whole - (n - 1) * left_out


def _products(apart: Array) -> Array:
    """Returns (C,): the mean over pairs of seeds of the rows' products, over R - 1."""
    rows, n, _ = apart.shape
    of_pairs = np.sum(apart.sum(axis=1) ** 2, axis=0) - np.sum(apart**2, axis=(0, 1))
    return np.asarray(of_pairs / (n * (n - 1) * (rows - 1)))


def tau(first: Array, second: Array) -> Array:
    """Returns each seed's Kendall tau-b between two values of the same cells, (S,).

    NaN where all cells are tied in one of the two.
    """
    upper = np.triu_indices(first.shape[1], 1)
    one, other = (np.sign(v[:, :, None] - v[:, None, :])[:, *upper] for v in (first, second))
    size = np.sqrt(np.sum(one**2, axis=1) * np.sum(other**2, axis=1))
    concordant = np.sum(one * other, axis=1)
    return np.asarray(np.divide(concordant, size, out=np.full(len(size), np.nan), where=size > 0))


def horizontal(first: Series, second: Series) -> Array | None:
    """Returns each seed's log2 of how many times the x the second row needs for equal values, (S,).

    Of the rows' means: the mean, over the points of both rows inside the overlap of their values,
    of the distance along x. A point that a smaller x reaches as well is left out. The numbers of
    seeds are the effect's first-order change with each seed's values (delta method). None if no
    value is reached by both rows.
    """
    curves = [_Rising.of(row) for row in (first, second)]
    _, _, points = _overlap(curves)
    if not points:
        return None
    changes = [np.zeros(len(row.x)) for row in (first, second)]
    total = 0.0
    for own, k in points:
        value = float(curves[own].y[k])
        at = curves[own].kept[k]
        for which, sign in ((1, 1.0), (0, -1.0)):
            place, per_value, per_knot = curves[which].inverse(value)
            total += sign * place
            changes[own][at] += sign * per_value
            for knot, change in per_knot.items():
                changes[which][knot] += sign * change
    apart = [
        (row.y - row.mean) @ change for row, change in zip((first, second), changes, strict=True)
    ]
    return np.asarray((total + apart[0] + apart[1]) / len(points))


def beyond(first: Series, second: Series) -> tuple[Array, float, bool] | None:
    """Returns (gap of each seed, limit, above) of rows that have no value in common.

    The limit is what `horizontal` is beyond if the better row's least is above the other's most.
    """
    one, other = _Rising.of(first), _Rising.of(second)
    if one.y[0] > other.y[-1]:
        numbers = first.y[:, one.kept[0]] - second.y[:, other.kept[-1]]
        return numbers, float(second.x[-1] - first.x[0]), True
    if other.y[0] > one.y[-1]:
        numbers = second.y[:, other.kept[0]] - first.y[:, one.kept[-1]]
        return numbers, float(second.x[0] - first.x[-1]), False
    return None


@dataclass(frozen=True)
class _Rising:
    """The points of a row's mean above all those at a smaller x: one x for each value."""

    kept: list[int]
    x: Array
    y: Array

    @classmethod
    def of(cls, row: Series) -> _Rising:
        mean = row.mean
        before = np.concatenate([[-np.inf], np.maximum.accumulate(mean)[:-1]])
        kept = np.flatnonzero(mean > before).tolist()
        return cls(kept, row.x[kept], mean[kept])

    def inverse(self, value: float) -> tuple[float, float, dict[int, float]]:
        """Returns x at the value, its change with the value, and with each point's own value."""
        if len(self.kept) == 1:
            return float(self.x[0]), 0.0, {}
        left = int(np.clip(np.searchsorted(self.y, value, side="right") - 1, 0, len(self.y) - 2))
        rise, run = self.y[left + 1] - self.y[left], self.x[left + 1] - self.x[left]
        share, rate = (value - self.y[left]) / rise, float(run / rise)
        knots = {self.kept[left]: -(1 - share) * rate, self.kept[left + 1]: -share * rate}
        return float(self.x[left] + share * run), rate, knots


def _overlap(curves: Sequence[_Rising]) -> tuple[float, float, list[tuple[int, int]]]:
    """Returns the values that both reach, lowest and highest, and which points lie there."""
    low = max(float(curve.y[0]) for curve in curves)
    high = min(float(curve.y[-1]) for curve in curves)
    points = [
        (own, k) for own in (0, 1) for k, value in enumerate(curves[own].y) if low <= value <= high
    ]
    return low, high, points


def overlap(first: Series, second: Series) -> tuple[float, float, int]:
    """Returns the lowest and the highest value that both rows' means reach, and their points there.

    Where there are no points, there is no such value.
    """
    low, high, points = _overlap([_Rising.of(row) for row in (first, second)])
    return low, high, len(points)


def sign_changes(gap: Series) -> list[float]:
    """Returns each x at which a gap's mean changes sign, rising; none if it nowhere does."""
    above = gap.mean >= 0
    left = np.flatnonzero(above[1:] != above[:-1])
    share = gap.mean[left] / (gap.mean[left] - gap.mean[left + 1])
    return [float(x) for x in gap.x[left] + share * (gap.x[left + 1] - gap.x[left])]


def crossings(gap: Series, quantile: float) -> tuple[list[float], tuple[float, float] | None]:
    """Returns where a gap's mean changes sign, and the interval of x where it may do so.

    The interval is from the first x to the last at which the gap is not clearly apart from 0, by a
    t test at each: -inf and inf stand for below and above the range; None: it is clear everywhere,
    so that there is no crossing inside.

    Args:
        gap: of two seeds or more.
        quantile: of Student's t, what a mean is to be of its standard error to be clear.
    """
    at, x = sign_changes(gap), np.linspace(gap.x[0], gap.x[-1], 1001)
    y = np.array([np.interp(x, gap.x, values) for values in gap.y])
    se = y.std(axis=0, ddof=1) / np.sqrt(len(y))
    doubtful = np.flatnonzero(np.abs(y.mean(axis=0)) <= quantile * se)
    if not len(doubtful):  # clear up to two neighbours of the grid
        return at, (at[0], at[-1]) if at else None
    low = -np.inf if doubtful[0] == 0 else float(x[doubtful[0]])
    high = np.inf if doubtful[-1] == len(x) - 1 else float(x[doubtful[-1]])
    return at, (low, high)
