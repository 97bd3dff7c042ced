"""What of a folder is data, by its name: the one page that decides for every kind of data set."""

from __future__ import annotations

import errno
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

# What systems and tools put beside a person's files; names that begin with a dot are of this kind.
_OF_SYSTEMS = {"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information"}
_OF_SYSTEMS |= {"lost+found", "__pycache__", "Thumbs.db", "desktop.ini"}
_IMAGES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
_IMAGES |= {".avif", ".ppm", ".pgm", ".pbm", ".pnm"}
# What may follow a split's name: numbers, `of`, `part`, `shard`, or a hash, after - _ or a dot.
_NUMBERED = re.compile(r"([-_.]?([0-9a-f]{8,}|\d+|of|(part|shard)[-_]?))*+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MOST_NAMES = 10


def is_data(name: str) -> bool:
    """Returns whether a file or folder of this name was put there as data."""
    return not name.startswith(".") and name not in _OF_SYSTEMS


def is_image(name: str) -> bool:
    """Returns whether a file of this name is an image of a kind that is read."""
    return kind(name) in _IMAGES


def same_form(name: str) -> str:
    """Returns the name composed as Unicode's NFC: a Mac writes accents apart."""
    return unicodedata.normalize("NFC", name)


def of_split(name: str, split: str) -> bool:
    """Returns whether a file's name is the split's and numbers: train-00000-of-00004.parquet."""
    stem = name.removesuffix(Path(name).suffix)
    return stem.startswith(split) and _NUMBERED.fullmatch(stem, len(split)) is not None


def torchvision_order(names: Iterable[str]) -> list[str]:
    """Returns the names as Python sorts them: 1, 10, 2, B, a."""
    return sorted(names)


def natural_order(names: Iterable[str]) -> list[str]:
    """Returns the names as timm sorts them, numbers by value and letters without case."""
    return sorted(names, key=natural)


def natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """Returns a key that sorts 2 before 10, and B beside b; the name itself decides between 1, 01.

    Without that, an order would be the one in which the file system lists them.
    """
    parts = re.split(r"(\d+)", name.lower())
    return [(int(s), "") if s.isdecimal() else (-1, s) for s in parts], name


ORDERS: dict[str, Callable[[Iterable[str]], list[str]]] = {
    "torchvision": torchvision_order,
    "natural": natural_order,
}


class Walked(NamedTuple):
    """What is below a folder, by paths from there."""

    files: list[str]
    systems: list[str]  # what is no data by its name; what lies in such a folder is not looked at
    odd: list[str]  # links that lead nowhere, or to a folder that they lie in; pipes and the like


def walk(folder: Path) -> Walked:
    """Returns what is below a folder. Links to other folders are followed.

    Raises:
        OSError: a folder cannot be read.
    """
    found = Walked([], [], [])
    _walk(folder, "", (), found)
    return found


def _walk(folder: Path, below: str, above: tuple[tuple[int, int], ...], found: Walked) -> None:
    """Adds to `found` what is in folder/below; `above` are the folders that this one lies in."""
    at = os.stat(folder / below)
    above = (*above, (at.st_dev, at.st_ino))
    with os.scandir(folder / below) as entries:
        for entry in entries:
            name = os.path.join(below, entry.name)
            if not is_data(entry.name):
                found.systems.append(name)
            elif _leads_to_itself(entry):
                found.odd.append(name)
            elif entry.is_dir():
                there = entry.stat()
                if entry.is_symlink() and (there.st_dev, there.st_ino) in above:
                    found.odd.append(name)
                else:
                    _walk(folder, name, above, found)
            elif entry.is_file() or (entry.is_symlink() and is_image(name)):  # to be found broken
                found.files.append(name)
            else:
                found.odd.append(name)


def _leads_to_itself(entry: os.DirEntry[str]) -> bool:
    """Returns whether this is a link that cannot be followed to its end."""
    try:
        entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return True
        raise
    return False


def left_out(folder: Path, found: Walked, read: Callable[[str], bool]) -> list[str]:
    """Returns what to say of what is in a folder and not of a kind that is `read`."""
    notes, where = [], shown(str(folder))
    if others := [name for name in found.files if not read(name)]:
        kinds = Counter(Path(n).suffix.lower() or os.path.basename(n) for n in others)
        notes.append(f"{where}: {len(others):,} files of kinds that are not read: {counted(kinds)}")
    if found.systems:
        notes.append(f"{where}: left out, by their names no data: {some(sorted(found.systems))}")
    if found.odd:
        notes.append(f"{where}: left out, neither files nor folders: {some(sorted(found.odd))}")
    return notes


def of_no_split(
    folder: Path, found: Walked, taken: Container[str], splits: Sequence[str], kinds: Container[str]
) -> list[str]:
    """Returns what to say of what is in a folder and in none of the files taken of its splits."""
    files = [name for name in found.files if name not in taken]
    like = [n for n in files if kind(n) in kinds or Path(n).name.startswith(tuple(splits))]
    where, names = shown(str(folder)), " or ".join(splits)
    said = [f"{where}: left out, not {names} and a number: {some(sorted(like))}"] if like else []
    known = {*like, *(name for name in found.files if name in taken)}
    return said + left_out(folder, found, known.__contains__)


def kind(name: str) -> str:
    """Returns a file's suffix, in small letters."""
    return os.path.splitext(name)[1].lower()


def folders(folder: Path) -> list[str]:
    """Returns the names of the folders in this one that are data, sorted."""
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and is_data(p.name))


def no_folder(path: Path) -> str:
    """Returns why a path that should be a folder is none."""
    return "a file; give the folder that it is in" if path.is_file() else "no such folder"


def some(names: Sequence[str]) -> str:
    """Returns the names as `shown`, up to ten of them and then a count."""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(map(shown, names[:_MOST_NAMES])) + more


def counted(kinds: Counter[str]) -> str:
    """Returns the kinds with their counts, as `some` does, the most frequent ones first."""
    ordered = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))
    return some([f"{kind} ({count:,})" for kind, count in ordered])


def shown(name: str) -> str:
    """Returns a file's name on one line: control characters, and bytes that are no UTF-8, escaped.

    As \\n and \\xe9.
    """
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)
