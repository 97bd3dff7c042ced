"""Data sets of encoded images (JPEG, PNG, ...): decoded and augmented when asked for, in workers.

A batch is a function of its order alone, whoever makes it: worker processes hold no state, and a
run goes on in mid-epoch with any number of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vitcli.config import DataConfig
from vitcli.data.augment import Transform, kept_random
from vitcli.data.decode import decode, quietly, why
from vitcli.data.facts import Fact, of_files
from vitcli.data.names import some
from vitcli.data.readers import open_parts
from vitcli.data.source import AT_ONCE, Batch, DataSource, Files, Order, Part, Reader
from vitcli.data.subsets import balanced_order
from vitcli.data.workers import worked
from vitcli.output import plural

_log = logging.getLogger(__name__)
EMPTY = "classes without a"  # training or validation image
Bad = list[tuple[str, str]]  # names of images that cannot be decoded, and why
Made = tuple[Tensor, Tensor, Bad]  # bytes, labels
_Picked = tuple[list[int], list[int] | None]  # positions in a part, and their draws


class BadImages(RuntimeError):
    """More images than data.max_bad cannot be decoded, or all of a training batch."""


class Decoding(DataSource):
    """What decodes in worker processes, and counts what it cannot decode.

    An image that cannot be decoded is left out of its batch, which is then smaller.
    """

    may_skip: bool = True

    def __init__(self, config: DataConfig, device: torch.device) -> None:
        self._config, self._target = config, device
        self.device = torch.device("cpu")  # of orders: they go to workers, not to a GPU
        self._skipped: dict[str, str] = {}
        self._notes: list[str] = []

    def notes(self) -> list[str]:
        """Returns what was left out or assumed when the set was opened, a line each."""
        return list(self._notes)

    def _note(self, lines: Iterable[str]) -> None:
        """Keeps these lines, and logs them."""
        self._notes += lines
        for line in lines:
            _log.warning("%s", line)

    def skipped(self) -> dict[str, str]:
        """Returns the images that could not be decoded so far, and why."""
        return dict(self._skipped)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what an earlier part of the run skipped: it counts, and is listed."""
        self._skipped = {**state_dict["skipped"], **self._skipped}

    def _loaded(self, dataset: Dataset[Made], orders: Iterable[Any]) -> Iterator[Batch]:
        """Yields the batch that `dataset` makes of each order, made by data.workers processes."""
        made = worked(dataset, orders, self._config, pin=self._target.type == "cuda")
        with closing(made):
            for batch in made:
                yield self._finished(batch)

    def _finished(self, made: Made) -> Batch:
        pixels, labels, bad = made
        for name, reason in bad:
            if name not in self._skipped:
                self._skipped[name] = reason
                if len(self._skipped) <= self._config.max_bad:
                    _log.warning("skipped %s: %s", name, reason)
        if len(self._skipped) > self._config.max_bad:  # those of other processes, too
            *_, (name, reason) = self._skipped.items()
            raise BadImages(
                f"{name}: {reason} ({plural(len(self._skipped), 'image')} cannot be decoded, "
                f"data.max_bad={self._config.max_bad} may; `vitcli data check` lists all)"
            )
        pixels = pixels.to(self._target, non_blocking=True)
        images = torch.empty_like(pixels, dtype=torch.float32)
        # On a CPU an image at a time, in its cache: 0.22 ms for 224 pixels, a batch at once 0.26.
        many = 1 if self._target.type == "cpu" else max(1, len(pixels))
        for raw, out in zip(torch.split(pixels, many), torch.split(images, many), strict=True):
            out.copy_(raw).div_(127.5).sub_(1)
        return images, labels.to(self._target, non_blocking=True)


