"""A study at a glance, from its files alone: cells x seeds, each run's state, the time left."""

from __future__ import annotations

import statistics
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vitcli.files import read_json
from vitcli.status import read_status

REFRESH_SECONDS = 0.5
_STYLES = {
    "done": "green", "running": "cyan", "failed": "bold red", "lost": "red",
    "interrupted": "yellow", "planned": "dim",
}  # fmt: skip


def states(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns the status of each of the study's runs, by id; a finished one with its `metric`."""
    plan = read_json(folder / "plan.json")
    runs_dir = folder.parent.parent / "runs"
    found = {}
    for run in (run for _, runs in rows(plan) for run in runs):
        status = read_status(runs_dir / run)
        if (result := runs_dir / run / "result.json").exists():
            facts = read_json(result)
            status |= {"state": "done", "metric": facts["metrics"].get(plan["metric"])}
            status["train_seconds"] = facts["wall_s"]
        found[run] = status
    return found


def rows(facts: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Returns a name and the runs by seed, of each source of a plan.json and then of each cell."""
    sources: dict[str, list[str]] = {}
    for run, labels in facts["sources"].items():
        sources.setdefault(", ".join(["source", *labels]), []).append(run)
    cells = [(cell["id"], list(cell["runs"].values())) for cell in facts["cells"]]
    return [*sources.items(), *cells]


def board(folder: Path) -> Group:
    """Returns the board of the study in `folder`, to be printed."""
    plan, runs = read_json(folder / "plan.json"), states(folder)
    table = Table(title=f"{plan['title']} ({plan['scale']})", title_justify="left")
    table.add_column("cell", no_wrap=True)
    for seed in plan["seeds"]:
        table.add_column(f"seed {seed}", justify="right", no_wrap=True)
    for name, its in rows(plan):
        table.add_row(name, *(_entry(runs[run]) for run in its))
    errors = [
        Text(f"{run}: {status.get('error', status['state'])}", style="red")
        for run, status in runs.items()
        if status["state"] == "lost" or ("error" in status and status["state"] != "done")
    ]
    return Group(table, *errors, Text(summary(list(runs.values()))))


def summary(statuses: list[dict[str, Any]]) -> str:
    """Returns the line below the board: runs by state, and the time left if that can be known."""
    counts = {s: sum(x["state"] == s for x in statuses) for s in _STYLES}
    line = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    running = [x for x in statuses if x["state"] == "running"]
    # A whole run's seconds: of those done, and until there is one, of those under way.
    whole = [x["train_seconds"] for x in statuses if x["state"] == "done"] or [
        x["train_seconds"] / _share(x) for x in running if x.get("train_seconds") and _share(x)
    ]
    if whole and running:
        each = statistics.median(whole)
        todo = sum(1 - _share(x) for x in statuses if x["state"] not in ("done", "failed"))
        line += f"; about {_minutes(todo * each / len(running))} left"
    return line


@contextmanager
def watch(folder: Path) -> Iterator[None]:
    """Shows the board while the block runs: live at a terminal, a line a finished run elsewhere."""
    done = threading.Event()
    follow = _follow_live if sys.stdout.isatty() else _follow_lines
    thread = threading.Thread(target=follow, args=(folder, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _follow_live(folder: Path, done: threading.Event) -> None:
    with Live(board(folder), console=Console(), auto_refresh=False) as live:
        while not done.wait(REFRESH_SECONDS):
            live.update(board(folder), refresh=True)
        live.update(board(folder), refresh=True)


def _follow_lines(folder: Path, done: threading.Event) -> None:
    seen = {run for run, status in states(folder).items() if status["state"] in ("done", "failed")}
    last = False
    while not last:
        last = done.wait(REFRESH_SECONDS)
        runs = states(folder)
        for run, status in runs.items():
            if status["state"] in ("done", "failed") and run not in seen:
                seen.add(run)
                print(f"[{len(seen)}/{len(runs)}] {run}: {_entry(status).plain}", flush=True)


def _entry(status: dict[str, Any]) -> Text:
    state = status["state"]
    text = state
    if state == "done" and status["metric"] is not None:
        text = f"{status['metric']:.3f}  {_minutes(status['train_seconds'])}"
    elif state == "running" and "num_steps" in status:
        text = f"{_share(status):.0%}  {status.get('images_per_s', 0):,.0f}/s"
    return Text(text, style=_STYLES[state])


def _share(status: dict[str, Any]) -> float:
    return float(status.get("step", 0) / status.get("num_steps", 1))


def _minutes(seconds: float) -> str:
    return f"{seconds // 60:.0f}:{seconds % 60:02.0f}"
