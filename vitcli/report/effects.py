"""From a study's runs, and from the paper's tables, to a claim's number of each seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vitcli.paper import points, pretraining, scaling
from vitcli.report import contrasts
from vitcli.report.collect import Cell, Claim, Study
from vitcli.report.contrasts import Array, Series
from vitcli.study.claim import OF_CELLS

NOUNS = {
    "difference": "difference",
    "interaction": "interaction",
    "slope": "slope",
    "end_slope": "slope at the end",
    "log_ratio": "log-ratio",
    "best": "difference",
    "spread": "slope",
    "tau": "tau",
}
UNITS = {"slope": " per doubling", "end_slope": " per doubling", "spread": " per doubling"}
_UNDEFINED = {
    "slope": "fewer than two x are common to its rows",
    "end_slope": "a row has fewer than two x",
    "spread": "fewer than two x are common to its rows",
    "log_ratio": "no value is reached by both rows",
    "tau": "all cells are tied",
}


@dataclass(frozen=True)
class Effect:
    """A number of each seed that has one, (n,), and why there are fewer than two, or none."""

    values: Array = field(default_factory=lambda: np.empty(0))
    scale: float = 0.0  # the largest value that they are computed from
    problem: str | None = None


class Untestable(Exception):
    """The study's plan lacks what the contrast is of."""


def measure(study: Study, claim: Claim, pair: Sequence[str], metrics: Sequence[str]) -> Effect:
    """Returns the claim's contrast of a pair of cells or rows, of the mean over the metrics."""
    try:
        numbers, used = _numbers(study, claim, pair, metrics)
    except Untestable as error:
        return Effect(problem=str(error))
    values, places = numbers[np.isfinite(numbers)], "all of its cells"
    if claim.of == "difference":
        places = "both cells"
    if not len(values):
        if np.isfinite(used).all(axis=1).any():
            return Effect(problem=_UNDEFINED[claim.of])
        asked = [*metrics, *filter(None, [claim.against])]
        unmeasured = [name for name in asked if not _is_measured(study, name)]
        why = f"no seed has finished in {places}"
        return Effect(problem=f"no run has {', '.join(unmeasured)}" if unmeasured else why)
    problem = f"only one seed has finished in {places}, and a test needs two"
    return Effect(values, float(np.nanmax(np.abs(used))), problem if len(values) < 2 else None)


def metrics_of(study: Study, claim: Claim) -> tuple[str, ...]:
    """Returns the names whose mean the claim is about."""
    return claim.metric or (study.metric,)


def row_series(study: Study, row: str, metrics: Sequence[str]) -> Series:
    """Returns the row's values (S, C), NaN where a run has none, along the study's x.

    Raises:
        Untestable: there is no such row, or no x for one of its cells.
    """
    cells = _row_cells(study, row)
    places = [study.x(cell) for cell in cells]
    for cell, x in zip(cells, places, strict=True):
        if x is None:
            of_runs = study.axis is not None and study.axis.of == "train_flops"
            why = "no seed has finished in it" if of_runs else "its column has no value"
            raise Untestable(f"{study.name(cell)} has no place on the x-axis: {why}")
    along = np.array(places, dtype=float)
    order = np.argsort(along, kind="stable")
    return Series(along[order], _values(study, cells, metrics)[:, order])


def labels(study: Study, claim: Claim, pair: Sequence[str]) -> tuple[str, str]:
    """Returns what a pair is called: the first and the second, "" if the contrast takes one name.

    An id that the study lacks is its own label.
    """
    if claim.of in OF_CELLS:
        cells = {cell.id: study.name(cell) for cell in study.cells}
        names = [cells.get(name, name) for name in pair]
        if claim.of == "interaction":
            return f"({names[0]} − {names[1]})", f"({names[2]} − {names[3]})"
        return names[0], names[1]
    rows = {row.id: row.label for row in study.rows}
    words = [rows.get(name, name) for name in pair]
    return (words[0], words[1]) if len(words) == 2 and claim.of != "tau" else (", ".join(words), "")


def title(of: str, first: str, second: str) -> str:
    """Returns the contrast in words: `slope of ViT − ResNet`."""
    both = f"{first} − {second}" if second else first
    return {
        "difference": both,
        "interaction": both,
        "slope": f"slope of {both}",
        "end_slope": f"last slope of {first}" + (f" − that of {second}" if second else ""),
        "log_ratio": f"log2 of what {second} needs over what {first} needs at equal values",
        "best": f"best of {first} − best of {second}",
        "spread": f"slope of the spread over {first}" + (f", {second}" if second else ""),
        "tau": f"Kendall's tau over {first}",
    }[of]


def said(of: str, effect: float) -> str:
    """Returns the number with its sign; a log-ratio as a factor too: `+1.00 (×2.0)`."""
    if of == "log_ratio":
        return f"{effect:+.2f} (×{2**effect:.2f})"
    return f"{effect:+.{4 if of in UNITS else 3}f}"


