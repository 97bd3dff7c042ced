"""Intervals and tests for a few seeds, paired by seed. Arrays in, numbers out.

Student's t throughout: the differences between paired seeds are taken as independent and normal.
None means that the data cannot say: fewer than two values, or no spread to measure anything by.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

POWER = 0.8  # the usual convention, of every "smallest detectable" number here
MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Paired:
    """A difference (or another contrast) over n paired seeds: its mean, and the single ones' sd."""

    n: int
    mean: float
    sd: float | None  # None: n < 2, or all differences equal to rounding, so no t exists

    @property
    def se(self) -> float | None:
        """Returns the standard error of the mean difference."""
        return None if self.sd is None else self.sd / float(np.sqrt(self.n))


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float | None]:
    """Returns the mean of one or more values and its t-interval's half-width (None if n = 1)."""
    n = len(values)
    assert n > 0
    mean = float(np.mean(values))
    if n < 2:
        return mean, None
    return mean, _quantile(n - 1, (1 + level) / 2) * float(np.std(values, ddof=1) / np.sqrt(n))


def paired(first: Sequence[float], second: Sequence[float]) -> Paired:
    """Returns the paired difference of two equally long, non-empty samples."""
    assert len(first) == len(second)
    return sample(np.subtract(first, second), float(np.max(np.abs([first, second]))))


def sample(values: Sequence[float] | NDArray[np.float64], scale: float) -> Paired:
    """Returns the contrast whose number of each seed is given, of one seed or more.

    Args:
        scale: the largest of the values that the numbers were computed from.
    """
    assert len(values) > 0
    # Equal differences of unlike numbers differ by some 1e-16 of them: rounding, not a spread.
    spread = len(values) > 1 and float(np.ptp(values)) > 1e-12 * scale
    sd = float(np.std(values, ddof=1)) if spread else None
    return Paired(len(values), float(np.mean(values)), sd)


def resampled_means(values: NDArray[np.float64], draws: int) -> NDArray[np.float64]:
    """Returns `draws` plausible means (draws, C) of the seeds' values (S, C), S at least 2.

    A bootstrap over seeds whose weights are normal, and share one chi-square for the spread that S
    seeds leave unknown: any fixed combination of the C columns is then Student's t about its mean,
    so its percentile interval is the t-interval. Seeds drawn with replacement, the usual weights,
    know only the spread seen: their 95 % intervals covered in 50, 74 and 83 % of 2,000 repeats with
    2, 3 and 5 seeds, these in 96, 96 and 95 %.
    """
    n = len(values)
    assert n > 1
    rng = np.random.default_rng(0)
    mean = values.mean(axis=0)
    noise = rng.normal(size=(draws, n)) @ (values - mean) / np.sqrt(n * (n - 1))
    return np.asarray(mean + noise / np.sqrt(rng.chisquare(n - 1, (draws, 1)) / (n - 1)))


def interval(pair: Paired, level: float) -> tuple[float, float] | None:
    """Returns the t-interval of the mean difference at `level` in (0, 1)."""
    if pair.se is None:
        return None
    half = _quantile(pair.n - 1, (1 + level) / 2) * pair.se
    return pair.mean - half, pair.mean + half


def p_greater(pair: Paired, bound: float = 0.0) -> float | None:
    """Returns the one-sided p of "the true difference is above `bound`" (paired t test)."""
    if pair.se is None:
        return None
    return _tail(pair.n - 1, (pair.mean - bound) / pair.se)


def p_less(pair: Paired, bound: float = 0.0) -> float | None:
    """Returns the one-sided p of "the true difference is below `bound`" (paired t test)."""
    return p_greater(Paired(pair.n, -pair.mean, pair.sd), -bound)


def p_equivalent(pair: Paired, margin: float) -> float | None:
    """Returns the p of "the true difference is within +-margin": two one-sided tests, the larger p.

    Below alpha exactly when the (1 - 2 alpha) interval lies inside. Source: Schuirmann 1987.
    """
    above, below = p_greater(pair, -margin), p_less(pair, margin)
    return None if above is None or below is None else max(above, below)


def p_outside(pair: Paired, margin: float) -> float | None:
    """Returns the p of "the true difference is beyond +-margin", on either side.

    The sum of both tails, the truth taken to be at the nearer edge: the usual two-sided p at margin
    0, that edge's one-sided p where the margin is large against the noise. At a true difference of
    one margin it was below 0.05 in 3.8-5.0 % of 400,000 simulations, for n = 2, 3, 5 and margins of
    0 to 8 standard errors; the one-sided p of the nearer edge alone, in up to 10 %.
    """
    if pair.se is None:
        return None
    size, df = abs(pair.mean), pair.n - 1
    return _tail(df, (size - margin) / pair.se) + _tail(df, (size + margin) / pair.se)


def holm(ps: Sequence[float]) -> list[float]:
    """Returns Holm's step-down adjusted p values, in the order given. Source: Holm 1979."""
    order = np.argsort(ps, kind="stable")
    steps = np.asarray(ps, dtype=float)[order] * (len(ps) - np.arange(len(ps)))
    adjusted = np.empty(len(ps))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return [float(p) for p in adjusted]


def detectable_difference(pair: Paired, alpha: float) -> float | None:
    """Returns the true difference that `p_greater` finds in 80 % of repeats, at this n and sd."""
    return None if pair.sd is None else _detectable(pair.n, alpha, 1 - POWER) * pair.sd


def detectable_margin(pair: Paired, alpha: float) -> float | None:
    """Returns a margin that `p_equivalent` confirms in at least 80 % of repeats, if the truth is 0.

    Each of its two tests is given half of the failures, so that both hold at least that often.
    """
    return None if pair.sd is None else _detectable(pair.n, alpha, (1 - POWER) / 2) * pair.sd


def seeds_for_difference(sd: float, difference: float, alpha: float) -> int | None:
    """Returns the fewest seeds with which `p_greater` finds a true difference in 80 % of repeats.

    None: more than `MOST_SEEDS`. Both numbers are above 0.
    """
    return _seeds(difference / sd, alpha, 1 - POWER)


def seeds_for_margin(sd: float, margin: float, alpha: float) -> int | None:
    """Returns the fewest seeds whose `detectable_margin` is at most `margin`; else as above."""
    return _seeds(margin / sd, alpha, (1 - POWER) / 2)


def _seeds(size: float, alpha: float, miss: float) -> int | None:
    enough = range(2, MOST_SEEDS + 1)  # what n seeds detect falls with n
    n = 2 + bisect_left(enough, True, key=lambda n: _detectable(n, alpha, miss) <= size)
    return n if n <= MOST_SEEDS else None


def _detectable(n: int, alpha: float, miss: float) -> float:
    """Returns the difference, in sd, that a one-sided t test misses with probability `miss`."""
    from scipy.special import nctdtrinc

    critical = _quantile(n - 1, 1 - alpha)
    return float(nctdtrinc(n - 1, miss, critical) / np.sqrt(n))


# scipy.special has Student's t without the 0.7 s that importing scipy.stats takes.
def _quantile(df: int, probability: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(df, probability))


def _tail(df: int, t: float) -> float:
    """Returns P(T > t)."""
    from scipy.special import stdtr

    return float(stdtr(df, -t))
