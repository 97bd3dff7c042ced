"""The statistics against scipy's own tests, formulas written out by hand, and simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st

from vitcli.report import stats

FIRST = [0.71, 0.69, 0.74, 0.70, 0.73]
SECOND = [0.68, 0.66, 0.69, 0.70, 0.68]

accuracies = st.lists(
    st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)), min_size=2, max_size=8
)


def found(ps: Sequence[float | None]) -> float:
    """Returns the share of p values below 0.05."""
    return sum(p is not None and p < 0.05 for p in ps) / len(ps)


def test_mean_interval_is_student_s() -> None:
    mean, half = stats.mean_interval([1.0, 2.0, 4.0])
    # sd = sqrt(7/3), t(0.975, 2) = 4.302653 from a printed table
    assert mean == pytest.approx(7 / 3)
    assert half == pytest.approx(4.302653 * math.sqrt(7 / 3) / math.sqrt(3), rel=1e-6)


def test_one_value_has_a_mean_and_no_interval() -> None:
    assert stats.mean_interval([0.7]) == (0.7, None)


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert stats.mean_interval([0.75, 0.75, 0.75]) == (0.75, 0.0)


@given(accuracies)
def test_paired_tests_are_scipy_s(pairs: list[tuple[float, float]]) -> None:
    first, second = zip(*pairs, strict=True)
    assume(np.ptp(np.subtract(first, second)) > 1e-6)
    pair = stats.paired(first, second)
    above = scipy.stats.ttest_rel(first, second, alternative="greater").pvalue
    below = scipy.stats.ttest_rel(first, second, alternative="less").pvalue
    assert stats.p_greater(pair) == pytest.approx(above, rel=1e-6, abs=1e-12)
    assert stats.p_less(pair) == pytest.approx(below, rel=1e-6, abs=1e-12)
    low, high = scipy.stats.ttest_rel(first, second).confidence_interval(0.9)
    assert stats.interval(pair, 0.9) == pytest.approx((low, high), rel=1e-6, abs=1e-9)
    two_sided = scipy.stats.ttest_rel(first, second).pvalue
    assert stats.p_outside(pair, 0.0) == pytest.approx(two_sided, rel=1e-6, abs=1e-12)


@given(accuracies, st.floats(0.001, 0.5), st.sampled_from([0.01, 0.05, 0.1]))
def test_equivalence_is_the_interval_within_the_margin(
    pairs: list[tuple[float, float]], margin: float, alpha: float
) -> None:
    difference = np.array([a - b for a, b in pairs])
    assume(np.ptp(difference) > 1e-6)
    n = len(difference)
    reach = scipy.stats.t.ppf(1 - alpha, n - 1) * difference.std(ddof=1) / math.sqrt(n)
    low, high = difference.mean() - reach, difference.mean() + reach
    assume(abs(low + margin) > 1e-9 and abs(high - margin) > 1e-9)
    p = stats.p_equivalent(stats.paired(*zip(*pairs, strict=True)), margin)
    assert p is not None
    assert (p < alpha) == (-margin < low and high < margin)


def test_equivalence_written_out() -> None:
    pair = stats.paired(FIRST, SECOND)
    difference = np.subtract(FIRST, SECOND)
    se = difference.std(ddof=1) / math.sqrt(5)
    above = scipy.stats.t.sf((difference.mean() + 0.06) / se, 4)
    below = scipy.stats.t.cdf((difference.mean() - 0.06) / se, 4)
    assert stats.p_equivalent(pair, 0.06) == pytest.approx(max(above, below))


def test_outside_a_margin_is_the_nearer_edge_s_test_where_the_margin_is_wide() -> None:
    pair = stats.Paired(n=10, mean=0.30, sd=0.02)
    assert stats.p_outside(pair, 0.29) == pytest.approx(stats.p_greater(pair, 0.29), abs=1e-9)
    mirrored = stats.Paired(n=10, mean=-0.30, sd=0.02)
    assert stats.p_outside(mirrored, 0.29) == stats.p_outside(pair, 0.29)


def test_outside_a_margin_holds_its_level() -> None:
    rng = np.random.default_rng(0)
    for n in (2, 3, 5):
        for margin in (0.1, 1.0, 4.0):  # in standard errors
            sample = rng.normal(margin, math.sqrt(n), (3000, n)).tolist()
            ps = [stats.p_outside(stats.paired(row, [0.0] * n), margin) for row in sample]
            assert found(ps) < 0.05 + 3 * 0.004


def test_holm_s_example() -> None:
    # 4 x 0.005, 3 x 0.01, 2 x 0.03, then no smaller than the step before.
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.7, 0.9]) == [1.0, 1.0]
    assert stats.holm([0.2]) == [0.2]
    assert stats.holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_raises_every_p_and_keeps_their_order(ps: list[float]) -> None:
    for raw, adjusted in zip(ps, stats.holm(ps), strict=True):
        assert raw <= adjusted <= 1.0
    adjusted_in_order = np.array(stats.holm(ps))[np.argsort(ps, kind="stable")]
    assert np.all(np.diff(adjusted_in_order) >= 0)
    assert adjusted_in_order[0] == pytest.approx(min(1.0, len(ps) * min(ps)))


@pytest.mark.parametrize("n", [3, 5])
def test_detectable_numbers_are_found_in_80_percent(n: int) -> None:
    rng = np.random.default_rng(n)
    sd, trials = 0.02, 4000
    known = stats.Paired(n, 0.0, sd)
    difference = stats.detectable_difference(known, 0.05)
    margin = stats.detectable_margin(known, 0.05)
    assert difference is not None
    assert margin is not None
    pairs = [stats.paired(row, [0.0] * n) for row in rng.normal(0, sd, (trials, n)).tolist()]
    shifted = [
        stats.paired(row, [-difference] * n) for row in rng.normal(0, sd, (trials, n)).tolist()
    ]
    assert found([stats.p_greater(pair) for pair in shifted]) == pytest.approx(0.8, abs=0.02)
    # A bound: the two tests of an equivalence seldom fail together.
    assert 0.78 < found([stats.p_equivalent(pair, margin) for pair in pairs]) < 0.85


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([0.7], [0.6]),
        ([0.7, 0.7], [0.6, 0.6]),
        ([0.3, 0.5, 0.7], [0.2, 0.4, 0.6]),  # equal but for rounding: 0.1 is not exact
        ([0.7, 0.6], [0.7, 0.6]),
    ],
)
def test_without_a_spread_nothing_is_tested(first: list[float], second: list[float]) -> None:
    pair = stats.paired(first, second)
    assert pair.mean == pytest.approx(first[0] - second[0])
    assert pair.sd is None
    assert stats.interval(pair, 0.9) is None
    assert stats.p_greater(pair) is None
    assert stats.p_less(pair) is None
    assert stats.p_equivalent(pair, 0.5) is None
    assert stats.p_outside(pair, 0.0) is None
    assert stats.detectable_difference(pair, 0.05) is None
    assert stats.detectable_margin(pair, 0.05) is None


@pytest.mark.parametrize(
    ("size", "alpha", "n"),
    [(1.0, 0.05, 8), (0.5, 0.05, 27), (0.1, 0.05, 620), (0.001, 0.05, None)],
)
def test_seeds_for_a_difference_are_the_printed_ones(
    size: float, alpha: float, n: int | None
) -> None:
    """One-sided paired t test, power 0.8: G*Power's 8, 27 and 620."""
    assert stats.seeds_for_difference(0.02, 0.02 * size, alpha) == n


