"""All that we ask of Hydra: parse, compose, run, and YAML as it reads it. No torch.

What it refuses is one line.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml

from vitcli.config import RunConfig
from vitcli.files import conf_dir

SCHEMA = "schema"  # the name of RunConfig in conf/config.yaml
# Hydra and OmegaConf keep state that threads share; who composes holds this.
ALONE = threading.RLock()
_CHECK = "_check_help"  # of argparse, from Python 3.14 on
_NOISE = ("object_type=", "reference_type=", "See http")  # lines of theirs


def check_config_dir(config_dir: Path | None) -> None:
    """Raises ValueError unless it is a folder, or None."""
    if config_dir is not None and not config_dir.is_dir():
        raise ValueError(f"--config-dir {config_dir}: no such folder")


def composed(name: str, overrides: Sequence[str], config_dir: Path | None = None) -> Any:
    """Returns what Hydra composes of conf/`name`.yaml, its own node `hydra` too.

    The Hydra of a program that calls us is neither asked nor changed: not its search path, its
    stored configs, its job, its version.

    Raises:
        HydraException, OmegaConfBaseException: see `one_line_errors`.
    """
    from hydra import version
    from hydra.types import RunMode

    base = version.VersionBase.instance()
    with ALONE:
        before = base.version_base
        version.setbase("1.3")
        try:
            return _loader(config_dir).load_configuration(
                name, list(overrides), RunMode.RUN, from_shell=False
            )
        finally:
            base.version_base = before


def apply(overrides: Sequence[Any], config: Any) -> None:
    """Sets keys of a composed config, as Hydra does; the overrides are none of its groups.

    Raises:
        HydraException, OmegaConfBaseException: see `one_line_errors`.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from omegaconf import OmegaConf

    OmegaConf.set_struct(config, True)
    ConfigLoaderImpl._apply_overrides_to_config(list(overrides), config)


def _loader(config_dir: Path | None) -> Any:
    """Returns what loads configs of conf/, a user's folder after it, and of no other program's."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.utils import create_config_search_path
    from hydra.core.config_search_path import SearchPathQuery
    from hydra.core.config_store import ConfigStore
    from hydra.core.utils import setup_globals

    setup_globals()  # ${now:...}: what they are is Hydra's and the same for all
    places = create_config_search_path(str(conf_dir()))
    if config_dir is not None:
        url = f"file://{config_dir.resolve()}"
        places.prepend("config_dir", url, anchor=SearchPathQuery(provider="schema"))
    loader = ConfigLoaderImpl(places)
    store = copy.copy(ConfigStore.instance())
    # A program's own `config` or `model/b` would be taken for the schema of ours.
    store.repo = {"hydra": store.repo["hydra"]}
    store.store(SCHEMA, RunConfig)
    schemas: Any = loader.repository.get_schema_source()
    schemas.store = store
    return loader


def check_stays() -> None:
    """Raises ValueError if Hydra runs this job in another folder, where nobody looks for its files.

    Paths are of the folder that a command is called in, and runs have folders of their own.
    """
    from hydra.core.hydra_config import HydraConfig

    if HydraConfig.get().job.chdir:
        raise ValueError("hydra.job.chdir=true: not supported, `outputs` says where a run goes")


def run_hydra(name: str, argv: Sequence[str], task: Callable[[Any], None]) -> None:
    """Calls `task` with what Hydra makes of conf/`name`.yaml and the command line `argv`.

    Args:
        argv: what the program is called, flags, `--`, overrides.
    Raises:
        HydraException, OmegaConfBaseException: see `one_line_errors`.
    """
    import hydra

    _register()
    before, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = list(argv)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise; do not print and exit
    # Hydra's parser has a help that is not text yet, which Python 3.14 refuses.
    setattr(argparse.ArgumentParser, _CHECK, lambda parser, action: None)
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=name)(task)()
    finally:
        delattr(argparse.ArgumentParser, _CHECK)
        sys.argv = before
        del os.environ["HYDRA_FULL_ERROR"]
        if full is not None:
            os.environ["HYDRA_FULL_ERROR"] = full


@cache
def _register() -> None:
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(SCHEMA, RunConfig)


@lru_cache(maxsize=1024)
def parsed(override: str) -> Any:
    """Returns Hydra's Override. Raises ValueError, with `^` where its grammar does not go on."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_rule(override, "override")
    except HydraException as error:
        at = _place(override, error)
        if at is None:
            raise ValueError(f"{override}: {_joined(str(error))}") from None
        if "=" not in override:
            raise ValueError(f"{override}: a setting is written key=value") from None
        raise ValueError(
            f"{override[:at]}^{override[at:]}: cannot be read from ^ on; brackets are closed, and "
            "text with spaces, accents or any of ,=:[](){} is in quotes, as in 'key=\"a, b\"'"
        ) from None


