"""`conf/` + overrides -> RunConfig, and the way from our command line into Hydra's. No torch."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from vitcli.argv import config_dir_of, quoted, split_argv
from vitcli.config import RunConfig, nearest
from vitcli.rules import validate, validate_fields
from vitcli.words import as_typed

_DURATIONS = ("train.steps", "train.epochs", "train.images")


def conf_dir() -> Path:
    """Returns the folder of the shipped configs: in an installed wheel, else in the source tree."""
    here = Path(__file__).resolve().parent
    return here / "conf" if (here / "conf").is_dir() else here.parent / "conf"


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
    prepared = _prepared(as_typed(overrides), groups)
    with one_line_errors():
        parsed = [_parsed(override) for override in prepared]
        single = [o for o in parsed if o.key_or_group not in groups and _is_plain(o)]
        rest = tuple(o.input_line for o in parsed if o not in single)
        composed, whole = _composed(rest, config_dir, change)
        config: RunConfig = _copied(whole)
        _set(config, composed, {o.key_or_group: o.value() for o in single})
    check(config)
    return config


def _copied(node: Any) -> Any:
    """Returns a copy of a config; copy.deepcopy takes 30 times as long."""
    own = {f.name: getattr(node, f.name) for f in fields(node)}
    return replace(
        node, **{k: _copied(v) if is_dataclass(v) else copy.copy(v) for k, v in own.items()}
    )


def _set(config: RunConfig, composed: Any, values: Mapping[str, Any]) -> None:
    """Sets single keys of groups, as Hydra itself does after its groups.

    Args:
        config: what is changed; only the groups that have the keys are made anew.
        composed: the same, as Hydra composed it; it knows the types, and stays as it is.
        values: by dotted key.
    """
    from omegaconf import OmegaConf

    part = OmegaConf.masked_copy(composed, list({key.partition(".")[0]: None for key in values}))
    for key, value in values.items():
        OmegaConf.update(part, key, value, merge=True)
    for group, changed in part.items():
        setattr(config, str(group), OmegaConf.to_object(changed))


@lru_cache(maxsize=128)
def _composed(
    overrides: tuple[str, ...], config_dir: Path | None, last_change: int
) -> tuple[Any, RunConfig]:
    """Returns what Hydra composes: it takes 0.1 s, and the cells of a study share their groups."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    given = list(overrides)
    if config_dir is not None:
        given.append(f"hydra.searchpath=[{quoted(f'file://{config_dir.resolve()}')}]")
    _register_schema()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        composed = hydra_compose("config", given)
    config: Any = OmegaConf.to_object(composed)
    return composed, config


def _last_change(config_dir: Path | None) -> int:
    """Returns when a config last changed, came or went (ns). Raises ValueError: no such folder."""
    if config_dir is not None and not config_dir.is_dir():
        raise ValueError(f"--config-dir {config_dir}: no such folder")
    latest, folders = 0, [str(folder) for folder in (conf_dir(), config_dir) if folder]
    for folder in folders:  # grows
        latest = max(latest, os.stat(folder).st_mtime_ns)
        for entry in os.scandir(folder):
            if entry.is_dir():
                folders.append(entry.path)
            elif entry.name.endswith(".yaml"):
                latest = max(latest, entry.stat().st_mtime_ns)
    return latest


def _is_plain(override: Any) -> bool:
    """Returns whether it sets one key of a group, `group.key=value`."""
    if "." not in override.key_or_group:
        return False
    hydra = override.key_or_group.split(".")[0] == "hydra"
    added = override.is_add() or override.is_force_add() or override.is_delete()
    return not (hydra or added or override.is_sweep_override() or override.package is not None)


@lru_cache(maxsize=1024)
def _parsed(override: str) -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_overrides([override])[0]


def to_config(composed: Any, check: Callable[[RunConfig], None] = validate) -> RunConfig:
    """Returns the validated RunConfig of a composed Hydra config. Raises ValueError."""
    from omegaconf import OmegaConf

    with one_line_errors():
        config: Any = OmegaConf.to_object(composed)
    check(config)
    assert isinstance(config, RunConfig)
    return config