@pytest.mark.parametrize("ratio", [0.7, 1.5, 4.0])
def test_seeds_are_the_fewest_that_detect(ratio: float) -> None:
    for seeds, detectable in (
        (stats.seeds_for_difference, stats.detectable_difference),
        (stats.seeds_for_margin, stats.detectable_margin),
    ):
        n = seeds(0.02, 0.02 * ratio, 0.01)
        assert n is not None
        enough = detectable(stats.Paired(n, 0.0, 0.02), 0.01)
        assert enough is not None
        assert enough <= 0.02 * ratio
        fewer = detectable(stats.Paired(n - 1, 0.0, 0.02), 0.01) if n > 2 else math.inf
        assert fewer is not None
        assert fewer > 0.02 * ratio


def test_seeds_for_a_margin_confirm_it_in_80_percent() -> None:
    n = stats.seeds_for_margin(0.02, 0.025, 0.05)
    assert n is not None
    rows = np.random.default_rng(4).normal(0, 0.02, (4000, n)).tolist()
    ps = [stats.p_equivalent(stats.paired(row, [0.0] * n), 0.025) for row in rows]
    assert 0.79 < found(ps) < 0.9


def test_resampled_means_give_student_s_interval() -> None:
    values = np.random.default_rng(2).normal(0.6, 0.02, (4, 3))
    means = stats.resampled_means(values, 40_000)
    contrast = np.array([1.0, -2.0, 1.0])
    low, high = np.quantile(means @ contrast, [0.025, 0.975])
    expected, half = stats.mean_interval(list(values @ contrast))
    assert (low, high) == pytest.approx((expected - half, expected + half), rel=0.03)
