"""The commands for a study's jobs on a cluster. Each imports what it needs when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitcli.config import choose


def cancel(
    study: Annotated[str, typer.Argument(help="A study's name (pos-emb), or its folder's.")],
    outputs: Annotated[Path, typer.Option(help="Where runs and studies are kept.")] = Path(
        "outputs"
    ),
) -> None:
    """Cancel a study's jobs on a cluster; what trains saves its state first."""
    from vitcli.study.board import states
    from vitcli.study.plan import newest
    from vitcli.study.slurm import cancel as cancel_jobs

    count = cancel_jobs([outputs / "runs" / run for run in states(newest(study, outputs))])
    print(
        f"{count} jobs are cancelled; `vitcli ablate` with the study's settings goes on from there"
    )


def logs(
    study: Annotated[str, typer.Argument(help="A study's name (pos-emb), or its folder's.")],
    cell: Annotated[str, typer.Argument(help="A cell (1d-stem), as `vitcli status` names it.")],
    outputs: Annotated[Path, typer.Option(help="Where runs and studies are kept.")] = Path(
        "outputs"
    ),
) -> None:
    """Print what the jobs of a cell wrote, or the traceback of a run that failed."""
    from vitcli.study.board import rows
    from vitcli.study.plan import newest, read_plan
    from vitcli.study.slurm import log

    known = dict(rows(read_plan(newest(study, outputs))))
    choose("cell", cell, known)
    for run in known[cell]:
        print(f"== {run}", log(outputs / "runs" / run), sep="\n")
