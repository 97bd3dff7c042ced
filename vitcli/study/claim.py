"""A study's claims: the schema, and what must hold. No torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from vitcli.config import nearest

TESTS = ("greater", "equivalent")
CONTRASTS = ("difference", "slope", "end_slope", "log_ratio", "best", "spread", "tau")


@dataclass
class PublishedFile:
    """The paper's own numbers, fed through a claim's contrast."""

    table: str
    metric: str
    pairs: list[list[str]]


@dataclass
class ClaimFile:
    """A testable statement: a number of each seed is `greater` than 0, or `equivalent` to it."""

    id: str
    statement: str
    where: str
    test: str
    pairs: list[list[str]]  # ids of cells for a difference, of rows for the other contrasts
    number: int | None = None
    of: str = "difference"
    metric: Any = None  # a name, or a list to average; null: the study's
    pick: str | None = None  # the metric that picks the column, for `best`
    against: str | None = None  # the other metric, for `tau`
    margin: dict[str, float] = field(default_factory=dict)  # by scale
    alpha: float = 0.05
    paper: PublishedFile | None = None


def check_claims(
    claims: Sequence[ClaimFile],
    cells: Collection[str],
    rows: Collection[str],
    scales: Collection[str],
) -> None:
    """Raises ValueError for the first claim that names what is not there."""
    for claim in claims:
        for key, known in (("test", TESTS), ("of", CONTRASTS)):
            if (value := getattr(claim, key)) not in known:
                raise ValueError(
                    f"claim {claim.id}: {key}={value}: choose from {', '.join(known)}"
                    f"{nearest(value, known)}"
                )
        of_cells = claim.of in ("difference", "tau")
        kind, there = ("cell", cells) if of_cells else ("row", rows)
        for name in (name for pair in claim.pairs for name in pair):
            if name not in there:
                raise ValueError(f"claim {claim.id}: no {kind} {name}{nearest(name, there)}")
        if claim.test == "equivalent" and set(claim.margin) != set(scales):
            raise ValueError(f"claim {claim.id}: margin is given by scale, for each scale")
