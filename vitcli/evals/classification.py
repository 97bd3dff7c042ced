"""Accuracy and loss on the upstream images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from vitcli.data import DataSource
from vitcli.evals.evaluator import Evaluator
from vitcli.evals.inference import batches, inference, top1


class Classification(Evaluator):
    """Yields val/top1, val/top5 (fractions) and val/loss (nats), means over the validation images.

    With five classes or fewer there is no val/top5: it would be 1 by definition. train/top1 is of
    the first training images, not augmented, as many as validation has; gap/top1, over-fitting, is
    what it is above val/top1.
    """

    def __init__(self, data: DataSource, device: torch.device) -> None:
        self._data, self._device = data, device
        self._ranks = {"val/top1": 1, "val/top5": 5} if data.num_classes > 5 else {"val/top1": 1}

    def protocol(self) -> dict[str, Any]:
        """Returns the parts of the measurement that its numbers depend on."""
        return {
            "name": "classification",
            "test_size": self._data.val_size,
            "train_images": min(self._data.val_size, self._data.train_size),
        }

    def run(self, model: nn.Module) -> Iterator[tuple[str, float]]:
        """Yields (name, value)."""
        sums = dict.fromkeys([*self._ranks, "val/loss"], 0.0)
        seen = 0  # less than val_size where images could not be decoded
        with inference(model, self._device):
            for images, labels in batches(self._data, "val"):
                logits = model(images)
                best = logits.topk(max(self._ranks.values())).indices
                for name, rank in self._ranks.items():
                    sums[name] += (best[:, :rank] == labels[:, None]).sum().item()
                seen += len(labels)
                sums["val/loss"] += F.cross_entropy(logits, labels, reduction="sum").item()
        for name, total in sums.items():
            yield name, total / seen
        train = top1(model, self._data, "train", self._device, self._data.val_size)
        yield "train/top1", train
        yield "gap/top1", train - sums["val/top1"] / seen
