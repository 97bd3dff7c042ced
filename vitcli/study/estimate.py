"""What a study would cost: parameters, training FLOPs, and time from a few timed steps."""

from __future__ import annotations

import os
import statistics
from dataclasses import replace

import torch
from rich.console import Group
from rich.table import Table
from rich.text import Text

from vitcli import perf
from vitcli.bench import step_seconds, trainer_of
from vitcli.config import RunConfig, num_steps
from vitcli.files import read_json
from vitcli.models import build_model
from vitcli.study.launch import missing
from vitcli.study.plan import Plan

_TIMED_STEPS = 5
_UNKNOWN_CLASSES = 1000  # of a set that is not read before the first run
_TIMED_FLOPS = 4e11  # of one timed step at most: a second or so on two cores


def estimate(plan: Plan) -> Group:
    """Returns the plan as a table: a row a cell, with its cost and its runs; trains nothing."""
    todo = set(missing(plan))
    table = Table(title=f"{plan.facts['title']} ({plan.facts['scale']})", title_justify="left")
    table.add_column("cell", no_wrap=True)
    for heading in ("parameters", "FLOPs a run", "runs", "done", "to go"):
        table.add_column(heading, justify="right", no_wrap=True)
    speed: float | None = None
    total = 0.0
    for cell in plan.facts["cells"]:
        runs = list(cell["runs"].values())
        parameters, flops = cost(plan.configs[runs[0]])
        left = sum(run in todo for run in runs)
        seen = _seen(plan, runs)
        if left and not seen:
            speed = speed or _flops_per_second(plan.configs[runs[0]])
            seen = flops / speed
        seconds = left * (seen or 0.0)
        total += seconds
        row = (f"{parameters:,}", f"{flops:.3g}", str(len(runs)), str(len(runs) - left))
        table.add_row(cell["id"], *row, duration(seconds))
    parallel = min(os.cpu_count() or 1, len(plan.configs))
    by = "finished runs, or timed steps of a cell"
    return Group(
        table,
        Text(plan.facts["setting"]),
        Text(
            f"{len(todo)} of {len(plan.configs)} runs to go: about {duration(total / parallel)}, "
            f"{parallel} at a time on this machine (by {by})"
        ),
    )


def cost(config: RunConfig) -> tuple[int, float]:
    """Returns (parameters, training FLOPs by the paper's rule) of a run."""
    size = config.data.height_width
    classes = config.data.num_classes or _UNKNOWN_CLASSES
    with torch.device("meta"):
        parameters, macs = perf.count(build_model(config, size, classes), size)
    steps = num_steps(config, config.data.size or 0)
    return parameters, 6.0 * macs * steps * config.train.batch_size


def duration(seconds: float) -> str:
    """Returns the time in the unit that suits it: seconds to days."""
    for unit, length, until in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 72)):
        if seconds / length < until:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds / 86400:,.0f} days"


def _seen(plan: Plan, runs: list[str]) -> float | None:
    """Returns the median seconds of those runs that are done."""
    paths = [plan.folder.parent.parent / "runs" / run / "result.json" for run in runs]
    seconds = [read_json(path)["wall_s"] for path in paths if path.exists()]
    return statistics.median(seconds) if seconds else None


def _flops_per_second(config: RunConfig) -> float:
    """Returns the speed of training steps on this machine, in one of the processes of a study."""
    _, flops = cost(config)
    per_image = flops / (num_steps(config, config.data.size or 0) * config.train.batch_size)
    batch_size = max(1, min(config.train.batch_size, int(_TIMED_FLOPS / per_image)))
    config = replace(config, train=replace(config.train, batch_size=batch_size, accumulate=1))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = statistics.median(step_seconds(trainer_of(config), _TIMED_STEPS))
    finally:
        torch.set_num_threads(before)
    return per_image * batch_size / seconds
