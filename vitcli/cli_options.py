"""The arguments and options that several commands have, each with its help and completion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitcli import complete


def expanded(given: Path | None) -> Path | None:
    """Returns the path with a person's home for `~`: of `--outputs=~/x`, shells leave it."""
    return None if given is None else given.expanduser()


RAW = {"ignore_unknown_options": True}
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Settings, as KEY=VALUE ...", autocompletion=complete.settings),
]
Source = Annotated[
    str,
    typer.Argument(
        help="A run's folder, a checkpoint, timm:NAME or hf:REPO.", autocompletion=complete.sources
    ),
]
Study = Annotated[
    str,
    typer.Argument(
        help="A study's name; without it, all are listed.", autocompletion=complete.studies
    ),
]
Planned = Annotated[
    str,
    typer.Argument(
        help="A study's name (pos-emb), or the name of its folder (pos-emb-laptop).",
        autocompletion=complete.planned,
    ),
]
Outputs = Annotated[Path, typer.Option(callback=expanded, help="Where runs and studies are kept.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]
ConfigDir = Annotated[
    Path | None,
    typer.Option(callback=expanded, help="Your own configs: model/, study/, ... beside ours."),
]
