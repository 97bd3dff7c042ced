"""Where encoded images lie: folders here, archives beside. `open_part` is the way in."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from timm.data.readers.reader_image_folder import ReaderImageFolder

from vitcli.config import DataConfig
from vitcli.data.archives import HuggingFaceReader, ShardReader
from vitcli.data.source import Part

_log = logging.getLogger(__name__)
_MOST_NAMES = 10
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

    @property
    def classes(self) -> list[str]:
        """The classes' names; those of the training part count."""
        ...


class FolderReader:
    """Images in `path`/train/<class>/ and `path`/val/<class>/.

    The classes are the folders in train/, in the order of their names (digits as numbers), those
    without an image included: so a class's number does not depend on what is in the folders.
    """

    def __init__(self, path: Path, part: Part) -> None:
        """Lists the files. Raises ValueError for a folder that is missing, empty or of no class."""
        for needed in (path / "train", path / part):
            if not needed.is_dir():
                raise ValueError(
                    f"data.path={path}: no folder {needed.name}/; it needs train/<class>/ and "
                    "val/<class>/ with images"
                )
        self.classes: list[str] = sorted(
            (p.name for p in (path / "train").iterdir() if p.is_dir()), key=_natural
        )
        try:
            reader = ReaderImageFolder(str(path / part), input_key=";".join(_EXTENSIONS))
        except RuntimeError:
            raise ValueError(f"data.path={path}: no images in {part}/<class>/") from None
        number = {name: i for i, name in enumerate(self.classes)}
        self.labels, self._files, self._path = [], [], path
        for file, _ in reader.samples:
            folder = Path(file).relative_to(path / part).parent
            if str(folder) not in number:
                raise ValueError(
                    f"data.path={path}: {part}/{folder} has images but is no class: the classes "
                    f"are the {len(number)} folders in train/"
                )
            self.labels.append(number[str(folder)])
            self._files.append(file)
        _say_other_files(path / part)

    def read(self, row: int) -> bytes:
        """Returns the file."""
        return Path(self._files[row]).read_bytes()

    def name(self, row: int) -> str:
        """Returns the file's path inside the data set."""
        return str(Path(self._files[row]).relative_to(self._path))


def open_part(config: DataConfig, part: Part) -> Reader:
    """Returns the reader of one part of the data set. Raises ValueError where there is none."""
    if config.path is None:
        raise ValueError(f"data.path=null: data.name={config.name} needs the place of the images")
    if config.name == "hfds":
        return HuggingFaceReader(config, part)
    if config.name == "wds":
        return ShardReader(config, part)
    return FolderReader(Path(config.path), part)


def some(names: Sequence[str]) -> str:
    """Returns the names, up to ten of them and then a count."""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _say_other_files(folder: Path) -> None:
    """Logs how many files in the classes' folders are not read, and of what kinds."""
    names = [n for f, _, ns in os.walk(folder, followlinks=True) if Path(f) != folder for n in ns]
    others = [n for n in names if not n.lower().endswith(_EXTENSIONS)]
    if others:
        kinds = sorted({Path(n).suffix.lower() or n for n in others})
        _log.warning("%s: %d files that are no images: %s", folder, len(others), some(kinds))


def _natural(name: str) -> list[tuple[int, str]]:
    """Returns a key that sorts 2 before 10."""
    return [(int(s), "") if s.isdecimal() else (-1, s) for s in re.split(r"(\d+)", name)]
