"""What a study would cost: parameters, FLOPs, and time if a speed is known. No torch.

Nothing is timed unless that is asked for: a speed is given, or seen in finished runs, or taken from
a few timed steps (`vitcli plan --time`).
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.console import Group
from rich.table import Table
from rich.text import Text

from vitcli.analysis.results import read_results
from vitcli.config import FinetuneConfig, RunConfig
from vitcli.evals import evaluators_of
from vitcli.memory import needed
from vitcli.perf import train_flops
from vitcli.progress import duration
from vitcli.study.board import rows
from vitcli.study.launch import at_once, missing
from vitcli.study.plan import IN_PLACE, SPEED, Plan


@dataclass(frozen=True)
class Cost:
    """What a run costs: training FLOPs by the paper's rule, and all with its evaluations."""

    parameters: int
    training: float
    flops: float


@dataclass(frozen=True)
class CellCost:
    """What a cell, or a source, costs: each run, and its runs together.

    Attributes:
        training_flops, flops: of one run; the latter with its evaluations.
        memory_bytes: of each process; None: not asked for, or not known.
        seconds: of the runs to go, one after the other; None: no speed is known.
    """

    cell: str
    parameters: int
    training_flops: float
    flops: float
    memory_bytes: float | None
    runs: int
    done: int
    seconds: float | None


@dataclass(frozen=True)
class Estimate:
    """What a plan costs, for the FLOP/s `given` and so many processes a run.

    Attributes:
        by: what the FLOP/s are known by, if none are given; "": they are not.
    """

    plan: Plan
    cells: list[CellCost]
    given: float | None
    processes: int | None
    by: str

    @property
    def runs_to_go(self) -> int:
        """Returns how many runs are without a result."""
        return sum(cell.runs - cell.done for cell in self.cells)

    @property
    def flops_to_go(self) -> float:
        """Returns the FLOPs of the runs to go, evaluations included."""
        return sum((cell.runs - cell.done) * cell.flops for cell in self.cells)

    @property
    def seconds(self) -> float | None:
        """Returns the seconds of the runs to go, one after the other; None if one is not known."""
        known = [cell.seconds for cell in self.cells if cell.seconds is not None]
        return sum(known) if len(known) == len(self.cells) else None

    def answer(self) -> dict[str, object]:
        """Returns the estimate for programs."""
        study = self.plan.study
        return {
            "study": study.name, "scale": study.scale, "folder": self.plan.folder,
            "runs": len(self.plan.configs), "runs_to_go": self.runs_to_go,
            "flops_to_go": self.flops_to_go, "seconds": self.seconds,
            "processes": self.processes, "cells": self.cells,
        }  # fmt: skip


def cost(config: RunConfig) -> Cost:
    """Returns what a run costs; evaluations as far as their numbers of images are known.

    Raises:
        ValueError: a length in epochs of a set whose size only its images tell.
    """
    parameters, training = train_flops(config)
    one = replace(config.train, steps=1, images=None, epochs=None)
    _, step = train_flops(replace(config, train=one, finetune=FinetuneConfig()))
    forward = step / config.train.batch_size / 3  # a training step is three of these
    images = sum(kind.images(config) for kind in evaluators_of(config))
    return Cost(parameters, training, training + images * forward)


def given_speed(overrides: Sequence[str]) -> tuple[float | None, list[str]]:
    """Returns the FLOP/s of `flops_per_second=...`, None without, and the other overrides.

    Raises:
        ValueError: it is not a number above 0.
    """
    given = [o for o in overrides if o.partition("=")[0] == SPEED]
    rest = [o for o in overrides if o not in given]
    if not given:
        return None, rest
    try:
        speed = float(given[-1].partition("=")[2])
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise ValueError(f"{given[-1]}: a number above 0, such as 1.5e14")
    return speed, rest


def estimate(
    plan: Plan, given: float | None = None, timed: bool = False, processes: int | None = None
) -> Estimate:
    """Returns what the plan costs: a row a source and a cell. Trains nothing and needs no data.

    Args:
        given: FLOP/s of the device to estimate for; else, what finished runs did.
        timed: time a few steps of each model whose speed is not known otherwise.
        processes: that train a run together; None: no memory is known.
    """
    finished = {} if given else _seen(plan)
    seen, kinds = dict(finished), set[str]()
    todo, counted, of_cells = set(missing(plan)), set[str](), list[CellCost]()
    for name, its in rows(plan.study):
        runs = [run for run in its if run not in counted]  # of another cell too: counted there
        counted |= set(runs)
        first, left = plan.configs[its[0]], sum(run in todo for run in runs)
        kinds |= {_kind(first)} if left else set()
        of_run = cost(first)
        speed = given or (_speed(first, seen, timed) if left else 1.0)
        seconds = None if speed is None else left * of_run.flops / speed
        bytes_ = _memory(first, processes, plan.study.scale != "laptop") if processes else None
        done = len(runs) - left
        costs = (of_run.parameters, of_run.training, of_run.flops, bytes_)
        of_cells.append(CellCost(name, *costs, len(runs), done, seconds))
    steps = seen.keys() - finished.keys()
    by = ["finished runs"] * bool(finished and kinds - steps) + ["timed steps"] * bool(steps)
    return Estimate(plan, of_cells, given, processes, " and ".join(by))


