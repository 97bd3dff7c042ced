"""A run's config.yaml: what the run is, in its folder. No torch."""

from __future__ import annotations

import re
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from vitcli.compose import to_config
from vitcli.config import RunConfig
from vitcli.files import FORMAT, check_format, write_text
from vitcli.identity import flat, is_free, run_id
from vitcli.with_hydra import one_line_errors, read_yaml

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


def read_own(folder: Path) -> RunConfig:
    """Returns the config of the run in `folder`. Raises ValueError if it is another run's."""
    config = read_config(folder / "config.yaml")
    if run_id(config) != folder.name:
        raise ValueError(f"{folder / 'config.yaml'}: it is the config of {run_id(config)}")
    return config


def read_settings(path: Path) -> dict[str, Any]:
    """Returns what `dump` wrote, by dotted key. Raises ValueError, naming the file, and OSError."""
    return dict(flat(_held(path)))


def check_frozen(folder: Path, config: RunConfig) -> None:
    """Raises ValueError if the run's config.yaml is there and was edited, to be another run's.

    What is no part of a run's identity may differ.
    """
    path = folder / "config.yaml"
    if not path.exists():
        return
    held, known = dict(flat(_held(path))), dict(flat(asdict(config)))
    found = [f"{key} is no setting" for key in held.keys() - known.keys()]
    for key, value in known.items():
        if key in held and held[key] != value and not is_free(key, config):
            found.append(f"{key} is {held[key]}, not {value}")
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise ValueError(
            f"{path} was changed, it is no longer this run's: {'; '.join(found[:_SHOWN])}{more}. "
            "Remove it, and it is written anew; give settings on the command line"
        )


def dump(config: RunConfig) -> str:
    """Returns the config as YAML. (OmegaConf's own way takes 25 ms, and a study has a thousand.)"""
    held = {"format": FORMAT, **asdict(config)}
    return str(yaml.dump(held, Dumper=_dumper(), sort_keys=False, width=1000))


def _held(path: Path) -> dict[str, Any]:
    """Returns what the file holds, by key. Raises ValueError, naming the file."""
    held = read_yaml(path, ours=True)
    if not isinstance(held, dict) or not held or not all(isinstance(key, str) for key in held):
        raise ValueError(f"{path}: not the config of a run, it holds no keys")
    return check_format(path, held)


@cache
def _dumper() -> Any:
    """Returns a dumper that quotes each string that could be read as something else."""

    made: Any = type("Dumper", (getattr(yaml, "CSafeDumper", yaml.SafeDumper),), {})

    def text(dumper: Any, value: str) -> Any:
        style = None if _WORD.fullmatch(value) and value.lower() not in _NO_WORDS else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    made.add_representer(str, text)
    return made
