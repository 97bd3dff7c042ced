"""How far features and predictions move when an image is translated: equivariance and invariance.

The first 250 validation images are drawn with a margin, where the data set knows what is there
(glyphs does), else with their edge pixels repeated, and seen through a window that moves: what
leaves the image at one side is lost, nothing wraps around.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from vitcli.config import RunConfig
from vitcli.evals.evaluator import Evaluator
from vitcli.schema import Metric

if TYPE_CHECKING:
    import torch
    from torch import nn

    from vitcli.data import DataSource

_IMAGES = 250  # a batch
_DIRECTIONS = 4  # left, right, up, down


class Shifts(Evaluator):
    """Yields shift/<s>/consistency, /error and /invariance for translations by s pixels.

    Each is a mean over images and the four directions along the axes.
    consistency: share of images whose predicted class is that of the image in its place; a model
        without a head predicts none, and has none.
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
        self._headless, self._still = False, list[str]()

    @classmethod
    def metrics(cls, config: RunConfig) -> dict[str, Metric]:
        """Returns three of each shift, and two of the model before its first step."""
        found = {}
        for pixels in config.evals.shifts:
            by = f"shift by {pixels} pixel{'s'[: pixels - 1]}"
            share = Metric(f"share of predictions that a {by} leaves as they are")
            found[f"shift/{pixels}/consistency"] = share
            for kind, what in (
                ("error", f"error of the feature map against its translation, {by}"),
                ("invariance", f"change of the pooled features, {by}"),
            ):
                name = f"shift/{pixels}/{kind}"
                before = f"untrained/{name}"
                found[name] = Metric(what, True, nulls={"untrained": before})
                found[before] = Metric(f"{what}, untrained", True)
        return found

    @classmethod
    def images(cls, config: RunConfig) -> int:
        """Returns a batch, still and in each direction by each shift, before and after training."""
        shifts = len(config.evals.shifts)
        return 2 * _IMAGES * (1 + _DIRECTIONS * shifts) if shifts else 0

    @classmethod
    def build(cls, config: RunConfig, data: DataSource, device: torch.device) -> list[Shifts]:
        """Returns one where evals.shifts is not empty."""
        from vitcli.data.glyphs import Glyphs

        if not (shifts := config.evals.shifts):
            return []
        margin = max(shifts) if config.data.name == "glyphs" else 0
        wide = Glyphs(config.data, device, margin=margin) if margin else data
        return [cls(shifts, wide, margin, device)]

    def protocol(self) -> dict[str, Any]:
        """Returns the parts of the measurement that its numbers depend on."""
        return {
            "name": "shifts",
            "shifts": list(self._shifts),
            "directions": _DIRECTIONS,
            "test_size": min(_IMAGES, self._data.val_size),
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

    def notes(self) -> list[str]:
        """Returns what is not measured, and why."""
        found = ["no head, and so no shift/<s>/consistency"] if self._headless else []
        return found + [
            f"no feature varies over the images, and so no {name}" for name in self._still
        ]

    def _results(self, model: nn.Module) -> dict[str, float]:
        from torch.nn.functional import pad

        from vitcli.evals.inference import batches, inference
        from vitcli.evals.translate import translated

        with inference(model, self._device):
            ((wide, _),) = batches(self._data, "val", _IMAGES)
            wide = pad(wide, (self._pad,) * 4, mode="replicate")
            moved = translated(model, wide, self._margin, self._shifts)
        self._headless = getattr(model, "num_classes", None) == 0
        kept = [name for name in moved if not (self._headless and name.endswith("/consistency"))]
        found = {f"shift/{name}": moved[name] for name in kept}
        self._still = [name for name, value in found.items() if math.isnan(value)]
        return {name: value for name, value in found.items() if name not in self._still}
