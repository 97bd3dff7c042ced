"""How many seeds each claim of a study would need, by the spread of the runs that have finished."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitcli.report import stats
from vitcli.report.claims import Comparison, Verdict, judge
from vitcli.report.collect import study_of
from vitcli.report.effects import said


def seeds_needed(plan: Mapping[str, Any], runs_dir: Path) -> list[str]:
    """Returns a line a claim: the seeds that its test would need to succeed in 80 % of repeats.

    That is to confirm the margin of cells truly equal, or to find half of the effect seen so far;
    of several pairs, all of them; at alpha / number of claims, Holm's first step. No line at all
    if no claim has finished runs.

    Args:
        plan: the facts of plan.json, written or not.
    """
    study = study_of(plan, runs_dir)
    verdicts = judge(study)
    if not any(pair.n for verdict in verdicts for pair in verdict.comparisons):
        return []
    return [f"{v.claim.id}: {_line(v, v.claim.alpha / len(verdicts))}" for v in verdicts]


def _line(verdict: Verdict, alpha: float) -> str:
    claim, pairs = verdict.claim, verdict.comparisons
    untold = [pair for pair in pairs if not pair.sd]
    if untold:
        return f"no telling how many seeds it needs: {untold[0].name}: {untold[0].problem}"
    needs = {pair: _seeds(verdict, pair, alpha) for pair in pairs}
    worst = max(needs, key=lambda pair: needs[pair] or stats.MOST_SEEDS + 1)
    number = needs[worst] or f"more than {stats.MOST_SEEDS:,}"
    assert worst.effect is not None
    target = (
        f"half of the effect so far, {said(claim.of, worst.effect / 2)}"
        if claim.test == "greater"
        else f"a margin of ±{claim.margin:g}"
    )
    return f"{number} seeds for {target} (sd {worst.sd:.3g} over {worst.n} seeds of {worst.name})"


def _seeds(verdict: Verdict, pair: Comparison, alpha: float) -> int | None:
    assert pair.sd is not None
    assert pair.effect is not None
    if verdict.claim.test == "greater":
        return stats.seeds_for_difference(pair.sd, abs(pair.effect) / 2, alpha)
    assert verdict.claim.margin is not None
    return stats.seeds_for_margin(pair.sd, verdict.claim.margin, alpha)
