"""Command lines for Hydra: its flags, which it takes in one order only, and words. No torch."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from vitcli.choices import choose, nearest_key

# Hydra's flags; the first set takes a value, the second may. Not among them: --experimental-rerun,
# which unpickles a file, and --config-name and --config-path, which replace our config.
_VALUED = {"--cfg", "-c", "--package", "-p", "--config-dir", "-cd"}
_CONFIG_DIR = ("--config-dir", "-cd")
_OPTIONAL = {"--info", "-i"}
_PLAIN = {
    "--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r", "--multirun", "-m",
}  # fmt: skip
_CFG = ("job", "hydra", "all")
_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")


def split_argv(argv: Sequence[str], keys: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """Returns (flags and their values, overrides), as Hydra refuses overrides around a flag.

    Args:
        keys: all settings, which some write like flags.
    Raises:
        ValueError: for a flag that Hydra does not have, or one without a value that it takes.
    """
    flags: list[str] = []
    overrides: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            overrides.append(word)
            continue
        name, equals, given = word.partition("=")
        if name not in _VALUED | _OPTIONAL | _PLAIN:
            setting, known = name.lstrip("-"), _VALUED | _OPTIONAL | _PLAIN
            if setting in keys:
                raise ValueError(f"{word}: write {setting}=..., a setting has no dashes")
            raise ValueError(f"unknown flag {name}{nearest_key(setting, keys, known)}")
        if name in _VALUED:
            if not equals and not rest:
                raise ValueError(f"{name} needs a value")
            given = given if equals else rest.pop(0)
            if name in ("--cfg", "-c"):
                choose(name, given, _CFG)
            flags += [name, os.path.expanduser(given) if name in _CONFIG_DIR else given]
            continue
        if equals and name in _OPTIONAL:
            choose(name, given, _INFO)
        elif equals:
            raise ValueError(f"{word}: {name} takes no value")
        flags.append(word)
        if name in _OPTIONAL and not equals and rest and rest[0] in _INFO:
            flags.append(rest.pop(0))
    return flags, overrides


def config_dir_of(flags: Sequence[str]) -> Path | None:
    """Returns the folder that --config-dir names, None without it or its value."""
    for i, flag in enumerate(flags):
        name, equals, given = flag.partition("=")
        if name in _CONFIG_DIR and (equals or flags[i + 1 :]):
            return Path(given if equals else flags[i + 1]).expanduser()
    return None


def finetune_argv(source: str, argv: Sequence[str]) -> list[str]:
    """Returns the arguments of `train` that fine-tune `source`.

    Raises:
        ValueError: an override of what the source itself determines, or of a whole training; one
            in place of the source.
    """
    if source.startswith("-") or (re.match(r"[a-z_.]+=", source) and not Path(source).exists()):
        raise ValueError(f"{source}: name the checkpoint first, `vitcli finetune SOURCE {source}`")
    given = {word.partition("=")[0].lstrip("+~"): word for word in argv}
    for key, word in given.items():
        if key in ("scale", "experiment"):  # of a model's own training
            raise ValueError(
                f"{word}: `vitcli finetune` does not read it; give data=, recipe= and evals="
            )
        if key.split(".")[0] in ("model", "pos_emb", "stem"):
            raise ValueError(
                f"{word}: the model is that of {source}, only its head is new; give "
                "`vitcli convert` what a file does not say, and fine-tune the copy"
            )
    defaults = {"data": "digits", "evals": "upstream", "recipe": "finetune_laptop"}
    chosen = [f"{group}={option}" for group, option in defaults.items() if group not in given]
    pixels = {"data.interpolation", "data.crop_pct", "data.crop_mode", "finetune.preprocess"}
    if not given.keys() & pixels:
        chosen.append("finetune.preprocess=source")
    return [*argv, *chosen, f"finetune.source={quoted(source)}"]


def quoted(value: object) -> str:
    """Returns the value as a string of Hydra's override language, whatever it contains."""

    def escaped(found: re.Match[str]) -> str:  # a backslash counts before a quote alone
        return found[1] * 2 + (r"\'" if found[2] else "")

    return "'" + re.sub(r"(\\*)('|$)", escaped, str(value)) + "'"
