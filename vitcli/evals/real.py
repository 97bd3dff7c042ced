"""Accuracy by the reassessed labels of ImageNet's validation images, several or none an image.

Source: Beyer et al. 2020, "Are we done with ImageNet?" (arXiv 2006.07159).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitcli.config import RunConfig
from vitcli.evals.evaluator import Evaluator
from vitcli.files import read_json
from vitcli.schema import Metric
from vitcli.sets import sizes

if TYPE_CHECKING:
    import torch
    from torch import nn

    from vitcli.data import DataSource
    from vitcli.data.decoded import Decoded

_NUMBERED = re.compile(r"ILSVRC2012_val_(\d{8})\.")


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(each) is int for each in value)


class RealLabels(Evaluator):
    """Yields val/real: how often the first guess is one of an image's labels, where it has any."""

    uses_head = True

    def __init__(self, data: Decoded, path: Path, device: torch.device) -> None:
        """Reads the labels. Raises ValueError: none of an image, or classes beyond the data's."""
        self._data, self._device = data, device
        try:
            labels = read_json(path)
        except (OSError, ValueError) as error:
            why = str(error).removeprefix(f"{path}: ")
            raise ValueError(f"data.real_labels={path}: {why}") from None
        if not isinstance(labels, list) or not all(map(_numbers, labels)):
            raise ValueError(f"data.real_labels={path}: not a list of lists of class numbers")
        self._labels: dict[str, list[int]] = {}
        for name in data.names("val"):
            number = _NUMBERED.search(name)
            if number is None or not 1 <= int(number[1]) <= len(labels):
                raise ValueError(f"data.real_labels={path}: no labels for {name}")
            self._labels[name] = labels[int(number[1]) - 1]
        if (most := max((n for each in labels for n in each), default=0)) >= data.num_classes:
            raise ValueError(
                f"data.real_labels={path}: its classes go up to {most}, the data have "
                f"{data.num_classes}; the numbers are of all of ImageNet's 1,000 classes"
            )

    @classmethod
    def metrics(cls, config: RunConfig) -> dict[str, Metric]:
        """Returns val/real where data.real_labels is set."""
        if config.data.real_labels is None:
            return {}
        tuned = config.finetune.source is not None
        return {"val/real": Metric("top-1 by reassessed labels", scratch=tuned)}

    @classmethod
    def images(cls, config: RunConfig) -> int:
        """Returns the validation images."""
        return 0 if config.data.real_labels is None else sizes(config.data)[1] or 0

    @classmethod
    def build(cls, config: RunConfig, data: DataSource, device: torch.device) -> list[RealLabels]:
        """Returns one where data.real_labels is set."""
        from vitcli.data.decoded import Decoded

        if config.data.real_labels is None:
            return []
        assert isinstance(data, Decoded)  # by the rules
        return [cls(data, Path(config.data.real_labels), device)]

    def protocol(self) -> dict[str, Any]:
        """Returns the parts of the measurement that its numbers depend on."""
        labelled = sum(bool(labels) for labels in self._labels.values())
        return {"name": "real", "test_size": labelled}

    def run(self, model: nn.Module) -> Iterator[tuple[str, float]]:
        """Yields (name, value)."""
        from vitcli.evals.inference import batches, inference

        guesses: list[int] = []
        with inference(model, self._device):
            for images, _ in batches(self._data, "val"):
                guesses += model(images).argmax(-1).tolist()
        skipped = self._data.skipped()
        seen = [labels for name, labels in self._labels.items() if name not in skipped]
        judged = [(g, labels) for g, labels in zip(guesses, seen, strict=True) if labels]
        if judged:
            yield "val/real", sum(g in labels for g, labels in judged) / len(judged)
