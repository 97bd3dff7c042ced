"""From a study's results, and from the paper's tables, to what a claim's pair is measured by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from vitcli.analysis.axes import AXES, UPSTREAM, place
from vitcli.analysis.contrasts import CONTRASTS
from vitcli.analysis.curves import Unformed
from vitcli.analysis.estimators import Arm, at_end
from vitcli.analysis.intervals import Estimate
from vitcli.analysis.results import Results
from vitcli.paper import points
from vitcli.paper import published as curve
from vitcli.schema import Cell, Claim, ClaimPaper, Study


@dataclass(frozen=True)
class Measured:
    """A pair's contrast.

    Attributes:
        seeds: that have all of its values.
        arms: the cells of each arm that it compares.
        problem: why it is no sample of seeds; its effect may be known all the same.
    """

    seeds: tuple[str, ...] = ()
    arms: list[list[Cell]] = field(default_factory=list)
    estimate: Estimate | None = None
    problem: str | None = None


def metrics_of(study: Study, claim: Claim) -> list[str]:
    """Returns the metrics whose mean the claim is about."""
    return claim.metric or [study.metric]


def measure(results: Results, claim: Claim, pair: Sequence[str]) -> Measured:
    """Returns the claim's contrast of a pair of cells or rows; what is missing is its problem."""
    kind = CONTRASTS[claim.of]
    try:
        arms, cells = arms_of(results, claim, pair)
    except Unformed as error:
        return Measured(problem=str(error))
    found = Measured(arms[0].seeds, cells)
    where = "both cells" if kind.takes == "cells" and len(pair) == 2 else "all of its cells"
    if not found.seeds:
        asked = [*metrics_of(results.study, claim), *filter(None, [claim.pick, claim.against])]
        lacking = [name for name in asked if not _is_measured(results, name)]
        why = f"no run has {', '.join(lacking)}" if lacking else f"no seed has finished in {where}"
        return replace(found, problem=why)
    try:
        estimate = kind.estimate(arms)
    except Unformed as error:
        return replace(found, problem=str(error))
    if kind.end is not None:
        at = at_end(arms, kind.end)
        cells = [[of[i] for i in its] for of, its in zip(cells, at, strict=True)]
    alone = f"only one seed has finished in {where}, and a test needs two"
    problem = alone if len(found.seeds) < 2 else None
    return replace(found, arms=cells, estimate=estimate, problem=problem)


def arms_of(
    results: Results, claim: Claim, pair: Sequence[str]
) -> tuple[list[Arm], list[list[Cell]]]:
    """Returns the pair's arms, of the seeds that have all values of all of them, and their cells.

    Raises:
        Unformed: there is no such cell, row or place on the x-axis; says which.
    """
    metrics = metrics_of(results.study, claim)
    cells = [_cells(results, claim, name, metrics) for name in pair]
    arms = [_arm(results, claim, each, metrics) for each in cells]
    parts = [p for arm in arms for p in (arm.y, arm.picks, arm.against) if p is not None]
    whole = np.all(np.isfinite(np.hstack(parts)), axis=1)
    seeds = tuple(compress(results.seeds, whole))
    return [_of_seeds(arm, whole, seeds) for arm in arms], cells


def best_line(results: Results, row: str, metric: str) -> list[tuple[float, float]] | None:
    """Returns (x, mean) of what is best at each of a row's x; None where cells do not compete.

    Of the seeds that have all of the row; None if there is none.
    """
    study = results.study
    if study.x is None or not AXES[study.x.of].best_at:
        return None
    claim = Claim("", "", "", [[row]], of="slope", metric=[metric])
    try:
        (arm,), _ = arms_of(results, claim, [row])
    except Unformed:
        return None
    if not len(arm.y):
        return None
    series = arm.series()[1]
    return [(float(2.0**x), float(y)) for x, y in zip(series.x, series.mean, strict=True)]


def labels(study: Study, claim: Claim, pair: Sequence[str]) -> tuple[str, ...]:
    """Returns what a pair's cells or rows are called; an id that the study lacks is its own."""
    if CONTRASTS[claim.of].takes == "cells":
        cells = {cell.id: study.label(cell) for cell in study.cells}
        return tuple(cells.get(name, name) for name in pair)
    return tuple(study.rows[name].label if name in study.rows else name for name in pair)


def x_name(study: Study) -> str:
    """Returns the x-axis inside a sentence: `training FLOPs`."""
    label = study.x.label if study.x else "x"
    return label if label[:2].isupper() else label[:1].lower() + label[1:]


