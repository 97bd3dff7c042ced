"""Judges the paper's claims on a study's runs: reproduced, contradicted or undecided, and why.

A claim is a statement about each of its pairs of cells or rows: of one number a seed, which
`vitcli.report.contrasts` computes. It is reproduced if every pair passes the
test (intersection-union: the largest p counts) and contradicted if any pair shows the opposite
(Holm over its pairs). Both p values are then adjusted by Holm over the study's claims. A claim
that cannot be tested keeps its place among them: a missing run makes no other claim easier to show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vitcli.report import stats
from vitcli.report.collect import Claim, Study
from vitcli.report.effects import (
    NOUNS,
    UNITS,
    labels,
    measure,
    metrics_of,
    paper_effect,
    said,
    title,
)
from vitcli.report.notes import notes


@dataclass(frozen=True)
class Comparison:
    """A contrast of cells or rows, and its mean over the seeds finished in all of them.

    A difference is in units of the metric, a slope in those per doubling of x. The interval is of
    level 1 - 2 alpha, as both tests are one-sided; p values are unadjusted. `detectable` is the
    difference (greater) or the margin (equivalent) found in at least 80 % of repeats at
    alpha / number of claims, Holm's first step.
    """

    first: str  # labels, not ids
    second: str  # "" if the contrast is not of two
    name: str  # of the contrast: `slope of ViT − ResNet`
    n: int = 0
    effect: float | None = None
    interval: tuple[float, float] | None = None
    p_for: float | None = None
    p_against: float | None = None
    detectable: float | None = None
    paper_effect: float | None = None
    problem: str | None = None  # why there is no p
    sd: float | None = None  # of the single seeds' numbers
    above: tuple[int, int] | None = None  # of a claim's several metrics: above 0 on k of m


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
    compared = [
        tuple(_compare(study, claim, index) for index in range(len(claim.pairs)))
        for claim in study.claims
    ]
    tested = [not any(pair.problem for pair in pairs) for pairs in compared]
    raw_for = [max(_ps(pairs, "p_for")) for pairs in compared]
    raw_against = [min(stats.holm(_ps(pairs, "p_against"))) for pairs in compared]
    ps_for = stats.holm([p if ok else 1.0 for p, ok in zip(raw_for, tested, strict=True)])
    ps_against = stats.holm([p if ok else 1.0 for p, ok in zip(raw_against, tested, strict=True)])
    return [
        _decide(study, claim, pairs, p_for, p_against) if ok else _untested(study, claim, pairs)
        for claim, pairs, p_for, p_against, ok in zip(
            study.claims, compared, ps_for, ps_against, tested, strict=True
        )
    ]


def _ps(pairs: tuple[Comparison, ...], key: str) -> list[float]:
    ps = [getattr(pair, key) for pair in pairs]
    return [1.0 if p is None else p for p in ps]


def _compare(study: Study, claim: Claim, index: int) -> Comparison:
    pair, metrics = claim.pairs[index], metrics_of(study, claim)
    first, second = labels(study, claim, pair)
    name = title(claim.of, first, second)
    paper, effect = paper_effect(study, claim, index), measure(study, claim, pair, metrics)
    if not len(effect.values):
        return Comparison(first, second, name, paper_effect=paper, problem=effect.problem)
    found, problem = stats.sample(effect.values, effect.scale), effect.problem
    if problem is None and found.sd is None:
        numbers = "paired differences" if claim.of == "difference" else "numbers"
        problem = f"the {found.n} {numbers} are all equal: without a spread there is no test"
    if claim.test == "greater":
        p_for, p_against = stats.p_greater(found), stats.p_less(found)
        detectable = stats.detectable_difference(found, claim.alpha / len(study.claims))
    else:
        assert claim.margin is not None
        p_for = stats.p_equivalent(found, claim.margin)
        p_against = stats.p_outside(found, claim.margin)
        detectable = stats.detectable_margin(found, claim.alpha / len(study.claims))
    return Comparison(
        first,
        second,
        name,
        found.n,
        found.mean,
        stats.interval(found, 1 - 2 * claim.alpha),
        p_for,
        p_against,
        detectable,
        paper,
        problem,
        sd=found.sd,
        above=_above(study, claim, pair, metrics),
    )


def _above(
    study: Study, claim: Claim, pair: Sequence[str], metrics: Sequence[str]
) -> tuple[int, int] | None:
    """Returns on how many of the claim's several metrics the mean effect is above 0."""
    if len(metrics) < 2:
        return None
    effects = [measure(study, claim, pair, [metric]).values for metric in metrics]
    return sum(len(values) > 0 and float(values.mean()) > 0 for values in effects), len(metrics)


