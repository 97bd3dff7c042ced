"""How far features and predictions move when an image is translated: equivariance and invariance.

The first 250 validation images are drawn with a margin, where the data set knows what is there
(glyphs does), else with their edge pixels repeated, and seen through a window that moves: what
leaves the image at one side is lost, nothing wraps around.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vitcli.data import DataSource
from vitcli.evals.evaluator import Evaluator
from vitcli.evals.inference import BATCH, batches, inference

_DIRECTIONS = ((-2, 1), (-2, -1), (-1, 1), (-1, -1))  # axis, sign
_CONSTANT = 1e-10  # a feature of less variance says nothing, and is left out
_Seen = tuple[Tensor, Tensor, Tensor]  # map (B, C, h, w), pooled (B, D), both float64, class (B,)


class Shifts(Evaluator):
    """Yields shift/<s>/consistency, /error and /invariance for translations by s pixels.

    Each is a mean over images and the four directions along the axes.
    consistency: share of images whose predicted class is that of the image in its place.
    error: squared difference of the feature map of the translated image and the translated map of
        the image, where both see the same; between cells the map is interpolated. In units of each
        channel's variance over images and places: 0 is equivariant, 2 is unrelated.
    invariance: squared difference of the features that the head is given, in units of each one's
        variance over images: 0 is invariant.

    As references, untrained/shift/<s>/error and /invariance of the model before its first step; its
    head of zeros has no prediction.
    """

    def __init__(
        self, shifts: list[int], data: DataSource, drawn_margin: int, device: torch.device
    ) -> None:
        """Takes images with `drawn_margin` pixels around them; what lacks is padded."""
        self._shifts, self._data, self._device = shifts, data, device
        self._margin = max(shifts)
        self._pad = self._margin - drawn_margin

    def protocol(self) -> dict[str, Any]:
        """Returns the parts of the measurement that its numbers depend on."""
        return {
            "name": "shifts",
            "shifts": list(self._shifts),
            "directions": len(_DIRECTIONS),
            "test_size": min(BATCH, self._data.val_size),
            "margin": "edge pixels repeated" if self._pad else "drawn",
            "unit": "variance of each feature",
            "between_cells": "linear interpolation",
        }

    def run(self, model: nn.Module) -> Iterator[tuple[str, float]]:
        """Yields (name, value)."""
        yield from self._results(model).items()

    def references(self, untrained: nn.Module) -> Iterator[tuple[str, float]]:
        """Yields (name, value) of the model before its first step."""
        for name, value in self._results(untrained).items():
            if not name.endswith("/consistency"):
                yield f"untrained/{name}", value

    def _results(self, model: nn.Module) -> dict[str, float]:
        results: dict[str, float] = {}
        with inference(model, self._device):
            ((wide, _),) = batches(self._data, "val", BATCH)
            wide = F.pad(wide, (self._pad,) * 4, mode="replicate")
            still = _look(model, _window(wide, self._margin, -1, 0))
            for shift in self._shifts:
                moves = []
                for axis, sign in _DIRECTIONS:
                    moved = _look(model, _window(wide, self._margin, axis, shift * sign))
                    stride = (wide.shape[axis] - 2 * self._margin) / still[0].shape[axis]
                    moves.append(_compare(still, moved, axis, shift * sign / stride))
                means = torch.tensor(moves, dtype=torch.float64).mean(0).tolist()
                for name, value in zip(("consistency", "error", "invariance"), means, strict=True):
                    results[f"shift/{shift}/{name}"] = value
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
    return features.double(), pooled.double(), guess


def _compare(still: _Seen, moved: _Seen, axis: int, cells: float) -> tuple[float, float, float]:
    """Returns (consistency, error, invariance) after a translation by `cells` of the map."""
    expected, found = _overlap(still[0], moved[0], axis, cells)
    error = _in_variances((found - expected).square(), still[0], (0, 2, 3))
    invariance = _in_variances((moved[1] - still[1]).square(), still[1], (0,))
    return (moved[2] == still[2]).double().mean().item(), error, invariance


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
        return 0.0
    return (squares.mean(over)[varies] / variance[varies]).mean().item()
