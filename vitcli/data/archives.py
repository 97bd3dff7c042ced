"""Encoded images inside other files: Hugging Face data sets and WebDataset shards."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Container, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from vitcli.config import DataConfig
from vitcli.data.names import is_data, natural, of_split, some, walk
from vitcli.data.source import Part

_BUILDERS = {".parquet": "parquet", ".arrow": "arrow", ".tar": "webdataset"}  # of datasets
_T = TypeVar("_T")
_IMAGES = ("jpg", "jpeg", "png", "webp", "ppm", "pgm")


class HuggingFaceReader:
    """One split of what `open_rows` finds."""

    def __init__(self, config: DataConfig, part: Part) -> None:
        """Opens the split; from the Hub only if data.download.

        Raises:
            ValueError: there is no such data set, split or column, or `datasets` is not installed.
        """
        rows = open_rows(config, part)
        image, label = config.columns
        self.labels = [int(number) for number in rows[label]]
        feature = rows.features[label]
        names = getattr(feature, "names", None)
        self.classes = names or [str(i) for i in range(max(self.labels) + 1)]
        self._images, self._column = rows.select_columns([image]), image
        self._split = config.splits[part == "val"]
        self.notes = left_out(config, self._split)

    def read(self, row: int) -> bytes:
        """Returns the image's file."""
        image = self._images[row][self._column]
        return bytes(image["bytes"] or Path(image["path"]).read_bytes())

    def name(self, row: int) -> str:
        """Returns the split and the row."""
        return f"{self._split}[{row}]"


class ShardReader:
    """WebDataset shards in the folder data.path: <split>*.tar, splits named by data.splits.

    A sample is the files of one name up to its first dot: an image, and its class in .cls or as
    `label` in .json. The shards' headers are read once, so that images can be read in any order.
    """

    def __init__(self, config: DataConfig, part: Part) -> None:
        """Lists the samples. Raises ValueError if there are none, or one has no class."""
        folder, split = Path(str(config.path)), config.splits[part == "val"]
        if "://" in str(config.path):
            raise ValueError(
                f"data.path={config.path}: a URL is a stream, data.stream=true; "
                "few-shot evaluation needs files"
            )
        self._shards, self.notes = find_shards(folder, split)
        self.labels: list[int] = []
        self._images: list[tuple[int, int, int, str]] = []  # shard, offset, bytes, name
        for number, shard in enumerate(self._shards):
            self._list(number, shard)
        if not self._images:
            raise ValueError(f"data.path={folder}: no images in {split}*.tar")

    @cached_property
    def classes(self) -> list[str]:
        """The classes' numbers: shards do not name them."""
        return [str(i) for i in range(max(self.labels) + 1)]

    def read(self, row: int) -> bytes:
        """Returns the image's file."""
        shard, offset, size, _ = self._images[row]
        with self._shards[shard].open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def name(self, row: int) -> str:
        """Returns the shard and the file in it."""
        shard, _, _, name = self._images[row]
        return f"{self._shards[shard].name}/{name}"

    def _list(self, number: int, shard: Path) -> None:
        def place(tar: tarfile.TarFile, file: tarfile.TarInfo) -> tuple[int, int, int, str]:
            return number, file.offset_data, file.size, file.name

        try:
            with tarfile.open(shard, "r:") as tar:
                for image, label in samples(tar, place):
                    self.labels.append(label)
                    self._images.append(image)
        except (tarfile.TarError, ValueError) as error:
            raise ValueError(f"{shard}: {error}") from None


def open_rows(config: DataConfig, part: Part) -> Any:
    """Returns a split's image and label columns, images not decoded: as a stream if data.stream.

    data.path is a folder saved by `datasets`, one of `split_files`, or the name of a set of the
    Hub; data.splits and data.columns name its splits and columns.

    Raises:
        ValueError: there is no such data set, split or column, or `datasets` is not installed.
    """
    try:
        import datasets
    except ImportError:
        raise ValueError("data.name=hfds needs datasets: pip install 'vitcli[data]'") from None
    path, split = str(config.path), config.splits[part == "val"]
    options = {"cache_dir": config.root, "streaming": config.stream}
    try:
        if not Path(path).is_dir():
            if not config.download:
                raise ValueError(
                    f"data.path={path}: no such folder; data.download=true looks for it on the Hub"
                )
            found = datasets.load_dataset(path, **options)
        elif _is_saved(Path(path)):
            found = datasets.load_from_disk(path)
        else:
            files = [str(file) for file in split_files(config, split)[0]]
            kind = _BUILDERS[Path(files[0]).suffix]
            found = datasets.load_dataset(kind, data_files={split: files}, **options)
    except FileNotFoundError as error:
        raise ValueError(f"data.path={path}: {str(error).splitlines()[0]}") from None
    if not isinstance(found, dict) or split not in found:
        have = ", ".join(found) if isinstance(found, dict) else "none"
        raise ValueError(f"data.splits={config.splits}: {path} has no split {split}, but {have}")
    rows = found[split]
    for column in config.columns:
        if column not in (rows.column_names or []):
            have = ", ".join(rows.column_names or ["none that is known"])
            raise ValueError(f"data.columns={config.columns}: {path} has {have}")
    image = config.columns[0]
    return rows.select_columns(config.columns).cast_column(image, datasets.Image(decode=False))


