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

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vitcli.analysis import nulls
from vitcli.analysis.contrasts import CONTRASTS
from vitcli.analysis.intervals import Beyond, Estimate, Interval
from vitcli.analysis.notes import notes
from vitcli.analysis.pairs import failed, labels, measure, metrics_of, published, x_name
from vitcli.analysis.results import Results
from vitcli.analysis.settled import unsettled
from vitcli.schema import Cell, Claim, Study

ALPHA = 0.05  # of any wrong verdict in a study
WORDS = ("reproduced", "contradicted", "negligible", "undecided", "not judged")
_ORDINALS = ("the first", "the second", "the third", "the fourth")


@dataclass(frozen=True)
class Pair:
    """A contrast of a claim's cells or rows, in units of the metric, or those per doubling of x.

    Attributes:
        arms: their labels.
        n: seeds that have all of its values; seeds: which ones.
        interval: at the level of its claim; `wide`: at that of what speaks against the claim.
        p_for, p_against: adjusted, below 0.05 exactly where the interval lies for or against.
        paper: the same contrast of the paper's numbers.
        problem: why it is not judged.
        blocked: seeds that failed in the cells it is of, in words.
    """

    name: str
    arms: tuple[str, ...]
    n: int = 0
    seeds: tuple[str, ...] = ()
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
        size: the threshold, in units of the contrast.
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

    @property
    def speaks_against(self) -> bool:
        """Returns whether what is said is how far the runs speak against the claim, not for it."""
        interval = self.decisive.interval
        below = (
            self.claim.at_least is not None and interval is not None and interval[1] <= self.size
        )
        return self.word in ("contradicted", "negligible") or (self.word == "undecided" and below)

    @property
    def shown_level(self) -> float:
        """Returns the level of the intervals that are shown: of what is said of the claim."""
        many = len(self.pairs) if self.speaks_against else 1
        return 1 - (1 - self.level) / many

    def shown(self, pair: Pair) -> Interval | None:
        """Returns the interval of a pair at that level."""
        return pair.wide if self.speaks_against else pair.interval

    @property
    def blocked(self) -> bool:
        """Returns whether it would be reproduced, but for seeds that failed."""
        lies = self.decisive.interval and _lies(self.claim, self.decisive.interval, self.size)
        return self.word == "undecided" and lies == "reproduced"


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
        tested=_tested(study, claim, pairs),
        reason="",
        decisive=decisive,
        pairs=tuple(pairs),
        touched="; ".join(failed(results, cells)),
        nulls=nulls.described(results, metrics_of(study, claim), cells),
        notes=tuple(filter(None, [*notes(results, claim), *beside])),
    )
    return replace(verdict, reason=_reason(verdict, x_name(study)))


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
    kind, metrics, many = CONTRASTS[claim.of], metrics_of(study, claim), len(pairs)
    arms = pairs[0].arms
    if many > 1:
        arms = ("the rows",) if kind.most is None else _ORDINALS[: len(arms)]
    alone = many > 1 and len(pairs[0].arms) == 1
    arms = (f"each of {many} {kind.takes}",) if alone else arms
    size = kind.size(study.size(claim))
    if claim.within is not None:
        text = kind.text(kind.within, arms, x_name(study), size, True)
    else:
        least = f"at least {size}" if study.size(claim) else "any amount"
        text = kind.text(kind.says, arms, x_name(study), least, True)
    each = f", in each of {many} pairs" if many > 1 and not alone else ""
    of = " and ".join(study.of_metric(name).label for name in metrics)
    of += f" against {study.of_metric(claim.against).label}" if claim.against else ""
    return f"{'Mean of ' * (len(metrics) > 1)}{of}: {text}{each}."


def says(verdict: Verdict, pair: Pair, x: str) -> tuple[str, str]:
    """Returns a sentence on the pair's effect, and its interval on the side that it speaks of.

    An effect that is 0 by construction has no interval: "".
    """
    kind, estimate = CONTRASTS[verdict.claim.of], pair.estimate
    assert estimate is not None
    if estimate.level:
        name = pair.name[:1].upper() + pair.name[1:]
        return f"{name} is 0, as no model that costs more has a better upstream validation", ""
    above, size = estimate.effect >= 0, kind.size(estimate.effect)
    if isinstance(beyond := estimate.candidates[0], Beyond):
        size = f"{'over' if beyond.above == above else 'at most'} {size}"
    text = kind.text(kind.says, pair.arms, x, size, above)
    low, high = verdict.shown(pair) or (-math.inf, math.inf)
    if kind.factor and not above:  # the sentence is of the other arm's factor
        low, high = -high, -low
    shown = kind.between(low, high)
    if kind.factor and low > 0:
        shown = kind.size(low)
        shown = f"over {shown}" if math.isinf(high) else f"{shown} to {kind.size(high)}"
    return text[:1].upper() + text[1:], shown


def _reason(verdict: Verdict, x: str) -> str:
    pair, many = verdict.decisive, len(verdict.pairs)
    if pair.problem is not None:
        return f"{pair.name}: {pair.problem}."
    where = _where(verdict, "reproduced" if verdict.blocked else verdict.word, x)
    text, between = says(verdict, pair, x)
    if not between:
        return f"{text}: the best model is the same however much compute there is."
    text = (
        f"{text}: {100 * verdict.shown_level:.4g} % interval {between} over {pair.n} seeds, {where}"
    )
    text += f" (of {many} pairs, the verdict rests on this one)." if many > 1 else "."
    if verdict.blocked:
        text += f" Not called reproduced, since {pair.blocked} failed."
    return text


def _where(verdict: Verdict, word: str, x: str) -> str:
    """Returns where the decisive interval lies, for that word, in words."""
    kind, least, pair = CONTRASTS[verdict.claim.of], verdict.claim.at_least, verdict.decisive
    size = ("a factor of " if kind.factor else "") + kind.size(verdict.size)
    if word == "reproduced":
        return f"within {size}" if least is None else f"above {size}"
    if word == "contradicted":
        return f"beyond {size}" if least is None else f"on the other side, beyond {size}"
    if word == "negligible":
        return f"within {size}, too small to matter"
    if least is None or verdict.speaks_against:
        return f"which leaves open whether it is within {size}"
    if kind.factor and (pair.effect or 0.0) < 0:  # what was said is the other arm's factor
        more = f"more than {kind.size(verdict.size)}"
        return f"which leaves open whether {kind.text(kind.says, pair.arms, x, more, True)}"
    return f"which leaves open whether it is above {size}"
