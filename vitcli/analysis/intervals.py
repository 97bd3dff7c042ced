"""Intervals and tests for a few seeds: Student's t of one number a seed. Numbers in, numbers out.

The numbers of seeds are taken as independent and normal, as each seed replicates the experiment.
Where a choice among cells is not certain (the best column, the best at some compute), there is a
candidate for each choice that the data leave open, and an interval covers all of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit  # Student's t without the 0.7 s of scipy.stats

Array = NDArray[np.float64]
Interval = tuple[float, float]


class Candidate(ABC):
    """What is known of an effect under one choice."""

    @abstractmethod
    def interval(self, level: float) -> Interval:
        """Returns the two-sided interval of the effect at `level` in (0, 1)."""

    @abstractmethod
    def p_above(self, bound: float) -> float:
        """Returns the one-sided p of "the effect is above `bound`"."""

    @abstractmethod
    def p_below(self, bound: float) -> float:
        """Returns the one-sided p of "the effect is below `bound`"."""


@dataclass(frozen=True)
class Sample(Candidate):
    """A number of each seed, two or more and not all equal; `lost` degrees of freedom."""

    values: Array
    lost: int = 1

    def interval(self, level: float) -> Interval:
        mean, half = self._mean, t_quantile(self._df, (1 + level) / 2) * self._se
        return mean - half, mean + half

    def p_above(self, bound: float) -> float:
        return float(stdtr(self._df, (bound - self._mean) / self._se))

    def p_below(self, bound: float) -> float:
        return float(stdtr(self._df, (self._mean - bound) / self._se))

    @property
    def _mean(self) -> float:
        return float(self.values.mean())

    @property
    def _se(self) -> float:
        return float(self.values.std(ddof=1) / np.sqrt(len(self.values)))

    @property
    def _df(self) -> int:
        return max(1, len(self.values) - self.lost)


@dataclass(frozen=True)
class Beyond(Candidate):
    """An effect beyond a `limit`, `above` it or below, if the numbers of the gap are above 0."""

    gap: Sample
    limit: float
    above: bool

    def interval(self, level: float) -> Interval:
        if self.gap.interval(level)[0] <= 0:
            return -np.inf, np.inf
        return (self.limit, np.inf) if self.above else (-np.inf, self.limit)

    def p_above(self, bound: float) -> float:
        return self.gap.p_above(0.0) if self.above and bound <= self.limit else 1.0

    def p_below(self, bound: float) -> float:
        return self.gap.p_above(0.0) if not self.above and bound >= self.limit else 1.0


class Level(Candidate):
    """An effect of exactly 0, of a row that is level: nothing dearer than one point is better."""

    def interval(self, level: float) -> Interval:
        return 0.0, 0.0

    def p_above(self, bound: float) -> float:
        return float(bound >= 0)

    def p_below(self, bound: float) -> float:
        return float(bound <= 0)


@dataclass(frozen=True)
class Estimate:
    """An effect: its number of each seed, and what is known of it under each choice left open.

    Attributes:
        numbers: of each seed; their mean is the effect, if it has no `limit`.
        limit: an effect that is beyond all measured x is only known to be beyond this.
    """

    numbers: Array
    candidates: tuple[Candidate, ...]
    limit: float | None = None

    @property
    def effect(self) -> float:
        """Returns the effect, or the limit that it is beyond."""
        return float(self.numbers.mean()) if self.limit is None else self.limit

    @property
    def in_doubt(self) -> bool:
        """Returns whether the data leave several choices open, of which an interval covers all."""
        return len({candidate.interval(0.95) for candidate in self.candidates}) > 1

    @property
    def level(self) -> bool:
        """Returns whether it is 0 by construction, not by measurement, whatever the choice."""
        return all(isinstance(one, Level) for one in self.candidates)

    @property
    def lost(self) -> int:
        """Returns the degrees of freedom that its numbers take."""
        return max((one.lost for one in self.candidates if isinstance(one, Sample)), default=1)

    def interval(self, level: float) -> Interval:
        """Returns an interval that covers those of all candidates."""
        found = [candidate.interval(level) for candidate in self.candidates]
        return min(low for low, _ in found), max(high for _, high in found)

    def p_above(self, bound: float) -> float:
        """Returns the largest p of "the effect is above `bound`" of any candidate."""
        return max(candidate.p_above(bound) for candidate in self.candidates)

    def p_below(self, bound: float) -> float:
        """Returns the largest p of "the effect is below `bound`" of any candidate."""
        return max(candidate.p_below(bound) for candidate in self.candidates)


def t_quantile(df: float, probability: float) -> float:
    """Returns the quantile of Student's t."""
    return float(stdtrit(df, probability))


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float | None]:
    """Returns the mean of one or more values and its t-interval's half-width (None if n = 1)."""
    n = len(values)
    assert n > 0
    mean = float(np.mean(values))
    if n < 2:
        return mean, None
    half = t_quantile(n - 1, (1 + level) / 2) * float(np.std(values, ddof=1)) / float(np.sqrt(n))
    return mean, half


def varies(values: Array, scale: float) -> bool:
    """Returns whether the numbers differ by more than rounding does, of values up to `scale`."""
    return len(values) > 1 and float(np.ptp(values)) > 1e-12 * scale