def left_out(config: DataConfig, split: str) -> list[str]:
    """Returns what `open_rows` leaves out of a folder of files."""
    folder = Path(str(config.path))
    return split_files(config, split)[1] if folder.is_dir() and not _is_saved(folder) else []


def _is_saved(folder: Path) -> bool:
    """Returns whether the folder was saved by `datasets`."""
    return any((folder / name).exists() for name in ("dataset_dict.json", "state.json"))


def split_files(config: DataConfig, split: str) -> tuple[list[Path], list[str]]:
    """Returns a split's files of rows, and what is left out.

    They have the split's name and numbers (train-00000-of-00004.parquet), or lie in a folder of its
    name.

    Raises:
        ValueError: there are none, or of several kinds, or in several folders.
    """
    folder = Path(str(config.path))
    found, _ = walk(folder)
    rows = [name for name in sorted(found, key=natural) if Path(name).suffix in _BUILDERS]
    placed = {name: place for name in rows if (place := _place(name, split)) is not None}
    if len({Path(name).suffix for name in placed}) != 1:
        have = f"; there are {some(rows)}" if rows else ""
        raise ValueError(
            f"data.path={folder}: not saved by datasets, and no files {split}-<number> of one "
            f"kind: {', '.join(_BUILDERS)}{have}"
        )
    if len(places := sorted(set(placed.values()))) > 1:
        raise ValueError(
            f"data.path={folder}: {split} is in several folders, {some(places)}: name one, as "
            f"data.path={folder / places[0]}"
        )
    return [folder / name for name in placed], _others(folder, rows, placed, split)


def find_shards(folder: Path, split: str) -> tuple[list[Path], list[str]]:
    """Returns <split>-<number>.tar in the folder, and what is left out.

    Raises:
        ValueError: there are none.
    """
    names = folder.iterdir() if folder.is_dir() else ()
    tars = sorted((p.name for p in names if p.suffix == ".tar" and is_data(p.name)), key=natural)
    shards = [name for name in tars if of_split(name, split)]
    if not shards:
        have = f"; there are {some(tars)}" if tars else ""
        raise ValueError(f"data.path={folder}: no shards {split}-<number>.tar{have}")
    return [folder / name for name in shards], _others(folder, tars, shards, split)


def _place(name: str, split: str) -> str | None:
    """Returns the folder whose split a file belongs to; None: it is of no such split."""
    parts = Path(name).parts
    if split in parts[:-1]:
        return str(Path(*parts[: parts.index(split)]))
    return str(Path(name).parent) if of_split(parts[-1], split) else None


def _others(folder: Path, names: Iterable[str], taken: Container[str], split: str) -> list[str]:
    """Returns what to say of files whose names begin like the split's and are not taken."""
    like = [n for n in names if n not in taken and Path(n).name.startswith(split)]
    return [f"{folder}: left out, not {split} and a number: {some(like)}"] if like else []


def samples(
    tar: tarfile.TarFile, take: Callable[[tarfile.TarFile, tarfile.TarInfo], _T]
) -> Iterator[tuple[_T, int]]:
    """Yields what `take` makes of each image, and its class. Raises ValueError where none is."""
    labels: dict[str, int] = {}
    images: dict[str, tuple[_T, str]] = {}
    for member in tar:
        folder, _, base = member.name.rpartition("/")
        key, _, kind = base.partition(".")
        key = f"{folder}/{key}"
        if kind.lower() in _IMAGES:
            images[key] = take(tar, member), member.name
        elif kind in ("cls", "json"):
            label = _label(tar.extractfile(member), kind)
            labels |= {} if label is None else {key: label}
        if key in images and key in labels:
            yield images.pop(key)[0], labels.pop(key)
    for _, name in images.values():
        raise ValueError(f"{name} has no class in .cls, nor as label in .json")


def _label(file: Any, kind: str) -> int | None:
    text = file.read().decode()
    if kind == "cls":
        return int(text)
    found = json.loads(text)
    label = found.get("label") if isinstance(found, dict) else None
    return None if label is None else int(label)
