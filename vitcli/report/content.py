"""The report's words and numbers as plain text, which html, markdown and LaTeX templates lay out.

Nothing here is escaped: `render.py` does that, for each format its own way.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from vitcli.analysis.contrasts import CONTRASTS
from vitcli.analysis.pairs import x_name
from vitcli.analysis.power import needs
from vitcli.analysis.results import Results
from vitcli.analysis.sentences import says
from vitcli.analysis.settled import settled
from vitcli.analysis.verdict import Pair, Verdict
from vitcli.analysis.verdicts import ALPHA
from vitcli.progress import duration
from vitcli.records import Run
from vitcli.report.tables import EMPTY, tables

NO_CLAIM = "This study tests no claim."
SYMBOLS = {
    "reproduced": "✓", "contradicted": "✗", "negligible": "≈", "undecided": "?", "not judged": "–",
}  # fmt: skip


@dataclass(frozen=True)
class VerdictLine:
    """One claim, in print.

    Attributes:
        sentence: its effect in words, or why there is none.
        beside: the interval, what is claimed, the paper's own.
        numbers: terms and values; said: the sentences below; pairs: name and `numbers` of each.
    """

    id: str
    word: str
    symbol: str
    statement: str
    where: str
    sentence: str
    beside: str
    numbers: dict[str, str]
    said: list[str]
    pairs: list[tuple[str, dict[str, str]]]


def content(results: Results, verdicts: list[Verdict], figures: dict[str, str]) -> dict[str, Any]:
    """Returns what the report of a study says, by what its templates call it.

    Args:
        figures: by file stem what it shows, for who cannot see it.
    """
    return {
        "study": results.study,
        "about": about(results),
        "verdicts": lines(results, verdicts),
        "how": _how(verdicts),
        "tables": tables(results),
        "methods": _methods(results),
        "figures": figures,
        "none": NO_CLAIM,
    }


def about(results: Results) -> str:
    """Returns which study this is, at which scale, what it measures, and how much is done."""
    study, label = results.study, results.study.of_metric(results.study.metric).label
    done = f"{results.finished} of {len(results.runs)} runs finished"
    return f"Study {study.name}, scale {study.scale}: {label}. {done}."


def lines(results: Results, verdicts: list[Verdict]) -> list[VerdictLine]:
    """Returns the verdicts in print."""
    return [_line(verdict, x_name(results.study)) for verdict in verdicts]


def _line(verdict: Verdict, x: str) -> VerdictLine:
    claim, pair = verdict.claim, verdict.decisive
    numbers = _numbers(verdict, pair)
    sentence, beside = f"{pair.name}: {pair.problem}", []
    if pair.problem is None:
        sentence, between = says(verdict, pair, x)
        beside += [f"interval {between}"] if between else []
    # A factor is said of the arm that has the larger; what is beside it then is of that arm, too.
    turned = _numbers(verdict, pair, turned=(pair.effect or 0.0) < 0)
    beside += [f"claimed: {turned['claimed']}"]
    beside += [f"the paper: {turned['the paper']}"] if pair.paper is not None else []
    said = [f"Tested: {verdict.tested}", verdict.reason, *verdict.notes]
    said += [f"Without pre-training: {verdict.nulls}."] if verdict.nulls else []
    said += [f"Failed: {verdict.touched}."] if verdict.touched else []
    said += (
        [f"{_sentence(needs(verdict))}."]
        if verdict.word == "undecided" and not pair.problem
        else []
    )
    return VerdictLine(
        claim.id,
        verdict.word,
        SYMBOLS[verdict.word],
        claim.statement,
        claim.where,
        sentence,
        "; ".join(beside),
        numbers,
        said,
        [(each.name, _numbers(verdict, each)) for each in verdict.pairs],
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _numbers(verdict: Verdict, pair: Pair, turned: bool = False) -> dict[str, str]:
    """Returns a pair's numbers, or its problem in place of its seeds.

    Args:
        turned: whether a claimed and a published factor are the second arm's over the first's.
    """
    kind, estimate = CONTRASTS[verdict.claim.of], pair.estimate
    turned = turned and kind.factor
    claimed = ("within a factor of " if kind.factor else "within ±") + kind.size(verdict.size)
    if verdict.claim.at_least is not None:
        claimed = f"above {kind.number(verdict.size)}"
        claimed = f"below {kind.number(-verdict.size)}" if turned else claimed
    effect = EMPTY if estimate is None else kind.number(estimate.effect)
    paper = -pair.paper if turned and pair.paper is not None else pair.paper
    judged = pair.problem is None
    tested = judged and not (estimate and estimate.level)
    interval = verdict.shown(pair)
    between = kind.between(*interval) if tested and interval else EMPTY
    return {
        "effect": f"beyond {effect}" if estimate and estimate.limit is not None else effect,
        f"{100 * verdict.shown_level:.4g} % interval": between,
        "claimed": claimed,
        "p for": format_p(pair.p_for) if tested else EMPTY,
        "p against": format_p(pair.p_against) if tested else EMPTY,
        "seeds": str(pair.n) if judged else f"{pair.n} ({pair.problem})",
        "the paper": EMPTY if paper is None else kind.number(paper),
    }


def format_p(p: float) -> str:
    """Returns p with two digits, three where two would hide that it is below 0.05; `< 0.001`."""
    if p < 0.001:
        return "< 0.001"
    return f"{p:.3g}" if 0.0495 <= p < ALPHA else f"{p:.2g}"


def _how(verdicts: list[Verdict]) -> str:
    """Returns how verdicts are reached and what their numbers are."""
    if not verdicts:
        return ""
    k = len(verdicts)
    return (
        "Effects are means over seeds; slopes are changes per doubling of x. Each claim has a "
        "threshold in the study's file, the size of an effect that would matter. It should be "
        "chosen before training, which nothing here can check. Intervals are Student's t, of level "
        f"{100 * verdicts[0].level:.4g} % "
        f"(1 - {ALPHA:g} / {k} claims), so that in 95 % of such studies no verdict is wrong. The "
        "intervals of one pair of each claim, chosen beforehand, contain the true values as "
        "often; those of all pairs, where a claim has several, less often. Reproduced: the "
        "intervals of all pairs lie above the threshold or, for a claim of little difference, "
        "within plus and minus the threshold. Contradicted: the whole interval of a pair lies "
        "below minus the threshold or, for a claim of little difference, outside plus and minus "
        "the threshold. Negligible: the claim says better, and the interval of a pair lies within "
        "plus and minus the threshold, or no model that costs more has a better upstream "
        "validation. For these two all pairs are searched, so their intervals "
        f"are of level 1 - {ALPHA:g} / {k} / pairs. Undecided: none of these. Not judged: runs are "
        "missing, or the better arm is no better than a baseline without pre-training. The two p "
        "are adjusted in the same way: p for is below 0.05 exactly where a claim is called "
        "reproduced, p against where contradicted or negligible. A claim with a failed seed in its "
        "cells is not called reproduced."
    )


def _methods(results: Results) -> dict[str, str]:
    study = results.study
    found = {
        "Setting": study.setting,
        "Scale": f"{study.scale}; overrides: {', '.join(study.overrides) or 'none'}",
        "Metric": f"{study.metric} ({study.of_metric(study.metric).label})",
        **study.methods,
        "The last tenth of training": settled(results),
        **_cost(results.of_cells(), ""),
    }
    if (shared := results.correlation()) is not None:
        found["Correlation of two cells over the seeds"] = (
            f"{round(shared, 2) + 0.0:.2f} "  # no -0.00
            "(above 0: comparing cells seed by seed gives narrower intervals)"
        )
    if study.sources:
        found |= _cost([results.runs[run] for run in study.sources], " of the sources")
    if scratch := {run for cell in study.cells for run in cell.scratch.values()}:
        found |= _cost([results.runs[run] for run in sorted(scratch)], " from scratch")
    return {term: text for term, text in found.items() if text}


def _cost(runs: list[Run], which: str) -> dict[str, str]:
    """Returns number, cost, size and machines of these runs."""
    done = [run for run in runs if run.state == "done"]
    wall, flops = sum(r.wall_s or 0.0 for r in runs), sum(r.train_flops or 0.0 for r in runs)
    found = {f"Runs{which}": f"{len(done)} of {len(runs)} finished"}
    trained = sum(r.train_s or 0.0 for r in runs)
    share = f", {100 * trained / wall:.0f} % of it in training" if trained else ""
    found[f"Cost{which}"] = (
        f"{duration(wall)} of wall time added up over the finished runs{share}; {flops:.3g} "
        f"training FLOPs ({flops / 1e18:.3g} exaFLOPs)"
    )
    if params := sorted(run.params for run in runs if run.params is not None):
        sizes = f"{params[0]:,}" + f" to {params[-1]:,}" * (params[0] != params[-1])
        found[f"Parameters{which}"] = sizes
    notes = Counter(note for run in done for note in run.notes)
    if notes:
        of = {note: "" if n == len(done) else f" ({n} runs)" for note, n in notes.items()}
        found[f"Left out or assumed{which}"] = "; ".join(f"{note}{of[note]}" for note in notes)
    machines = Counter(tuple(sorted(run.env.items())) for run in runs if run.env)
    for number, (env, count) in enumerate(machines.most_common(), 1):
        nth = f" {number}" if len(machines) > 1 else ""
        term = f"Machine and versions{which}{nth} ({count} run{'s'[: count - 1]})"
        found[term] = ", ".join(f"{key} {value}" for key, value in env)
    return found
