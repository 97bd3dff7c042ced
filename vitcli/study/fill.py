"""What a study's runs measure, on which data: the placeholders in its file filled in. No torch.

{data} is what cells are trained on, {upstream} what their sources are, if they have any, else the
same; {downstream} is the first few-shot set; {each} repeats a table, or a claim's metric, for every
one of them. Without a few-shot set, the upstream metric stands for one of {downstream}, and a claim
that compares the two is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from vitcli.analysis.axes import UPSTREAM
from vitcli.choices import nearest
from vitcli.config import RunConfig
from vitcli.evals import metrics_of
from vitcli.schema import Claim, Study
from vitcli.sets import named, words

_FIRST, _EACH = "{downstream}", "{each}"


def filled(
    study: Study,
    cells: Iterable[RunConfig],
    source: RunConfig | None,
    overrides: Sequence[str] = (),
) -> Study:
    """Returns the study with its data's names in texts and metrics, by the first of its cells.

    The metric's own table is left out, and tables of what is not measured where a placeholder or
    the user's settings are the reason.

    Raises:
        ValueError: the cells do not measure the study's metric, a claim's, or a table's.
    """
    every = list(cells)
    cell, sets = every[0], every[0].evals.sets
    there = {name: metric for each in reversed(every) for name, metric in metrics_of(each).items()}
    names = {"{data}": named(cell.data), "{upstream}": named((source or cell).data)}
    names[_FIRST] = sets[0] if sets else ""
    in_words = {key: words(name) for key, name in names.items()}
    metric = _fill(study.metric, names)
    if study.metric_label and metric in there:
        there = {**there, metric: replace(there[metric], label=study.metric_label)}
    tables = _filled(study.tables, names, sets)
    found = replace(
        study,
        metric=metric,
        tables=[name for name in dict.fromkeys(tables) if name in there and name != metric],
        claims=[_claim(claim, names, sets) for claim in study.claims if not _lost(claim, sets)],
        differences=[_fill(s, in_words) for s in study.differences if sets or _FIRST not in s],
        metrics=there,
    )
    evals = cell.evals
    asked = f"evals.downstream={evals.downstream or 'null'}, evals.shots={evals.shots}, "
    asked += f"evals.shifts={evals.shifts}"
    of_claims = (name for claim in found.claims for name in _metrics(claim))
    wanted = [("metric", name) for name in (metric, *of_claims)]
    if not any(word.startswith(("evals", "data")) for word in overrides):
        wanted += [("tables", name) for name in study.tables if "{" not in name]
    for key, name in wanted:
        if name not in there:
            raise ValueError(f"{key}={name}: no run measures it ({asked}){nearest(name, there)}")
    return found


def replaced(study: Study, cell: RunConfig) -> str:
    """Returns what the upstream metric stands for in these cells, in words; empty: for nothing."""
    every = [study.metric, *(name for claim in study.claims for name in _metrics(claim))]
    if cell.evals.sets or not any(_FIRST in name for name in every):
        return ""
    lost = [claim.id for claim in study.claims if _lost(claim, cell.evals.sets)]
    without = f"; left out, as it compares the two: {', '.join(lost)}" if lost else ""
    return f"{UPSTREAM} is judged in place of few-shot top-1: there is no few-shot set{without}"


def _lost(claim: Claim, sets: Sequence[str]) -> bool:
    """Returns whether, without a few-shot set, the claim would compare a metric with itself."""
    return not sets and _FIRST in (claim.against or "") and UPSTREAM in claim.metric


def _metrics(claim: Claim) -> list[str]:
    return [*claim.metric, *filter(None, [claim.pick, claim.against])]


def _fill(text: str, values: Mapping[str, str]) -> str:
    if _FIRST in text and not values[_FIRST]:
        return UPSTREAM
    for key, value in values.items():
        text = text.replace(key, value)
    return text


def _filled(metrics: Sequence[str], names: Mapping[str, str], sets: Sequence[str]) -> list[str]:
    return [
        _fill(name, {**names, _EACH: each})
        for name in metrics
        for each in (sets if _EACH in name else [""])
    ]


def _claim(claim: Claim, names: Mapping[str, str], sets: Sequence[str]) -> Claim:
    return replace(
        claim,
        metric=_filled(claim.metric, names, sets),
        pick=None if claim.pick is None else _fill(claim.pick, names),
        against=None if claim.against is None else _fill(claim.against, names),
    )
