"""Where encoded images lie: folders here, rows and shards beside. `open_part` is the way in."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from vitcli.config import DataConfig
from vitcli.data.names import ORDERS, is_data, natural, same_form, shown, some, walk
from vitcli.data.rows import HuggingFaceReader
from vitcli.data.shards import ShardReader
from vitcli.data.source import Part

_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


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

    labels: list[int]  # of each image, a position in `classes`
    notes: list[str]  # what was left out or assumed, a line each

    @property
    def classes(self) -> list[str]:
        """The classes' names; those of the training part count."""
        ...


class FolderReader:
    """Images in `path`/train/<class>/ and `path`/val/<class>/.

    The classes are the folders in train/, those without an image included, in the order of
    data.class_order: so a class's number does not depend on what is in the folders.
    """

    def __init__(self, config: DataConfig, part: Part) -> None:
        """Lists the files. Raises ValueError for a folder that is missing, empty or of no class."""
        path = self._path = Path(str(config.path))
        for needed in (path / "train", path / part):
            if not needed.is_dir():
                raise ValueError(
                    f"data.path={path}: no folder {needed.name}/; it needs train/<class>/ and "
                    "val/<class>/ with images"
                )
        folders = [p.name for p in (path / "train").iterdir() if p.is_dir() and is_data(p.name)]
        named = [same_form(name) for name in folders]
        if twice := sorted(name for name, count in Counter(named).items() if count > 1):
            raise ValueError(
                f"data.path={path}: train/ has {some(twice)} twice, its accents written in two "
                "forms of Unicode (NFC, NFD): merge the folders"
            )
        self.classes: list[str] = ORDERS[config.class_order](named)
        number = {name: i for i, name in enumerate(self.classes)}
        found, left = walk(path / part)
        self._files = sorted((n for n in found if _is_image(n)), key=natural)
        if not self._files:
            raise ValueError(f"data.path={path}: no images in {part}/<class>/")
        self.labels = []
        for file in self._files:
            folder = os.path.dirname(file)
            if same_form(folder) not in number:
                raise ValueError(
                    f"data.path={path}: {part}/{shown(folder)} has images but is no class: the "
                    f"classes are the {len(number)} folders in train/"
                )
            self.labels.append(number[same_form(folder)])
        self._files = [os.path.join(part, file) for file in self._files]
        others = [n for n in found if not _is_image(n) and os.path.dirname(n)]
        self.notes = _notes(path / part, others, left)

    def read(self, row: int) -> bytes:
        """Returns the file."""
        return (self._path / self._files[row]).read_bytes()

    def name(self, row: int) -> str:
        """Returns the file's path inside the data set."""
        return shown(self._files[row])


def open_part(config: DataConfig, part: Part) -> Reader:
    """Returns the reader of one part of the data set. Raises ValueError where there is none."""
    if config.path is None:
        raise ValueError(f"data.path=null: data.name={config.name} needs the place of the images")
    if config.name == "hfds":
        return HuggingFaceReader(config, part)
    if config.name == "wds":
        return ShardReader(config, part)
    return FolderReader(config, part)


def _is_image(name: str) -> bool:
    return name.lower().endswith(_EXTENSIONS)


def _notes(folder: Path, others: Sequence[str], left: Sequence[str]) -> list[str]:
    """Returns what to say of the files in the classes' folders that are not read."""
    notes, where = [], shown(str(folder))
    if others:
        kinds = sorted({Path(n).suffix.lower() or os.path.basename(n) for n in others})
        notes.append(f"{where}: {len(others)} files that are no images: {some(kinds)}")
    if left:
        names = some(sorted(left))
        notes.append(f"{where}: left out, by their names no data: {names}")
    return notes
