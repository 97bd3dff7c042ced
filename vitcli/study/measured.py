"""What a study's runs measure, on which data: the placeholders in its file filled in. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vitcli.config import DataConfig, RunConfig
from vitcli.study.claim import ClaimFile
from vitcli.study.file import StudyFile

_EACH = "{each}"
_IN_WORDS = {
    "glyphs": "generated images of printed letters",
    "digits": "handwritten digits",
    "letters": "letters that upstream has not",
}


def filled(file: StudyFile, cell: RunConfig, source: RunConfig | None) -> StudyFile:
    """Returns the study with its data's names in texts and metrics, by the first of its cells.

    {data} is what cells are trained on, {upstream} what their sources are, if they have any, else
    the same; {downstream} is the first few-shot set; {each} repeats a table, or a claim's metric,
    for every one of them. The metric's own table, and tables of what is not measured, are left out.

    Raises:
        ValueError: the cells do not measure the study's metric.
    """
    sets, there = cell.evals.sets, measured(cell)
    names = {"{data}": _name(cell.data), "{upstream}": _name((source or cell).data)}
    names["{downstream}"] = sets[0] if sets else "none"
    words = {key: _IN_WORDS.get(name, name) for key, name in names.items()}
    metric = _fill(file.metric, names)
    if metric not in there:
        evals = cell.evals
        raise ValueError(
            f"metric={metric}: no run measures it (evals.downstream={evals.downstream or 'null'}, "
            f"evals.shots={evals.shots}, evals.shifts={evals.shifts})"
        )
    tables = {
        _fill(name, names | {_EACH: each}): _fill(label, words | {_EACH: _IN_WORDS.get(each, each)})
        for name, label in file.tables.items()
        for each in (sets if _EACH in name else [""])
    }
    return replace(
        file,
        metric=metric,
        metric_label=_fill(file.metric_label, words),
        tables={name: tables[name] for name in tables if name in there and name != metric},
        claims=[_claim(claim, names, sets) for claim in file.claims],
        differences=[_fill(sentence, words) for sentence in file.differences],
    )


def measured(config: RunConfig) -> set[str]:
    """Returns the names of the numbers that a run of this config gives."""
    names = {"val/top1", "val/loss", "train/top1", "gap/top1"}
    if config.data.num_classes is None or config.data.num_classes > 5:
        names.add("val/top5")
    if config.train.keep == "best":
        names |= {f"last/{name}" for name in ("val/top1", "train/top1", "gap/top1")}
    if config.data.real_labels is not None:
        names.add("val/real")
    spread = ["", "_sd"] if config.evals.draws > 1 else [""]
    shots = [
        f"{name}/{k}shot{sd}"
        for name in config.evals.sets
        for k in config.evals.shots
        for sd in spread
    ]
    names |= {f"{kind}/{shot}" for kind in ("fewshot", "pixels", "untrained") for shot in shots}
    if config.evals.zero_shot and config.finetune.source is not None:
        names |= {"zero_shot/val/top1", "zero_shot/source_top1"}
    for pixels in config.evals.shifts:
        moved = {f"shift/{pixels}/error", f"shift/{pixels}/invariance"}
        names |= moved | {f"untrained/{name}" for name in moved} | {f"shift/{pixels}/consistency"}
    return names


def _name(data: DataConfig) -> str:
    return data.alias or data.name


def _fill(text: str, values: Mapping[str, str]) -> str:
    for key, value in values.items():
        text = text.replace(key, value)
    return text


def _claim(claim: ClaimFile, names: Mapping[str, str], sets: list[str]) -> ClaimFile:
    metric: Any = claim.metric
    if metric is not None:
        given = [metric] if isinstance(metric, str) else metric
        metric = [
            _fill(name, {**names, _EACH: each})
            for name in given
            for each in (sets if _EACH in name else [""])
        ]
    against = None if claim.against is None else _fill(claim.against, names)
    pick = None if claim.pick is None else _fill(claim.pick, names)
    return replace(claim, metric=metric, against=against, pick=pick)