def _untested(study: Study, claim: Claim, pairs: tuple[Comparison, ...]) -> Verdict:
    pair = next(pair for pair in pairs if pair.problem)
    name = f"{pair.first} against {pair.second}" if claim.of == "difference" else pair.name
    reason = f"Not tested: {name}: {pair.problem}."
    extra = notes(study, claim)
    return Verdict(claim, "undecided", reason, None, None, pair, pairs, extra)


def _decide(
    study: Study, claim: Claim, pairs: tuple[Comparison, ...], p_for: float, p_against: float
) -> Verdict:
    weakest = max(pairs, key=lambda pair: pair.p_for or 0.0)
    clearest = min(pairs, key=lambda pair: pair.p_against or 0.0)
    greater, margin, noun = claim.test == "greater", f"±{claim.margin or 0:g}", NOUNS[claim.of]
    if p_against < claim.alpha:
        verdict, p, pair, which = "contradicted", p_against, clearest, "clearest"
        head = f"The {noun} is below 0" if greater else f"One {noun} is beyond {margin}"
    elif p_for < claim.alpha:
        verdict, p, pair, which = "reproduced", p_for, weakest, "weakest"
        head = f"The {noun} is above 0" if greater else f"The {noun} is within {margin}"
    else:
        verdict, p, pair, which = "undecided", p_for, weakest, "weakest"
        head = "Neither above nor below 0" if greater else f"Neither within nor beyond {margin}"
        head += " with significance"
    which = f"the {which} of {len(pairs)} pairs, " if len(pairs) > 1 else ""
    reason = f"{head}: {which}{_numbers(claim, pair)}, {said_p(p)}."
    if pair.above:
        reason += f" Above 0 on {pair.above[0]} of {pair.above[1]} metrics."
    if verdict == "undecided":
        assert pair.detectable is not None
        size = said(claim.of, pair.detectable).lstrip("+")
        truth = f"a true {noun} of {size}" if greater else f"a margin of ±{size} around a true 0"
        reason += f" With this n and spread, {truth} would be found in at least 80 % of repeats."
    return Verdict(claim, verdict, reason, p_for, p_against, pair, pairs, notes(study, claim))


def _numbers(claim: Claim, pair: Comparison) -> str:
    """Returns `ViT − ResNet = +0.100, 90 % interval +0.083 to +0.117, 3 paired seeds`."""
    assert pair.effect is not None
    assert pair.interval is not None
    effect, low, high = (said(claim.of, value) for value in (pair.effect, *pair.interval))
    seeds = "paired seeds" if pair.second else "seeds"
    return (
        f"{pair.name} = {effect}{UNITS.get(claim.of, '')}, {100 * (1 - 2 * claim.alpha):g} % "
        f"interval {low} to {high}, {pair.n} {seeds}"
    )


def said_p(p: float) -> str:
    """Returns `p = 0.012` or `p < 0.001`."""
    return f"p = {format_p(p)}" if p >= 0.001 else f"p {format_p(p)}"


def format_p(p: float) -> str:
    """Returns p with two digits, or `< 0.001`."""
    return f"{p:.2g}" if p >= 0.001 else "< 0.001"