def shown(found: Estimate) -> Group:
    """Returns the estimate as a table with lines below it, to be printed."""
    study, large = found.plan.study, found.plan.study.scale == "paper"
    table = Table(title=f"{study.title} ({study.scale})", title_justify="left")
    table.add_column("cell", no_wrap=True)
    amount = "exaFLOPs a run" if large else "FLOPs a run"
    memory = ["memory"] if found.processes else []
    for heading in ("parameters", amount, *memory, "runs", "done", "to go"):
        table.add_column(heading, justify="right", no_wrap=True)
    for cell in found.cells:
        training = cell.training_flops
        size = f"{training / 1e18:,.4g}" if large else f"{training:.3g}"
        needs = [_bytes(cell.memory_bytes)] if found.processes else []
        to_go = "?" if cell.seconds is None else duration(cell.seconds)
        counts = (str(cell.runs), str(cell.done))
        table.add_row(cell.cell, f"{cell.parameters:,}", size, *needs, *counts, to_go)
    lines = [study.setting, *([study.methods[IN_PLACE]] if IN_PLACE in study.methods else [])]
    if found.processes:
        lines.append(f"memory: of each process, with {found.processes} a run; known for ViTs only")
    lines.append(f"{found.runs_to_go} of {len(found.plan.configs)} runs to go")
    if found.runs_to_go:
        lines[-1] += f": {found.flops_to_go:.3g} FLOPs, evaluations included"
        lines.append(_total(found))
    return Group(table, *map(Text, lines))


def _memory(config: RunConfig, processes: int, on_gpu: bool) -> float | None:
    """Returns the bytes each process needs to train, as far as it is written out (memory.py)."""
    bf16 = config.train.precision == "bf16" or (config.train.precision == "auto" and on_gpu)
    micro = -(-config.train.batch_size // (config.train.accumulate * processes))
    return needed(config, micro, processes, bf16)


def _bytes(count: float | None) -> str:
    if count is None:
        return "--"
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _seen(plan: Plan) -> dict[str, float]:
    """Returns the FLOP/s of finished runs, evaluations included, by what that depends on."""
    speeds: dict[str, list[float]] = {}
    for name, run in read_results(plan.study, plan.outputs / "runs").runs.items():
        if run.wall_s:
            config = plan.configs[name]
            speeds.setdefault(_kind(config), []).append(cost(config).flops / run.wall_s)
    return {kind: statistics.median(of) for kind, of in speeds.items()}


def _speed(config: RunConfig, seen: dict[str, float], timed: bool) -> float | None:
    """Returns the FLOP/s of a run that is to go; None if nothing is known of it."""
    kind = _kind(config)
    if kind not in seen and timed:
        from vitcli.bench import flops_per_second  # with torch

        seen[kind] = flops_per_second(config)
    if kind not in seen and seen:  # of another model: within a factor of two or so
        return statistics.median(seen.values())
    return seen.get(kind)


def _kind(config: RunConfig) -> str:
    """Returns what a step's FLOP/s depend on: a small ResNet has half of a ViT's on a CPU."""
    return repr((config.model, config.stem, config.pos_emb, config.data.height_width))


def _total(found: Estimate) -> str:
    if found.seconds is None:
        return (
            "time not known: --time measures it by a few steps of each model; "
            f"{SPEED}=1.5e14 estimates it for a machine of that speed"
        )
    if found.given is not None:
        large = found.plan.study.scale == "paper"
        hours = f", {found.seconds / 3600:,.4g} GPU-hours" if large else ""
        time = f"{duration(found.seconds)} one after the other{hours}"
        return f"at {found.given:.3g} FLOP/s about {time}"
    device = next(iter(found.plan.configs.values())).device
    if device == "auto":  # without torch, which takes seconds
        device = "cuda" if shutil.which("nvidia-smi") else "cpu"
    parallel = at_once(found.plan, found.runs_to_go, device)
    time = f"about {duration(found.seconds / parallel)}, {parallel} at a time on this machine"
    return f"{time} (by {found.by})"