def override(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """Returns `config` with single keys replaced, as by `model.num_heads=8`; fields are checked.

    Raises:
        ValueError: an unknown key, a config group (`model=b`), or a value that cannot be.
    """
    from omegaconf import OmegaConf

    groups = _groups(None, _last_change(None))
    for given in prepare(overrides):
        key = given.partition("=")[0]
        if key in groups:
            raise ValueError(f"{given}: give single keys here, such as model.num_heads=8")
    with one_line_errors():
        changed = OmegaConf.merge(
            OmegaConf.structured(config), OmegaConf.from_dotlist(list(overrides))
        )
    return to_config(changed, validate_fields)


def hydra_main(argv: Sequence[str], job: Callable[[RunConfig], None]) -> None:
    """Calls `job` with each config that Hydra makes of `argv`, flags and overrides.

    Raises:
        ValueError: for anything in `argv` that Hydra or the schema refuses.
    """
    import hydra

    flags, overrides = split_argv(argv)
    config_dir = config_dir_of(flags)
    many = bool({"-m", "--multirun"} & set(flags))
    overrides = prepare(as_typed(overrides, sweeps=many), config_dir)
    sys.argv = ["vitcli train", *flags, *(["--", *overrides] if overrides else [])]
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # raise; do not print and exit
    home, errors = os.getpid(), list[Exception]()

    def task(composed: Any) -> None:
        try:
            job(to_config(composed))
        except Exception as error:
            if os.getpid() != home:
                raise  # in a launcher's worker: Hydra brings it home
            errors.append(error)  # raised, Hydra would print a line of its own and drop later jobs

    with one_line_errors():
        _register_schema()
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(task)()
    if len(errors) > 1:
        raise RuntimeError(f"{len(errors)} jobs failed; the first: {errors[0]}")
    if errors:
        raise errors[0]


def prepare(overrides: Sequence[str], config_dir: Path | None = None) -> list[str]:
    """Returns the overrides with one duration only; checks each key and each option of a group.

    Raises:
        ValueError: for an unknown key or option, naming the nearest known one.
    """
    return _prepared(overrides, _groups(config_dir, _last_change(config_dir)))


def _prepared(overrides: Sequence[str], groups: Mapping[str, list[str]]) -> list[str]:
    with one_line_errors():
        parsed = [_parsed(override) for override in overrides]
    known = dict.fromkeys((*_keys_of_a_run(), *groups))
    for override in parsed:
        key = override.key_or_group
        if key.split(".")[0] == "hydra" or key.startswith("hydra/"):
            continue
        if key not in known:
            raise ValueError(f"unknown key '{key}'{nearest(key, known)}")
        if key in groups:
            _check_options(key, override, groups[key])
    given = [
        o.key_or_group for o in parsed if o.key_or_group in _DURATIONS and o.value() is not None
    ]
    # `train.steps=100` replaces a recipe's `train.images`; two durations stay, to be refused later.
    unset = [f"{key}=null" for key in _DURATIONS if given and key not in given]
    return [*overrides, *unset]


def known_keys(config_dir: Path | None = None) -> list[str]:
    """Returns all that an override can set: the keys of a config, and the groups."""
    return [*_keys_of_a_run(), *_groups(config_dir, _last_change(config_dir))]


def _check_options(group: str, override: Any, options: list[str]) -> None:
    values = override.sweep_iterator() if override.is_sweep_override() else [override.value()]
    for value in values:
        for option in value if isinstance(value, list) else [value]:
            if option is None and group == "experiment":
                continue
            if str(option) not in options:
                listing = f": choose from {', '.join(options)}"
                raise ValueError(f"{group}={option}{listing}{nearest(str(option), options)}")


@lru_cache(maxsize=8)
def _groups(config_dir: Path | None, last_change: int) -> Mapping[str, list[str]]:
    """Returns the options of each config group, the user's own included."""
    groups: dict[str, list[str]] = {}
    for path in sorted(conf_dir().glob("*/*.yaml")):
        groups.setdefault(path.parent.name, []).append(path.stem)
    for path in sorted(config_dir.glob("*/*.yaml")) if config_dir else []:
        if path.stem in groups.get(path.parent.name, []):
            # Hydra would take ours without a word.
            raise ValueError(f"{path}: {path.parent.name}={path.stem} exists already, rename yours")
        groups.setdefault(path.parent.name, []).append(path.stem)
    groups.pop("study", None)  # data of `vitcli ablate`, not part of a run's config
    groups.pop("tuned", None)  # follows from recipe, stem and model
    return groups


@cache
def _keys_of_a_run() -> tuple[str, ...]:
    return tuple(_keys(RunConfig, ""))


def _keys(schema: type, prefix: str) -> Iterator[str]:
    default = schema()
    for f in fields(schema):
        yield prefix + f.name
        if is_dataclass(nested := getattr(default, f.name)):
            yield from _keys(type(nested), f"{prefix}{f.name}.")


@cache
def _register_schema() -> None:
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="schema", node=RunConfig)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns what Hydra and OmegaConf raise into a ValueError of one line."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
        key = getattr(cause, "full_key", None)
        first = next(
            (line for line in str(cause).splitlines() if line.strip()), type(cause).__name__
        )
        raise ValueError(f"{key}: {first}" if key else first) from error
