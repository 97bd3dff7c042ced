"""The mathematics of translations: a window that moves over wide images, and what a model sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vitcli.evals.inference import exact

_DIRECTIONS = ((-2, 1), (-2, -1), (-1, 1), (-1, -1))  # axis, sign
_CONSTANT = 1e-10  # a feature of less variance says nothing, and is left out
_Seen = tuple[Tensor, Tensor, Tensor]  # map (B, C, h, w), pooled (B, D), both float64, class (B,)


def translated(model: Any, wide: Tensor, margin: int, shifts: Sequence[int]) -> dict[str, float]:
    """Returns consistency, error and invariance of each shift, `<s>/error` and so on.

    Means over the four directions; NaN where no feature varies. Args: `wide` (B, 3, H, W) with
    `margin` pixels on each side.
    """
    results: dict[str, float] = {}
    still = _look(model, _window(wide, margin, -1, 0))
    for shift in shifts:
        moves = []
        for axis, sign in _DIRECTIONS:
            moved = _look(model, _window(wide, margin, axis, shift * sign))
            stride = (wide.shape[axis] - 2 * margin) / still[0].shape[axis]
            moves.append(_compare(still, moved, axis, shift * sign / stride))
        means = torch.tensor(moves, dtype=torch.float64).mean(0).tolist()
        for name, value in zip(("consistency", "error", "invariance"), means, strict=True):
            results[f"{shift}/{name}"] = value
    return results


def _window(wide: Tensor, margin: int, axis: int, shift: int) -> Tensor:
    """Returns images (B, 3, H, W), their content moved by `shift` pixels along `axis`."""
    for along in (-2, -1):
        start = margin - (shift if along == axis else 0)
        wide = wide.narrow(along, start, wide.shape[along] - 2 * margin)
    return wide.contiguous()


def _look(model: Any, images: Tensor) -> _Seen:
    features = model.forward_features(images)
    pooled = model.forward_head(features, pre_logits=True)
    guess = model.forward_head(features).argmax(-1)
    if features.ndim == 3:  # a ViT's tokens: the patches' in their places
        features = features[:, model.num_prefix_tokens :].mT.unflatten(-1, model.grid_size)
    return exact(features), exact(pooled), guess


def _compare(still: _Seen, moved: _Seen, axis: int, cells: float) -> tuple[float, float, float]:
    """Returns (consistency, error, invariance) after a translation by `cells` of the map."""
    expected, found = _overlap(still[0], moved[0], axis, cells)
    error = _in_variances((found - expected).square(), still[0], (0, 2, 3))
    invariance = _in_variances((moved[1] - still[1]).square(), still[1], (0,))
    return exact(moved[2] == still[2]).mean().item(), error, invariance


def _overlap(still: Tensor, moved: Tensor, axis: int, cells: float) -> tuple[Tensor, Tensor]:
    """Returns `still` translated by `cells` along `axis`, and `moved`, where both are known."""
    if cells < 0:
        still, moved, cells = still.flip(axis), moved.flip(axis), -cells
    whole, lost = math.floor(cells), math.ceil(cells)
    size = still.shape[axis] - lost
    near, far = still.narrow(axis, lost - whole, size), still.narrow(axis, 0, size)
    return near.lerp(far, cells - whole), moved.narrow(axis, lost, size)


def _in_variances(squares: Tensor, features: Tensor, over: tuple[int, ...]) -> float:
    """Returns the mean of `squares`, each feature's in units of its variance in `features`."""
    variance = features.var(over, correction=0)
    varies = variance > _CONSTANT
    if not varies.any():
        return math.nan  # a dead model is not equivariant
    return (squares.mean(over)[varies] / variance[varies]).mean().item()
