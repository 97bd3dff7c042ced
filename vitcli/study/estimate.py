"""What a study would cost: parameters, training FLOPs, and time from a few timed steps."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

import torch
from rich.console import Group
from rich.table import Table
from rich.text import Text
from torch import Tensor

from vitcli import perf
from vitcli.bench import step_seconds, trainer_of
from vitcli.config import FinetuneConfig, RunConfig, num_steps
from vitcli.data import Batch, DataSource
from vitcli.files import read_json
from vitcli.models import build_model
from vitcli.study.board import rows
from vitcli.study.launch import at_once, missing
from vitcli.study.plan import SPEED, Plan
from vitcli.trainer import find_device

_TIMED_STEPS = 5
_TIMED_FLOPS = 4e11  # of one timed step at most: a second or so on two cores
_UNKNOWN_CLASSES = 1000  # of a set that is not read before the first run
# Training images where data.size is null: no data set is opened to know a cost.
_TRAIN_SIZES = {"digits": 1297, "cifar10": 50_000, "cifar100": 50_000, "imagenet": 1_281_167}


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


def estimate(plan: Plan, given: float | None = None) -> Group:
    """Returns the plan as a table: a row a source and a cell, with its cost and its runs.

    Trains nothing and needs no data: steps of a set that lies elsewhere are timed on noise.

    Args:
        given: FLOP/s of the device to estimate for; else, what this machine is seen to do.
    """
    large = plan.facts["scale"] == "paper"
    table = Table(title=f"{plan.facts['title']} ({plan.facts['scale']})", title_justify="left")
    table.add_column("cell", no_wrap=True)
    for heading in ("parameters", "exaFLOPs a run" if large else "FLOPs a run", "runs", "done"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("to go", justify="right", no_wrap=True)
    todo, counted, speeds = set(missing(plan)), set[str](), dict[str, float]()
    seconds, total_flops = 0.0, 0.0
    for name, its in rows(plan.facts):
        runs = [run for run in its if run not in counted]  # of another cell too: counted there
        counted |= set(runs)
        config = plan.configs[its[0]]
        parameters, flops = cost(config)
        left = sum(run in todo for run in runs)
        seen = None if given else _seen(plan, its)
        if left and not seen:
            kind = "" if large else _kind(config)  # there, a step of each takes minutes in all
            speeds[kind] = given or speeds.get(kind) or _flops_per_second(config)
            seen = flops / speeds[kind]
        total_flops += left * flops
        seconds += left * (seen or 0.0)
        amount = f"{flops / 1e18:,.4g}" if large else f"{flops:.3g}"
        done = str(len(runs) - left)
        to_go = duration(left * (seen or 0.0))
        table.add_row(name, f"{parameters:,}", amount, str(len(runs)), done, to_go)
    lines = [f"{len(todo)} of {len(plan.configs)} runs to go: {_total(plan, seconds, given)}"]
    if large:
        hours = _hours(seconds, given, speeds.get(""), config)
        lines.append(f"{total_flops / 1e18:,.4g} exaFLOPs, {hours}")
    return Group(table, Text(plan.facts["setting"]), *map(Text, lines))


def cost(config: RunConfig) -> tuple[int, float]:
    """Returns (parameters, training FLOPs by the paper's rule) of a run, trials of rates included.

    Raises:
        ValueError: a length in epochs of a set whose size only its images tell.
    """
    data, train = config.data, config.train
    size = data.height_width
    with torch.device("meta"):
        model = build_model(config, size, data.num_classes or _UNKNOWN_CLASSES)
        parameters, macs = perf.count(model, size)
    # A trial of a rate in epochs is shorter, by the dev split.
    share = 1.0 if train.epochs is None else 1 - config.finetune.dev_share
    trainings = 1 + len(config.finetune.lr_grid) * share
    return parameters, 6.0 * macs * _steps(config) * train.batch_size * trainings


def _kind(config: RunConfig) -> str:
    """Returns what a step's FLOP/s depend on: a small ResNet has half of a ViT's on a CPU."""
    return repr((config.model, config.stem, config.pos_emb, config.data.height_width))


def _steps(config: RunConfig) -> int:
    images = config.data.size or _TRAIN_SIZES.get(config.data.name, 0)
    if config.train.epochs is not None and not images:
        raise ValueError(
            f"train.epochs={config.train.epochs:g} with data.size=null: the number of images of "
            f"data.name={config.data.name} is not known before it is read, set data.size"
        )
    return num_steps(config, images)


def duration(seconds: float) -> str:
    """Returns the time in the unit that suits it: seconds to days."""
    for unit, length, until in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 72)):
        if seconds / length < until:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds / 86400:,.0f} days"


def _total(plan: Plan, seconds: float, given: float | None) -> str:
    if given is not None:
        return f"at {given:.3g} FLOP/s (given) about {duration(seconds)} one after the other"
    parallel = at_once(plan, len(plan.configs))
    by = "finished runs, else timed training steps"
    return f"about {duration(seconds / parallel)}, {parallel} at a time on this machine (by {by})"


def _hours(seconds: float, given: float | None, speed: float | None, config: RunConfig) -> str:
    """Returns the time of one device, and how fast that device is taken to be."""
    gpu = given is not None or find_device(config).type == "cuda"
    unit = "GPU-hours" if gpu else "hours of one core of this machine"
    rate = "" if speed is None else f" at {speed:.3g} FLOP/s ({'given' if given else 'measured'})"
    hint = "" if gpu else f"; GPU-hours: with {SPEED}=1.5e14, or whatever yours does"
    return f"{seconds / 3600:,.4g} {unit}{rate}{hint}"


def _seen(plan: Plan, runs: list[str]) -> float | None:
    """Returns the median seconds of those runs that are done."""
    paths = [plan.folder.parent.parent / "runs" / run / "result.json" for run in runs]
    seconds = [read_json(path)["wall_s"] for path in paths if path.exists()]
    return statistics.median(seconds) if seconds else None


class _Noise(DataSource):
    """Images of noise in a run's shapes, for the time of a step without its data set."""

    def __init__(self, config: RunConfig, device: torch.device) -> None:
        data = config.data
        self.num_classes, self.device = data.num_classes or _UNKNOWN_CLASSES, device
        self.train_size, self.val_size = config.train.batch_size, 0
        shape = (self.train_size, 3, *data.height_width)
        self._images = torch.rand(shape, device=device)

    def train_batch(self, index: Tensor, draw: Tensor | None = None) -> Batch:
        """Returns the same images each time."""
        return self._images[index], index % self.num_classes

    def val_batch(self, index: Tensor) -> Batch:
        """Returns the same images each time."""
        return self.train_batch(index)


def _flops_per_second(config: RunConfig) -> float:
    """Returns the speed of training steps on this machine, in one of the processes of a study."""
    config = replace(config, finetune=FinetuneConfig())
    per_image = cost(config)[1] / (_steps(config) * config.train.batch_size)
    batch_size = max(1, min(config.train.batch_size, int(_TIMED_FLOPS / per_image)))
    config = replace(config, train=replace(config.train, batch_size=batch_size, accumulate=1))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        # Images made here cost a core's time too; others may be elsewhere, or come from a network.
        made_here = config.data.name in ("glyphs", "digits")
        data = None if made_here else _Noise(config, find_device(config))
        seconds = statistics.median(step_seconds(trainer_of(config, data), _TIMED_STEPS))
    finally:
        torch.set_num_threads(before)
    return per_image * batch_size / seconds
