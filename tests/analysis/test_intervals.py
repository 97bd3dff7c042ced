"""Intervals and p values against scipy's t tests, and what an open choice or a bound does."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from vitcli.analysis.intervals import Beyond, Estimate, Level, Sample, mean_interval, varies

VALUES = np.array([0.10, 0.13, 0.08, 0.11, 0.15])


def test_a_sample_is_scipy_s_t_test() -> None:
    sample = Sample(VALUES)
    for bound in (-0.1, 0.0, 0.09, 0.2):
        above = scipy.stats.ttest_1samp(VALUES, bound, alternative="greater")
        below = scipy.stats.ttest_1samp(VALUES, bound, alternative="less")
        assert sample.p_above(bound) == pytest.approx(above.pvalue)
        assert sample.p_below(bound) == pytest.approx(below.pvalue)
    expected = scipy.stats.ttest_1samp(VALUES, 0).confidence_interval(0.99)
    assert sample.interval(0.99) == pytest.approx((expected.low, expected.high))


def test_a_lost_degree_widens_the_interval() -> None:
    low, high = Sample(VALUES, lost=2).interval(0.95)
    half = scipy.stats.t.ppf(0.975, 3) * VALUES.std(ddof=1) / 5**0.5
    assert (high - low) / 2 == pytest.approx(half)
    assert Sample(VALUES[:2], lost=2).interval(0.9)[0] < Sample(VALUES[:2]).interval(0.5)[0]


def test_an_estimate_covers_all_its_candidates() -> None:
    other = Sample(VALUES - 0.2)
    both = Estimate(VALUES, (Sample(VALUES), other))
    assert both.effect == pytest.approx(VALUES.mean())
    assert both.interval(0.9) == (other.interval(0.9)[0], Sample(VALUES).interval(0.9)[1])
    assert both.p_above(0.0) == other.p_above(0.0)
    assert both.p_below(0.0) == Sample(VALUES).p_below(0.0)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_a_p_value_is_below_alpha_exactly_where_the_interval_ends(level: float) -> None:
    """What lets one interval and two p values say the same."""
    estimate = Estimate(VALUES, (Sample(VALUES), Sample(VALUES - 0.05)))
    low, high = estimate.interval(level)
    alpha = (1 - level) / 2
    for step in (1e-6, -1e-6):
        assert (estimate.p_above(low + step) < alpha) == (step < 0)
        assert (estimate.p_below(high + step) < alpha) == (step > 0)


def test_no_overlap_is_a_bound() -> None:
    gap = Sample(np.array([0.1, 0.12, 0.11]))
    above, below = Beyond(gap, 3.0, above=True), Beyond(gap, -3.0, above=False)
    assert above.interval(0.95) == (3.0, np.inf)
    assert below.interval(0.95) == (-np.inf, -3.0)
    assert above.p_above(2.0) == gap.p_above(0.0) < 0.01
    assert (above.p_above(3.5), above.p_below(0.0)) == (1.0, 1.0)
    unsure = Beyond(Sample(np.array([0.1, -0.1, 0.05])), 3.0, above=True)
    assert unsure.interval(0.95) == (-np.inf, np.inf)


def test_a_level_row_is_exactly_0() -> None:
    assert Level().interval(0.95) == (0, 0)
    assert [Level().p_above(b) for b in (-0.1, 0.0, 0.1)] == [0, 1, 1]
    assert [Level().p_below(b) for b in (-0.1, 0.0, 0.1)] == [1, 1, 0]


def test_the_interval_of_a_mean() -> None:
    assert mean_interval([0.5]) == (0.5, None)
    mean, half = mean_interval(VALUES.tolist())
    assert (mean, half) == (
        pytest.approx(0.114),
        pytest.approx(2.7764 * 0.02702 / 5**0.5, rel=1e-3),
    )


def test_rounding_is_no_spread() -> None:
    thirds = np.array([0.1 + 0.2, 0.3, 0.3])
    assert not varies(thirds, 0.3)
    assert varies(thirds + np.array([0, 0, 1e-6]), 0.3)
    assert not varies(np.array([0.3]), 0.3)
