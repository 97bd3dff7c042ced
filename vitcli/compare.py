"""Two runs beside each other: what differs in their configs, their metrics, their losses."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from vitcli.analysis.intervals import Interval, Sample, varies
from vitcli.files import is_name, write_bytes
from vitcli.frozen import read_settings
from vitcli.records import Run, read_losses, read_run
from vitcli.report import style
from vitcli.siblings import Seeds, both_kinds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVEL = 0.95
_PLACES = ("outputs", "finetune.source")


@dataclass(frozen=True)
class Compared:
    """A metric of two runs: their means over so many seeds, and the second less the first.

    Attributes:
        n: the seeds that both have, with the same data.
        interval: of the difference, None with fewer than two.
    """

    metric: str
    means: tuple[float, float]
    seeds: tuple[int, int]
    difference: float
    n: int
    interval: Interval | None


def differences(first: Path, second: Path) -> dict[str, tuple[object, object]]:
    """Returns the settings in which two runs differ."""
    a, b = (read_settings(each / "config.yaml") for each in (first, second))
    keys = [key for key in {**a, **b} if key not in _PLACES]
    return {key: (a.get(key), b.get(key)) for key in keys if a.get(key) != b.get(key)}


def metrics(first: Path, second: Path) -> list[Compared]:
    """Returns each metric that both have, over all of their seeds that are beside them.

    The difference is that of the same seeds, whose data are the same; interval of Student's t.
    Seeds draw the data anew or keep them: of the two kinds the one that both have more of. Two
    seeds of one config are compared as they are.
    """
    kinds = itertools.product(both_kinds(first), both_kinds(second))
    a, b = max(kinds, key=lambda kind: (len(kind[0].keys() & kind[1].keys()), *map(len, kind)))
    if second.name in {run.id for run in a.values()}:
        a, b = (
            {s: r for s, r in of.items() if r.id == f.name} for of, f in ((a, first), (b, second))
        )
    names = read_run(first.name, first.parent).metrics
    known = read_run(second.name, second.parent).metrics
    return [_compared(name, _values(a, name), _values(b, name)) for name in names if name in known]


def _values(runs: Mapping[Seeds, Run], metric: str) -> dict[Seeds, float]:
    """Returns the metric by seeds, of those that have it."""
    found = {seeds: run.value(metric) for seeds, run in runs.items()}
    return {seeds: value for seeds, value in found.items() if not math.isnan(value)}


def _compared(metric: str, a: Mapping[Seeds, float], b: Mapping[Seeds, float]) -> Compared:
    pairs = np.array([b[seeds] - a[seeds] for seeds in a if seeds in b])
    means = [sum(of.values()) / len(of) if of else math.nan for of in (a, b)]
    scale = max(map(abs, [*a.values(), *b.values()]), default=0.0)
    return Compared(
        metric,
        (means[0], means[1]),
        (len(a), len(b)),
        float(pairs.mean()) if len(pairs) else means[1] - means[0],
        len(pairs),
        Sample(pairs).interval(LEVEL) if varies(pairs, scale) else None,
    )


def shown(first: Path, second: Path) -> Group:
    """Returns both tables, to be printed."""
    names = Text(f"A: {first.name}\nB: {second.name}")
    config = Table(title="settings that differ", title_justify="left")
    for heading in ("setting", "A", "B"):
        config.add_column(heading)
    for key, values in differences(first, second).items():
        config.add_row(key, *map(str, values))
    table = Table(
        title="metrics, means over the seeds of each (n); B - A of the same seeds",
        title_justify="left",
    )
    for heading in ("metric", "A", "B", "B - A", "95 % interval"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for each in metrics(first, second):
        means = (f"{m:.4f} ({n})" for m, n in zip(each.means, each.seeds, strict=True))
        table.add_row(each.metric, *means, f"{each.difference:+.4f}", _interval(each))
    return Group(names, config, table)


def _interval(compared: Compared) -> str:
    if compared.interval is None:
        return "one seed" if compared.n == 1 else "no seed in common" if not compared.n else "--"
    low, high = compared.interval
    return f"{low:+.4f} to {high:+.4f} ({compared.n} seeds)"


def draw_losses(first: Path, second: Path, outputs: Path) -> Path:
    """Writes the training losses over one another and returns the PNG; an SVG is beside it."""
    name = f"{first.name}--{second.name}"
    if not is_name(name):
        name = f"{first.name.rpartition('-')[2]}--{second.name.rpartition('-')[2]}"
    drawn = style.save(lambda: _figure(first, second), ("png", "svg"))
    for kind, data in drawn.items():
        write_bytes(outputs / "compared" / name / f"losses.{kind}", data)
    return outputs / "compared" / name / "losses.png"


def _figure(first: Path, second: Path) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 3.2))
    ax = figure.subplots()
    for letter, run, colour in zip("AB", (first, second), style.COLOURS, strict=False):
        if log := read_losses(run.name, run.parent):
            steps, losses = zip(*log, strict=True)
            label = style.short(f"{letter}: {run.name}", 60)
            ax.plot(steps, losses, color=colour, linewidth=1, label=label)
    ax.grid(axis="y", color=style.RULE, linewidth=0.6)
    ax.set_ylabel("training loss (nats)")
    ax.set_xlabel("step")
    if ax.lines:
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1))
    return figure
