"""Numbers along x against closed forms, scipy, finite differences, and the paper's tables."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from vitcli.analysis import curves
from vitcli.analysis.curves import Series, Unformed
from vitcli.analysis.intervals import t_quantile
from vitcli.paper import published

X = np.log2(np.array([1e3, 3e3, 9e3, 27e3]))
NOISE = np.random.default_rng(0).normal(0, 0.01, (5, 4))


def line(slope: float, start: float = 0.3) -> np.ndarray:
    return start + slope * (X - X[0]) + NOISE


def of_paper(table: str, metric: str, row: str) -> Series:
    x, y = np.array(published(table, metric, row)).T
    return Series(np.log2(x), y[None])


def test_a_slope_is_least_squares_per_doubling() -> None:
    expected = [np.polyfit(X, y, 1)[0] for y in line(0.05)]
    assert curves.slope(Series(X, line(0.05))) == pytest.approx(expected)
    ends = line(0.05)[:, -2:]
    expected = [(last - before) / (X[-1] - X[-2]) for before, last in ends]
    assert curves.end_slope(Series(X, line(0.05))) == pytest.approx(expected)
    with pytest.raises(Unformed, match="fewer than two x"):
        curves.slope(Series(X[:1], line(0.05)[:, :1]))


def test_a_gap_is_at_common_x_or_by_lines_inside_the_overlap() -> None:
    one, other = Series(X, line(0.05)), Series(X[1:], line(0.02)[:, 1:])
    gap = curves.gap(one, other, interpolate=False)
    assert gap.x == pytest.approx(X[1:])
    assert gap.y == pytest.approx(one.y[:, 1:] - other.y)
    moved = curves.gap(one, Series(X + 0.5, line(0.05)), interpolate=True)
    assert moved.x == pytest.approx(np.sort(np.concatenate([X[1:], X[:3] + 0.5])))
    with pytest.raises(Unformed, match="no x is common"):
        curves.gap(one, Series(X + 0.5, one.y), interpolate=False)
    with pytest.raises(Unformed, match="no x is common"):
        curves.gap(one, Series(X + 90, one.y), interpolate=True)


def test_the_distance_along_x_of_a_shifted_row_is_the_shift() -> None:
    row = Series(X, np.tile([0.3, 0.45, 0.5, 0.62], (2, 1)))
    assert curves.horizontal(row, Series(X + 1.5, row.y)) == pytest.approx([1.5, 1.5])
    assert curves.horizontal(Series(X + 1.5, row.y), row) == pytest.approx([-1.5, -1.5])


def test_the_distance_s_numbers_are_its_first_order_changes() -> None:
    """Against finite differences: moving one seed's value moves that seed's number alone so."""
    one, other = line(0.06), line(0.05, 0.27)

    def effect(y: np.ndarray) -> float:
        found = curves.horizontal(Series(X, y), Series(X + 0.3, other))
        assert found is not None
        return float(found.mean())

    numbers = curves.horizontal(Series(X, one), Series(X + 0.3, other))
    assert numbers is not None
    gradient = []
    for point in range(4):
        moved = one.copy()
        moved[:, point] += 1e-6  # of all seeds: the mean moves as much
        gradient.append((effect(moved) - effect(one)) / 1e-6)
    back = []
    for point in range(4):
        moved = other.copy()
        moved[:, point] += 1e-6
        there = curves.horizontal(Series(X, one), Series(X + 0.3, moved))
        assert there is not None
        back.append((float(there.mean()) - effect(one)) / 1e-6)
    expected = (one - one.mean(axis=0)) @ gradient + (other - other.mean(axis=0)) @ back
    assert numbers - numbers.mean() == pytest.approx(expected, abs=1e-4)


def test_rows_without_a_common_value_bound_the_distance() -> None:
    low, high = Series(X, line(0.01)), Series(X + 2, line(0.01, 0.8))
    assert curves.horizontal(high, low) is None
    gap, limit, above = curves.beyond(high, low) or (np.empty(0), 0.0, False)
    assert (limit, above) == (pytest.approx(X[-1] - X[0] - 2), True)
    assert gap == pytest.approx(high.y[:, 0] - low.y[:, -1])
    _, limit, above = curves.beyond(low, high) or (None, 0.0, True)
    assert (limit, above) == (pytest.approx(X[0] + 2 - X[-1]), False)
    assert curves.beyond(low, low) is None


def test_tau_is_scipy_s() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(6, 9)), rng.normal(size=(6, 9))
    one[0, :4], other[1, 2:6] = 0.5, 0.1  # ties
    expected = [scipy.stats.kendalltau(a, b).statistic for a, b in zip(one, other, strict=True)]
    assert curves.tau(one, other) == pytest.approx(expected)
    assert np.isnan(curves.tau(np.ones((1, 4)), other[:1, :4])).all()


def test_the_spread_of_rows_is_unbiased_whatever_the_noise() -> None:
    """Equal rows have none; the variance of observed means grows with the noise."""
    rng, n, sds = np.random.default_rng(2), 4, np.array([0.01, 0.02, 0.05])
    x, found, naive = X[:3], [], []
    truth = np.array([[0.0, 0.0, 0.02], [0, 0, 0], [0, 0, -0.02]])
    for _ in range(4000):
        values = truth[:, None] + rng.normal(size=(3, n, 3)) * sds + rng.normal(size=(1, n, 1))
        rows = [Series(x, each) for each in values]
        found.append(curves.spread_of(rows, interpolate=False)[1].mean(axis=0))
        naive.append(values.mean(axis=1).var(axis=0, ddof=1))
    se = np.std(found, axis=0) / 4000**0.5
    assert (np.abs(np.mean(found, axis=0) - truth.var(axis=0, ddof=1)) < 4 * se).all()
    assert (np.mean(naive, axis=0)[:2] > 0.2 * sds[:2] ** 2).all()


def test_a_crossing_is_where_a_gap_is_not_clear() -> None:
    """Its interval is the x at which a t test does not set the gap apart from 0."""
    gap = Series(X, 0.03 * (X - X[0]) - 0.06 + NOISE)
    at, between = curves.crossings(gap, t_quantile(4, 0.975))
    assert at == [pytest.approx(X[0] + 2, abs=0.3)]
    assert between is not None
    for edge, outward in ((between[0], -1), (between[1], 1)):
        values = [np.interp(edge + outward * 0.02, X, y) for y in gap.y]
        assert scipy.stats.ttest_1samp(values, 0).pvalue < 0.06
        inside = [np.interp(edge - outward * 0.02, X, y) for y in gap.y]
        assert scipy.stats.ttest_1samp(inside, 0).pvalue > 0.04
    assert curves.crossings(Series(X, gap.y + 1), t_quantile(4, 0.975)) == ([], None)
    _, wide = curves.crossings(Series(X, 20 * NOISE), t_quantile(4, 0.975))
    assert wide is not None
    assert wide == (-np.inf, np.inf)


def test_crossings_are_covered() -> None:
    """An interval holds the true crossing in 95 % of repeats, with noise that differs tenfold."""
    rng, held, repeats = np.random.default_rng(3), 0, 1000
    for _ in range(repeats):
        noise = rng.normal(size=(4, 4)) * np.array([0.05, 0.02, 0.01, 0.005])
        row = Series(X, 0.02 * (X - X[0] - 2) + noise)
        _, between = curves.crossings(row, t_quantile(3, 0.975))
        held += between is not None and between[0] <= X[0] + 2 <= between[1]
    assert abs(held / repeats - 0.95) < 3.5 * (0.05 * 0.95 / repeats) ** 0.5


@pytest.mark.parametrize(("metric", "doublings"), [("imagenet", 1.0322), ("average", 2.1085)])
def test_the_paper_s_vits_need_a_half_or_a_quarter_of_the_compute(
    metric: str, doublings: float
) -> None:
    """Section 4.4 says 2 to 4 times less; by Table 6."""
    vit, resnet = (of_paper("table6", metric, row) for row in ("vit", "resnet"))
    assert curves.horizontal(vit, resnet) == pytest.approx([doublings], abs=1e-3)


def test_the_paper_s_hybrids_lose_their_advantage() -> None:
    vit, hybrid = (of_paper("table6", "average", row) for row in ("vit", "hybrid"))
    gap = curves.gap(vit, hybrid, interpolate=True)
    assert curves.slope(gap) == pytest.approx([0.00254], abs=1e-5)
    (at,) = curves.sign_changes(gap)
    assert 2**at == pytest.approx(885, abs=1)  # exaFLOPs


def test_each_change_of_sign_is_found() -> None:
    gap = Series(X, np.array([[0.1, -0.1, -0.1, 0.3]] * 2))
    assert curves.sign_changes(gap) == pytest.approx(
        [(X[0] + X[1]) / 2, X[2] + 0.25 * (X[3] - X[2])]
    )
