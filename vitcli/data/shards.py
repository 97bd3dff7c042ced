"""Encoded images in WebDataset shards: tar files whose members of one name are a sample."""

from __future__ import annotations

import json
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

from vitcli.config import DataConfig
from vitcli.data.divided import HINT, refuse_second, seconds
from vitcli.data.labels import Classes
from vitcli.data.names import (
    counted,
    is_data,
    is_image,
    kind,
    natural,
    no_folder,
    of_no_split,
    of_split,
    same_form,
    shown,
    some,
    walk,
)
from vitcli.data.numbered import check_numbers
from vitcli.data.source import Part

_T = TypeVar("_T")
_NONE = object()
_PADDING = 20_480  # bytes: more than the zeros that tar writes at the end of a file
_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?(e[-+]?\d+)?|nan|-?inf", re.IGNORECASE)
# A block of zeros; its class is not in the types of the standard library.
_END: type[tarfile.HeaderError] = vars(tarfile)["EOFHeaderError"]


class Member(tarfile.TarInfo):
    """A member of a shard; what begins as none is an error, where tarfile would end in silence."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        """Returns the next member. Raises tarfile.ReadError if what is there does not begin one."""
        try:
            return super().fromtarfile(tarfile_)
        except _END:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"cut off or damaged ({error})") from None


class ShardReader:
    """WebDataset shards in the folder data.path: <split>*.tar, splits named by data.splits.

    A sample is the files of one name up to its first dot: an image, and its class, a number or a
    name, in .cls or as `label` in .json. The shards' headers are read once, so that images can be
    read in any order.
    """

    def __init__(self, config: DataConfig, part: Part, classes: Classes | None) -> None:
        """Lists the samples of a part; the training part, without `classes`, finds these too.

        Raises:
            ValueError: there are no samples, or one has no class.
        """
        folder, split = Path(str(config.path)), config.splits[part == "val"]
        if "://" in str(config.path):
            raise ValueError(
                f"data.path={config.path}: a URL is a stream, data.stream=true; "
                "few-shot evaluation needs files"
            )
        self._shards, self.notes = find_shards(config, split)
        self._images: list[tuple[int, int, int, str]] = []  # shard, offset, bytes, name
        labels: list[Any] = []
        unused: Counter[str] = Counter()
        for number, shard in enumerate(self._shards):
            labels += self._list(number, shard, unused)
        said = said_unused(f"{folder}/{split}", unused)
        if not self._images:
            why = "".join(f"; {line}" for line in said)
            raise ValueError(f"data.path={folder}: no images in {split}-<number>.tar{why}")
        self.notes += said
        self.classes = classes or Classes(None, labels, self._said)
        self.labels = self.classes.numbers(labels, self._said)

    def read(self, row: int) -> bytes:
        """Returns the image's file."""
        shard, offset, size, _ = self._images[row]
        with self._shards[shard].open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def name(self, row: int) -> str:
        """Returns the shard and the file in it."""
        shard, _, _, name = self._images[row]
        return shown(f"{self._shards[shard].name}/{name}")

    def _said(self, row: int) -> str:
        return f"{self._shards[self._images[row][0]].parent}/{self.name(row)}: its class"

    def _list(self, number: int, shard: Path, unused: Counter[str]) -> list[Any]:
        """Lists a shard's images; returns their labels."""

        def place(tar: tarfile.TarFile, file: tarfile.TarInfo) -> tuple[int, int, int, str]:
            return number, file.offset_data, file.size, file.name

        labels = []
        try:
            with tarfile.open(shard, "r:", tarinfo=Member) as tar:
                for image, label in samples(tar, place, unused):
                    labels.append(label)
                    self._images.append(image)
        except (tarfile.TarError, ValueError) as error:
            raise ValueError(f"{shard}: {error}") from None
        return labels


