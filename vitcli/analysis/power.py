"""How likely a claim is to be reproduced with so many seeds, if what it says is true.

For the threshold: a true effect of twice the size for `at_least`, of 0 for `within`. The
truth is then one size away from where the verdict turns. Jointly over a claim's pairs, with their
correlation. The spread is that of the runs so far, and as a few seeds leave it uncertain, so is
the power: what is said is its mean over the spreads that those runs allow.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

import numpy as np
from scipy.special import polygamma

from vitcli.analysis.contrasts import CONTRASTS
from vitcli.analysis.intervals import Array, t_quantile
from vitcli.analysis.results import Results
from vitcli.analysis.verdict import Verdict
from vitcli.analysis.verdicts import judge

POWER = 0.8  # the usual convention
MOST_SEEDS = 200
_DRAWS = 4000


def lines(results: Results) -> list[str]:
    """Returns a line a claim: the seeds that it needs. None at all before a seed has finished."""
    verdicts = judge(results)
    if not any(pair.n for verdict in verdicts for pair in verdict.pairs):
        return []
    return [f"{verdict.claim.id}: {needs(verdict)}" for verdict in verdicts]


def needs(verdict: Verdict) -> str:
    """Returns how many seeds the claim needs, in a sentence."""
    if verdict.decisive.problem is not None:
        return f"{verdict.word}: {verdict.decisive.problem}"
    if verdict.word != "undecided":
        return f"{verdict.word} already, with {verdict.decisive.n} seeds"
    if verdict.blocked:
        return f"{verdict.decisive.blocked} failed: `vitcli ablate` trains again what failed"
    if not verdict.size:
        return "the number of seeds cannot be computed: the threshold is 0"
    if verdict.speaks_against:
        return (
            "its interval lies below the threshold: more seeds can only tell whether it is "
            "negligible or contradicted"
        )
    kind, size, greater = CONTRASTS[verdict.claim.of], verdict.size, bool(verdict.claim.at_least)
    estimates = [pair.estimate for pair in verdict.pairs if pair.estimate is not None]
    pilot = _pilot(verdict)
    if len(pilot) < 2:
        return "the number of seeds cannot be computed: its pairs have fewer than two in common"
    if not np.ptp(pilot, axis=0).all():
        return "the number of seeds cannot be computed: all seeds of a pair give the same value"
    n, lost = len(pilot), max(estimate.lost for estimate in estimates)

    def power(seeds: int, sure: float | None = None) -> float:
        return joint_power(pilot, size, greater, seeds, verdict.level, lost, sure)

    truth = "factor" if kind.factor else "effect"
    truth = f"the true {truth} is {kind.size(2 * size)}" if greater else "the true difference is 0"
    have = (
        f"if {truth}, {n} seeds reproduce the claim in {100 * power(n):.0f} % of repeated studies"
    )
    seeds = fewest_seeds(pilot, size, greater, verdict.level, lost)
    if seeds is not None and seeds <= n:
        told = have
    elif seeds is None:
        told = f"{have}, and 80 % takes more than {MOST_SEEDS} seeds"
    else:
        sd = float(pilot.std(axis=0, ddof=1).max())
        most = sd * _largest(lambda scale: power(seeds, scale))
        told = (
            f"{have}, and {seeds} seeds in 80 %, if the standard deviation ({sd:.3g} so far) is at "
            f"most {most:.3g}"
        )
    seen = pilot.mean(axis=0)
    if (seen > size).all() if greater else (np.abs(seen) < size).all():
        found = fewest_seeds(pilot, size, greater, verdict.level, lost, seen)
        what = "effect" if greater else "difference"
        if found is not None:
            told += f"; if the true {what} is the one measured so far, 80 % takes {found} seeds"
    if any(estimate.in_doubt for estimate in estimates):
        told += "; this assumes that it is clear by then which cells are the best"
    return told


def _pilot(verdict: Verdict) -> Array:
    """Returns the numbers of the seeds that all pairs have (n, pairs)."""
    found = [
        dict(zip(pair.seeds, pair.estimate.numbers.tolist(), strict=True))
        for pair in verdict.pairs
        if pair.estimate is not None
    ]
    common = [seed for seed in found[0] if all(seed in of for of in found)]
    return np.array([[of[seed] for of in found] for seed in common])


def fewest_seeds(
    pilot: Array,
    size: float,
    greater: bool,
    level: float,
    lost: int = 1,
    truth: Array | None = None,
) -> int | None:
    """Returns the fewest seeds with a power of 0.8, which rises with them; None: too many."""

    def enough(seeds: int) -> bool:
        return joint_power(pilot, size, greater, seeds, level, lost, truth=truth) >= POWER

    if not enough(MOST_SEEDS):
        return None
    return 2 + bisect_left(range(2, MOST_SEEDS + 1), True, key=enough)


def joint_power(
    pilot: Array,
    size: float,
    greater: bool,
    seeds: int,
    level: float,
    lost: int = 1,
    sure: float | None = None,
    truth: Array | None = None,
) -> float:
    """Returns how often all pairs of a new study are found, by simulation with fixed draws.

    Args:
        pilot: numbers of the seeds so far (n, pairs), whose covariance new ones have.
        greater: all pairs' effects are twice the size and to be above it; else they are 0, and to
            be within plus and minus the size.
        sure: the spread is known to be so many times the pilot's; None: it is as uncertain as
            the pilot's seeds leave it.
        truth: the pairs' true effects (pairs,), in place of twice the size.
    """
    root, df = _covariance(pilot)
    rng = np.random.default_rng(0)
    scale = np.full(_DRAWS, sure or 1.0)
    if sure is None:
        scale = np.sqrt(df / rng.chisquare(df, _DRAWS))
    mean = rng.normal(size=(_DRAWS, len(root))) @ root / np.sqrt(seeds)
    if truth is None:
        truth = np.full(len(root.T), 2 * size if greater else 0.0)
    mean = mean * scale[:, None] + truth
    squares = np.sum((_triangles(rng, seeds - 1, len(root)) @ root) ** 2, axis=1)
    se = np.sqrt(squares / (seeds - 1) / seeds) * scale[:, None]
    half = t_quantile(max(1, seeds - lost), (1 + level) / 2) * se
    found = mean - half > size if greater else np.abs(mean) + half < size
    return float(found.all(axis=1).mean())


def _covariance(pilot: Array) -> tuple[Array, float]:
    """Returns R (n, pairs), whose R' R is the pairs' covariance, and its degrees of freedom.

    The pairs' spreads, on n - 1 degrees each, are drawn together as far as chance explains that
    they differ: of several equal ones, the one that looks largest decides the joint power, and
    plans by it were found in 92 to 99 % of repeats where 80 were planned.
    """
    n, pairs = pilot.shape
    root = (pilot - pilot.mean(axis=0)) / np.sqrt(n - 1)
    variances = np.sum(root**2, axis=0)
    if pairs == 1:
        return root, float(n - 1)
    alike = np.corrcoef(pilot.T) ** 2
    by_chance = polygamma(1, (n - 1) / 2) * (pairs**2 - alike.sum()) / (pairs * (pairs - 1))
    logs, common = np.log(variances), np.log(variances.mean())
    own = max(0.0, 1 - by_chance / max(logs.var(ddof=1), 1e-12))
    drawn = np.exp(common + own * (logs - common))
    independent = min(pairs**2 / alike.sum(), n - 1)
    df = (n - 1) * (1 + (independent - 1) * (1 - own))
    return root * np.sqrt(drawn / variances), float(df)


def _triangles(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """Returns matrices A (draws, R, columns): A' A is Wishart's with `rows` degrees of freedom.

    Many rows are Bartlett's triangle: its size is the columns', whatever the rows.
    """
    if rows <= columns:
        return rng.normal(size=(_DRAWS, rows, columns))
    found = np.tril(rng.normal(size=(_DRAWS, columns, columns)), -1)
    diagonal = np.arange(columns)
    freedom = rows - diagonal
    found[:, diagonal, diagonal] = np.sqrt(rng.chisquare(freedom, (_DRAWS, columns)))
    return np.asarray(found.transpose(0, 2, 1))


def _largest(power: Callable[[float], float]) -> float:
    """Returns the largest scale of the spread with enough power, which falls with it."""
    low, high = -10.0, 10.0  # of its logarithm of base 2
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if power(2.0**middle) >= POWER else (low, middle)
    return float(2.0**low)
