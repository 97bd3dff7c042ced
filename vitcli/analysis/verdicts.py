"""Judges a study's claims: where a simultaneous interval lies, against the size that matters.

A claim is a statement about each of its pairs. With k claims in a study every pair's interval is of
level 1 - 0.05 / k, so that in 95 % of studies none of them misses. A claim is

- reproduced, if the intervals of all pairs lie where it says: above the size (`at_least`), or
  within plus and minus the size (`within`);
- contradicted, if a pair's interval lies on the other side: below minus the size, or beyond it;
- negligible, if it says `at_least` and a pair's interval lies within plus and minus the size;
- undecided, if none of these;
- not judged, if a pair cannot be: its runs are missing, or its arms have not learned.

Of a claim about several pairs, what speaks against it is looked for among all of them, so there
their intervals are wider: of level 1 - 0.05 / k / pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vitcli.analysis import nulls
from vitcli.analysis.contrasts import CONTRASTS
from vitcli.analysis.intervals import Estimate, Interval
from vitcli.analysis.notes import notes
from vitcli.analysis.pairs import failed, labels, measure, metrics_of, published, x_name
from vitcli.analysis.results import Results
from vitcli.analysis.settled import unsettled
from vitcli.choices import choose
from vitcli.schema import Claim, Study

ALPHA = 0.05  # of any wrong verdict in a study
WORDS = ("reproduced", "contradicted", "negligible", "undecided", "not judged")
_ORDINALS = ("the first", "the second", "the third", "the fourth")


@dataclass(frozen=True)
class Pair:
    """A contrast of a claim's cells or rows, in units of the metric, or those per doubling of x.

    Attributes:
        arms: their labels.
        n: seeds that have all of its values.
        interval: at the level of its claim; `wide`: at that of what speaks against the claim.
        p_for, p_against: adjusted, below 0.05 exactly where the interval lies for or against.
        paper: the same contrast of the paper's numbers.
        problem: why it is not judged.
        blocked: seeds that failed in the cells it is of, in words.
    """

    name: str
    arms: tuple[str, ...]
    n: int = 0
    estimate: Estimate | None = None
    interval: Interval | None = None
    wide: Interval | None = None
    p_for: float = 1.0
    p_against: float = 1.0
    paper: float | None = None
    problem: str | None = None
    blocked: str = ""

    @property
    def effect(self) -> float | None:
        """Returns the mean over the seeds, None if there is none."""
        return None if self.estimate is None else self.estimate.effect


@dataclass(frozen=True)
class Verdict:
    """What the runs say of one claim.

    Attributes:
        word: one of `WORDS`.
        size: what matters, in units of the contrast.
        level: of the intervals.
        tested: the sentence that was tested, to be read beside the claim's own statement.
        reason: why this word, in a sentence or two.
        decisive: the pair that it hangs on.
        touched: seeds that failed in the claim's cells, in words.
        nulls: what its metric is worth without training, in words.
        notes: what is known beside: where curves cross, how far apart rows are, what still moved.
    """

    claim: Claim
    word: str
    size: float
    level: float
    tested: str
    reason: str
    decisive: Pair
    pairs: tuple[Pair, ...]
    touched: str = ""
    nulls: str = ""
    notes: tuple[str, ...] = ()

    @property
    def p_for(self) -> float:
        """Returns the claim's adjusted p: the largest of its pairs."""
        return max(pair.p_for for pair in self.pairs)

    @property
    def p_against(self) -> float:
        """Returns the adjusted p against the claim: the smallest of its pairs."""
        return min(pair.p_against for pair in self.pairs)


def judge(results: Results) -> list[Verdict]:
    """Returns a verdict on each of the study's claims, in their order.

    Raises:
        ValueError: a claim is of a kind that there is not: its plan is another vitcli's, or edited.
    """
    for claim in results.study.claims:
        choose(f"{results.study.name}: claim {claim.id}: of", claim.of, CONTRASTS)
    return [_judge(results, claim) for claim in results.study.claims]


def _judge(results: Results, claim: Claim) -> Verdict:
    study, count = results.study, len(results.study.claims)
    pairs = [_compare(results, claim, index, ALPHA / count) for index in range(len(claim.pairs))]
    word, decisive = _word(claim, pairs, study.size(claim), len(study.seeds))
    named = {name for pair in claim.pairs for name in pair}
    cells = [cell for cell in study.cells if cell.id in named or cell.row in named]
    verdict = Verdict(
        claim,
        word,
        size=study.size(claim),
        level=1 - ALPHA / count,
        tested=_tested(study, claim, pairs),
        reason="",
        decisive=decisive,
        pairs=tuple(pairs),
        touched="; ".join(failed(results, cells)),
        nulls=nulls.described(results, metrics_of(study, claim), cells),
        notes=tuple(filter(None, [*notes(results, claim), unsettled(results, cells)])),
    )
    return replace(verdict, reason=_reason(verdict, x_name(study)))


