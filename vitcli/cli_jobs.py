"""The commands that look after a study: its runs, its report. Each imports what it needs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from vitcli import complete
from vitcli.cli_options import Json, Outputs, Planned
from vitcli.files import one_line
from vitcli.machine import place
from vitcli.output import answer, console, plural


def status(study: Planned, outputs: Outputs = Path("outputs"), as_json: Json = False) -> None:
    """Show the state of each run of a study. Read from files; also says why a job waits."""
    from vitcli.study.board import as_answer, board, states
    from vitcli.study.plan import newest
    from vitcli.study.slurm import look

    folder = newest(study, outputs)
    look([outputs / "runs" / run for run in states(folder)])
    if as_json:
        return answer("status", as_answer(folder))
    console().print(board(folder))


def cancel(
    study: Planned,
    outputs: Outputs = Path("outputs"),
) -> None:
    """Cancel a study's jobs on a cluster. What trains saves its state first."""
    from vitcli.study.board import states
    from vitcli.study.plan import newest
    from vitcli.study.slurm import cancel as cancel_jobs

    count = cancel_jobs([outputs / "runs" / run for run in states(newest(study, outputs))])
    then = "; `vitcli ablate` with the study's settings resumes them" if count else ""
    print(f"cancelled: {plural(count, 'job')}{then}")


def logs(
    study: Planned,
    cell: Annotated[str, typer.Argument(help="A cell (none-stem), as `vitcli status` names it.")],
    outputs: Outputs = Path("outputs"),
) -> None:
    """Print what a cell's jobs wrote. If a failed run has no log, prints its traceback."""
    from vitcli.choices import nearest
    from vitcli.study.board import rows
    from vitcli.study.plan import newest, read_plan
    from vitcli.study.slurm import log

    known = dict(rows(read_plan(newest(study, outputs))))
    if cell not in known:
        raise ValueError(f"no cell '{cell}': there are {', '.join(known)}{nearest(cell, known)}")
    for run in known[cell]:
        print(f"== {run}", log(outputs / "runs" / run), sep="\n")


def report(
    study: Annotated[
        str,
        typer.Argument(
            help="A study's name (pos-emb), the name of its folder, or an exported file.",
            autocompletion=complete.planned,
        ),
    ] = "",
    every: Annotated[bool, typer.Option("--all", help="Every study, and their index.")] = False,
    outputs: Outputs = Path("outputs"),
    as_json: Json = False,
) -> None:
    """Write and show a study's report. Or that of what `vitcli export` wrote, or of all studies."""
    import gc

    from vitcli.files import read_record
    from vitcli.report.build import show_index, write_index, write_report
    from vitcli.study.archive import unpack
    from vitcli.study.plan import newest
    from vitcli.trackers.follow import track_report

    if bool(study) == every:
        raise ValueError("report takes a study's name, or --all")
    gc.disable()  # a tenth of a report's time, and it ends in seconds
    if not every:
        archive = Path(study).is_file()
        folder = unpack(Path(study), outputs) if archive else newest(study, outputs)
        with stoppable("the report was not written"):
            write_report(folder, outputs / "runs")
            if as_json:
                answer("report", {"folder": folder, **read_record(folder / "report/claims.json")})
            else:
                show_report(folder)
            track_report(folder, None, say)
        return
    with stoppable("not all reports were written"):
        listed = write_index(outputs)
    if as_json:
        answer("report", {"studies": listed})
    else:
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


def say_undone(study_dir: Path) -> bool:
    """Says of each run of the study without a result why; returns whether there is one."""
    from vitcli.status import by_whom
    from vitcli.study.board import states

    undone = [run for run in states(study_dir).values() if run.state != "done"]
    for run in undone:
        if run.state == "running":
            say(f"{run.id} is {by_whom(run.status)}; when that has ended, run this command again")
        else:
            say(f"{run.id}: {run.state}: {run.error or 'no result'}")
    return bool(undone)


def say(message: str) -> None:
    """Prints one line about the command itself, with which of several processes says it."""
    where = place()
    who = f"vitcli, process {where.rank} of {where.size}" if where.size > 1 else "vitcli"
    print(f"{who}: {one_line(message)}", file=sys.stderr)
