"""Data sets that are read from end to end: what is too large, or too far away, to be indexed.

A stream has no random access, so an epoch's order is a buffered shuffle: a function of the epoch's
key. A position in it is reached by reading what lies before, which is how a run resumes.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vitcli.config import DataConfig
from vitcli.data.augment import Transform
from vitcli.data.decoded import Decoding, Made, decode_all
from vitcli.data.facts import Fact, of_files
from vitcli.data.names import some
from vitcli.data.order import stream_order
from vitcli.data.source import AT_ONCE, Batch, Order, Part
from vitcli.data.streams import Encoded, Stream, open_stream
from vitcli.data.workers import worked

_BUFFER = 1000  # images that wait to be drawn from; 100 MB of ImageNet
_Files = tuple[list[Encoded], list[int] | None]  # of a batch, and its draws, if it has any


class Streamed(Decoding):
    """Images in the order of their files; data.size and data.val_size are the first so many.

    An index is a position in a stream without an end, `train_size` of which are an epoch. This
    process reads the files, and worker processes decode them, so that nothing depends on their
    number. Each epoch is shuffled in a buffer; its shards too, if it has all images that there are.
    """

    def __init__(self, config: DataConfig, device: torch.device) -> None:
        """Opens the streams.

        Raises:
            ValueError: there is no such data set, it has not the classes or images asked for, or
                neither it nor the config says how many.
        """
        super().__init__(config, device)
        self._decode = _Decode(Transform(config))
        train, val = open_stream(config, "train"), open_stream(config, "val")
        self._streams: dict[Part, Stream] = {"train": train, "val": val}
        self._note([*train.notes, *val.notes])
        self.train_size = self._size("size", train.size, config.size)
        wanted = config.val_size
        if wanted is not None and val.size is not None:
            wanted = min(wanted, val.size)
        self.val_size = self._size("val_size", val.size, wanted)
        named = None if train.classes is None else len(train.classes)
        self.num_classes = self._size("num_classes", named, config.num_classes)
        if named not in (None, self.num_classes):
            raise self._error("num_classes", self.num_classes, f"has {named}")
        if val.classes != train.classes:
            named = train.classes is not None and val.classes is not None
            ours, theirs = (_listed(stream.classes) for stream in (train, val))
            cure = "data.stream=false takes them by name" if named else "save both with the names"
            what = f"has the classes {ours} and {theirs}; {cure}"
            raise self._error("splits", config.splits, what)

    def notes(self) -> list[str]:
        """Returns what was left out or assumed so far, a line each."""
        return [note for stream in self._streams.values() for note in stream.notes]

    def order(self, seed: int, step: int, batch_size: int) -> Order:
        """Returns what the training batch of a step is made of: (position, draw, epoch's key)."""
        return stream_order(seed, self.train_size, step, batch_size)

    def train_batch(
        self, index: Tensor, draw: Tensor | None = None, key: Tensor | None = None
    ) -> Batch:
        """Returns training images (B, 3, H, W) in [-1, 1] and labels (B,), after reading to there.

        Without a key they are in the files' order.
        """
        order = (entries for entries in (index, draw, key) if entries is not None)
        return next(iter(self._made("train", tuple(order))))

    def val_batch(self, index: Tensor) -> Batch:
        """Returns validation images and labels as `train_batch` does."""
        return next(iter(self._made("val", (index,))))

    def labels(self, part: Part, index: Tensor) -> Tensor:
        """Returns the labels (B,), decoding nothing."""
        ((files, _),) = self._read(part, [(index,)])
        return torch.tensor([file.label for file in files])

    def batches(self, part: Part, orders: Iterable[Order]) -> Iterator[Batch]:
        """Yields the batch of each order; one after another, they read the stream once.

        Raises:
            BadImages: more than data.max_bad images cannot be decoded.
            ValueError: there are less images than data.size, or one's class is not a class.
        """
        return self._loaded(self._decode, self._read(part, orders))

    def facts(self, part: Part) -> Iterator[list[Fact]]:
        """Yields what there is to know of all images of a part, in order, some at a time."""
        size = self.train_size if part == "train" else self.val_size
        orders = ((index,) for index in torch.split(torch.arange(size), AT_ONCE))
        return worked(_Facts(self._config.max_pixels), self._read(part, orders), self._config)

    def class_names(self) -> list[str] | None:
        """Returns what a person calls each class, in order; None where they are numbers alone."""
        return self._streams["train"].classes

    def _made(self, part: Part, order: Order) -> Iterator[Batch]:
        return (self._finished(self._decode[files]) for files in self._read(part, [order]))

    def _read(self, part: Part, orders: Iterable[Order]) -> Iterator[_Files]:
        """Yields the files of each order's images."""
        size = self.train_size if part == "train" else self.val_size
        now: tuple[int, int | None] | None = None
        epoch: Iterator[Encoded] = iter(())
        ahead = 0  # the place in the epoch of what is read next
        for index, *rest in orders:
            keys: list[int | None] = rest[1].tolist() if len(rest) == 2 else [None] * len(index)
            files: list[Encoded] = []
            for position, key in zip(index.tolist(), keys, strict=True):
                number, place = divmod(position, size)
                if now != (number, key) or place < ahead:
                    now, epoch, ahead = (number, key), self._epoch(part, size, key), 0
                files += itertools.islice(epoch, place - ahead, place - ahead + 1)
                ahead = place + 1
            yield files, rest[0].tolist() if rest else None

    def _epoch(self, part: Part, size: int, key: int | None) -> Iterator[Encoded]:
        stream = self._streams[part]
        shards = list(range(stream.shards))
        if key is None:
            return self._first(part, size, shards)
        drawn = random.Random(key % 2**64)  # its random() is the same in every version of Python
        if stream.size == size:
            shards.sort(key=lambda shard: drawn.random())
        return shuffled(self._first(part, size, shards), drawn)

    def _first(self, part: Part, size: int, shards: list[int]) -> Iterator[Encoded]:
        """Yields the first `size` images of these shards."""
        read = itertools.chain.from_iterable(map(self._streams[part].read, shards))
        seen = 0
        for file in itertools.islice(read, size):
            seen += 1
            if not 0 <= file.label < self.num_classes:
                raise ValueError(f"{file.name}: class {file.label} of {self.num_classes} classes")
            yield file
        if seen < size:
            raise self._error("size" if part == "train" else "val_size", size, f"has {seen}")

    def _size(self, key: str, known: int | None, wanted: int | None) -> int:
        if wanted is None and known is None:
            raise self._error(key, "null", f"does not say how many, set data.{key}")
        if known is not None and wanted is not None and wanted > known:
            raise self._error(key, wanted, f"has {known}")
        found = known if wanted is None else wanted
        if not found:
            raise self._error(key, found, "has no images")
        return found

    def _error(self, key: str, value: object, what: str) -> ValueError:
        name = f"{self._config.name} at {self._config.path}"
        return ValueError(f"data.{key}={value} with data.stream=true: {name} {what}")


def shuffled(files: Iterator[Encoded], drawn: random.Random) -> Iterator[Encoded]:
    """Yields the files in random order, as far as a buffer of them allows."""
    held = list(itertools.islice(files, _BUFFER))
    for file in files:
        place = int(drawn.random() * len(held))
        yield held[place]
        held[place] = file
    while held:
        place = int(drawn.random() * len(held))
        held[place], held[-1] = held[-1], held[place]
        yield held.pop()


def _listed(names: list[str] | None) -> str:
    return "by number" if names is None else f"[{some(names)}]"


class _Decode(Dataset[Made]):
    """Makes a batch of its files."""

    def __init__(self, transform: Transform) -> None:
        self._transform = transform

    def __getitem__(self, order: _Files) -> Made:
        files, draws = order
        rows = range(len(files))
        pixels, kept, bad = decode_all(_InMemory(files), rows, draws, self._transform)
        return pixels, torch.tensor([file.label for file in files])[kept], bad


class _Facts(Dataset[list[Fact]]):
    """The facts of a batch's files."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels

    def __getitem__(self, order: _Files) -> list[Fact]:
        held = _InMemory(order[0])
        files = (
            (file.name, file.label, partial(held.read, row)) for row, file in enumerate(order[0])
        )
        return of_files(files, self._max_pixels)


class _InMemory:
    """Files that have been read."""

    def __init__(self, files: list[Encoded]) -> None:
        self._files = files

    def read(self, row: int) -> bytes:
        data = self._files[row].data
        if isinstance(data, OSError):
            raise data
        return data

    def name(self, row: int) -> str:
        return self._files[row].name
