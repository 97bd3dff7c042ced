"""Encoded images in WebDataset shards: tar files whose members of one name are a sample."""

from __future__ import annotations

import json
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from vitcli.config import DataConfig
from vitcli.data.labels import Classes
from vitcli.data.names import is_data, natural, not_of_split, of_split, some
from vitcli.data.source import Part

_T = TypeVar("_T")
_NONE = object()
_IMAGES = ("jpg", "jpeg", "png", "webp", "ppm", "pgm")


class ShardReader:
    """WebDataset shards in the folder data.path: <split>*.tar, splits named by data.splits.

    A sample is the files of one name up to its first dot: an image, and its class, a number or a
    name, in .cls or as `label` in .json. The shards' headers are read once, so that images can be
    read in any order.
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
        self._images: list[tuple[int, int, int, str]] = []  # shard, offset, bytes, name
        labels: list[Any] = []
        unused: Counter[str] = Counter()
        for number, shard in enumerate(self._shards):
            labels += self._list(number, shard, unused)
        if not self._images:
            raise ValueError(f"data.path={folder}: no images in {split}-<number>.tar")
        self.notes += said_unused(f"{folder}/{split}", unused)
        names = None
        if part == "val" and any(isinstance(label, str) for label in labels):
            names = ShardReader(config, "train").classes
        known = Classes(names, labels, self._said)
        self.labels = known.numbers(labels, self._said)
        self.classes: list[str] = known.names

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

    def _said(self, row: int) -> str:
        return f"{self._shards[self._images[row][0]].parent}/{self.name(row)}: its class"

    def _list(self, number: int, shard: Path, unused: Counter[str]) -> list[Any]:
        """Lists a shard's images; returns their labels."""

        def place(tar: tarfile.TarFile, file: tarfile.TarInfo) -> tuple[int, int, int, str]:
            return number, file.offset_data, file.size, file.name

        labels = []
        try:
            with tarfile.open(shard, "r:") as tar:
                for image, label in samples(tar, place, unused):
                    labels.append(label)
                    self._images.append(image)
        except (tarfile.TarError, ValueError) as error:
            raise ValueError(f"{shard}: {error}") from None
        return labels


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
    return [folder / name for name in shards], not_of_split(folder, tars, shards, split)


def samples(
    tar: tarfile.TarFile,
    take: Callable[[tarfile.TarFile, tarfile.TarInfo], _T],
    unused: Counter[str],
) -> Iterator[tuple[_T, Any]]:
    """Yields what `take` makes of each image, and its label as it is written.

    Members that are no part of a sample are counted in `unused`, by what follows the first dot of
    their names. Raises ValueError for an image without a label.
    """
    labels: dict[str, Any] = {}
    images: dict[str, tuple[_T, str]] = {}
    for member in tar:
        folder, _, base = member.name.rpartition("/")
        key, _, kind = base.partition(".")
        key = f"{folder}/{key}"
        if member.isdir():
            continue
        if not is_data(base) or not member.isreg():
            unused["links" if member.islnk() or member.issym() else base] += 1
        elif kind.lower() in _IMAGES and key not in images:
            images[key] = take(tar, member), member.name
        elif kind in ("cls", "json") and (label := _label(tar.extractfile(member), kind)) != _NONE:
            labels[key] = label
        else:
            unused[f".{kind}"] += 1
        if key in images and key in labels:
            yield images.pop(key)[0], labels.pop(key)
    if labels:
        unused["labels without an image"] += len(labels)
    for _, name in images.values():
        raise ValueError(f"{name} has no class in .cls, nor as label in .json")


def said_unused(where: str, unused: Mapping[str, int]) -> list[str]:
    """Returns what to say of the members of shards that were not used."""
    kinds = some([f"{kind} ({count})" for kind, count in sorted(unused.items())])
    return [f"{where}: {sum(unused.values())} members that are not used: {kinds}"] if unused else []


def _label(file: Any, kind: str) -> Any:
    """Returns the label in a .cls, a number or a name, or in a .json; _NONE: there is none."""
    text = file.read().decode().strip()
    if kind == "cls":
        return int(text) if re.fullmatch(r"-?\d+", text) else text
    found = json.loads(text)
    return found.get("label", _NONE) if isinstance(found, dict) else _NONE
