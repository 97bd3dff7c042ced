"""How contrasts are computed: from arms, cells or rows of values by seed, to an estimate.

Its numbers are one of each seed, so that the seed's own images, order and draws cancel; where x is
compute, rows are what is best at each.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vitcli.analysis import axes, curves
from vitcli.analysis.curves import Series, Unformed
from vitcli.analysis.intervals import (
    Array,
    Beyond,
    Candidate,
    Estimate,
    Level,
    Sample,
    varies,
)

Estimator = Callable[[Sequence["Arm"]], Estimate]


@dataclass(frozen=True)
class Arm:
    """A cell or a row of a pair: the values of its cells, of seeds that have all of them.

    Attributes:
        y: (S, C); of a cell, C is 1.
        x: logarithms of base 2 of its x (C,), rising; None: it has no place on an axis.
        picks: what its points are chosen by (S, C), the higher the better, if the kind picks.
        against: its values of the claim's second metric (S, C), if the kind takes one.
        best_at: whether the row is what is best at each x.
        seeds: which ones (S,).
    """

    y: Array
    x: Array | None = None
    picks: Array | None = None
    against: Array | None = None
    best_at: bool = False
    seeds: tuple[str, ...] = ()

    def series(self) -> tuple[list[Series], Series]:
        """Returns the row for each choice of its best points in doubt, and the likeliest one."""
        assert self.x is not None
        if not self.best_at or self.picks is None:
            return [Series(self.x, self.y)], Series(self.x, self.y)
        doubtful, likeliest = axes.best_at(self.x, self.picks)
        found = [Series(self.x, self.y @ weights.T) for weights in doubtful]
        return found, Series(self.x, self.y @ likeliest.T)


def estimated(numbers: Array, scale: float, lost: int = 1) -> Estimate:
    """Returns the estimate of one sure choice. Raises Unformed if its numbers are no sample."""
    if np.isnan(numbers).any():
        raise Unformed("all cells are tied in one of the two")
    if not varies(numbers, scale) and len(numbers) > 1:
        same = f"all {len(numbers)} seeds give {numbers[0]:.6g}"
        raise Unformed(f"{same}, which leaves no spread to test by")
    return Estimate(numbers, (Sample(numbers, lost),))


def _scale(arms: Sequence[Arm]) -> float:
    return max(float(np.abs(arm.y).max()) for arm in arms)


def linear(*weights: float) -> Callable[[Sequence[Arm]], Estimate]:
    """Returns the kind that weights the values of as many cells."""

    def estimate(arms: Sequence[Arm]) -> Estimate:
        return estimated(np.hstack([arm.y for arm in arms]) @ np.array(weights), _scale(arms))

    return estimate


def of_series(
    numbers: Callable[[Sequence[Series], bool], Array], lost: int = 1
) -> Callable[[Sequence[Arm]], Estimate]:
    """Returns the kind whose numbers are a function of rows along x, over all choices in doubt.

    Args:
        numbers: of the rows, and whether each has x of its own, so that lines are read off.
    """

    def estimate(arms: Sequence[Arm]) -> Estimate:
        own_x, scale = any(arm.best_at for arm in arms), _scale(arms)
        found = [numbers(choice, own_x) for choice in _choices(arms)]
        level = [own_x and np.abs(one).max() <= 1e-12 * scale for one in found]
        if any(level):  # both ends of a row may be one point: then it is 0 whatever the values
            of_marks = [numbers(choice, own_x) for choice in _choices(_marks(arms))]
            level = [a and np.abs(b).max() <= 1e-12 for a, b in zip(level, of_marks, strict=True)]
        main, *others = (
            Estimate(np.zeros(len(one)), (Level(),)) if is_level else estimated(one, scale, lost)
            for one, is_level in zip(found, level, strict=True)
        )
        return _open(main, [candidate for other in others for candidate in other.candidates])

    return estimate


def _marks(arms: Sequence[Arm]) -> list[Arm]:
    """Returns the arms with values of which no two are equal."""
    rng = np.random.default_rng(0)
    return [replace(arm, y=rng.normal(size=arm.y.shape)) for arm in arms]


def _choices(arms: Sequence[Arm]) -> list[Sequence[Series]]:
    """Returns the likeliest choice of the rows' best points, then all in doubt. Raises Unformed."""
    rows = [arm.series() for arm in arms]
    if math.prod(len(doubtful) for doubtful, _ in rows) > axes.MOST:
        raise Unformed(
            "which of its points are the best at their x is too uncertain: more seeds are needed"
        )
    likeliest = [of for _, of in rows]
    return [likeliest, *itertools.product(*(doubtful for doubtful, _ in rows))]


