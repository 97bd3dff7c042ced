"""The commands that look after a study: its runs, its report. Each imports what it needs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from vitcli.config import choose
from vitcli.machine import place

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


def report(
    study: Study = "",
    every: Annotated[bool, typer.Option("--all", help="Every study, and their index.")] = False,
    outputs: Outputs = Path("outputs"),
) -> None:
    """Write and show the report of a study, or of all, from its files."""
    import gc

    from vitcli.report.build import show_index, write_index, write_report
    from vitcli.study.plan import newest

    if bool(study) == every:
        raise ValueError("report takes a study's name, or --all")
    gc.disable()  # a tenth of a report's time, and it ends in seconds
    if not every:
        folder = newest(study, outputs)
        with stoppable("the report was not written"):
            write_report(folder, outputs / "runs")
            show_report(folder)
        return
    with stoppable("not all reports were written"):
        listed = write_index(outputs)
    show_index(listed, outputs)
    if any(one.problem for one in listed):
        raise typer.Exit(1)


@contextmanager
def stoppable(left: str) -> Iterator[None]:
    """Says on Ctrl-C what the block has left undone, and ends."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"stopped; {left}")
        raise typer.Exit(130) from None


def show_report(folder: Path) -> None:
    """Prints a study's table, verdicts and where its report is."""
    from vitcli.report.build import show

    show(folder)


def say(message: str) -> None:
    """Prints a line about the command itself, with which of several processes says it."""
    where = place()
    who = f"vitcli, process {where.rank} of {where.size}" if where.size > 1 else "vitcli"
    print(f"{who}: {message}", file=sys.stderr)