def _place(override: str, error: BaseException) -> int | None:
    """Returns the index at which the grammar stopped; None if it read all, and then refused it."""
    line, column = (_local(error, "syntaxError", name) for name in ("line", "column"))
    if line is None:
        return None
    above = override.splitlines(keepends=True)[: line - 1]
    return sum(map(len, above)) + int(column)


def _local(error: BaseException, function: str, name: str) -> Any:
    """Returns what a function that failed had as `name`, which its error does not keep; or None."""
    found = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == function:
            found = frame.f_locals.get(name, found)
    return found


def read_yaml(path: Path, ours: bool = False) -> Any:
    """Returns the value in the YAML file, read as Hydra does: 1e-3 is a number.

    Args:
        ours: read by PyYAML in C, twenty times as fast, which takes 1.0e-3 for a number, but 1e-3
            for text.
    Raises:
        ValueError: in one line with the file: no YAML, a key twice, a value inside itself.
    """
    from omegaconf._utils import get_yaml_loader

    try:
        value = yaml.load(path.read_bytes(), Loader=_fast_loader() if ours else get_yaml_loader())
        json.dumps(value, default=str)  # raises on what holds itself
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    return value


@cache
def _fast_loader() -> Any:
    """Returns PyYAML's loader in C that refuses a key which is there twice."""
    fast: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    # The class is known when this runs only: PyYAML may have been built without C.
    class Loader(fast):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [key.value for key, _ in node.value if isinstance(key.value, str)]
            if twice := [key for key in keys if keys.count(key) > 1]:
                raise yaml.YAMLError(f"the key {twice[0]} is there twice")
            return super().construct_mapping(node, deep)

    return Loader


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns what Hydra, OmegaConf and YAML raise into a ValueError of one line."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ValueError(_one_line(error)) from error
    except (UnicodeError, RecursionError) as error:  # which do not say in which file
        if path := _local(error, "load_config", "full_path"):
            read_yaml(Path(path))
            raise ValueError(f"{path}: not valid YAML ({_joined(str(error))})") from error
        if name := _local(error, "_create_defaults_tree_impl", "path"):
            raise ValueError(f"{name}.yaml: its defaults lead back to itself") from error
        raise


def _one_line(error: BaseException) -> str:
    """Returns what they say, with the remedies below it, but not what it says to their authors."""
    said, cause = _joined(str(error)), error.__cause__
    if cause is not None and (not said or said.startswith("Error merging override")):
        error, said = cause, _joined(str(cause))
    key = getattr(error, "full_key", None)
    said = re.sub(r" full_key: (\S*)", "" if key else r" (\1)", said)
    said = re.sub(r"^Invalid .*is not a ListConfig, list or tuple\.$", "give a list: [1,2]", said)
    said = re.sub(r"^In '(.+?)': \w+ raised while composing config:", r"\1.yaml:", said)
    return " ".join(f"{key}: {said}".split()) if key else said or type(error).__name__


def _joined(text: str) -> str:
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return " ".join(line for line in lines if line and not line.startswith(_NOISE))
