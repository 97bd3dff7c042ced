"""`conf/` + overrides -> RunConfig, and the way from our command line into Hydra's. No torch."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from vitcli.argv import config_dir_of, split_argv
from vitcli.catalog import check_own, config_files, groups, options
from vitcli.choices import nearest, nearest_key
from vitcli.config import RunConfig
from vitcli.files import conf_dir
from vitcli.rules import refuse_login, validate, validate_fields
from vitcli.with_hydra import (
    ALONE,
    apply,
    check_config_dir,
    check_stays,
    composed,
    one_line_errors,
    parsed,
    run_hydra,
)
from vitcli.words import as_typed

_LONE_NULL = re.compile(r"(?<=[=,(])\s*null\s*(?=[,)]|$)")
_DURATIONS = ("train.steps", "train.epochs", "train.images")


def compose(
    overrides: Sequence[str],
    config_dir: Path | None = None,
    check: Callable[[RunConfig], None] = validate,
) -> RunConfig:
    """Returns the validated config of one run.

    Args:
        overrides: as on the command line, for instance `model=b`, `train.steps=100`.
        config_dir: a user's own configs, searched after ours.
        check: raises ValueError for a config that makes no sense.
    Raises:
        ValueError: in one line, naming the key, the value and what is allowed.
    """
    change = _last_change(config_dir)
    groups = _groups(config_dir, change)
    words = as_typed(overrides)
    refuse_hydra(words)
    made = [parsed(word) for word in _prepared(words, groups)]
    chosen = [o for o in made if o.key_or_group in groups or o.is_sweep_override()]
    with ALONE, one_line_errors():
        whole = _whole(tuple(o.input_line for o in chosen), config_dir, change)
        config = _changed(whole, [o for o in made if o not in chosen])
    check(config)
    return config


def refuse_hydra(overrides: Sequence[str]) -> None:
    """Raises ValueError for the first override of Hydra's own settings, which no config has."""
    for word in overrides:
        if re.match(r"[+~]*hydra[./@=]", word):
            raise ValueError(f"{word}: a setting of Hydra's own, of the commands train and ablate")


def _changed(whole: Any, overrides: Sequence[Any]) -> RunConfig:
    """Returns a config with single keys set one after the other, as Hydra does after its groups.

    Args:
        whole: what Hydra composed; it stays as it is, and what refers to other keys still does.
        overrides: of Hydra's, none of which chooses an option of a group.
    """
    from omegaconf import OmegaConf

    copied = copy.deepcopy(whole)
    apply(overrides, copied)
    config: Any = OmegaConf.to_object(copied)
    assert isinstance(config, RunConfig)
    return config


@lru_cache(maxsize=128)
def _whole(overrides: tuple[str, ...], config_dir: Path | None, last_change: int) -> Any:
    """Returns what Hydra composes: it takes 0.1 s, and the cells of a study share their groups."""
    from omegaconf import open_dict

    whole = composed("config", overrides, config_dir)
    with open_dict(whole):
        del whole["hydra"]
    return whole


def _last_change(config_dir: Path | None) -> int:
    """Returns when a config last changed, came or went (ns). Raises ValueError: no such folder."""
    check_config_dir(config_dir)
    latest, folders = 0, [(str(folder), 0) for folder in (conf_dir(), config_dir) if folder]
    for folder, depth in folders:  # grows
        latest = max(latest, os.stat(folder).st_mtime_ns)
        for entry in os.scandir(folder):
            if entry.is_dir():
                folders += [(entry.path, depth + 1)] * (depth < 2)  # a link may lead back
            elif entry.name.endswith(".yaml") and not entry.name.startswith("."):
                latest = max(latest, entry.stat().st_mtime_ns)
    return latest


def to_config(whole: Any) -> RunConfig:
    """Returns the validated RunConfig of what Hydra composed. Raises ValueError."""
    from omegaconf import OmegaConf

    with one_line_errors():
        config: Any = OmegaConf.to_object(whole)
    validate(config)
    assert isinstance(config, RunConfig)
    return config


