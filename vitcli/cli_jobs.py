"""The commands that look after a study's runs. Each imports what it needs when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitcli.config import choose

Study = Annotated[str, typer.Argument(help="A study's name (pos-emb), or its folder's.")]
Outputs = Annotated[Path, typer.Option(help="Where runs and studies are kept.")]


def status(study: Study, outputs: Outputs = Path("outputs")) -> None:
    """Show the state of each run of a study, from its files; of jobs that wait, why."""
    from rich.console import Console

    from vitcli.study.board import board, states
    from vitcli.study.plan import newest
    from vitcli.study.slurm import look

    folder = newest(study, outputs)
    look([outputs / "runs" / run for run in states(folder)])
    Console().print(board(folder))


def cancel(
    study: Study,
    outputs: Outputs = Path("outputs"),
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
    study: Study,
    cell: Annotated[str, typer.Argument(help="A cell (none-stem), as `vitcli status` names it.")],
    outputs: Outputs = Path("outputs"),
) -> None:
    """Print what the jobs of a cell wrote, or the traceback of a run that failed."""
    from vitcli.study.board import rows
    from vitcli.study.plan import newest, read_plan
    from vitcli.study.slurm import log

    known = dict(rows(read_plan(newest(study, outputs))))
    choose("cell", cell, known)
    for run in known[cell]:
        print(f"== {run}", log(outputs / "runs" / run), sep="\n")
