"""Judges a study's claims: where an interval lies, against the threshold.

A claim is a statement about each of its pairs. With k claims in a study every pair's interval is of
level 1 - 0.05 / k, so that in 95 % of studies no verdict is wrong. A claim is

- reproduced, if the intervals of all pairs lie where it says: above the size (`at_least`), or
  within plus and minus the size (`within`);
- contradicted, if a pair's interval lies on the other side: below minus the size, or beyond it;
- negligible, if it says `at_least` and a pair's interval lies within plus and minus the size;
- undecided, if none of these;
- not judged, if a pair cannot be: its runs are missing, or its arms have not learned.

Of a claim about several pairs, what speaks against it is looked for among all of them, so there
their intervals are wider: of level 1 - 0.05 / k / pairs. What speaks for it takes all pairs, which
is no easier than one; so intervals of level 1 - 0.05 / k do, though one of several misses its true
value more often than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vitcli.analysis import nulls
from vitcli.analysis.contrasts import CONTRASTS
from vitcli.analysis.intervals import Estimate
from vitcli.analysis.notes import notes
from vitcli.analysis.pairs import failed, labels, measure, metrics_of, published, x_name
from vitcli.analysis.results import Results
from vitcli.analysis.sentences import reason_of, tested_of
from vitcli.analysis.settled import unsettled
from vitcli.analysis.verdict import Pair, Verdict, lies
from vitcli.schema import Cell, Claim, Study

ALPHA = 0.05  # of any wrong verdict in a study


def judge(results: Results) -> list[Verdict]:
    """Returns a verdict on each of the study's claims, in their order."""
    return [_judge(results, claim) for claim in results.study.claims]


def _judge(results: Results, claim: Claim) -> Verdict:
    study, count = results.study, len(results.study.claims)
    pairs = [_compare(results, claim, index, ALPHA / count) for index in range(len(claim.pairs))]
    word, decisive = _word(claim, pairs, study.size(claim), len(study.seeds))
    cells = _named(study, [name for pair in claim.pairs for name in pair])
    beside = [unsettled(results, cells)]
    if CONTRASTS[claim.of].whole:
        beside.insert(0, nulls.unfit_columns(results, cells, metrics_of(study, claim)))
    verdict = Verdict(
        claim,
        word,
        size=study.size(claim),
        level=1 - ALPHA / count,
        tested=tested_of(study, claim, pairs),
        reason="",
        decisive=decisive,
        pairs=tuple(pairs),
        touched="; ".join(failed(results, cells)),
        nulls=nulls.described(results, metrics_of(study, claim), cells),
        notes=tuple(filter(None, [*notes(results, claim), *beside])),
    )
    return replace(verdict, reason=reason_of(verdict, x_name(study)))


def _named(study: Study, names: Sequence[str]) -> list[Cell]:
    """Returns the cells of these ids, or of these rows."""
    return [cell for cell in study.cells if cell.id in names or cell.row in names]


def _compare(results: Results, claim: Claim, index: int, alpha: float) -> Pair:
    study, pair = results.study, claim.pairs[index]
    arms, found, kind = labels(study, claim, pair), measure(results, claim, pair), claim.of
    compared = Pair(
        CONTRASTS[kind].text(CONTRASTS[kind].name, arms, x_name(study), "", True),
        arms,
        len(found.seeds),
        found.seeds,
        found.estimate,
        paper=published(study, claim, index),
        problem=found.problem,
        blocked="; ".join(failed(results, _named(study, pair))),
    )
    if found.problem is None:
        below = nulls.unfit(results, found.arms, metrics_of(study, claim))
        compared = replace(compared, problem=below)
    if compared.problem is not None or found.estimate is None:
        return compared
    many, tails = len(claim.pairs), 2 * ALPHA / alpha
    p_for, against = _p_of(claim, found.estimate, study.size(claim))
    return replace(
        compared,
        interval=found.estimate.interval(1 - alpha),
        wide=found.estimate.interval(1 - alpha / many),
        p_for=min(1.0, tails * p_for),
        p_against=min(1.0, tails * many * against),
    )


def _p_of(claim: Claim, estimate: Estimate, size: float) -> tuple[float, float]:
    """Returns the one-sided p for the claim and against it, not adjusted."""
    above, under = estimate.p_above, estimate.p_below
    if claim.at_least is not None:
        return above(size), min(under(-size), max(above(-size), under(size)))
    return max(above(-size), under(size)), min(above(size), under(-size))


def _word(claim: Claim, pairs: list[Pair], size: float, seeds: int) -> tuple[str, Pair]:
    """Returns the verdict's word and the pair that it hangs on.

    A study of one seed whose runs are all there lacks nothing, and leaves open what is so.
    """
    if unable := [pair for pair in pairs if pair.problem]:
        alone = all(pair.n == 1 for pair in pairs) and seeds == 1
        return "undecided" if alone else "not judged", unable[0]
    p_for = [_p_of(claim, pair.estimate, size)[0] if pair.estimate else 1.0 for pair in pairs]
    weakest = pairs[p_for.index(max(p_for))]  # an adjusted p of 1 would not tell them apart
    if all(lies(claim, pair.interval, size) == "reproduced" for pair in pairs):
        blocked = [pair for pair in pairs if pair.blocked]
        return ("undecided", blocked[0]) if blocked else ("reproduced", weakest)
    for word in ("contradicted", "negligible"):
        if against := [pair for pair in pairs if lies(claim, pair.wide, size) == word]:
            return word, min(against, key=lambda pair: pair.p_against)
    return "undecided", weakest
