"""What a study would cost: parameters, FLOPs, and time if a speed is known. No torch.

Nothing is timed unless that is asked for: a speed is given, or seen in finished runs, or taken from
a few timed steps (`vitcli plan --time`).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.console import Group
from rich.table import Table
from rich.text import Text

from vitcli.analysis.results import read_results
from vitcli.config import FinetuneConfig, RunConfig
from vitcli.evals import EVALUATORS
from vitcli.memory import needed
from vitcli.perf import train_flops
from vitcli.progress import duration
from vitcli.study.board import rows
from vitcli.study.launch import at_once, missing
from vitcli.study.plan import SPEED, Plan


@dataclass(frozen=True)
class Cost:
    """What a run costs: training FLOPs by the paper's rule, and all with its evaluations."""

    parameters: int
    training: float
    flops: float


def cost(config: RunConfig) -> Cost:
    """Returns what a run costs; evaluations as far as their numbers of images are known.

    Raises:
        ValueError: a length in epochs of a set whose size only its images tell.
    """
    parameters, training = train_flops(config)
    one = replace(config.train, steps=1, images=None, epochs=None)
    _, step = train_flops(replace(config, train=one, finetune=FinetuneConfig()))
    forward = step / config.train.batch_size / 3  # a training step is three of these
    images = sum(kind.images(config) for kind in EVALUATORS)
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
) -> Group:
    """Returns the plan as a table: a row a source and a cell, with its cost and its runs.

    Trains nothing and needs no data.

    Args:
        given: FLOP/s of the device to estimate for; else, what finished runs did.
        timed: time a few steps of each model whose speed is not known otherwise.
        processes: that train a run together; None: no memory is shown.
    """
    study, large = plan.study, plan.study.scale == "paper"
    table = Table(title=f"{study.title} ({study.scale})", title_justify="left")
    table.add_column("cell", no_wrap=True)
    amount = "exaFLOPs a run" if large else "FLOPs a run"
    memory = [] if processes is None else ["memory"]
    for heading in ("parameters", amount, *memory, "runs", "done", "to go"):
        table.add_column(heading, justify="right", no_wrap=True)
    seen = {} if given else _seen(plan)
    todo, counted, flops, seconds = set(missing(plan)), set[str](), 0.0, list[float | None]()
    for name, its in rows(study):
        runs = [run for run in its if run not in counted]  # of another cell too: counted there
        counted |= set(runs)
        of_run, left = cost(plan.configs[its[0]]), sum(run in todo for run in runs)
        speed = given or (_speed(plan.configs[its[0]], seen, timed) if left else 1.0)
        seconds.append(None if speed is None else left * of_run.flops / speed)
        flops += left * of_run.flops
        size = f"{of_run.training / 1e18:,.4g}" if large else f"{of_run.training:.3g}"
        to_go = "?" if seconds[-1] is None else duration(seconds[-1])
        counts = (str(len(runs)), str(len(runs) - left))
        on_gpu, first = study.scale != "laptop", plan.configs[its[0]]
        needs = [_memory(first, processes, on_gpu)] if processes else []
        table.add_row(name, f"{of_run.parameters:,}", size, *needs, *counts, to_go)
    lines = [study.setting]
    if processes:
        lines.append(f"memory of a process, {processes} a run, to train a ViT; not of a ResNet")
    lines.append(f"{len(todo)} of {len(plan.configs)} runs to go")
    if todo:
        lines[-1] += f": {flops:.3g} FLOPs, evaluations included"
        lines.append(_total(plan, seconds, given))
    return Group(table, *map(Text, lines))


def _memory(config: RunConfig, processes: int, on_gpu: bool) -> str:
    """Returns what each process needs to train, as far as it is written out (memory.py)."""
    bf16 = config.train.precision == "bf16" or (config.train.precision == "auto" and on_gpu)
    micro = -(-config.train.batch_size // (config.train.accumulate * processes))
    bytes_ = needed(config, micro, processes, bf16)
    if bytes_ is None:
        return "--"
    return f"{bytes_ / 1e9:.3g} GB" if bytes_ >= 1e9 else f"{bytes_ / 1e6:.0f} MB"


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


def _total(plan: Plan, seconds: Sequence[float | None], given: float | None) -> str:
    known = [each for each in seconds if each is not None]
    if len(known) < len(seconds):
        return f"time not known: --time times a few steps of each model; {SPEED}=1.5e14: elsewhere"
    if given is not None:
        hours = f", {sum(known) / 3600:,.4g} GPU-hours" if plan.study.scale == "paper" else ""
        return f"at {given:.3g} FLOP/s about {duration(sum(known))} one after the other{hours}"
    parallel = at_once(plan, len(plan.configs))
    by = "by finished runs and timed steps"
    return f"about {duration(sum(known) / parallel)}, {parallel} at a time on this machine ({by})"
