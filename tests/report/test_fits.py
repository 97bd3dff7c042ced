"""Power laws against scipy's least squares, exact curves, and simulations of known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from vitcli.report import fits

X = np.array([1e3, 3e3, 9e3, 27e3, 81e3, 243e3])


def law(a: float, b: float, c: float) -> fits.Array:
    return 1 - a * X**-b - c


def noisy(seed: int, n: int, sd: float, *constants: float) -> fits.Array:
    return law(*constants) + np.random.default_rng(seed).normal(0, sd, (n, len(X)))


@pytest.mark.parametrize("constants", [(20.0, 0.45, 0.08), (2.0, 0.15, 0.0), (300.0, 0.9, 0.3)])
def test_an_exact_curve_gives_its_law_and_its_next_step(
    constants: tuple[float, float, float],
) -> None:
    found = fits.fit(X, law(*constants)[None])
    assert found is not None
    assert (found.a, found.b, found.c) == pytest.approx(constants, rel=1e-3, abs=1e-4)
    assert found.next_x == pytest.approx(729e3)
    beyond = 1 - constants[0] * 729e3 ** -constants[1] - constants[2]
    assert found.next_y == pytest.approx(beyond, abs=1e-5)
    assert found.top1(X) == pytest.approx(law(*constants), abs=1e-5)
    assert (found.b_interval, found.next_interval) == (None, None)  # of one seed


@pytest.mark.parametrize("seed", range(4))
def test_the_fit_is_scipy_s_bounded_least_squares(seed: int) -> None:
    constants = (20.0, 0.45, 0.08) if seed % 2 else (3.0, 0.25, 0.0)  # c at its bound or not
    y = noisy(seed, 3, 0.01, *constants)
    found = fits.fit(X, y)
    assert found is not None
    starts = [(0.5, b, c) for b in (0.05, 0.3, 1.0) for c in (0.0, 0.1)]
    best = min(
        least_squares(
            lambda p: 1 - p[0] * (X / 1e4) ** -p[1] - p[2] - y.mean(axis=0),
            start,
            bounds=([0, 0.01, 0], [10, 4, 1]),
            xtol=1e-12,
            ftol=1e-12,
        ).cost
        for start in starts
    )
    ours = np.sum((found.top1(X) - y.mean(axis=0)) ** 2) / 2
    assert ours <= best * (1 + 1e-5)
    assert found.b == pytest.approx(constants[1], abs=0.2)


def test_a_fit_is_the_same_each_time() -> None:
    y = noisy(5, 3, 0.01, 20.0, 0.45, 0.08)
    assert fits.fit(X, y) == fits.fit(X, y)


def test_what_has_no_law() -> None:
    assert fits.fit(X[:3], np.array([[0.1, 0.2, 0.3]])) is None
    assert fits.fit(X, np.linspace(0.5, 1.5, len(X))[None]) is None  # no accuracies
    assert fits.fit(X, np.linspace(0.6, 0.5, len(X))[None]) is None  # falling


def test_intervals_cover_and_a_floor_is_rarely_seen_where_there_is_none() -> None:
    trials, floors = 300, [0, 0]
    hits = np.zeros(3)
    truth = (20.0, 0.45, 0.08)
    beyond = 1 - 20.0 * 729e3**-0.45 - 0.08
    for trial in range(trials):
        found = fits.fit(X, noisy(trial, 3, 0.004, *truth), draws=200)
        none = fits.fit(X, noisy(trial, 3, 0.004, 5.0, 0.3, 0.0), draws=2)
        assert found is not None
        assert none is not None
        intervals = (found.b_interval, found.c_interval, found.next_interval)
        for i, (true, interval) in enumerate(zip((0.45, 0.08, beyond), intervals, strict=True)):
            assert interval is not None
            hits[i] += interval[0] <= true <= interval[1]
        floors[0] += (found.floor or 0) > 0
        floors[1] += (none.floor or 0) > 0
    assert np.all(hits / trials > 0.90)  # of 0.95; three standard errors are 0.04
    assert floors[0] / trials > 0.99
    assert floors[1] / trials < 0.12