def failed(results: Results, cells: Sequence[Cell]) -> list[str]:
    """Returns the seeds that failed in these cells, in words, each once."""
    found = []
    for cell in {cell.id: cell for cell in cells}.values():
        bad = [seed for seed in results.seeds if results.run(cell, seed).failed]
        plural = "s"[: len(bad) - 1]
        label = results.study.label(cell)
        found += [f"seed{plural} {', '.join(bad)} of {label}"] if bad else []
    return found


def published(study: Study, claim: Claim, index: int) -> float | None:
    """Returns the same contrast of the paper's own values for the claim's pair of that index."""
    kind, arms = CONTRASTS[claim.of], list[Arm]()
    if kind.takes == "cells":
        values = _published_cells(study, claim, index)
        arms = [Arm(np.array([[value]])) for value in values or []]
    elif claim.paper is not None:
        arms = published_rows(claim.paper, index)
    effect = kind.estimate(arms).effect if arms else math.nan
    return effect if math.isfinite(effect) else None


def published_rows(paper: ClaimPaper, index: int) -> list[Arm]:
    """Returns the paper's curves, of one seed each, that stand for the claim's pair."""
    curves = [np.array(curve(paper.table, paper.metric, name)) for name in paper.pairs[index]]
    return [Arm(y[None], np.log2(x), best_at=True) for x, y in (points.T for points in curves)]


def _cells(results: Results, claim: Claim, name: str, metrics: Sequence[str]) -> list[Cell]:
    """Returns an arm's cells, x rising. Raises Unformed, in words."""
    kind, study = CONTRASTS[claim.of], results.study
    if kind.takes == "cells":
        cell = study.cell(name)
        if cell is None:
            raise Unformed(f"the study has no cell {name}")
        return [cell]
    cells = results.row(name)
    if not cells:
        raise Unformed(f"the study has no cell in a row {name}")
    if kind.needs == "pick":
        assert claim.pick is not None
        return _of_all_seeds(results, cells, [claim.pick, *metrics])
    if not kind.over_x:
        return cells
    places = {cell.id: place(results, cell) for cell in cells}
    for cell in cells:
        if places[cell.id] is None:
            why = AXES[study.x.of].lacks if study.x else "the study has no x-axis"
            raise Unformed(f"{study.label(cell)} has no place on the x-axis: {why}")
    if len(set(places.values())) < len(cells):
        raise Unformed(f"two cells of {study.rows[name].label} have the same x")
    return sorted(cells, key=lambda cell: places[cell.id] or 0.0)


def _of_all_seeds(results: Results, cells: list[Cell], names: Sequence[str]) -> list[Cell]:
    """Returns those whose seeds all have finished: a survivor of some that failed was lucky."""
    found = [
        cell
        for cell in cells
        if all(np.isfinite(results.values([cell], [name])).all() for name in names)
    ]
    if not found:
        raise Unformed("none of its columns has finished in all seeds")
    return found


def _arm(results: Results, claim: Claim, cells: list[Cell], metrics: Sequence[str]) -> Arm:
    kind, study = CONTRASTS[claim.of], results.study
    over_x = kind.over_x and kind.takes == "rows"
    best_at = over_x and study.x is not None and AXES[study.x.of].best_at
    pick = claim.pick or (UPSTREAM if best_at else None)
    sign = -1.0 if pick and study.of_metric(pick).lower_is_better else 1.0
    # Equal values are looked for from the worse ones up: of a loss, from above.
    rises = -1.0 if kind.factor and study.of_metric(metrics[0]).lower_is_better else 1.0
    return Arm(
        y=rises * results.values(cells, metrics),
        x=np.log2([place(results, cell) or math.nan for cell in cells]) if over_x else None,
        picks=sign * results.values(cells, [pick]) if pick else None,
        against=results.values(cells, [claim.against]) if claim.against else None,
        best_at=best_at,
    )


def _of_seeds(arm: Arm, whole: NDArray[np.bool_], seeds: tuple[str, ...]) -> Arm:
    parts = {key: getattr(arm, key) for key in ("y", "picks", "against")}
    its = {key: v[whole] for key, v in parts.items() if v is not None}
    return replace(arm, seeds=seeds, **its)


def _is_measured(results: Results, metric: str) -> bool:
    """Returns whether any finished run has the metric; True before there is one."""
    done = [run for run in results.of_cells() if run.state == "done"]
    return not done or any(not math.isnan(run.value(metric)) for run in done)


def _published_cells(study: Study, claim: Claim, index: int) -> list[float] | None:
    if claim.paper is not None:
        top1 = points(claim.paper.table, claim.paper.metric)
        return [top1[name] for name in claim.paper.pairs[index]]
    if metrics_of(study, claim) != [study.metric]:
        return None
    cells = [study.cell(name) for name in claim.pairs[index]]
    values = [cell.paper for cell in cells if cell is not None and cell.paper is not None]
    return values if len(values) == len(cells) else None
