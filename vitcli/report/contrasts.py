"""What a claim measures, one number a seed: slopes, ratios and ranks of a row's values along x.

Pure functions of arrays. S seeds, C points; NaN where a seed has no value, and then no number. The
logarithms are of base 2: a slope is the change at each doubling of x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vitcli.report.stats import resampled_means

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """A row's values: y (S, C) at x (C,), positive and rising."""

    x: Array
    y: Array


@dataclass(frozen=True)
class Crossing:
    """The x at which a mean difference changes sign, and its interval.

    0 stands for below all x, infinity for above. The interval is None for one seed.
    """

    at: float
    interval: tuple[float, float] | None


def along(rows: Sequence[Series], interpolate: bool) -> tuple[Array, list[Array]]:
    """Returns the x of a common axis (C,), and each row's values there, (S, C).

    Args:
        interpolate: take every x inside the rows' overlap, by lines in log x; else only those x
            that all rows have.
    """
    if not interpolate:
        common = rows[0].x
        for row in rows[1:]:
            common = np.intersect1d(common, row.x)
        return common, [row.y[:, np.isin(row.x, common)] for row in rows]
    every = np.unique(np.concatenate([row.x for row in rows]))
    low, high = max(row.x.min() for row in rows), min(row.x.max() for row in rows)
    x = every[(every >= low) & (every <= high)]
    return x, [
        np.array([np.interp(np.log2(x), np.log2(row.x), y) for y in row.y]).reshape(
            len(row.y), len(x)
        )
        for row in rows
    ]


def difference(values: Array) -> Array:
    """Returns first - second of the cells' values (S, 2); of (S, 4) their interaction, (S,).

    That is first - second less third - fourth.
    """
    return np.asarray(values @ np.array([1.0, -1.0, -1.0, 1.0])[: values.shape[1]])


def gap(first: Series, second: Series, interpolate: bool) -> Series:
    """Returns first - second on their common axis."""
    x, (one, other) = along([first, second], interpolate)
    return Series(x, one - other)


def spread(rows: Sequence[Series], interpolate: bool) -> Series:
    """Returns the largest less the smallest of the rows' values on their common axis.

    Noise alone gives a spread too: a slope of it is only fair if the noise is alike at all x.
    """
    x, values = along(rows, interpolate)
    return Series(x, np.max(values, axis=0) - np.min(values, axis=0))


def slope(row: Series) -> Array:
    """Returns each seed's least-squares slope on log2 x, (S,); NaN with fewer than two x."""
    if len(row.x) < 2:
        return np.full(len(row.y), np.nan)
    log_x = np.log2(row.x) - np.log2(row.x).mean()
    return np.asarray(row.y @ log_x / np.sum(log_x**2))


def end_slope(row: Series) -> Array:
    """Returns each seed's slope on log2 x over the last two x, (S,)."""
    return slope(Series(row.x[-2:], row.y[:, -2:]))


def log_ratio(first: Series, second: Series) -> Array:
    """Returns log2 of how many times as much x the second row needs for equal values, (S,).

    The mean over the points of both rows, inside the overlap of their values. A point that a
    smaller x reaches as well is left out: what remains rises, and has one x for each value. NaN
    for a seed whose rows reach no common value.
    """
    found = np.full(len(first.y), np.nan)
    for seed, (one, other) in enumerate(zip(first.y, second.y, strict=True)):
        if np.isfinite(one).all() and np.isfinite(other).all():
            found[seed] = _log_ratio(*_frontier(first.x, one), *_frontier(second.x, other))
    return found


def needed(row: Series, values: Array) -> Array:
    """Returns the least x at which the row's one seed reaches the values, by lines in log x.

    NaN outside of what it reaches.
    """
    log_x, reached = _frontier(row.x, row.y[0])
    return np.asarray(2.0 ** np.interp(values, reached, log_x, left=np.nan, right=np.nan))


def best(first: Array, second: Array, pick_first: Array, pick_second: Array) -> Array:
    """Returns the first row's best column less the second's, (S,).

    Args:
        first, second: values (S, C) of each row.
        pick_first, pick_second: what the column is chosen by: the highest mean over the seeds.
            To be measured on other data, or the best is favoured by its own luck.
    """
    chosen = []
    for values, pick in ((first, pick_first), (second, pick_second)):
        counts = np.sum(~np.isnan(pick), axis=0)
        means = np.where(counts > 0, np.nansum(pick, axis=0) / np.maximum(counts, 1), -np.inf)
        chosen.append(values[:, np.argmax(means)])
    return np.asarray(chosen[0] - chosen[1])


def tau(first: Array, second: Array) -> Array:
    """Returns each seed's Kendall tau-b between two values of the same cells, (S,).

    NaN where a value is missing, or where all cells are tied in one of the two.
    """
    upper = np.triu_indices(first.shape[1], 1)
    one, other = (np.sign(v[:, :, None] - v[:, None, :])[:, *upper] for v in (first, second))
    size = np.sqrt(np.sum(one**2, axis=1) * np.sum(other**2, axis=1))
    concordant = np.sum(one * other, axis=1)
    return np.asarray(np.divide(concordant, size, out=np.full(len(size), np.nan), where=size > 0))


def crossing(difference: Series, level: float = 0.95, draws: int = 2000) -> Crossing:
    """Returns where the mean over the seeds changes sign, by lines in log x, and its interval.

    Of several changes the middle one; if both ends have one sign, there is none inside: it is then
    beyond the end that the trend points to. The interval is of percentiles over resampled means.
    Every value must be there.
    """
    mean = difference.y.mean(axis=0, keepdims=True)
    rising = bool(mean[0, -1] > mean[0, 0])
    at = float(_crossings(difference.x, mean, rising)[0])
    if len(difference.y) < 2:
        return Crossing(at, None)
    found = _crossings(difference.x, resampled_means(difference.y, draws), rising)
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(found, tails, method="inverted_cdf")  # takes infinities
    return Crossing(at, (float(low), float(high)))


def _crossings(x: Array, curves: Array, rising: bool) -> Array:
    """Returns the middle sign change of each curve (D, C), as (D,); `rising` is the trend."""
    above = curves >= 0
    changes = above[:, 1:] != above[:, :-1]
    count = changes.sum(axis=1)
    left = np.argmax(changes & (changes.cumsum(axis=1) == (count + 1)[:, None] // 2), axis=1)
    each, log_x = np.arange(len(curves)), np.log2(x)
    before, after = curves[each, left], curves[each, left + 1]
    crosses = count % 2 == 1
    share = np.divide(before, before - after, out=np.zeros(len(curves)), where=crosses)
    inside = 2.0 ** (log_x[left] + share * (log_x[left + 1] - log_x[left]))
    return np.asarray(np.where(crosses, inside, np.where(above[:, 0] == rising, 0.0, np.inf)))


def _frontier(x: Array, y: Array) -> tuple[Array, Array]:
    """Returns (log2 x, y) of the points above all those at a smaller x."""
    before = np.concatenate([[-np.inf], np.maximum.accumulate(y)[:-1]])
    keep = y > before
    return np.log2(x[keep]), y[keep]


def _log_ratio(x1: Array, y1: Array, x2: Array, y2: Array) -> float:
    if not len(y1) or not len(y2):
        return np.nan
    values = np.concatenate([y1, y2])
    values = values[(values >= max(y1[0], y2[0])) & (values <= min(y1[-1], y2[-1]))]
    if not len(values):
        return np.nan
    return float(np.mean(np.interp(values, y2, x2) - np.interp(values, y1, x1)))
