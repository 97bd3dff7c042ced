"""What every data set offers: images by index, one batch at a time or a stream of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from vitcli.data.order import batch_draw, batch_index

Part = Literal["train", "val"]
Batch = tuple[Tensor, Tensor]
Order = tuple[Tensor, ...]  # what a batch is made of: (index,) or what `order` returns, each (B,)


class DataSource(Protocol):
    """A labelled data set with a training and a validation part.

    An index is an int64 tensor (B,) of positions in the part, on `device`. Images are (B, 3, H, W)
    float32 in [-1, 1], labels (B,) int64, both on the device that the set was built for. The image
    at a position does not depend on the rest of the batch.

    A draw is a random int64 for each image, a function of (seed, epoch, index): training images
    are augmented by it alone. Without a draw they are as evaluation sees them.
    """

    num_classes: int
    train_size: int
    val_size: int
    device: torch.device
    may_skip: bool = False  # images of a batch: those that cannot be decoded

    def train_batch(self, index: Tensor, draw: Tensor | None = None) -> Batch:
        """Returns the training images and labels at `index`."""
        ...

    def val_batch(self, index: Tensor) -> Batch:
        """Returns the validation images and labels at `index`."""
        ...

    def order(self, seed: int, step: int, batch_size: int) -> Order:
        """Returns what the training batch of a step is made of: (index, draw)."""
        index = batch_index(seed, self.train_size, step, batch_size, self.device)
        return index, batch_draw(seed, self.train_size, step, index)

    def labels(self, part: Part, index: Tensor) -> Tensor:
        """Returns the labels (B,) at `index` without reading more than it must."""
        return (self.train_batch if part == "train" else self.val_batch)(index)[1]

    def batches(self, part: Part, orders: Iterable[Order]) -> Iterator[Batch]:
        """Yields the batch of each order; a set with worker processes makes them ahead of time."""
        fetch = self.train_batch if part == "train" else self.val_batch
        return (fetch(*order) for order in orders)

    def skipped(self) -> dict[str, str]:
        """Returns the images that could not be decoded so far, and why."""
        return {}

    def notes(self) -> list[str]:
        """Returns what was left out or assumed when the set was opened, a line each."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """Returns what a resumed run must know of the part before."""
        return {"skipped": self.skipped()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what an earlier part of the run left."""
        return

    def class_names(self) -> list[str] | None:
        """Returns what a person calls each class, in order; None where they are numbers alone."""
        return None
