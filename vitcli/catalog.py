"""conf/ as files: the groups, their options, what each says of itself. No torch, no YAML."""

from __future__ import annotations

import re
from pathlib import Path

from vitcli.files import conf_dir

_SENTENCE = re.compile(r".*?\.(?=\s+[A-Z`]|$)|.*")


def options(group: str, config_dir: Path | None = None) -> dict[str, Path]:
    """Returns the files of a config group by the options' names, ours first, then the user's."""
    folders = [conf_dir(), *([config_dir] if config_dir else [])]
    return {
        path.stem: path for folder in folders for path in sorted(folder.glob(f"{group}/*.yaml"))
    }


def groups(config_dir: Path | None = None) -> list[str]:
    """Returns the groups of a run's config, of which an option can be chosen."""
    folders = [conf_dir(), *([config_dir] if config_dir else [])]
    found = {path.parent.name for folder in folders for path in folder.glob("*/*.yaml")}
    # Data of `vitcli ablate`; what follows from recipe, stem and model.
    return sorted(found - {"study", "tuned"})


def studies(config_dir: Path | None = None) -> dict[str, Path]:
    """Returns the files of the studies by their names."""
    return {n.replace("_", "-"): path for n, path in options("study", config_dir).items()}


def about(path: Path) -> str:
    """Returns the first sentence of the comment that a file begins with; empty without one."""
    comment = list[str]()
    for line in path.read_text(errors="replace").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            comment.append(line.lstrip("# "))
    found = _SENTENCE.match(" ".join(comment))
    return found[0] if found else ""
