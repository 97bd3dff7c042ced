"""The numbers in the names of a split's files: which are not there, and which are there twice."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from vitcli.data.names import some

# train-00001-of-00004, perhaps with a hash; what comes before the number may have others.
_NUMBER = re.compile(r"(.*?)(\d+)(?:[-_.]of[-_.](\d+)(?:[-_.][0-9a-f]{8,})?)?", re.DOTALL)
_HASH = re.compile(r"(?=.*[a-f])[0-9a-f]{8,}")
_MOST = 10


def check_numbers(where: str, files: Sequence[str]) -> list[str]:
    """Returns what to say of files whose numbers are missing, and of several names for one split.

    Args:
        where: what the files are of: `data.path=photos: train`.
        files: their paths from there.
    Raises:
        ValueError: a number is there twice, or there are two sets: 0-of-2 beside 0-of-3.
    """
    by_name: dict[str, dict[int, str]] = defaultdict(dict)
    others = 0
    totals: dict[str, set[str | None]] = defaultdict(set)
    for file in files:
        path = Path(file)
        found = _NUMBER.fullmatch(path.stem)
        if found is None or _HASH.fullmatch(path.stem):
            others += 1
            continue
        name = str(path.parent / f"{found[1]}*{path.suffix}")
        other = by_name[name].setdefault(int(found[2]), file)
        if other != file:
            raise ValueError(f"{where} has {other} and {file}, of one number: keep one of them")
        totals[name].add(found[3] and str(int(found[3])))
        if len(totals[name]) > 1:
            one = next(iter(by_name[name].values()))
            raise ValueError(f"{where} has files of two sets, {one} and {file}: keep one set")
    notes = []
    names = [*by_name, *([f"{others:,} files without a number"] if others else [])]
    if len(names) > 1:
        notes.append(f"{where}: taken together: {some(names)}")
    for name, numbers in by_name.items():
        total = next(iter(totals[name]), None)
        missing = _missing(numbers, None if total is None else int(total))
        if some_missing := list(itertools.islice(missing, _MOST)):
            of = name if total is None else f"{name} ({len(numbers)} of {total} are there)"
            more = " ..." if next(missing, None) is not None else ""
            listed = ", ".join(map(str, some_missing))
            notes.append(
                f"{where}: files that are missing, by their numbers, of {of}: {listed}{more}"
            )
    return notes


def _missing(numbers: dict[int, str], total: int | None) -> Iterator[int]:
    """Yields the numbers that are not there, of `total` if that is known, counted from 0 or 1."""
    if total is None:
        every = range(min(numbers), max(numbers) + 1)
    else:
        first = int(0 not in numbers and total in numbers)
        every = range(first, first + total)
    return (number for number in every if number not in numbers)
