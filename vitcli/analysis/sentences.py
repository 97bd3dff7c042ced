"""Verdicts in sentences: what was tested, what was found, why that gives this word."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vitcli.analysis.contrasts import CONTRASTS
from vitcli.analysis.intervals import Beyond
from vitcli.analysis.pairs import metrics_of, x_name
from vitcli.analysis.verdict import Pair, Verdict, lies
from vitcli.schema import Claim, Study

_ORDINALS = ("the first", "the second", "the third", "the fourth")


def tested_of(study: Study, claim: Claim, pairs: Sequence[Pair]) -> str:
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


def reason_of(verdict: Verdict, x: str) -> str:
    """Returns why the verdict has its word, in a sentence or two."""
    pair, many = verdict.decisive, len(verdict.pairs)
    if pair.problem is not None:
        return f"{pair.name}: {pair.problem}."
    where = _where(verdict, "reproduced" if verdict.blocked else verdict.word, x)
    text, between = says(verdict, pair, x)
    if not between:
        return f"{text}: whatever the compute, the same model is the best."
    text = (
        f"{text}: {100 * verdict.shown_level:.4g} % interval {between} over {pair.n} seeds, {where}"
    )
    if many > 1:
        text += f" (of {many} pairs, the verdict rests on this one{_others(verdict)})"
    text += "."
    if verdict.blocked:
        text += f" Not called reproduced, since {pair.blocked} failed."
    return text


def _others(verdict: Verdict) -> str:
    """Returns how many pairs lie where the claim says though another speaks against it."""
    if verdict.word not in ("contradicted", "negligible"):
        return ""
    lie = [lies(verdict.claim, pair.interval, verdict.size) for pair in verdict.pairs]
    count = lie.count("reproduced")
    return f"; {count} of them lie{'s'[: 2 - count]} where the claim says" if count else ""


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