def override(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """Returns `config` with single keys replaced, as by `model.num_heads=8`; fields are checked.

    Raises:
        ValueError: an unknown key, a config group (`model=b`), or a value that cannot be.
    """
    from omegaconf import OmegaConf

    words = as_typed(overrides)
    refuse_hydra(words)
    made = [parsed(word) for word in prepare(words)]
    for each in made:
        key, line = each.key_or_group, each.input_line
        if "." not in key or not line.startswith(f"{key}=") or each.is_sweep_override():
            raise ValueError(f"{line}: give single keys here, such as model.num_heads=8")
    with ALONE, one_line_errors():
        changed = _changed(OmegaConf.structured(config), made)
    validate_fields(changed)
    return changed


def hydra_main(argv: Sequence[str], job: Callable[[RunConfig], None]) -> None:
    """Calls `job` with each config that Hydra makes of `argv`, flags and overrides.

    Raises:
        ValueError: for anything in `argv` that Hydra or the schema refuses.
    """
    flags, overrides = split_argv(argv, known_keys())
    config_dir = config_dir_of(flags)
    many = bool({"-m", "--multirun"} & set(flags))
    overrides = prepare(as_typed(overrides, sweeps=many), config_dir)
    home, errors, done = os.getpid(), list[Exception](), 0

    def task(whole: Any) -> None:
        nonlocal done
        try:
            check_stays()
            job(to_config(whole))
            done += 1
        except Exception as error:
            if os.getpid() == home:
                errors.append(error)  # raised, Hydra would print a line and drop later jobs
            elif isinstance(error, ValueError):  # in a launcher's worker: other jobs may have run
                raise RuntimeError(str(error)) from None
            else:
                raise

    with one_line_errors():
        words = ["--", *overrides] if overrides else []
        run_hydra("config", ["vitcli train", *flags, *words], task)
    if errors and len(errors) + done > 1:
        count = f"{len(errors)} of {len(errors) + done} jobs failed"
        raise RuntimeError(f"{count}; the first: {errors[0]}")
    if errors:
        raise errors[0]


def prepare(overrides: Sequence[str], config_dir: Path | None = None) -> list[str]:
    """Returns the overrides with one duration only; checks each key and each option of a group.

    Raises:
        ValueError: for an unknown key or option, naming the nearest known one.
    """
    return _prepared(overrides, _groups(config_dir, _last_change(config_dir)))


def _prepared(overrides: Sequence[str], groups: Mapping[str, list[str]]) -> list[str]:
    known = dict.fromkeys((*_keys_of_a_run(), *groups))
    found, durations = list[str](), list[str]()
    for override in map(parsed, overrides):
        key, line = override.key_or_group, override.input_line
        if not (key.split(".")[0] == "hydra" or key.startswith("hydra/")):
            if key not in known:
                raise ValueError(f"unknown key '{key}'{nearest_key(key, known)}")
            if override.is_delete():
                raise ValueError(f"{line}: no key can be taken away, only set")
            line = _enumerated(override, groups)
        if key in ("data.path", "evals.path"):  # before Hydra writes a multirun's settings
            refuse_login(key, line)
        if key == "experiment":
            line = _LONE_NULL.sub("[]", line)  # none of the options, as Hydra takes it
        if key in groups:
            _check_options(key, parsed(line), groups[key])
        if key in _DURATIONS and override.value() is not None:
            durations.append(key)
        found.append(line)
    # `train.steps=100` replaces a recipe's `train.images`; two durations stay, to be refused later.
    return found + [f"{key}=null" for key in _DURATIONS if durations and key not in durations]


def _enumerated(override: Any, groups: Mapping[str, list[str]]) -> str:
    """Returns the override, glob() replaced by the options that fit; refuses a sweep over nothing.

    Hydra finds a glob()'s options too late for us to check them.
    """
    from hydra.core.override_parser.types import ChoiceSweep, Glob
    from hydra.errors import HydraException

    line, key, value = override.input_line, override.key_or_group, override.value()
    values = value.list if isinstance(value, ChoiceSweep) else [value]
    if any(isinstance(each, Glob) for each in values):
        if key not in groups:
            raise ValueError(f"{line}: glob() picks options of a group: {', '.join(groups)}")
        fit = [o for v in values for o in (v.filter(groups[key]) if isinstance(v, Glob) else [v])]
        if not fit:
            raise ValueError(f"{line}: fits none of {', '.join(groups[key])}")
        return f"{override.get_key_element()}={','.join(map(str, fit))}"
    if override.is_discrete_sweep():
        try:
            if next(iter(override.sweep_iterator()), override) is override:
                raise ValueError("a sweep over nothing")
        except (ValueError, HydraException) as error:
            raise ValueError(f"{line}: {error}") from None
    return str(line)


def linked(config_dir: Path | None) -> bool:
    """Returns whether a user's config has a value that refers to other keys; none of ours has."""
    paths = config_files("*/*.yaml", config_dir)
    return any(b"${" in path.read_bytes() for path in paths if path.parent.name != "study")


def known_keys(config_dir: Path | None = None) -> list[str]:
    """Returns all that an override can set: the keys of a config, and the groups."""
    return [*_keys_of_a_run(), *_groups(config_dir, _last_change(config_dir))]


def _check_options(group: str, override: Any, options: list[str]) -> None:
    values = override.sweep_iterator() if override.is_sweep_override() else [override.value()]
    for value in values:
        for option in value if isinstance(value, list) else [value]:
            if str(option) not in options:
                listing = f": choose from {', '.join(options)}"
                raise ValueError(f"{group}={option}{listing}{nearest(str(option), options)}")


@lru_cache(maxsize=8)
def _groups(config_dir: Path | None, last_change: int) -> Mapping[str, list[str]]:
    """Returns the options of each config group, the user's own included."""
    check_own(config_dir)  # Hydra would take ours without a word
    return {group: list(options(group, config_dir)) for group in groups(config_dir)}


@cache
def _keys_of_a_run() -> tuple[str, ...]:
    return tuple(_keys(RunConfig, ""))


def _keys(schema: type, prefix: str) -> Iterator[str]:
    default = schema()
    for f in fields(schema):
        yield prefix + f.name
        if is_dataclass(nested := getattr(default, f.name)):
            yield from _keys(type(nested), f"{prefix}{f.name}.")