class Decoded(Decoding):
    """Images that a reader finds, in any order; both parts' subsets are balanced prefixes."""

    def __init__(self, config: DataConfig, device: torch.device) -> None:
        """Lists the images.

        Raises:
            ValueError: there is no such data set, or it has not the classes or images asked for.
        """
        super().__init__(config, device)
        transform = Transform(config)
        sizes: dict[Part, int | None] = {"train": config.size, "val": config.val_size}
        self.parts = {
            part: _Part(reader, transform, config.seed, sizes[part])
            for part, reader in open_parts(config).items()
        }
        for part in self.parts.values():
            self._note(part.reader.notes)
        train = self.parts["train"].reader
        self.classes = train.classes.names
        self.num_classes = len(self.classes)
        trained, seen = (set(part.reader.labels) for part in self.parts.values())
        without = {"training": set(range(self.num_classes)) - trained}
        if config.val_share is None:  # otherwise it is said already
            without["validation"] = trained - seen
        for of, labels in without.items():
            if labels:
                names = some([self.classes[label] for label in sorted(labels)])
                self._note([f"{config.path}: {EMPTY} {of} image: {names}"])
        if self.num_classes == 1:
            self._note([f"{config.path}: one class alone, so any model is always right"])
        if config.num_classes not in (None, self.num_classes):
            raise ValueError(
                f"data.num_classes={config.num_classes}: {config.name} at {config.path} has "
                f"{self.num_classes}"
            )
        if config.size is not None and config.size < self.num_classes:
            raise ValueError(
                f"data.size={config.size}: {config.path} has {self.num_classes} classes, and a "
                "subset holds at least one image of each"
            )
        self.train_size, self.val_size = (len(part.rows) for part in self.parts.values())
        if config.size is not None and config.size > self.train_size:
            raise ValueError(
                f"data.size={config.size}: {config.name} at {config.path} has "
                f"{self.train_size} training images"
            )

    def train_batch(self, index: Tensor, draw: Tensor | None = None) -> Batch:
        """Returns training images (B, 3, H, W) in [-1, 1] and labels (B,).

        Raises:
            BadImages: more than data.max_bad images cannot be decoded.
        """
        order = (index,) if draw is None else (index, draw)
        return self._finished(self.parts["train"][_picked(order)])

    def val_batch(self, index: Tensor) -> Batch:
        """Returns validation images and labels as `train_batch` does."""
        return self._finished(self.parts["val"][_picked((index,))])

    def labels(self, part: Part, index: Tensor) -> Tensor:
        """Returns the labels (B,), decoding nothing."""
        return self.parts[part].labels[index]

    def batches(self, part: Part, orders: Iterable[Order]) -> Iterator[Batch]:
        """Yields the batch of each order, made by data.workers processes ahead of time.

        Raises:
            BadImages: more than data.max_bad images cannot be decoded.
        """
        return self._loaded(self.parts[part], map(_picked, orders))

    def facts(self, part: Part) -> Iterator[list[Fact]]:
        """Yields what there is to know of all images of a part, in order, some at a time."""
        every = range(len(self.parts[part].rows))
        some_at_a_time = ((every[i : i + AT_ONCE],) for i in every[::AT_ONCE])
        return worked(
            _Facts(self.parts[part], self._config.max_pixels), some_at_a_time, self._config
        )

    def class_names(self) -> list[str] | None:
        """Returns what a person calls each class, in order; None where they are numbers alone."""
        numbers = [str(i) for i in range(self.num_classes)]
        return None if self.classes == numbers else self.classes

    def names(self, part: Part) -> list[str]:
        """Returns what each image of a part is found by, in order."""
        reader = self.parts[part].reader
        return [reader.name(row) for row in self.parts[part].rows.tolist()]


class _Part(Dataset[Made]):
    """The images of one part, by order."""

    def __init__(self, reader: Reader, transform: Transform, seed: int, size: int | None) -> None:
        self.reader, self._transform = reader, transform
        labels = torch.tensor(reader.labels, dtype=torch.int64)
        self.rows = balanced_order(labels, seed)[:size]
        self.labels = labels[self.rows]

    def __getitem__(self, order: _Picked) -> Made:
        index, draws = order
        pixels, kept, bad = decode_all(
            self.reader, self.rows[index].tolist(), draws, self._transform
        )
        return pixels, self.labels[[index[i] for i in kept]], bad


class _Facts(Dataset[list[Fact]]):
    """The facts of the images of one part, by their positions."""

    def __init__(self, part: _Part, max_pixels: int) -> None:
        self._part, self._max_pixels = part, max_pixels

    def __getitem__(self, order: tuple[Sequence[int]]) -> list[Fact]:
        reader, rows = self._part.reader, self._part.rows[list(order[0])].tolist()
        files = ((reader.name(row), reader.labels[row], partial(reader.read, row)) for row in rows)
        return of_files(files, self._max_pixels)


def _picked(order: Order) -> _Picked:
    """Returns the order in plain numbers: a tensor would go to a worker as a file to be opened."""
    index, *draw = order
    return index.tolist(), draw[0].tolist() if draw else None


def decode_all(
    reader: Files, rows: Sequence[int], draws: Sequence[int] | None, transform: Transform
) -> tuple[Tensor, list[int], Bad]:
    """Returns images (b, 3, H, W), bytes, which of the B rows they are, and the bad ones."""
    images, kept, bad = [], [], []
    with kept_random(), quietly():
        for i, row in enumerate(rows):
            try:
                image = decode(reader.read(row), transform.max_pixels)
            except Exception as error:  # Pillow raises all kinds on broken files
                bad.append((reader.name(row), why(error)))
                continue
            images.append(transform(image, None if draws is None else draws[i]))
            kept.append(i)
    if not images:  # a small batch, all of it bad
        images = [torch.empty(3, *transform.size, dtype=torch.uint8)]
    # Decoded images are (H, W, 3) in memory: to stack them so takes 14 us each, not 50.
    pixels = torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)
    return pixels[: len(kept)], kept, bad
