"""Models, data sets and evaluators of other packages, found by their entry points. No torch."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from vitcli.choices import nearest

MODELS, DATA, EVALS = "vitcli.models", "vitcli.data", "vitcli.evals"  # the groups


@cache
def found(group: str) -> dict[str, EntryPoint]:
    """Returns a group's entry points by name.

    Raises:
        ValueError: two packages have one of the same name.
    """
    known: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        other = known.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise ValueError(f"{group}: {entry.name} is of {_origin(other)} and {_origin(entry)}")
    return known


@cache
def load(group: str, name: str) -> Any:
    """Returns what the entry point names.

    Raises:
        ValueError: there is none of that name, or what it names cannot be imported.
    """
    known = found(group)
    if name not in known:
        there = f"choose from {', '.join(known)}" if known else "no installed package has any"
        raise ValueError(f"{group}: no '{name}': {there}{nearest(name, known)}")
    try:
        return known[name].load()
    except Exception as error:  # of another's module
        why = f"{type(error).__name__}: {error}"
        raise ValueError(f"{group}: {name} of {_origin(known[name])}: {why}") from error


def origins(group: str, names: list[str]) -> dict[str, str]:
    """Returns the package and version that each of the names comes from."""
    return {
        f"{group}:{name}": _origin(found(group)[name]) for name in names if name in found(group)
    }


def _origin(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
