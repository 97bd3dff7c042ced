"""Saturating power laws, error = a * x^-b + c, with intervals over seeds and one step beyond.

Least squares on the error, 1 - top-1, with a >= 0, c >= 0 and b in `_EXPONENTS`. For a given b the
best a and c are in closed form, so that a search over b alone finds the least squares of all three.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vitcli.report.stats import resampled_means

Array = NDArray[np.float64]
Interval = tuple[float, float]

_EXPONENTS = (0.01, 4.0)  # almost a line in log x; and all gone after one column
_LEVEL = 0.95


@dataclass(frozen=True)
class Law:
    """error = a * x^-b + c. With `of_seeds`, the 95 % intervals over seeds; None for one seed."""

    a: float
    b: float
    c: float
    b_interval: Interval | None
    c_interval: Interval | None
    next_x: float  # the last x times the last ratio of two x
    next_y: float  # 1 - error there: extrapolated
    next_interval: Interval | None
    floor: float | None  # AICc of c = 0 less that of c > 0: above 0, a floor fits better

    def top1(self, x: Array) -> Array:
        """Returns 1 - error at x."""
        return np.asarray(1 - self.a * x**-self.b - self.c)


def fit(x: Array, y: Array, draws: int = 1000) -> Law | None:
    """Returns the law of a row's values y (S, C) in [0, 1] at x (C,), positive and rising.

    None where there is none to fit: fewer than four x for its three numbers, values that are no
    accuracies, or that do not rise. The intervals are percentiles over resampled means, with the
    law fitted to each.
    """
    if len(x) < 4 or y.min() < 0 or y.max() > 1:
        return None
    next_x = float(x[-1] ** 2 / x[-2])
    mean = 1 - y.mean(axis=0, keepdims=True)
    (a,), (b,), (c,) = _least_squares(x, mean, floor=True)
    if a == 0:
        return None
    intervals: list[Interval | None] = [None] * 3
    if len(y) > 1:
        many_a, many_b, many_c = _least_squares(x, 1 - resampled_means(y, draws), floor=True)
        beyond = 1 - many_a * next_x**-many_b - many_c
        tails = [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]
        low_high = [np.quantile(values, tails) for values in (many_b, many_c, beyond)]
        intervals = [(float(low), float(high)) for low, high in low_high]
    next_y = float(1 - a * next_x**-b - c)
    return Law(
        float(a),
        float(b),
        float(c),
        b_interval=intervals[0],
        c_interval=intervals[1],
        next_x=next_x,
        next_y=next_y,
        next_interval=intervals[2],
        floor=_floor(x, 1 - y),
    )


def _floor(x: Array, error: Array) -> float | None:
    """Returns AICc(c = 0) - AICc(c > 0) over all seeds' values; None: too few, or an exact fit.

    Normal residuals of one spread, independent. Source: Burnham and Anderson, "Model selection and
    multimodel inference", 2002, eqs. 2.4 and 7.
    """
    scores = []
    for floor, parameters in ((False, 3), (True, 4)):  # the spread is one
        a, b, c = _least_squares(x, error.mean(axis=0, keepdims=True), floor)
        squares = float(np.sum((error - a[0] * x ** -b[0] - c[0]) ** 2))
        left = error.size - parameters - 1
        if left < 1 or squares < 1e-20:
            return None
        correction = 2 * parameters * (parameters + 1) / left
        scores.append(error.size * np.log(squares / error.size) + 2 * parameters + correction)
    return float(scores[0] - scores[1])


def _least_squares(x: Array, error: Array, floor: bool) -> tuple[Array, Array, Array]:
    """Returns a, b and c, each (D,), of the best law of each curve of errors (D, C)."""
    centre = np.exp(np.mean(np.log(x)))  # keeps x^-b near 1
    low, high = np.log(_EXPONENTS)
    exponents = np.exp(np.linspace(low, high, 61))[None].repeat(len(error), axis=0)
    step = (high - low) / 60
    for _ in range(4):  # the last step is 0.001 % of b
        a, c, squares = _linear(x / centre, error, exponents, floor)
        best = np.argmin(squares, axis=1)[:, None]
        a, b, c = (np.take_along_axis(v, best, axis=1)[:, 0] for v in (a, exponents, c))
        around = np.log(b)[:, None] + np.linspace(-step, step, 21)
        exponents, step = np.exp(np.clip(around, low, high)), step / 10
    return a * centre**b, b, c


def _linear(x: Array, error: Array, b: Array, floor: bool) -> tuple[Array, Array, Array]:
    """Returns the best a, c >= 0 and their sum of squares, (D, K) each, for exponents b (D, K)."""
    basis = x[None, None] ** -b[..., None]
    target = error[:, None]
    mean_basis, mean_target = basis.mean(axis=-1), target.mean(axis=-1)
    free = basis - mean_basis[..., None]
    a = np.maximum(0.0, np.sum(free * target, axis=-1) / np.sum(free**2, axis=-1))
    c = mean_target - a * mean_basis
    # Least squares are convex: where c would be below 0, the best allowed c is 0.
    through = np.maximum(0.0, np.sum(basis * target, axis=-1) / np.sum(basis**2, axis=-1))
    pinned = (c < 0) | (not floor)
    a, c = np.where(pinned, through, a), np.where(pinned, 0.0, c)
    residual = target - a[..., None] * basis - c[..., None]
    return a, c, np.sum(residual**2, axis=-1)
