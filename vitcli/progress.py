"""What a person sees of a run: one live line at a terminal, ten lines of JSON elsewhere."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from vitcli.output import console, moves

REPORTS = 10  # lines of JSON in a run
PATIENCE = 2.0  # seconds before a measurement is shown


@contextmanager
def progress(name: str, start: int, total: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Gives a function that shows a training record; `start` steps of `total` are done already."""
    if not moves():
        yield _json_lines(total)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("step {task.completed:.0f}/{task.total:.0f}  loss {task.fields[loss]:.3f}"),
        TextColumn("{task.fields[speed]:,.0f} images/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(), expand=True) as bar:
        task = bar.add_task(name, total=total, completed=start, loss=math.nan, speed=0.0)

        def show(record: dict[str, Any]) -> None:
            loss = math.nan if record["loss"] is None else record["loss"]  # all steps left out
            bar.update(task, completed=record["step"], loss=loss, speed=record["images_per_s"])

        yield show


@contextmanager
def measuring(name: str, total: int, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Gives a function that is told which of `total` measurements begins.

    A terminal shows it, unless `quiet`, if all of them take more than two seconds.
    """
    if quiet or not moves():
        yield lambda what: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("measuring {task.fields[what]}  {task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
    )
    bar = Progress(*columns, console=console(), expand=True, transient=True)
    task = bar.add_task(name, total=total, completed=-1, what="")
    late = threading.Timer(PATIENCE, bar.start)
    late.start()
    try:
        yield lambda what: bar.update(task, what=what, advance=1)
    finally:
        late.cancel()
        late.join()
        if bar.live.is_started:
            bar.stop()


@contextmanager
def counting(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Gives a function that is told how many more of `total` are done; a terminal shows it."""
    if not moves():
        yield lambda more: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(), expand=True, transient=True) as bar:
        task = bar.add_task(name, total=total)
        yield lambda more: bar.advance(task, more)


def _json_lines(total: int) -> Callable[[dict[str, Any]], None]:
    shown = 0

    def show(record: dict[str, Any]) -> None:
        nonlocal shown
        due = record["step"] * REPORTS // total
        if due > shown:
            shown = due
            print(json.dumps(record), flush=True)

    return show


def duration(seconds: float) -> str:
    """Returns the time in the unit that suits it: seconds to days."""
    for unit, length, until in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 72)):
        if seconds / length < until:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds / 86400:,.0f} days"
