"""The settings of a run: keys, what each can be, what config.py says of it. No torch, no Hydra."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vitcli import config
from vitcli.plugins import found


@dataclass(frozen=True)
class Setting:
    """One key of a config.

    Attributes:
        key: with its groups, as `data.augment.crop`.
        value: of this config.
        type: as config.py has it, as `int | None`.
        says: what else its field says of it: choices, min.
        field: class and name of the field.
    """

    key: str
    value: Any
    type: str
    says: dict[str, Any]
    field: tuple[str, str]

    @property
    def values(self) -> list[str]:
        """Returns all that it can be, other packages' too; empty where that is open."""
        if self.type == "bool":
            return ["true", "false"]
        group = self.says.get("group")
        return [*self.says.get("choices", ()), *(found(group) if group else ())]

    @property
    def kind(self) -> str:
        """Returns what it can be: `fp32, bf16`, or `int >= 1, null`; empty: its meaning says."""
        typed, _, null = self.type.partition(" | ")
        bound = f" >= {self.says['min']:g}" if "min" in self.says else ""
        of_list = re.fullmatch(r"list\[(\w+)\]", typed)
        said = ", ".join(self.values)
        if "sides" in self.says:
            side = f"int >= {self.says['sides']}"
            said = f"{side}, [{side}, {side}]"
        elif of_list:
            said = f"[{of_list[1]}{bound}, ...]"
        elif not said and typed in ("int", "float", "str"):
            said = typed + bound
        return f"{said}, null" if null else said

    @property
    def meaning(self) -> str:
        """Returns what config.py says of it."""
        return _comments()[self.field]


def walk(node: Any, prefix: str = "") -> Iterator[Setting]:
    """Yields each single setting of a config, or of a group of it."""
    for each in fields(node):
        key, value = prefix + each.name, getattr(node, each.name)
        if is_dataclass(value):
            yield from walk(value, f"{key}.")
        else:
            owner = type(node).__name__, each.name
            yield Setting(key, value, str(each.type), dict(each.metadata), owner)


@cache
def _comments() -> dict[tuple[str, str], str]:
    """Returns the comments of each field of config.py: those on its own lines and just above it."""
    text = Path(str(config.__file__)).read_text(encoding="utf-8")
    lines = text.splitlines()
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT and "fmt: " not in token.string
    }
    said = {}
    for node in (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)):
        for each in node.body:
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
                first, last = each.lineno, each.end_lineno or each.lineno  # counted from 1
                while lines[first - 2].lstrip().startswith("#"):
                    first -= 1
                its = [comments[line] for line in range(first, last + 1) if line in comments]
                said[node.name, each.target.id] = " ".join(its)
    return said
