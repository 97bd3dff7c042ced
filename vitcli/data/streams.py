"""Encoded images one after another, shard by shard: `open_stream` is the way in."""

from __future__ import annotations

import logging
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.request import urlopen

from vitcli.config import DataConfig
from vitcli.data.labels import check_number
from vitcli.data.names import shown
from vitcli.data.rows import first_line, left_out, open_rows, split_files
from vitcli.data.shards import Member, find_shards, said_unused, samples
from vitcli.data.source import Part

_log = logging.getLogger(__name__)
_RANGES = 64  # that a saved data set is cut into, to be shuffled like shards
_SECONDS = 60  # that a server may be silent


class Encoded(NamedTuple):
    """An image's file, its class, and what a person finds it by."""

    data: bytes | OSError  # what a file that is not there is instead
    label: int
    name: str


class Stream(Protocol):
    """One part's images in shards; what a shard has is known when it is read."""

    shards: int
    size: int | None  # images; None: not known before they are read
    classes: list[str] | None  # None: not named

    @property
    def notes(self) -> list[str]:
        """What was left out or assumed so far, a line each."""
        ...

    def read(self, shard: int) -> Iterator[Encoded]:
        """Yields a shard's images."""
        ...


class HuggingFaceStream:
    """One split of what `rows.open_rows` finds, in its own shards or, if saved, in ranges."""

    def __init__(self, config: DataConfig, part: Part) -> None:
        """Opens the split. Raises ValueError as `open_rows` does."""
        self._rows, self._split = open_rows(config, part), config.splits[part == "val"]
        self._columns, self.notes = config.columns, left_out(config, self._split)
        self._where = f"{config.path}: {self._split}"
        label = self._rows.features[config.columns[1]]
        self.classes: list[str] | None = getattr(label, "names", None)
        self.size: int | None
        self._random_access = hasattr(self._rows, "num_rows")  # it was saved by `datasets`
        if self._random_access:
            self.size = len(self._rows)
            self.shards = min(_RANGES, max(1, self.size))
        else:
            said = (self._rows.info.splits or {}).get(self._split)
            self.size = (said and said.num_examples) or _parquet_size(config, self._split)
            self.shards = self._rows.num_shards

    def read(self, shard: int) -> Iterator[Encoded]:
        """Yields a shard's images; their names are split[row], or split[shard:row].

        Raises:
            OSError: the shard is damaged.
            ValueError: an image has no class.
        """
        import fsspec

        of_shard = "" if self._random_access else f"{shard}:"
        for row, (image, label) in self._read(shard):
            name = f"{self._split}[{of_shard}{row}]"
            data = image["bytes"] if image else b""  # no image: counted as one that is broken
            if data is None and image["path"] is not None:
                try:
                    with fsspec.open(image["path"], "rb") as file:
                        data = file.read()
                except OSError as error:
                    data = error
            yield Encoded(data or b"", check_number(label, f"{name}: {self._columns[1]}"), name)

    def _read(self, shard: int) -> Iterator[tuple[int, tuple[Any, Any]]]:
        """Yields a shard's rows, and their numbers. Raises OSError for what `datasets` raises."""
        try:
            rows, first = self._shard(shard)
            for row, columns in enumerate(rows, first):
                yield row, tuple(columns[name] for name in self._columns)
        except Exception as error:  # all kinds, of datasets, pyarrow and the network
            raise OSError(f"{self._where}, shard {shard}: {first_line(error)}") from error

    def _shard(self, shard: int) -> tuple[Any, int]:
        """Returns a shard's rows, and the number of the first."""
        if not self._random_access:
            return self._rows.shard(self.shards, shard), 0
        first, end = (len(self._rows) * i // self.shards for i in (shard, shard + 1))
        return self._rows.select(range(first, end)).to_iterable_dataset(), first


class ShardStream:
    """WebDataset shards, read from end to end: of a folder or, by http, of a URL.

    In a folder data.splits names them as for `shards.ShardReader`; at a URL it has their names in
    full but for .tar, {000..099} for numbers.
    """

    size: int | None = None
    classes: list[str] | None = None

    def __init__(self, config: DataConfig, part: Part) -> None:
        """Finds the shards. Raises ValueError if there are none, or a URL may not be read."""
        path, split = str(config.path), config.splits[part == "val"]
        self._notes: list[str] = []
        self._unused: dict[str, Counter[str]] = {}  # of the shards that have been read
        if "://" not in path:
            shards, self._notes = find_shards(config, split)
            self._places = [str(shard) for shard in shards]
        elif not re.match("https?://", path):
            raise ValueError(f"data.path={path}: a folder, http:// or https://")
        elif not config.download:
            raise ValueError(f"data.path={path}: data.download=true reads it from the network")
        else:
            names = expand(split.removesuffix(".tar"))
            self._places = [f"{path.rstrip('/')}/{name}.tar" for name in names]
        self.shards = len(self._places)
        self._where = f"{path}/{split}"

    @property
    def notes(self) -> list[str]:
        """What was left out, a line each, of the shards that have been read."""
        every = sum(self._unused.values(), Counter[str]())
        return [*self._notes, *said_unused(self._where, every)]

    def read(self, shard: int) -> Iterator[Encoded]:
        """Yields a shard's images. Raises OSError, or ValueError for one without a class."""
        place = self._places[shard]
        shard_name = place.rpartition("/")[2]
        unused: Counter[str] = Counter()
        try:
            with (
                _opened(place) as file,
                tarfile.open(fileobj=file, mode="r|", tarinfo=Member) as tar,
            ):
                for (data, name), label in samples(tar, _taken, unused):
                    where = shown(f"{shard_name}/{name}")
                    yield Encoded(data, check_number(label, f"{where}: its class"), where)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        except (OSError, HTTPException, tarfile.TarError) as error:
            raise OSError(f"{place}: {error}") from error
        finally:  # also where no more of the shard is wanted
            self._keep(place, unused)

    def _keep(self, place: str, unused: Counter[str]) -> None:
        """Keeps what of a shard was not used, for the notes; logs that of the first one."""
        if not any(self._unused.values()):
            for line in said_unused(shown(place), unused):
                _log.warning("%s", line)
        self._unused[place] = unused


def open_stream(config: DataConfig, part: Part) -> Stream:
    """Returns one part of the data set. Raises ValueError where there is none."""
    return HuggingFaceStream(config, part) if config.name == "hfds" else ShardStream(config, part)


def expand(pattern: str) -> list[str]:
    """Returns the names that a pattern stands for: a{08..10} for a08, a09, a10.

    Raises:
        ValueError: there are other braces, or the last number is below the first.
    """
    match = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if match is None and not set("{}") & set(pattern):
        return [pattern]
    if match is None or int(match[1]) > int(match[2]):
        raise ValueError(f"data.splits: {pattern} is no range of numbers, as {{000..099}} is one")
    first, last = match.groups()
    numbers = (f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1))
    rest = expand(pattern[match.end() :])
    return [f"{pattern[: match.start()]}{number}{end}" for number in numbers for end in rest]


def _parquet_size(config: DataConfig, split: str) -> int | None:
    """Returns how many rows a folder's parquet files have by their footers; None of others."""
    from pyarrow import parquet

    files = split_files(config, split)[0] if Path(str(config.path)).is_dir() else []
    if not files or files[0].suffix != ".parquet":
        return None
    try:
        return sum(int(parquet.read_metadata(file).num_rows) for file in files)
    except (OSError, ValueError) as error:
        raise ValueError(f"{config.path}: {split}: {first_line(error)}") from None


def _opened(place: str) -> Any:
    return urlopen(place, timeout=_SECONDS) if "://" in place else Path(place).open("rb")


def _taken(tar: tarfile.TarFile, file: tarfile.TarInfo) -> tuple[bytes, str]:
    content = tar.extractfile(file)
    return content.read() if content else b"", file.name
