"""Data sets: images by index, as pure functions of the config. `build_data` is the way in."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from vitcli.config import DataConfig
from vitcli.data.digits import Digits
from vitcli.data.glyphs import Glyphs


class DataSource(Protocol):
    """A labelled data set with a training and a validation part.

    An index is an int64 tensor (B,) of positions in the part, on the data's device. Images are
    (B, 3, S, S) float32 in [-1, 1], labels (B,) int64, both on that device. The image at a position
    does not depend on the rest of the batch.
    """

    num_classes: int
    train_size: int
    val_size: int

    def train_batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the training images and labels at `index`."""

    def val_batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the validation images and labels at `index`."""


def build_data(config: DataConfig, device: torch.device) -> DataSource:
    """Returns the data set that data.name names, ready on `device`.

    Raises:
        ValueError: data.size or data.num_classes is more than the data set has.
    """
    sources: dict[str, type[Glyphs] | type[Digits]] = {"glyphs": Glyphs, "digits": Digits}
    return sources[config.name](config, device)