def _open(main: Estimate, others: Iterable[Candidate]) -> Estimate:
    return Estimate(main.numbers, (*main.candidates, *others), main.limit)


def slope(rows: Sequence[Series], own_x: bool) -> Array:
    return curves.slope(curves.gap(rows[0], rows[1], own_x) if len(rows) == 2 else rows[0])


def end_slope(rows: Sequence[Series], own_x: bool) -> Array:
    ends = [curves.end_slope(row) for row in rows]
    return ends[0] - ends[1] if len(ends) == 2 else ends[0]


def end(index: int) -> Callable[[Sequence[Series], bool], Array]:
    """Returns the numbers of a gap at the first x that both rows have, or at the last."""
    return lambda rows, own_x: np.asarray(curves.gap(rows[0], rows[1], own_x).y[:, index])


def at_end(arms: Sequence[Arm], index: int) -> list[list[int]]:
    """Returns which of each arm's cells `end` takes: those that have a weight there."""
    rows = [replace(arm, y=np.eye(arm.y.shape[1])).series()[1] for arm in arms]
    _, weights = curves.along(rows, any(arm.best_at for arm in arms))
    return [np.flatnonzero(of[:, index]).tolist() for of in weights]


def spread(rows: Sequence[Series], own_x: bool) -> Array:
    if len(rows[0].y) < 3:
        raise Unformed("a spread without its noise needs three seeds or more")
    return curves.slope(Series(*curves.spread_of(rows, own_x)))


def log_ratio(arms: Sequence[Arm]) -> Estimate:
    main, *others = map(_distance, _choices(arms))
    return _open(main, [candidate for other in others for candidate in other.candidates])


def _distance(rows: Sequence[Series]) -> Estimate:
    numbers = curves.horizontal(*rows)
    scale = max(float(np.abs(row.x).max()) for row in rows)
    if numbers is not None:
        return estimated(numbers, scale)
    found = curves.beyond(*rows)
    assert found is not None  # rows without a common value lie one above the other
    gap, limit, above = found
    of_gap = estimated(gap, 1.0)
    sample = of_gap.candidates[0]
    assert isinstance(sample, Sample)
    return Estimate(np.full(len(gap), limit), (Beyond(sample, limit, above),), limit)


def best(arms: Sequence[Arm]) -> Estimate:
    numbers, choices = np.zeros(len(arms[0].y)), list[list[int]]()
    for arm, sign in zip(arms, (1, -1), strict=True):
        assert arm.picks is not None
        n, total = len(arm.y), arm.picks.sum(axis=0)
        if n < 2:
            raise Unformed("the best is picked on the other seeds, which needs two seeds or more")
        # Picked on the other seeds than the one that it is valued on.
        picked = np.argmax((total - arm.picks) / (n - 1), axis=1)
        numbers = numbers + sign * arm.y[np.arange(n), picked]
        below = axes.clearly_below(arm.picks)
        choices.append([c for c in range(arm.y.shape[1]) if not below[c].any()])
    pairs = [arms[0].y[:, a] - arms[1].y[:, b] for a, b in itertools.product(*choices)]
    others = [Sample(pair) for pair in pairs if varies(pair, _scale(arms))]
    return _open(estimated(numbers, _scale(arms)), others)


def tau(arms: Sequence[Arm]) -> Estimate:
    both = [np.hstack([arm.y for arm in arms]), np.hstack([_against(arm) for arm in arms])]
    return estimated(curves.tau(*both), 1.0)


def _against(arm: Arm) -> Array:
    assert arm.against is not None
    return arm.against
