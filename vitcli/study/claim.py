"""The claims of a study's file: what each says, and whether it names what there is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vitcli.config import nearest
from vitcli.paper import FAMILIES, FIVE, points, table

TESTS = ("greater", "equivalent")
# What a claim can be `of`, and the fewest and the most ids that each of its pairs names.
ARMS: dict[str, tuple[int, int | None]] = {
    "difference": (2, 2),
    "interaction": (4, 4),
    "slope": (1, 2),
    "end_slope": (1, 2),
    "log_ratio": (2, 2),
    "best": (2, 2),
    "spread": (2, None),
    "tau": (1, None),
}
OF_CELLS = ("difference", "interaction")  # the others are of rows
_EXTRA = {"best": "pick", "tau": "against"}  # the second metric that it takes


@dataclass
class ClaimPaperFile:
    """What the same contrast is taken of in the paper.

    Along x: models of table5, over pre-training images, or families of table6, over exaFLOPs. Of
    cells: trainings as `vitcli.paper.points` names them.
    """

    table: str
    metric: str  # table5, table7: a test set; table6: a column; table6, table7: `average`
    pairs: list[list[str]]  # as many as the claim's, and as long


@dataclass
class ClaimFile:
    """A testable statement: a contrast `greater` than 0, or `equivalent` to 0 within a margin."""

    id: str
    statement: str
    where: str
    test: str
    pairs: list[list[str]]  # ids of cells for what is in `OF_CELLS`, else of rows
    number: int | None = None  # in the list of the paper's claims
    of: str = "difference"  # one of `ARMS`; `vitcli.report.contrasts` says what each is
    metric: Any = None  # a name, or a list: their mean; None: the study's
    pick: str | None = None  # best: the metric that chooses the column
    against: str | None = None  # tau: the metric that `metric` is compared with
    margin: dict[str, float] = field(default_factory=dict)  # by scale, of `equivalent` only
    alpha: float = 0.05
    paper: ClaimPaperFile | None = None


def check_claims(
    claims: Sequence[ClaimFile],
    cells: Collection[str],
    rows: Collection[str],
    scales: Collection[str],
) -> None:
    """Raises ValueError in one line if a claim is not one, or names what is not there.

    Args:
        cells, rows: the ids that there are.
        scales: the study's; an `equivalent` claim has a margin for each.
    """
    for claim in claims:
        try:
            _check(claim, cells, rows, scales)
        except ValueError as error:
            raise ValueError(f"claim {claim.id}: {error}") from None
    ids = [claim.id for claim in claims]
    for name in ids:
        if ids.count(name) > 1:
            raise ValueError(f"claim {name}: another claim has the same id")


def claim_facts(claim: ClaimFile, scale: str) -> dict[str, Any]:
    """Returns the claim as plan.json keeps it: with the margin of that scale, None without one."""
    return asdict(claim) | {"margin": claim.margin.get(scale)}


def check_numbers(test: str, of: str, alpha: float, margins: Collection[float]) -> None:
    """Raises ValueError, naming key and value, unless these make a test."""
    _choose("test", test, TESTS)
    _choose("of", of, ARMS)
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha={alpha}: must be in (0, 0.5)")
    for margin in margins:
        if test == "greater" or not margin > 0:
            raise ValueError(f"margin={margin}: above 0 if equivalent, none if greater")


def check_pairs(of: str, pairs: Sequence[Sequence[str]]) -> None:
    """Raises ValueError unless each pair names as many cells or rows as the contrast takes."""
    least, most = ARMS[of]
    if not pairs:
        raise ValueError("pairs=[]: give at least one")
    for pair in pairs:
        if len(pair) < least or (most is not None and len(pair) > most):
            how_many = f"{least}" if least == most else f"{least} to {most or 'all'}"
            what = "cells" if of in OF_CELLS else "rows"
            raise ValueError(f"pairs: [{', '.join(pair)}]: of={of} takes {how_many} {what}")


def _check(
    claim: ClaimFile, cells: Collection[str], rows: Collection[str], scales: Collection[str]
) -> None:
    check_numbers(claim.test, claim.of, claim.alpha, claim.margin.values())
    if claim.test == "equivalent" and set(claim.margin) != set(scales):
        raise ValueError(f"margin is given by scale, for each of {', '.join(scales)}")
    check_pairs(claim.of, claim.pairs)
    kind, known = ("cell", cells) if claim.of in OF_CELLS else ("row", rows)
    for name in (name for pair in claim.pairs for name in pair):
        if name not in known:
            raise ValueError(f"no {kind} {name}{nearest(name, known)}")
    metric = [claim.metric] if isinstance(claim.metric, str) else claim.metric
    if metric is not None and not (
        isinstance(metric, list) and metric and all(isinstance(name, str) for name in metric)
    ):
        raise ValueError(f"metric={claim.metric}: a metric's name, or a list of names")
    for of, key in _EXTRA.items():
        if (claim.of == of) != (getattr(claim, key) is not None):
            raise ValueError(f"{key}={getattr(claim, key)} with of={claim.of}: {of} takes {key}")
    if claim.paper is not None:
        _check_paper(claim, claim.paper)


def _check_paper(claim: ClaimFile, paper: ClaimPaperFile) -> None:
    if claim.of in _EXTRA:
        raise ValueError(f"paper with of={claim.of}: the paper has no such values")
    if len(paper.pairs) != len(claim.pairs):
        raise ValueError(f"paper: {len(paper.pairs)} pairs: give {len(claim.pairs)}, as in pairs")
    single = claim.of in OF_CELLS
    _choose("paper.table", paper.table, ("table5", "table6", *(["table7"] if single else [])))
    rows = table(paper.table)
    if paper.table == "table6":
        _choose("paper.metric", paper.metric, ("average", "real", *FIVE))
    else:
        average = ("average",) if paper.table == "table7" else ()
        _choose("paper.metric", paper.metric, (*sorted({row["test"] for row in rows}), *average))
    if single:
        names = list(points(paper.table, paper.metric))
    elif paper.table == "table6":
        names = list(FAMILIES)
    else:
        names = sorted({row["model"] for row in rows if row["test"] == paper.metric})
    for pair, own in zip(paper.pairs, claim.pairs, strict=True):
        if len(pair) != len(own):
            raise ValueError(f"paper.pairs: [{', '.join(pair)}]: give {len(own)}, as in pairs")
        for name in pair:
            _choose("paper.pairs", name, names)


def _choose(key: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        hint = nearest(value, allowed)
        raise ValueError(f"{key}={value}: choose from {', '.join(allowed)}{hint}")
