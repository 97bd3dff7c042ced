"""What a setting can be: the fields of a config, and what is said of a value that is none of it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import field
from typing import Any

SCALES = ("laptop", "gpu", "paper")  # of a study

# A field marked `later` came after runs had been trained: at its default it is no part of a run's
# identity, so that they keep their names.


def choice(default: str, *others: str, later: bool = False, group: str | None = None) -> Any:
    """Returns a string field that accepts `default` and `others` only.

    Args:
        group: of entry points, by which other packages add values.
    """
    metadata = {"choices": (default, *others), "later": later, "group": group}
    return field(default=default, metadata=metadata)


def at_least(minimum: float, default: Any, later: bool = False) -> Any:
    """Returns a number (or list of numbers) field whose values are `minimum` or more."""
    metadata = {"min": minimum, "later": later}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def word(default: str) -> Any:
    """Returns a string field that becomes a part of a folder's name."""
    return field(default=default, metadata={"word": True})


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns `"; did you mean 'x'?"` for the known word closest to `word`, or nothing."""
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{match[0]}'?" if match else ""


def nearest_key(word: str, keys: Iterable[str], others: Iterable[str] = ()) -> str:
    """Returns the same for a setting: the keys that end in `.word`; without any, what is like it.

    Args:
        others: what it may be like, in place of the keys.
    """
    keys = list(keys)
    ends = [f"'{key}'" for key in keys if key.endswith(f".{word}")]
    return f"; did you mean {' or '.join(ends)}?" if ends else nearest(word, others or keys)


def choose(key: str, value: str, known: Iterable[str]) -> None:
    """Raises ValueError, naming what there is and what is nearest, unless the value is known."""
    there = list(known)
    if value not in there:
        raise ValueError(f"{key}={value}: choose from {', '.join(there)}{nearest(value, there)}")
