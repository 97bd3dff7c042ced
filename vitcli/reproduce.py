"""Trains finished runs again from their frozen configs, and says whether the same came out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vitcli.analysis.intervals import t_quantile
from vitcli.config import RunConfig
from vitcli.files import read_record
from vitcli.frozen import read_own
from vitcli.machine import cores
from vitcli.records import read_losses
from vitcli.siblings import siblings
from vitcli.study.plan import Plan, read_plan

LEVEL = 0.95
# On the same of these, the same bits are expected; the others are said where they differ.
_SAME_BITS = ("device", "threads", "processes", "precision", "compiled", "torch", "timm", "commit")
_OTHERS = ("host", "python", "vitcli")


@dataclass(frozen=True)
class Again:
    """A run, and what came of it the second time.

    Attributes:
        changed: of the environment: what, then, now.
        differing: metrics that differ: then, now.
        same_log: the logged losses are the same.
        outside: metrics that now lie outside the interval of its seeds, itself among them; with it.
        unknown: metrics that differ where there are no two other seeds to compare with.
    """

    run: str
    changed: list[tuple[str, Any, Any]]
    differing: Mapping[str, tuple[float, float]]
    same_log: bool
    outside: Mapping[str, tuple[float, float]]
    unknown: Sequence[str]

    @property
    def word(self) -> str:
        """Returns `equal`, `within the seeds`, `not equal` or `undecided`."""
        if not self.differing and self.same_log:
            return "equal"
        same_machine = not any(what in _SAME_BITS for what, *_ in self.changed)
        if same_machine or self.same_log or self.outside:  # the same training has the same metrics
            return "not equal"
        return "undecided" if self.unknown else "within the seeds"


def plan_again(folder: Path, runs_dir: Path) -> Plan:
    """Returns a plan of a study's finished runs, for `outputs/reproduced` beside them.

    Raises:
        ValueError: a run has no result, or is not what its name says.
    """
    study = read_plan(folder)
    outputs = runs_dir.parent / "reproduced"
    configs = {run: again(runs_dir / run, outputs) for run in study.run_ids}
    for config in configs.values():
        if config.finetune.source is not None:  # the source of the same name, reproduced before it
            source = Path(config.finetune.source).name
            if source in configs:
                config.finetune.source = str(outputs / "runs" / source)
    return Plan(outputs / "studies" / folder.name, study, configs)


def again(folder: Path, outputs: Path) -> RunConfig:
    """Returns the config of a finished run, to be trained in `outputs` as it was.

    Raises:
        ValueError: it has no result, or its config is not the one that its name stands for.
    """
    config = read_own(folder)
    if not (folder / "result.json").exists():
        raise ValueError(
            f"{folder}: no result to compare with; finish it by `vitcli ablate` or `train`"
        )
    then = read_record(folder / "result.json").get("env", {})
    threads = then.get("threads")
    known = isinstance(threads, int) and 0 < threads <= cores()
    compiled = {True: "on", False: "off"}.get(then.get("compiled"), config.compile)
    return replace(
        config,
        outputs=str(outputs),
        threads=threads if known else config.threads,
        compile=compiled,
        tracker="none",
        finetune=replace(config.finetune),
    )


def compared(folder: Path, new: Path) -> Again:
    """Returns how the run in `new` compares with the one in `folder`."""
    before, after = (read_record(each / "result.json") for each in (folder, new))
    envs = before.get("env", {}), after["env"]
    keys = [*_SAME_BITS, *_OTHERS]
    changed = [(key, *(env.get(key) for env in envs)) for key in keys]
    then, now = before["metrics"], after["metrics"]
    differing = {
        name: (then.get(name, math.nan), now.get(name, math.nan))
        for name in {**then, **now}
        if then.get(name) != now.get(name)
    }
    outside, unknown = dict[str, tuple[float, float]](), []
    seeds = siblings(folder) if differing else {}
    for name, (_, value) in differing.items():
        interval = _of_seeds([run.value(name) for run in seeds.values()])
        if interval is None:
            unknown.append(name)
        elif not interval[0] <= value <= interval[1]:
            outside[name] = interval
    same_log = _losses(folder) == _losses(new)
    told = [each for each in changed if each[1] != each[2]]
    return Again(folder.name, told, differing, same_log, outside, unknown)


def _losses(folder: Path) -> list[tuple[int, float]]:
    return read_losses(folder.name, folder.parent)


def _of_seeds(values: Sequence[float]) -> tuple[float, float] | None:
    """Returns where one more seed's value should lie, by these; None with fewer than three.

    The prediction interval of a normal number: mean ± t s sqrt(1 + 1/n).
    """
    known = [value for value in values if not math.isnan(value)]
    n = len(known)
    if n < 3:
        return None
    mean, sd = statistics.mean(known), statistics.stdev(known)
    half = t_quantile(n - 1, (1 + LEVEL) / 2) * sd * math.sqrt(1 + 1 / n)
    return mean - half, mean + half
