"""Judges the paper's claims on a study's runs: reproduced, contradicted or undecided, and why.

A claim is a statement about each of its pairs of cells. It is reproduced if every pair passes the
test (intersection-union: the largest p counts) and contradicted if any pair shows the opposite
(Holm over its pairs). Both p values are then adjusted by Holm over the study's claims. A claim
that cannot be tested keeps its place among them: a missing run makes no other claim easier to show.
"""

from __future__ import annotations

from dataclasses import dataclass

from vitcli.report import stats
from vitcli.report.collect import Claim, Study


@dataclass(frozen=True)
class Comparison:
    """Two cells, and the difference `first - second` over the seeds finished in both.

    Differences are in units of the metric. The interval is of level 1 - 2 alpha, as both tests are
    one-sided; p values are unadjusted. `detectable` is the difference (greater) or the margin
    (equivalent) found in at least 80 % of repeats at alpha / number of claims, Holm's first step.
    """

    first: str  # labels, not ids
    second: str
    n: int = 0
    effect: float | None = None
    interval: tuple[float, float] | None = None
    p_for: float | None = None
    p_against: float | None = None
    detectable: float | None = None
    paper_effect: float | None = None
    problem: str | None = None  # why there is no p


@dataclass(frozen=True)
class Verdict:
    """What the runs say of one claim. `decisive` is the pair that the verdict hangs on."""

    claim: Claim
    verdict: str  # reproduced, contradicted, undecided
    reason: str
    p_for: float | None  # adjusted over the study's claims; None: a pair could not be tested
    p_against: float | None
    decisive: Comparison
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()  # further sentences, of what is known beside the verdict


def judge(study: Study) -> list[Verdict]:
    """Returns a verdict on each of the study's claims, in their order."""
    compared = [tuple(_compare(study, c, *pair) for pair in c.pairs) for c in study.claims]
    tested = [not any(pair.problem for pair in pairs) for pairs in compared]
    raw_for = [max(_ps(pairs, "p_for")) for pairs in compared]
    raw_against = [min(stats.holm(_ps(pairs, "p_against"))) for pairs in compared]
    ps_for = stats.holm([p if ok else 1.0 for p, ok in zip(raw_for, tested, strict=True)])
    ps_against = stats.holm([p if ok else 1.0 for p, ok in zip(raw_against, tested, strict=True)])
    return [
        _decide(claim, pairs, p_for, p_against) if ok else _untested(claim, pairs)
        for claim, pairs, p_for, p_against, ok in zip(
            study.claims, compared, ps_for, ps_against, tested, strict=True
        )
    ]


def _ps(pairs: tuple[Comparison, ...], key: str) -> list[float]:
    ps = [getattr(pair, key) for pair in pairs]
    return [1.0 if p is None else p for p in ps]


def _compare(study: Study, claim: Claim, first_id: str, second_id: str) -> Comparison:
    first, second = study.cell(first_id), study.cell(second_id)
    if first is None or second is None:
        absent = [i for i, cell in ((first_id, first), (second_id, second)) if cell is None]
        return Comparison(
            study.name(first) if first else first_id,
            study.name(second) if second else second_id,
            problem=f"the study has no cell {' and no cell '.join(absent)}",
        )
    names = study.name(first), study.name(second)
    paper: float | None = None
    if first.paper is not None and second.paper is not None:
        paper = first.paper - second.paper
    complete = [
        (run.value, other.value)
        for run, other in ((first.runs[s], second.runs[s]) for s in first.runs if s in second.runs)
        if run.value is not None and other.value is not None
    ]
    n = len(complete)
    if n == 0:
        return Comparison(*names, paper_effect=paper, problem="no seed has finished in both cells")
    pair = stats.paired([a for a, _ in complete], [b for _, b in complete])
    problem: str | None = None
    if n < 2:
        problem = "only one seed has finished in both cells, and a test needs two"
    elif pair.sd is None:
        problem = f"the {n} paired differences are all equal: without a spread there is no test"
    if claim.test == "greater":
        p_for, p_against = stats.p_greater(pair), stats.p_less(pair)
        detectable = stats.detectable_difference(pair, claim.alpha / len(study.claims))
    else:
        assert claim.margin is not None
        p_for, p_against = (
            stats.p_equivalent(pair, claim.margin),
            stats.p_outside(pair, claim.margin),
        )
        detectable = stats.detectable_margin(pair, claim.alpha / len(study.claims))
    interval = stats.interval(pair, 1 - 2 * claim.alpha)
    return Comparison(*names, n, pair.mean, interval, p_for, p_against, detectable, paper, problem)


def _untested(claim: Claim, pairs: tuple[Comparison, ...]) -> Verdict:
    pair = next(pair for pair in pairs if pair.problem)
    reason = f"Not tested: {pair.first} against {pair.second}: {pair.problem}."
    return Verdict(claim, "undecided", reason, None, None, pair, pairs)


def _decide(claim: Claim, pairs: tuple[Comparison, ...], p_for: float, p_against: float) -> Verdict:
    weakest = max(pairs, key=lambda pair: pair.p_for or 0.0)
    clearest = min(pairs, key=lambda pair: pair.p_against or 0.0)
    greater, margin = claim.test == "greater", f"±{claim.margin or 0:g}"
    if p_against < claim.alpha:
        verdict, p, pair, which = "contradicted", p_against, clearest, "clearest"
        head = "The difference is below 0" if greater else f"A difference is beyond {margin}"
    elif p_for < claim.alpha:
        verdict, p, pair, which = "reproduced", p_for, weakest, "weakest"
        head = "The difference is above 0" if greater else f"The difference is within {margin}"
    else:
        verdict, p, pair, which = "undecided", p_for, weakest, "weakest"
        head = "Neither above nor below 0" if greater else f"Neither within nor beyond {margin}"
        head += " with significance"
    assert pair.effect is not None
    assert pair.interval is not None
    assert pair.detectable is not None
    which = f"the {which} of {len(pairs)} pairs, " if len(pairs) > 1 else ""
    reason = (
        f"{head}: {which}{pair.first} − {pair.second} = {pair.effect:+.3f}, "
        f"{100 * (1 - 2 * claim.alpha):g} % interval {pair.interval[0]:+.3f} to "
        f"{pair.interval[1]:+.3f}, {pair.n} paired seeds, p = {format_p(p)}."
    )
    if verdict == "undecided":
        truth = (
            f"a true difference of {pair.detectable:.3f}"
            if greater
            else f"a margin of ±{pair.detectable:.3f} around truly equal cells"
        )
        reason += f" With this n and spread, {truth} would be found in at least 80 % of repeats."
    return Verdict(claim, verdict, reason, p_for, p_against, pair, pairs)


def format_p(p: float) -> str:
    """Returns p with two digits, or `< 0.001`."""
    return f"{p:.2g}" if p >= 0.001 else "< 0.001"
