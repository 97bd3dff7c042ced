"""What every data set offers: images by index, one batch at a time or a stream of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from vitcli.data.facts import Fact, of_pixels
from vitcli.data.labels import Classes
from vitcli.data.names import some
from vitcli.data.order import batch_draw, batch_index

AT_ONCE = 64  # images whose facts are found together
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
    may_skip: bool = False  # whether images that cannot be decoded are left out of a batch

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

    def facts(self, part: Part) -> Iterator[list[Fact]]:
        """Yields what there is to know of all images of a part, in order, some at a time."""
        size = self.train_size if part == "train" else self.val_size
        for index in torch.split(torch.arange(size, device=self.device), AT_ONCE):
            images, labels = (self.train_batch if part == "train" else self.val_batch)(index)
            pixels = ((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
            names = [f"{part}[{i}]" for i in index.tolist()]
            yield of_pixels(names, labels.tolist(), pixels.contiguous().cpu().numpy())

    def skipped(self) -> dict[str, str]:
        """Returns the images that could not be decoded so far, and why."""
        return {}

    def notes(self) -> list[str]:
        """Returns what was left out or assumed when the set was opened, a line each."""
        return []

    def said(self) -> list[str]:
        """Returns the notes, and how many images could not be decoded so far, a line each."""
        notes = list(self.notes())
        if bad := self.skipped():
            notes.append(f"images left out that cannot be decoded: {len(bad)} ({some([*bad])})")
        return notes

    def state_dict(self) -> dict[str, Any]:
        """Returns what a resumed run must know of the part before."""
        return {"skipped": self.skipped()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what an earlier part of the run left."""
        return

    def class_names(self) -> list[str] | None:
        """Returns what a person calls each class, in order; None where they are numbers alone."""
        return None


class Files(Protocol):
    """Encoded images by position."""

    def read(self, row: int) -> bytes:
        """Returns the image's file."""
        ...

    def name(self, row: int) -> str:
        """Returns what a person finds the image by."""
        ...


class Reader(Files, Protocol):
    """One part's encoded images and their labels. Processes may hold copies of it."""

    classes: Classes  # of the training part
    labels: list[int]  # of each image, a position in `classes.names`
    notes: list[str]  # what was left out or assumed, a line each
