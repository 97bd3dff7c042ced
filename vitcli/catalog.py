"""conf/ as files: the groups, their options, what each says of itself. No torch, no YAML."""

from __future__ import annotations

import re
from pathlib import Path

from vitcli.files import conf_dir

_SENTENCE = re.compile(r".*?\.(?=\s+[A-Z`]|$)|.*")


def options(group: str, config_dir: Path | None = None) -> dict[str, Path]:
    """Returns the files of a config group by the options' names, ours first, then the user's."""
    return {path.stem: path for path in config_files(f"{group}/*.yaml", conf_dir(), config_dir)}


def groups(config_dir: Path | None = None) -> list[str]:
    """Returns the groups of a run's config, of which an option can be chosen."""
    found = {path.parent.name for path in config_files("*/*.yaml", conf_dir(), config_dir)}
    # Data of `vitcli ablate`; what follows from recipe, stem and model.
    return sorted(found - {"study", "tuned"})


def studies(config_dir: Path | None = None) -> dict[str, Path]:
    """Returns the files of the studies by their names."""
    return {_study(path): path for path in config_files("study/*.yaml", conf_dir(), config_dir)}


def check_own(config_dir: Path | None) -> None:
    """Raises ValueError for a user's file that would not be read: another of its name is."""
    for path in config_files("*.yaml", config_dir):
        if (conf_dir() / path.name).exists():
            raise ValueError(
                f"{path}: vitcli has a file of this name and reads that one; rename yours, or "
                "move its settings to experiment/NAME.yaml"
            )
    for path in [
        *config_files("*/*.yaml", config_dir),
        *config_files("hydra/*/*.yaml", config_dir),
    ]:
        group = path.parent.relative_to(config_dir or path)
        if (conf_dir() / group / path.name).exists():
            raise ValueError(f"{path}: {group}={path.stem} exists already, rename yours")
    taken = studies()
    for path in config_files("study/*.yaml", config_dir):
        if _study(path) in taken:
            raise ValueError(f"{path}: there is a study {_study(path)} already, rename yours")
        taken[_study(path)] = path


def config_files(pattern: str, *folders: Path | None) -> list[Path]:
    """Returns the files in these folders; hidden ones are an editor's or a system's own."""
    each = [sorted(folder.glob(pattern)) for folder in folders if folder]
    return [path for paths in each for path in paths if not path.name.startswith(".")]


def _study(path: Path) -> str:
    return path.stem.replace("_", "-")


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
