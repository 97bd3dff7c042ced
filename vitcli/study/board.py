"""A study at a glance, from its files alone: cells x seeds, each run's state, the time left."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vitcli.analysis.load import load
from vitcli.analysis.results import Results
from vitcli.files import one_line
from vitcli.output import console, moves
from vitcli.progress import duration
from vitcli.records import Run
from vitcli.schema import Study

REFRESH_SECONDS = 0.5
_REST = 50  # times as long as a look at all runs took: 2 % of a core, also of a thousand runs
_STYLES = {
    "done": "green", "running": "cyan", "failed": "bold red", "lost": "red",
    "unreadable": "bold red", "interrupted": "yellow", "queued": "blue", "planned": "dim",
}  # fmt: skip
_ENDED = ("done", "failed")


def states(folder: Path) -> Mapping[str, Run]:
    """Returns what is known of each of the study's runs, by id, sources first."""
    return _results(folder).runs


def rows(study: Study) -> list[tuple[str, list[str]]]:
    """Returns a name and the runs by seed, of each source, of each cell, and of those from scratch.

    A run from scratch that several cells share is listed once.
    """
    sources: dict[str, list[str]] = {}
    for run, labels in study.sources.items():
        sources.setdefault(", ".join(["source", *labels]), []).append(run)
    cells = [(cell.id, list(cell.runs.values())) for cell in study.cells]
    scratch, seen = list[tuple[str, list[str]]](), set[str]()
    for cell in study.cells:
        if new := [run for run in cell.scratch.values() if run not in seen]:
            scratch.append((f"from scratch, {cell.id}", new))
            seen |= set(new)
    return [*sources.items(), *cells, *scratch]


def board(folder: Path) -> Group:
    """Returns the board of the study in `folder`, to be printed."""
    results = _results(folder)
    study, runs = results.study, results.runs
    changes = [o for o in study.overrides if not o.startswith("scale=")]
    title = f"{study.title} ({', '.join([study.scale, *changes])})"
    table = Table(title=title, title_justify="left")
    table.add_column("cell", no_wrap=True)
    for seed in study.seeds:
        table.add_column(f"seed {seed}", justify="right", no_wrap=True)
    for name, its in rows(study):
        table.add_row(name, *(_entry(runs[run], study.metric) for run in its))
    errors = [
        Text(f"{run.id}: {run.error or run.state}", style="red")
        for run in runs.values()
        if run.state == "lost" or (run.error and run.state != "done")
    ]
    notes = [
        Text(f"{run.id}: {run.status['note']}", style="yellow")
        for run in runs.values()
        if "note" in run.status
    ]
    return Group(table, *errors, *notes, Text(summary(list(runs.values()))))


def as_answer(folder: Path) -> dict[str, object]:
    """Returns the board for programs; a run that two cells share is listed for each."""
    results = _results(folder)
    study, runs = results.study, results.runs
    listed = [
        {
            "cell": name, "run": run.id, "state": run.state, "error": run.error,
            "value": run.value(study.metric),  # null without one
            "wall_s": run.wall_s, "status": run.status,
        }
        for name, its in rows(study)
        for run in (runs[each] for each in its)
    ]  # fmt: skip
    counts = Counter(run.state for run in runs.values())
    about = {"study": study.name, "scale": study.scale, "folder": folder, "metric": study.metric}
    return {**about, "states": counts, "runs": listed}


def summary(runs: list[Run]) -> str:
    """Returns the line below the board: runs by state, and the time left if that can be known."""
    counts = {s: sum(run.state == s for run in runs) for s in _STYLES}
    line = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    running = [run for run in runs if run.state == "running"]
    # A whole run's seconds: of those done, and until there is one, of those under way.
    whole = [run.wall_s for run in runs if run.wall_s] or [
        run.status["train_seconds"] / _share(run)
        for run in running
        if run.status.get("train_seconds") and run.status.get("step")
    ]
    if whole and running:
        each = statistics.median(whole)
        todo = sum(1 - _share(run) for run in runs if run.state not in ("done", "failed"))
        line += f"; about {duration(todo * each / len(running))} left"
    return line


@contextmanager
def watch(folder: Path) -> Iterator[None]:
    """Shows the board while the block runs: live at a terminal, a line a finished run elsewhere."""
    if moves():
        each = 1 / REFRESH_SECONDS
        with Live(get_renderable=lambda: _now(folder), refresh_per_second=each, console=console()):
            yield
        return
    done = threading.Event()
    before = {_end(run) for run in states(folder).values() if run.state in _ENDED}
    thread = threading.Thread(target=_follow_lines, args=(folder, done, before), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _now(folder: Path) -> RenderableType:
    """Returns the board, or why there is none: a plan that is edited or gone stops no study."""
    try:
        return board(folder)
    except (OSError, ValueError) as error:
        return Text(one_line(error), style="red")


def _follow_lines(folder: Path, done: threading.Event, before: set[tuple[str, object]]) -> None:
    """Prints a line for each end of a run that was not there `before`, until `done` is set."""
    last, pause, seen = False, REFRESH_SECONDS, set(before)
    while not last:
        last = done.wait(pause)
        began = time.thread_time()
        try:
            results = _results(folder)
        except (OSError, ValueError):  # the plan is edited or gone; it may be whole again
            continue
        pause = max(REFRESH_SECONDS, _REST * (time.thread_time() - began))
        # What had failed before is trained again: it has not ended yet.
        ended = [
            run
            for run in results.runs.values()
            if run.state in _ENDED and not (run.state == "failed" and _end(run) in before)
        ]
        new = [run for run in ended if _end(run) not in seen]
        for place, run in enumerate(new, len(ended) - len(new) + 1):
            seen.add(_end(run))
            shown = _entry(run, results.study.metric).plain
            print(f"[{place}/{len(results.runs)}] {run.id}: {shown}", flush=True)


def _end(run: Run) -> tuple[str, object]:
    """Returns what tells this end of a run from another: one that failed is trained again."""
    return run.id, run.status.get("beat") if run.state == "failed" else None


def _results(folder: Path) -> Results:
    return load(folder, folder.parent.parent / "runs")


def _entry(run: Run, metric: str) -> Text:
    text = run.state
    if run.state == "done" and run.lacks(metric) is None:
        text = f"{run.value(metric):.3f}  {duration(run.wall_s or 0.0)}"
    elif run.state == "running" and "num_steps" in run.status:
        text = f"{_share(run):.0%}  {run.status.get('images_per_s', 0):,.0f}/s"
    return Text(text, style=_STYLES.get(run.state, ""))


def _share(run: Run) -> float:
    """Returns how much of its training a run has done; a hair, not to divide by nothing."""
    done = run.status.get("step", 0) / run.status.get("num_steps", 1)
    return max(float(done), 1e-6) if run.state == "running" else float(done)
