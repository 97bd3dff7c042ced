"""A run's config.yaml: what the run is, in its folder. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from vitcli.compose import one_line_errors, to_config
from vitcli.config import RunConfig
from vitcli.files import FORMAT, check_format, write_text
from vitcli.identity import NOT_IDENTITY, NOT_IDENTITY_WITHIN

_WORD = re.compile(r"[A-Za-z_][\w/.-]*")
_NO_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}  # though they look so
_SHOWN = 3  # differences


def write_config(folder: Path, config: RunConfig) -> None:
    """Writes the config of the run in `folder`, unless it is there as it is."""
    path, text = folder / "config.yaml", dump(config)
    if not path.exists() or path.read_bytes() != text.encode():
        write_text(path, text)


def read_config(path: Path) -> RunConfig:
    """Returns the RunConfig that `dump` wrote. Raises ValueError, naming the file."""
    from omegaconf import OmegaConf

    held = _held(path)
    try:
        with one_line_errors():
            made = OmegaConf.merge(OmegaConf.structured(RunConfig), OmegaConf.create(held))
        return to_config(made)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def check_frozen(folder: Path, config: RunConfig) -> None:
    """Raises ValueError if the run's config.yaml is there and was edited, to be another run's.

    What is no part of a run's identity may differ.
    """
    path = folder / "config.yaml"
    if not path.exists():
        return
    held, known = dict(_flat(_held(path))), dict(_flat(asdict(config)))
    found = [f"{key}, which there is not" for key in held.keys() - known.keys()]
    for key, value in known.items():
        if key in held and held[key] != value and not _free(key, config):
            found.append(f"{key} is {held[key]}, not {value}")
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise ValueError(
            f"{path} was changed, it is no longer this run's: {'; '.join(found[:_SHOWN])}{more}. "
            "Remove it to have it written anew; settings are given to the command"
        )


def dump(config: RunConfig) -> str:
    """Returns the config as YAML. (OmegaConf's own way takes 25 ms, and a study has a thousand.)"""
    held = {"format": FORMAT, **asdict(config)}
    return str(yaml.dump(held, Dumper=_dumper(), sort_keys=False, width=1000))


def _held(path: Path) -> dict[str, Any]:
    """Returns what the file holds, by key. Raises ValueError, naming the file."""
    try:
        held = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(held, dict) or not held or not all(isinstance(key, str) for key in held):
        raise ValueError(f"{path}: not the config of a run, it holds no keys")
    return check_format(path, held)


def _flat(held: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields dotted keys and their values."""
    for key, value in held.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _free(key: str, config: RunConfig) -> bool:
    """Returns whether runs that differ in the key are the same run."""
    group, _, rest = key.partition(".")
    within = rest in NOT_IDENTITY_WITHIN.get(group, ())
    named = key == "data.path" and config.data.alias is not None
    return group in NOT_IDENTITY or within or named


@cache
def _dumper() -> Any:
    """Returns a dumper that quotes each string that could be read as something else."""

    made: Any = type("Dumper", (getattr(yaml, "CSafeDumper", yaml.SafeDumper),), {})

    def text(dumper: Any, value: str) -> Any:
        style = None if _WORD.fullmatch(value) and value.lower() not in _NO_WORDS else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    made.add_representer(str, text)
    return made
