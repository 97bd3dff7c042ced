"""Settings as people type them, made words of Hydra's grammar. No torch.

Text is taken as it is, and 1e6 is a whole number where one is wanted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from decimal import Decimal
from functools import cache

from vitcli.argv import quoted
from vitcli.config import RunConfig

_SWEEPS = ("glob(", "choice(", "range(", "sort(", "shuffle(", "tag(")  # of Hydra, with -m
_WHOLE = ("int", "int | None", "list[int]", "dict[str, list[int]]")
_NUMBER = re.compile(r"(?<![\w.])[+-]?\d[\d_]*(\.\d*)?([eE][+-]?\d+)?(?![\w.])")
_LIST = re.compile(r"\[([^\[\]]+)\]")


def as_typed(overrides: Sequence[str], sweeps: bool = False) -> list[str]:
    """Returns the overrides with the values of text fields quoted: paths with spaces, commas, `=`.

    `~` is the person's home. What is quoted already, `null` and `${...}` stay. In fields of whole
    numbers, 1e6 and 64.0 are written out.

    Args:
        overrides: `key=value`, of any key.
        sweeps: with -m, commas part the values of several runs.
    """
    return [_typed(word, sweeps) for word in overrides]


def _typed(word: str, sweeps: bool) -> str:
    key, equals, value = word.partition("=")
    kind = kinds().get(key.lstrip("+"))
    if not equals or kind is None:
        return word
    if kind == "whole":
        return f"{key}={whole_numbers(value)}"
    if kind == "texts":
        return word if set(value) & {"'", '"', "$"} else f"{key}={_LIST.sub(_quoted_each, value)}"
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        home = value[1:-1].startswith("~")
        return f"{key}={value[0]}{os.path.expanduser(value[1:-1])}{value[0]}" if home else word
    several = sweeps and ("," in value or value.startswith(_SWEEPS))
    if several or "${" in value or value in ("", "null"):
        return word
    return f"{key}={quoted(os.path.expanduser(value))}"


def _quoted_each(found: re.Match[str]) -> str:
    return f"[{','.join(quoted(each.strip()) for each in found[1].split(','))}]"


def whole_numbers(text: str) -> str:
    """Returns the text with each number that is whole, 1e6 or 64.0, written out: 1000000, 64."""

    def written_out(found: re.Match[str]) -> str:
        number = Decimal(found[0])
        whole = abs(number) < 10**18 and number == number.to_integral_value()
        return str(int(number)) if whole and (found[1] or found[2]) else found[0]

    return _NUMBER.sub(written_out, text)


@cache
def kinds() -> dict[str, str]:
    """Returns the keys of free text (`text`, in lists `texts`) and of whole numbers (`whole`)."""
    return dict(_kinds(RunConfig, ""))


def _kinds(schema: type, prefix: str) -> Iterator[tuple[str, str]]:
    default = schema()
    for f in fields(schema):
        key = prefix + f.name
        if is_dataclass(nested := getattr(default, f.name)):
            yield from _kinds(type(nested), f"{key}.")
        elif f.type in ("str", "str | None") and "choices" not in f.metadata:
            yield key, "text"
        elif f.type == "list[str]":
            yield key, "texts"
        elif f.type in _WHOLE or "sides" in f.metadata:
            yield key, "whole"
