"""What must hold of a study's claims, found when it is planned: each contrast is rehearsed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from vitcli.analysis.axes import UPSTREAM
from vitcli.analysis.contrasts import CONTRASTS
from vitcli.analysis.pairs import measure, metrics_of
from vitcli.analysis.results import Results
from vitcli.choices import choose, nearest
from vitcli.paper import names
from vitcli.records import Run
from vitcli.schema import Claim, Study

_SEEDS = 5  # of a rehearsal, whatever the study's are
_DRAWS = 4  # rehearsals: Kendall's tau of two cells is equal in all seeds of one in fifteen


def check_claims(study: Study, flops: Mapping[str, float]) -> None:
    """Raises ValueError in one line if a claim is not one, or cannot be formed of the study.

    Args:
        study: planned, with its cells and metrics.
        flops: of each cell's runs, by the cell's id.
    """
    rehearsals = [_rehearsal(study, flops, draw) for draw in range(_DRAWS)]
    for index, claim in enumerate(study.claims):
        try:
            if claim.id in [other.id for other in study.claims[:index]]:
                raise ValueError("another claim has the same id")
            _check(study, claim)
            for pair in claim.pairs:
                problems = [measure(made_up, claim, pair).problem for made_up in rehearsals]
                if (problem := problems[0]) is not None and None not in problems:
                    raise ValueError(f"pairs: [{', '.join(pair)}]: {problem}")
        except ValueError as error:
            raise ValueError(f"claim {claim.id}: {error}") from None


def _rehearsal(study: Study, flops: Mapping[str, float], draw: int) -> Results:
    """Returns made-up results: what none of several of these can form, no runs can."""
    random, runs, cells = np.random.default_rng(draw), dict[str, Run](), []
    for number, cell in enumerate(study.cells):
        ids = {str(seed): f"{number}-{seed}" for seed in range(_SEEDS)}
        for run in ids.values():
            values = {name: float(random.random()) for name in study.metrics}
            values[UPSTREAM] = number + float(random.random()) / 10  # what is best is clear
            runs[run] = Run(run, "done", metrics=values, train_flops=flops[cell.id])
        cells.append(replace(cell, runs=ids, scratch={}))
    return Results(replace(study, cells=cells, seeds=list(range(_SEEDS))), runs)


def _check(study: Study, claim: Claim) -> None:
    choose("of", claim.of, CONTRASTS)
    kind = CONTRASTS[claim.of]
    sizes = claim.within if claim.at_least is None else claim.at_least
    if (claim.at_least is None) == (claim.within is None) or sizes is None:
        raise ValueError("give one of at_least and within: the size that matters, by scale")
    key = "at_least" if claim.at_least is not None else "within"
    if study.scale not in sizes:
        raise ValueError(f"{key}={sizes}: no size for scale={study.scale}")
    for scale, size in sizes.items():
        if not size > 0 and (claim.within is not None or size != 0):
            raise ValueError(f"{key}.{scale}={size:g}: the size that matters must be above 0")
    if not claim.pairs:
        raise ValueError("pairs=[]: give at least one")
    known = [cell.id for cell in study.cells] if kind.takes == "cells" else list(study.rows)
    for pair in claim.pairs:
        if len(pair) < kind.least or (kind.most is not None and len(pair) > kind.most):
            several = f"{kind.least} to {kind.most or 'all'}"
            how_many = f"{kind.least}" if kind.least == kind.most else several
            raise ValueError(
                f"pairs: [{', '.join(pair)}]: of={claim.of} takes {how_many} {kind.takes}"
            )
        for name in pair:
            if name not in known:
                raise ValueError(f"no {kind.takes[:-1]} {name}{nearest(name, known)}")
    for extra in ("pick", "against"):
        if (kind.needs == extra) != (getattr(claim, extra) is not None):
            given = getattr(claim, extra)
            if given is None:
                raise ValueError(f"of={claim.of} needs `{extra}`, a second metric")
            raise ValueError(f"{extra}={given}: of={claim.of} takes none")
    better = {study.of_metric(name).lower_is_better for name in metrics_of(study, claim)}
    if len(better) > 1:
        raise ValueError(f"metric={claim.metric}: higher is better in one, lower in another")
    if claim.paper is not None:
        _check_paper(claim)


def _check_paper(claim: Claim) -> None:
    paper, kind = claim.paper, CONTRASTS[claim.of]
    assert paper is not None
    if not kind.published:
        raise ValueError(f"paper with of={claim.of}: the paper has no such values")
    if [len(pair) for pair in paper.pairs] != [len(pair) for pair in claim.pairs]:
        raise ValueError(f"paper.pairs={paper.pairs}: as many entries as pairs has, each as long")
    known = names(paper.table, paper.metric, kind.takes == "cells")
    for name in (name for pair in paper.pairs for name in pair):
        choose("paper.pairs", name, known)