def paper_effect(study: Study, claim: Claim, index: int) -> float | None:
    """Returns the same contrast of the paper's own values for the claim's pair of that index."""
    if claim.of in OF_CELLS:
        values = _paper_values(study, claim, index)
        return None if None in values else float(contrasts.difference(np.array([values]))[0])
    if claim.paper is None:
        return None
    effect = float(_contrast(claim.of, paper_series(claim, index), interpolate=True)[0])
    return effect if math.isfinite(effect) else None


def _paper_values(study: Study, claim: Claim, index: int) -> list[float | None]:
    """Returns the paper's value of each cell of the claim's pair of that index."""
    if claim.paper is not None:
        top1 = points(claim.paper.table, claim.paper.metric)
        return [top1[name] for name in claim.paper.pairs[index]]
    if metrics_of(study, claim) != (study.metric,):
        return [None]
    cells = [study.cell(name) for name in claim.pairs[index]]
    return [None if cell is None else cell.paper for cell in cells]


def paper_series(claim: Claim, index: int) -> list[Series]:
    """Returns the paper's curves, of one seed each, that stand for the claim's pair."""
    assert claim.paper is not None
    metric, found = claim.paper.metric, []
    for name in claim.paper.pairs[index]:
        if claim.paper.table == "table5":
            curve = pretraining(metric, name)
        else:
            curve = [(x, y) for _, x, y in scaling(metric, name)]
        x, y = np.array(curve).T
        found.append(Series(x, y[None]))
    return found


def by_flops(study: Study) -> bool:
    """Returns whether x is a run's own, so that rows share none and are interpolated."""
    return study.axis is not None and study.axis.of == "train_flops"


def _numbers(
    study: Study, claim: Claim, pair: Sequence[str], metrics: Sequence[str]
) -> tuple[Array, Array]:
    """Returns a number of each seed (S,), NaN without one, and the values that it is made of."""
    if claim.of in OF_CELLS:
        used = _values(study, _cells(study, pair), metrics)
        return contrasts.difference(used), used
    if claim.of == "tau":
        assert claim.against is not None
        cells = [cell for row in pair for cell in _row_cells(study, row)]
        used = _values(study, cells, metrics)
        against = _values(study, cells, [claim.against])
        return contrasts.tau(used, against), np.hstack([used, against])
    if claim.of == "best":
        assert claim.pick is not None
        rows = [_row_cells(study, row) for row in pair]
        first, second = (_values(study, cells, metrics) for cells in rows)
        picks = (_values(study, cells, [claim.pick]) for cells in rows)
        return contrasts.best(first, second, *picks), np.hstack([first, second])
    series = [row_series(study, row, metrics) for row in pair]
    return _contrast(claim.of, series, by_flops(study)), np.hstack([row.y for row in series])


def _contrast(of: str, rows: list[Series], interpolate: bool) -> Array:
    if of == "spread":
        return contrasts.slope(contrasts.spread(rows, interpolate))
    if of == "log_ratio":
        return contrasts.log_ratio(*rows)
    if of == "end_slope":
        ends = [contrasts.end_slope(row) for row in rows]
        return ends[0] - ends[1] if len(ends) == 2 else ends[0]
    assert of == "slope"
    first, *second = rows
    return contrasts.slope(contrasts.gap(first, second[0], interpolate) if second else first)


def _cells(study: Study, ids: Sequence[str]) -> list[Cell]:
    found = [(name, study.cell(name)) for name in ids]
    absent = [name for name, cell in found if cell is None]
    if absent:
        raise Untestable(f"the study has no cell {' and no cell '.join(absent)}")
    return [cell for _, cell in found if cell is not None]


def _row_cells(study: Study, row: str) -> list[Cell]:
    cells = [cell for cell in study.cells if cell.row == row]
    if not cells:
        raise Untestable(f"the study has no cell in a row {row}")
    return cells


def _values(study: Study, cells: list[Cell], metrics: Sequence[str]) -> Array:
    """Returns the mean over the metrics by seed and cell, (S, K); NaN where a run has not all."""
    seeds = sorted({seed for cell in study.cells for seed in cell.runs})
    values = np.full((len(seeds), len(cells)), np.nan)
    for i, seed in enumerate(seeds):
        for j, cell in enumerate(cells):
            run = cell.runs.get(seed)
            if run is not None:
                found = [
                    run.value if name == study.metric else run.metrics.get(name) for name in metrics
                ]
                values[i, j] = sum(map(_finite, found)) / len(found)
    return values


def _is_measured(study: Study, metric: str) -> bool:
    """Returns whether any finished run has the metric; True before there is one."""
    done = [run for run in study.runs if run.state == "done"]
    return not done or metric == study.metric or any(metric in run.metrics for run in done)


def _finite(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else math.nan