def _compare(results: Results, claim: Claim, index: int, alpha: float) -> Pair:
    study, pair = results.study, claim.pairs[index]
    arms, found, kind = labels(study, claim, pair), measure(results, claim, pair), claim.of
    compared = Pair(
        CONTRASTS[kind].text(CONTRASTS[kind].name, arms, x_name(study), "", True),
        arms,
        found.n,
        found.estimate,
        paper=published(study, claim, index),
        problem=found.problem,
        blocked="; ".join(failed(results, [cell for cells in found.arms for cell in cells])),
    )
    if found.problem is None:
        below = nulls.unfit(results, found.arms, metrics_of(study, claim))
        compared = replace(compared, problem=below)
    if compared.problem is not None or found.estimate is None:
        return compared
    many, size, tails = len(claim.pairs), study.size(claim), 2 * ALPHA / alpha
    above, under = found.estimate.p_above, found.estimate.p_below
    if claim.at_least is not None:
        p_for, against = above(size), min(under(-size), max(above(-size), under(size)))
    else:
        p_for, against = max(above(-size), under(size)), min(above(size), under(-size))
    return replace(
        compared,
        interval=found.estimate.interval(1 - alpha),
        wide=found.estimate.interval(1 - alpha / many),
        p_for=min(1.0, tails * p_for),
        p_against=min(1.0, tails * many * against),
    )


def _word(claim: Claim, pairs: list[Pair], size: float, seeds: int) -> tuple[str, Pair]:
    """Returns the verdict's word and the pair that it hangs on.

    A study of one seed whose runs are all there lacks nothing, and leaves open what is so.
    """
    if unable := [pair for pair in pairs if pair.problem]:
        alone = all(pair.n == 1 for pair in pairs) and seeds == 1
        return "undecided" if alone else "not judged", unable[0]
    if all(_lies(claim, pair.interval, size) == "reproduced" for pair in pairs):
        blocked = [pair for pair in pairs if pair.blocked]
        weakest = max(pairs, key=lambda pair: pair.p_for)
        return ("undecided", blocked[0]) if blocked else ("reproduced", weakest)
    for word in ("contradicted", "negligible"):
        if against := [pair for pair in pairs if _lies(claim, pair.wide, size) == word]:
            return word, min(against, key=lambda pair: pair.p_against)
    return "undecided", max(pairs, key=lambda pair: pair.p_for)


def _lies(claim: Claim, interval: Interval | None, size: float) -> str:
    """Returns the word for where an interval lies, against plus and minus the size."""
    assert interval is not None
    low, high = interval
    if claim.within is not None:
        if low > -size and high < size:
            return "reproduced"
        return "contradicted" if low > size or high < -size else "undecided"
    if low > -size and high < size:
        return "negligible"
    return "reproduced" if low > size else "contradicted" if high < -size else "undecided"


def _tested(study: Study, claim: Claim, pairs: Sequence[Pair]) -> str:
    """Returns the sentence that is tested, for its one pair, or for each of several."""
    kind, metrics, several = CONTRASTS[claim.of], metrics_of(study, claim), len(pairs) > 1
    arms = _ORDINALS[: len(pairs[0].arms)] if several else pairs[0].arms
    size = kind.size(study.size(claim))
    if claim.within is not None:
        text = kind.text(kind.within, arms, x_name(study), size, True)
    else:
        least = f"at least {size}" if study.size(claim) else "any amount"
        text = kind.text(kind.says, arms, x_name(study), least, True)
    each = f", in each of {len(pairs)} pairs" if several else ""
    of = " and ".join(study.of_metric(name).label for name in metrics)
    return f"{'Mean of ' * (len(metrics) > 1)}{of}: {text}{each}."


def says(verdict: Verdict, pair: Pair, x: str) -> tuple[str, str]:
    """Returns a sentence on the pair's effect, and its interval on the side that it speaks of."""
    kind, estimate = CONTRASTS[verdict.claim.of], pair.estimate
    assert estimate is not None
    size = kind.size(estimate.effect)
    size = size if estimate.limit is None else f"over {size}"
    text = kind.text(kind.says, pair.arms, x, size, estimate.effect >= 0)
    against = verdict.word in ("contradicted", "negligible") and pair is verdict.decisive
    low, high = (pair.wide if against else pair.interval) or (-math.inf, math.inf)
    shown = kind.between(low, high)
    if kind.factor and low * high > 0:
        near, far = sorted((abs(low), abs(high)))
        shown = kind.size(near)
        shown = f"over {shown}" if math.isinf(far) else f"{shown} to {kind.size(far)}"
    return text[:1].upper() + text[1:], shown


def _reason(verdict: Verdict, x: str) -> str:
    claim, pair, word, many = verdict.claim, verdict.decisive, verdict.word, len(verdict.pairs)
    if pair.problem is not None:
        return f"{pair.name}: {pair.problem}."
    kind, least = CONTRASTS[claim.of], claim.at_least is not None
    size = ("a factor of " if kind.factor else "") + kind.size(verdict.size)
    where = {
        "reproduced": f"above {size}" if least else f"within {size}",
        "contradicted": f"on the other side, beyond {size}" if least else f"beyond {size}",
        "negligible": f"within {size}, too small to matter",
        "undecided": f"which leaves open whether it is {'above' if least else 'within'} {size}",
    }[word]
    wider = many if word in ("contradicted", "negligible") else 1
    level = 100 * (1 - (1 - verdict.level) / wider)
    text, between = says(verdict, pair, x)
    which = f" ({many} pairs; this one decides)" if many > 1 else ""
    text = f"{text}: {level:.4g} % interval {between} over {pair.n} seeds, {where}{which}."
    if word == "undecided" and _lies(claim, pair.interval, verdict.size) == "reproduced":
        text += f" Not called reproduced, since {pair.blocked} failed."
    return text
