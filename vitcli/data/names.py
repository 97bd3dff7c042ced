"""What of a folder is data, by its name: the one page that decides for every kind of data set."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path

# What systems and tools put beside a person's files; names that begin with a dot are of this kind.
_OF_SYSTEMS = {"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information"}
_OF_SYSTEMS |= {"lost+found", "__pycache__", "Thumbs.db", "desktop.ini"}
# What may follow a split's name: numbers, `of`, `part`, `shard`, or a hash, after - _ or a dot.
_NUMBERED = re.compile(r"([-_.]?(\d+|of|(part|shard)[-_]?\d*|[0-9a-f]{8,}))*")
_MOST_NAMES = 10


def is_data(name: str) -> bool:
    """Returns whether a file or folder of this name was put there as data."""
    return not name.startswith(".") and name not in _OF_SYSTEMS


def same_form(name: str) -> str:
    """Returns the name composed as Unicode's NFC: a Mac writes accents apart."""
    return unicodedata.normalize("NFC", name)


def of_split(name: str, split: str) -> bool:
    """Returns whether a file's name is the split's and numbers: train-00000-of-00004.parquet."""
    stem = name.removesuffix(Path(name).suffix)
    return stem.startswith(split) and _NUMBERED.fullmatch(stem, len(split)) is not None


def not_of_split(
    folder: Path, names: Iterable[str], taken: Container[str], split: str
) -> list[str]:
    """Returns what to say of files whose names begin like the split's and are not taken."""
    like = [n for n in names if n not in taken and Path(n).name.startswith(split)]
    return [f"{folder}: left out, not {split} and a number: {some(like)}"] if like else []


def torchvision_order(names: Iterable[str]) -> list[str]:
    """Returns the names as Python sorts them: 1, 10, 2, B, a."""
    return sorted(names)


def natural_order(names: Iterable[str]) -> list[str]:
    """Returns the names as timm sorts them, numbers by value and letters without case."""
    return sorted(names, key=natural)


def natural(name: str) -> list[tuple[int, str]]:
    """Returns a key that sorts 2 before 10, and B beside b."""
    return [(int(s), "") if s.isdecimal() else (-1, s) for s in re.split(r"(\d+)", name.lower())]


ORDERS: dict[str, Callable[[Iterable[str]], list[str]]] = {
    "torchvision": torchvision_order,
    "natural": natural_order,
}


def walk(folder: Path) -> tuple[list[str], list[str]]:
    """Returns the files below a folder, by their paths from there, and what is no data.

    Links to folders are followed. What is no data is named by its own path; what lies in such a
    folder is not looked at.
    """
    files: list[str] = []
    left: list[str] = []
    for at, folders, names in os.walk(folder, followlinks=True):
        below = os.path.relpath(at, folder)
        for kind in (folders, names):
            left += [os.path.normpath(os.path.join(below, n)) for n in kind if not is_data(n)]
        folders[:] = [n for n in folders if is_data(n)]
        files += [os.path.normpath(os.path.join(below, n)) for n in names if is_data(n)]
    return files, left


def some(names: Sequence[str]) -> str:
    """Returns the names as `shown`, up to ten of them and then a count."""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(map(shown, names[:_MOST_NAMES])) + more


def shown(name: str) -> str:
    """Returns a file's name with the bytes that are no UTF-8 escaped, as \\xe9."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