def find_shards(config: DataConfig, split: str) -> tuple[list[Path], list[str]]:
    """Returns <split>-<number>.tar in the folder data.path, and what is left out or missing.

    Raises:
        ValueError: there are none, or one twice, or with data.val_share some for validation.
    """
    folder = Path(str(config.path))
    if not folder.is_dir():
        raise ValueError(f"data.path={folder}: {no_folder(folder)}")
    found = walk(folder)
    files = sorted((n for n in found.files if kind(n) == ".tar" and "/" not in n), key=natural)
    splits = config.splits if config.val_share is None else seconds(config)
    others = {name: [file for file in files if of_split(file, name)] for name in splits}
    shards = [file for file in files if of_split(file, split)]
    if not shards:
        have = f"; there are {some(sorted(found.files, key=natural))}" if found.files else ""
        raise ValueError(f"data.path={folder}: no shards {split}-<number>.tar{have}; {HINT}")
    notes = check_numbers(f"data.path={folder}: {split}", shards)
    if config.val_share is not None:
        for there in filter(None, others.values()):
            refuse_second(config, some(there))
        notes += of_no_split(folder, found, shards, [split], [".tar"])
    elif split == config.splits[0]:  # said once, of both parts
        taken = {file for there in others.values() for file in there}
        notes += of_no_split(folder, found, taken, config.splits, [".tar"])
    return [folder / name for name in shards], notes


def samples(
    tar: tarfile.TarFile,
    take: Callable[[tarfile.TarFile, tarfile.TarInfo], _T],
    unused: Counter[str],
) -> Iterator[tuple[_T, Any]]:
    """Yields what `take` makes of each image, and its label as it is written.

    Members that are no part of a sample are counted in `unused`, by what follows the first dot of
    their names.

    Raises:
        ValueError: an image has no label, or two that differ.
        tarfile.TarError: the file is cut off or damaged, or two archives were put into one.
    """
    labels: dict[str, Any] = {}
    images: dict[str, tuple[_T, str]] = {}
    done: dict[str, Any] = {}  # samples that were yielded, and their labels
    for member in tar:
        folder, _, base = member.name.rpartition("/")
        key, _, suffix = base.partition(".")
        key, suffix = same_form(f"{folder}/{key}"), suffix.lower()
        if member.isdir():
            continue
        if member.issparse():
            unused["sparse files"] += 1  # packed: their bytes are not where others have theirs
        elif not member.isreg():
            unused["links" if member.islnk() or member.issym() else base] += 1
        elif not all(is_data(name) for name in member.name.split("/") if name not in (".", "..")):
            unused[base] += 1
        elif is_image(base) and "." not in suffix and key not in images and key not in done:
            images[key] = take(tar, member), member.name
        elif suffix in ("cls", "json") and (label := _label(tar, member, suffix)) != _NONE:
            other = done.get(key, labels.get(key, _NONE))
            if other not in (_NONE, label):
                raise ValueError(f"{shown(member.name)}: class {label!r}, and {other!r} before")
            if key not in done:
                labels[key] = label
        else:
            unused[f".{suffix}"] += 1
        if key in images and key in labels:
            done[key] = labels.pop(key)
            yield images.pop(key)[0], done[key]
    if tar.fileobj is not None and tar.fileobj.read(_PADDING).strip(b"\0"):
        raise tarfile.ReadError("there is more after its end: two archives in one file")
    if labels:
        unused["labels without an image"] += len(labels)
    for _, name in images.values():
        raise ValueError(f"{shown(name)} has no class in .cls, nor as label in .json")


def said_unused(where: str, unused: Counter[str]) -> list[str]:
    """Returns what to say of the members of shards that were not used."""
    if not unused:
        return []
    return [f"{where}: {sum(unused.values()):,} members that are not used: {counted(unused)}"]


def _label(tar: tarfile.TarFile, member: tarfile.TarInfo, suffix: str) -> Any:
    """Returns the label in a .cls, a number or a name, or in a .json; _NONE: there is none."""
    file = tar.extractfile(member)
    assert file is not None  # a regular file
    try:
        text = file.read().decode("utf-8-sig").strip()
        if suffix == "cls":
            if shown(text) != text:
                raise ValueError(f"{text!r} is no class: it has control characters")
            whole = re.fullmatch(r"[-+]?\d+", text)
            return int(text) if whole else float(text) if _NUMBER.fullmatch(text) else text
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{shown(member.name)}: {error}") from None
    return found.get("label", _NONE) if isinstance(found, dict) else _NONE
