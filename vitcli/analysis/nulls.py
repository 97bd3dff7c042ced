"""What a metric is worth without training, and whether a claim's arms are fit to be judged.

Each evaluator names its metrics' nulls: raw pixels, the untrained model, the same run from scratch.
Of two arms that both transfer worse than that, a difference says which did less harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vitcli.analysis.results import Results
from vitcli.schema import Cell

SCRATCH = "from scratch"


@dataclass(frozen=True)
class Null:
    """A null of a metric: its mean over seeds for each cell, by id, of those that have one."""

    label: str
    by_cell: dict[str, float]

    def among(self, cells: Sequence[Cell]) -> str:
        """Returns it in these cells: one number, or the lowest to the highest; "" if none has."""
        found = [self.by_cell[cell.id] for cell in cells if cell.id in self.by_cell]
        if not found:
            return ""
        low, high = f"{min(found):.3f}", f"{max(found):.3f}"
        return low if low == high else f"{low} to {high}"


def nulls(results: Results, metric: str) -> list[Null]:
    """Returns the nulls that the metric's evaluator names, measured or not."""
    known, cells = results.study.of_metric(metric), results.study.cells
    found = [
        Null(label, _means(results, cells, name, scratch=False))
        for label, name in known.nulls.items()
    ]
    if known.scratch and any(cell.scratch for cell in cells):
        found.append(Null(SCRATCH, _means(results, cells, metric, scratch=True)))
    return found


def unfit(results: Results, arms: Sequence[Sequence[Cell]], metrics: Sequence[str]) -> str | None:
    """Returns why arms are not fit to be judged on the metrics' mean, None if they are.

    On a transferred metric the better arm, by the best of its cells, must be better than each null
    of the same cell.

    Args:
        arms: the cells of each that are compared.
    """
    if not all(results.study.of_metric(metric).transferred for metric in metrics):
        return None
    low = results.study.of_metric(metrics[0]).lower_is_better
    means = {cell.id: results.values([cell], metrics) for arm in arms for cell in arm}
    finite = {key: float(np.nanmean(v)) for key, v in means.items() if np.isfinite(v).any()}
    if not finite:
        return None  # there are no values to judge, which is said elsewhere
    best = (min if low else max)(finite, key=lambda key: finite[key])
    per_metric = [nulls(results, metric) for metric in metrics]
    for label in dict.fromkeys(null.label for found in per_metric for null in found):
        values = [n.by_cell.get(best) for found in per_metric for n in found if n.label == label]
        if None in values or len(values) < len(metrics):
            return f"there is no value of {label} to compare with"
        value = float(np.mean([v for v in values if v is not None]))
        if not (finite[best] < value if low else finite[best] > value):
            side = "above" if low else "below"
            return f"{side} {label} ({value:.3f}): {finite[best]:.3f} at best"
    return None


def unfit_columns(results: Results, cells: Sequence[Cell], metrics: Sequence[str]) -> str:
    """Returns at which columns even the best of these cells has not learned enough, or "".

    A claim over several columns is judged by all of them: a slope may begin among such.
    """
    found = []
    for column, axis in results.study.columns.items():
        here = [cell for cell in cells if cell.column == column]
        if here and (why := unfit(results, [here], metrics)):
            found.append(f"{axis.label} ({why})")
    return f"None of these models has learned enough at {'; '.join(found)}." if found else ""


def described(results: Results, metrics: Sequence[str], cells: Sequence[Cell]) -> str:
    """Returns the nulls of these cells in words: `raw pixels 0.769, untrained 0.41 to 0.55`."""
    found = []
    for metric in metrics:
        each = [f"{n.label} {level}" for n in nulls(results, metric) if (level := n.among(cells))]
        label = f"{results.study.of_metric(metric).label}: " if len(metrics) > 1 else ""
        found += [label + ", ".join(each)] if each else []
    return "; ".join(found)


def _means(results: Results, cells: Sequence[Cell], name: str, scratch: bool) -> dict[str, float]:
    found = {cell.id: results.mean(cell, name, scratch) for cell in cells}
    return {key: value for key, value in found.items() if value is not None}
