"""What must hold of a study, found when it is planned: each claim's contrast is rehearsed.

What must hold of its form, for the analysis to read it, is also found when a plan is read.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from vitcli import paper as tables
from vitcli.analysis.axes import AXES, UPSTREAM
from vitcli.analysis.contrasts import CONTRASTS
from vitcli.analysis.pairs import measure, metrics_of
from vitcli.analysis.results import Results
from vitcli.choices import SCALES, choose, nearest
from vitcli.records import Run
from vitcli.schema import Cell, Claim, Study

_SEEDS = 5  # of a rehearsal, whatever the study's are
_DRAWS = 4  # rehearsals: Kendall's tau of two cells is equal in all seeds of one in fifteen


def check_claims(study: Study, flops: Mapping[str, float]) -> None:
    """Raises ValueError in one line if a claim cannot be formed of the study, or lacks its size.

    Args:
        study: planned, with its cells and metrics, and of a form that `check_form` passes.
        flops: of each cell's runs, by the cell's id.
    """
    rehearsals = [_rehearsal(study, flops, draw) for draw in range(_DRAWS)]
    for index, claim in enumerate(study.claims):
        try:
            if claim.id in [other.id for other in study.claims[:index]]:
                raise ValueError("another claim has the same id")
            _check(study, claim)
            for pair in claim.pairs:
                found = [measure(made_up, claim, pair) for made_up in rehearsals]
                problems = [each.problem for each in found]
                if None not in problems:
                    why = _same(found[0].arms) or problems[0]
                    raise ValueError(f"pairs: [{', '.join(pair)}]: {why}")
        except ValueError as error:
            raise ValueError(f"claim {claim.id}: {error}") from None


def check_form(study: Study) -> None:
    """Raises ValueError in one line for an axis, a table of the paper, or a claim that is none."""
    if study.x is not None:
        choose("x.of", study.x.of, AXES)
    if (curve := study.paper.curve) is not None:
        only = {} if curve.test is None else {"test": curve.test}
        try:
            tables.curve(curve.table, curve.x, curve.y, **only)
        except ValueError as error:
            raise ValueError(f"paper.curve: {error}") from None
    for claim in study.claims:
        try:
            _check_form(claim)
        except ValueError as error:
            raise ValueError(f"claim {claim.id}: {error}") from None


def _same(arms: Sequence[Sequence[Cell]]) -> str | None:
    """Returns which two of these cells are the same runs, in words, if any are."""
    cells = {cell.id: cell for arm in arms for cell in arm}.values()
    same = (a.id + " and " + b.id for a, b in itertools.combinations(cells, 2) if a.runs == b.runs)
    first = next(same, None)
    return first and f"{first} are the same runs"


def _rehearsal(study: Study, flops: Mapping[str, float], draw: int) -> Results:
    """Returns made-up results: what none of several of these can form, no runs can."""
    random, runs, cells = np.random.default_rng(draw), dict[str, Run](), []
    for number, cell in enumerate(study.cells):
        own = next(iter(cell.runs.values()))  # cells that are the same runs have the same numbers
        ids = {str(seed): f"{own}-{seed}" for seed in range(_SEEDS)}
        for run in ids.values():
            values = {name: float(random.random()) for name in study.metrics}
            values[UPSTREAM] = number + float(random.random()) / 10  # what is best is clear
            runs[run] = Run(run, "done", metrics=values, train_flops=flops[cell.id])
        cells.append(replace(cell, runs=ids, scratch={}))
    return Results(replace(study, cells=cells, seeds=list(range(_SEEDS))), runs)


def _check_form(claim: Claim) -> None:
    choose("of", claim.of, CONTRASTS)
    kind = CONTRASTS[claim.of]
    if not claim.pairs:
        raise ValueError("pairs=[]: give at least one")
    for pair in claim.pairs:
        if len(pair) < kind.least or (kind.most is not None and len(pair) > kind.most):
            several = f"{kind.least} to {kind.most or 'all'}"
            how_many = f"{kind.least}" if kind.least == kind.most else several
            raise ValueError(
                f"pairs: [{', '.join(pair)}]: of={claim.of} takes {how_many} {kind.takes}"
            )
    if kind.most is not None and len({len(pair) for pair in claim.pairs}) > 1:
        raise ValueError("pairs: some are longer than others, and so say another thing")
    for extra in ("pick", "against"):
        if (kind.needs == extra) != (getattr(claim, extra) is not None):
            given = getattr(claim, extra)
            if given is None:
                raise ValueError(f"of={claim.of} needs `{extra}`, a second metric")
            raise ValueError(f"{extra}={given}: of={claim.of} takes none")
    if claim.paper is not None:
        _check_paper(claim)


def _check(study: Study, claim: Claim) -> None:
    kind = CONTRASTS[claim.of]
    sizes = claim.within if claim.at_least is None else claim.at_least
    if (claim.at_least is None) == (claim.within is None) or sizes is None:
        raise ValueError("give one of at_least and within: the threshold, by scale")
    key = "at_least" if claim.at_least is not None else "within"
    for scale, size in sizes.items():
        choose(key, scale, SCALES)
        if not size > 0 and (claim.within is not None or size != 0):
            raise ValueError(f"{key}.{scale}={size:g}: the threshold must be above 0")
    if study.scale not in sizes:
        raise ValueError(f"{key}={sizes}: no size for scale={study.scale}")
    known = [cell.id for cell in study.cells] if kind.takes == "cells" else list(study.rows)
    for name in (name for pair in claim.pairs for name in pair):
        if name not in known:
            raise ValueError(f"no {kind.takes[:-1]} {name}{nearest(name, known)}")
    better = {study.of_metric(name).lower_is_better for name in metrics_of(study, claim)}
    if len(better) > 1:
        raise ValueError(f"metric={claim.metric}: higher is better in one, lower in another")


def _check_paper(claim: Claim) -> None:
    paper, kind = claim.paper, CONTRASTS[claim.of]
    assert paper is not None
    if not kind.published:
        raise ValueError(f"paper with of={claim.of}: the paper has no such values")
    if [len(pair) for pair in paper.pairs] != [len(pair) for pair in claim.pairs]:
        raise ValueError(f"paper.pairs={paper.pairs}: as many entries as pairs has, each as long")
    known = tables.names(paper.table, paper.metric, kind.takes == "cells")
    for name in (name for pair in paper.pairs for name in pair):
        choose("paper.pairs", name, known)
