"""What the shell offers on TAB: studies, settings and their values, runs. No torch, no Hydra."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import typer

from vitcli.argv import config_dir_of

_PLAN = re.compile(r"(.+)-(laptop|gpu|paper)(-[0-9a-f]{8})?")  # a study's folder


def studies(ctx: typer.Context) -> list[str]:
    """Returns the names of the studies there are, the user's too."""
    from vitcli.catalog import studies as known

    return list(known(_config_dir(ctx)))


def planned(ctx: typer.Context) -> list[str]:
    """Returns the names of the studies that are planned, and those of their folders."""
    outputs = Path(ctx.params.get("outputs") or "outputs").expanduser()
    folders = _folders(outputs / "studies")
    names = dict.fromkeys(found[1] for each in folders if (found := _PLAN.fullmatch(each.name)))
    return [*names, *(folder.name for folder in folders)]


def sources(incomplete: str) -> list[str]:
    """Returns the folders of runs, below the outputs that are being typed or `outputs`."""
    typed, _ = os.path.split(incomplete)
    runs = typed if os.path.basename(typed) == "runs" else "outputs/runs"
    return [f"{runs}/{folder.name}" for folder in _folders(Path(runs))]


def kinds() -> list[str]:
    """Returns what `vitcli list` lists."""
    from vitcli.listing import KINDS

    return list(KINDS)


def settings(ctx: typer.Context, incomplete: str) -> list[str]:
    """Returns the keys that begin so, `key=`; of one key, also its values, `key=value`.

    Never one key alone: shells put a space behind the only thing they are offered.
    """
    before, word = _word(incomplete)
    known = _known(ctx)
    key, equals, _ = word.partition("=")
    if not equals:
        fit = [k for k in known if k.startswith(key) and (key or "." not in k)]
        if len(fit) != 1:
            return [f"{k}=" for k in fit]
        (key,) = fit
        return [f"{key}=", *(f"{key}={value}" for value in known[key])]
    values = [value for value in known.get(key, ()) if not value.startswith("<")]
    return [f"{key}={value}".removeprefix(before) for value in values]


def _word(incomplete: str) -> tuple[str, str]:
    """Returns what of the word under the cursor the shell does not show us, and the whole word.

    For bash, `=` parts words: of `model=na` it completes `na`.
    """
    words = os.environ.get("COMP_WORDS", "").split("\n")
    at = int(os.environ.get("COMP_CWORD", "0"))
    if 1 < at < len(words) and words[at] == "=":
        before = f"{words[at - 1]}="
    elif 2 < at <= len(words) and words[at - 1] == "=":
        before = f"{words[at - 2]}="
    else:
        before = ""
    return before, before + incomplete


def _known(ctx: typer.Context) -> Mapping[str, list[str]]:
    """Returns the keys that can be set, with what each can be."""
    from vitcli.catalog import groups, options
    from vitcli.config import RunConfig
    from vitcli.settings import walk

    config_dir = _config_dir(ctx)
    known = {group: list(options(group, config_dir)) for group in groups(config_dir)}
    known |= {each.key: each.values or _open(each.type) for each in walk(RunConfig())}
    if "study" in ctx.params:
        del known["seed"]  # a study has several
        known["seeds"] = ["<int>"]
    if "detach" in ctx.params:  # of `ablate`
        known["notify"] = ["<str>"]
    return known


def _open(typed: str) -> list[str]:
    """Returns the kind of value that a setting has, as help has it."""
    kind = re.match(r"\w+", typed)  # of `int | None`, `list[int]`
    return [f"<{kind[0]}>"] if kind else []


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(Path(entry) for entry in os.scandir(parent) if entry.is_dir())
    except OSError:
        return []


def _config_dir(ctx: typer.Context) -> Path | None:
    """Returns the user's own configs, if they are given before the cursor."""
    words = ctx.params.get("overrides") or []  # of `train`, whose flags are Hydra's
    given = ctx.params.get("config_dir") or config_dir_of(words)
    folder = Path(given).expanduser() if given else None
    return folder if folder and folder.is_dir() else None
