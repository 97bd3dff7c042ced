"""Settings as people type them, made words of Hydra's grammar: text is taken as it is. No torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cache

from vitcli.argv import quoted
from vitcli.config import RunConfig

_SWEEPS = ("glob(", "choice(", "range(")  # of Hydra, with -m


def as_typed(overrides: Sequence[str], sweeps: bool = False) -> list[str]:
    """Returns the overrides with the values of text fields quoted: paths with spaces, commas, `=`.

    `~` is the person's home. What is quoted already, `null` and `${...}` stay.

    Args:
        overrides: `key=value`, of any key.
        sweeps: with -m, commas part the values of several runs.
    """
    return [_typed(word, sweeps) for word in overrides]


def _typed(word: str, sweeps: bool) -> str:
    key, equals, value = word.partition("=")
    if not equals or key.lstrip("+") not in text_keys():
        return word
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        home = value[1:-1].startswith("~")
        return f"{key}={value[0]}{os.path.expanduser(value[1:-1])}{value[0]}" if home else word
    several = sweeps and ("," in value or value.startswith(_SWEEPS))
    if several or "${" in value or value in ("", "null"):
        return word
    return f"{key}={quoted(os.path.expanduser(value))}"


@cache
def text_keys() -> frozenset[str]:
    """Returns the keys whose values are free text: paths and names."""
    return frozenset(_keys(RunConfig, ""))


def _keys(schema: type, prefix: str) -> Iterator[str]:
    default = schema()
    for f in fields(schema):
        if is_dataclass(nested := getattr(default, f.name)):
            yield from _keys(type(nested), f"{prefix}{f.name}.")
        elif f.type in ("str", "str | None") and "choices" not in f.metadata:
            yield prefix + f.name
