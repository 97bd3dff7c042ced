"""Settings as people type them, made words of Hydra's grammar. No torch.

Text is taken as it is, and 1e6 is a whole number where one is wanted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cache

from vitcli.argv import quoted
from vitcli.config import RunConfig
from vitcli.settings import walk

_OTHER_SWEEPS = ("glob(", "range(", "sort(", "shuffle(", "tag(")  # of Hydra, besides choice()
_QUOTED = re.compile(r"""\s*(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\s*""", re.DOTALL)
# `outputs=$UNSET` would be the current folder.
_NEVER_EMPTY = (
    "outputs", "data.root", "data.path", "evals.path", "data.class_map", "data.real_labels",
)  # fmt: skip
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
    Raises:
        ValueError: what is no text, or an empty folder.
    """
    check_texts(overrides)
    return [_typed(word, sweeps) for word in overrides]


def check_texts(overrides: Sequence[object]) -> None:
    """Raises ValueError for the first override that is no text, as a list of them is not."""
    for word in overrides:
        if not isinstance(word, str):
            raise ValueError(f"{word!r}: each setting is a text of its own, such as 'model=b'")


def _typed(word: str, sweeps: bool) -> str:
    key, equals, value = word.partition("=")
    kind = kinds().get(key.lstrip("+"))
    if not equals or kind is None:
        return word
    if kind == "whole":
        return f"{key}={whole_numbers(value)}"
    if kind == "texts":
        return word if set(value) & {"'", '"', "$"} else f"{key}={_LIST.sub(_quoted_each, value)}"
    if key.lstrip("+") in _NEVER_EMPTY and value in ("", "''", '""'):
        raise ValueError(f"{word}: it is empty, name a folder or file")
    if not sweeps or value.startswith(_OTHER_SWEEPS):
        return f"{key}={value if sweeps else _text(value)}"
    if value.startswith("choice(") and value.endswith(")"):
        value = value.removeprefix("choice(")[:-1]
    return f"{key}={','.join(map(_text, _parted(value)))}"


def _text(value: str) -> str:
    """Returns one value of a text field, quoted; `null` and what refers to other keys is not."""
    if value in ("", "null") or "${" in value:
        return value
    if _QUOTED.fullmatch(value):
        inner = value.strip()
        return f"{inner[0]}{os.path.expanduser(inner[1:-1])}{inner[0]}"
    return quoted(os.path.expanduser(value))


def _parted(values: str) -> list[str]:
    """Returns what commas part, but not those in quotes and brackets."""
    found, depth, at = [""], 0, 0
    while at < len(values):
        whole = _QUOTED.match(values, at) if not found[-1].strip() else None
        sign = whole[0] if whole else values[at]
        at += len(sign)
        depth = max(0, depth + (sign in "([{") - (sign in ")]}"))
        if sign == "," and not depth:
            found.append("")
        else:
            found[-1] += sign
    return [each.strip() for each in found]


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
    return dict(_kinds())


def _kinds() -> Iterator[tuple[str, str]]:
    for each in walk(RunConfig()):
        if each.type in ("str", "str | None") and "choices" not in each.says:
            yield each.key, "text"
        elif each.type == "list[str]":
            yield each.key, "texts"
        elif each.type in _WHOLE or "sides" in each.says:
            yield each.key, "whole"
