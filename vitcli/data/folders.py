"""Encoded images in folders, one for each class."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from vitcli.config import DataConfig
from vitcli.data.divided import HINT, refuse_second, seconds
from vitcli.data.labels import Classes
from vitcli.data.names import (
    ORDERS,
    folders,
    is_data,
    is_image,
    left_out,
    natural,
    no_folder,
    same_form,
    shown,
    some,
    walk,
)
from vitcli.data.source import Part

_USUAL = ["train", "validation"]  # data.splits where it is not set


class FolderReader:
    """Images in `path`/train/<class>/ and `path`/val/<class>/, or as data.splits names the two.

    With data.val_share they may also lie in `path`/<class>/. The classes are the folders of the
    training part, those without an image included, in the order of data.class_order: so a class's
    number does not depend on what is in the folders.
    """

    def __init__(self, config: DataConfig, part: Part, classes: Classes | None) -> None:
        """Lists the files of a part; the training part, without `classes`, finds these too.

        Raises:
            ValueError: a folder is missing, has no images, or is no class.
            OSError: a folder cannot be read.
        """
        path = self._path = Path(str(config.path))
        parts, notes = _parts(path, config)
        place = parts[part == "val"]
        self.classes = classes or _classes(path / place, config)
        number = {name: i for i, name in enumerate(self.classes.names)}
        found = walk(path / place)
        files = sorted(filter(is_image, found.files), key=natural)
        if not files:
            raise ValueError(f"data.path={path}: no images in {os.path.join(place, '<class>')}/")
        self.labels = []
        for file in files:
            folder = os.path.dirname(file)
            if same_form(folder) not in number:
                raise ValueError(
                    f"data.path={path}: {shown(os.path.join(place, folder) or '.')} has images but "
                    f"is no class: the classes are the {len(number)} folders in {parts[0] or '.'}/"
                )
            self.labels.append(number[same_form(folder)])
        self._files = [os.path.join(place, file) for file in files]
        if classes is None:
            notes += _other_order(path / place, config)
        else:
            notes = []
        self.notes = [*notes, *left_out(path / place, found, is_image)]

    def read(self, row: int) -> bytes:
        """Returns the file."""
        with open(os.path.join(self._path, self._files[row]), "rb") as file:
            return file.read()

    def name(self, row: int) -> str:
        """Returns the file's path inside the data set."""
        return shown(self._files[row])


def _parts(path: Path, config: DataConfig) -> tuple[list[str], list[str]]:
    """Returns the folders of the parts, by their paths from `path`, and what to say of them.

    With data.val_share there is one, which may be `path` itself.
    """
    if not path.is_dir():
        raise ValueError(f"data.path={path}: {no_folder(path)}")
    there = folders(path)
    written = {same_form(name): name for name in there}  # as a Mac may have written it
    train, val = (written.get(same_form(name), name) for name in config.splits)
    usual = config.splits == _USUAL
    if usual and ("val" in there or "validation" not in there):
        val = "val"
    parts = [train] if config.val_share is not None else [train, val]
    if config.val_share is not None:
        for name in seconds(config):
            if _has_folders(path / name):  # without any, it is a class called so
                refuse_second(config, f"{name}/")
    if config.val_share is not None and usual and not _has_folders(path / train):
        return [""], [f"{shown(str(path))}: no {train}/<class>/: its own folders are the classes"]
    for name in parts:
        if not (path / name).is_dir():
            raise ValueError(
                f"data.path={path}: no folder {name}/, but {some(there) or 'none at all'}; "
                f"data.splits=[A,B] names those for training and validation; {HINT}"
            )
    notes = []
    if usual and val == "validation" and val in parts:
        notes.append(f"{shown(str(path))}: no val/: {val}/ is taken")
    used = {first for name in parts for first in Path(name).parts[:1]}
    loose = sorted(p.name for p in path.iterdir() if p.is_file() and is_data(p.name))
    if others := [name for name in [*there, *loose] if name not in used]:
        notes.append(f"{shown(str(path))}: left out, not {' or '.join(parts)}: {some(others)}")
    return parts, notes


def _has_folders(path: Path) -> bool:
    return path.is_dir() and folders(path) != []


def _classes(folder: Path, config: DataConfig) -> Classes:
    named = [same_form(name) for name in folders(folder)]
    if twice := sorted(name for name, count in Counter(named).items() if count > 1):
        raise ValueError(
            f"{folder} has {some(twice)} twice, its accents written in two forms of Unicode (NFC, "
            "NFD): merge the folders"
        )
    if not named:
        raise ValueError(f"data.path={config.path}: {folder} has no folders, one for each class")
    return Classes(ORDERS[config.class_order](named), [], str)


def _other_order(folder: Path, config: DataConfig) -> list[str]:
    """Returns what to say where the names as they are written have another order than ours."""
    sort, names = ORDERS[config.class_order], folders(folder)
    ours, theirs = sort(map(same_form, names)), [same_form(name) for name in sort(names)]
    if ours == theirs:
        return []
    other = "timm" if config.class_order == "natural" else "torchvision"
    return [
        f"{shown(str(folder))}: classes are sorted with their accents composed (NFC): "
        f"{some(ours)}; {other} sorts the names as they are written: {some(theirs)}"
    ]
