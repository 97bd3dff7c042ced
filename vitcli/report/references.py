"""What a metric is without training: the same protocol on raw pixels, on untrained weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vitcli.report.collect import Study

KINDS = {"pixels": "raw pixels", "untrained": "untrained"}


@dataclass(frozen=True)
class Reference:
    """A kind's value: one for the whole study, or the mean over seeds of each cell, by id."""

    label: str
    value: float | None
    by_cell: Mapping[str, float]


def references(study: Study) -> list[Reference]:
    """Returns the references of the study's metric that every run with a value reports too.

    Those of `fewshot/digits/5shot` are `pixels/digits/5shot` and `untrained/digits/5shot`.
    """
    prefix, _, rest = study.metric.partition("/")
    if prefix != "fewshot":
        return []
    found = []
    for kind, label in KINDS.items():
        name = f"{kind}/{rest}"
        if not all(name in run.metrics for run in study.runs if run.value is not None):
            continue
        by_cell: dict[str, list[float]] = {
            cell.id: [float(r.metrics[name]) for r in cell.runs.values() if r.value is not None]
            for cell in study.cells
        }
        values = [value for of_cell in by_cell.values() for value in of_cell]
        if not values:
            continue
        if max(values) == min(values):
            found.append(Reference(label, values[0], {}))
        else:
            means = {cell: sum(of) / len(of) for cell, of in by_cell.items() if of}
            found.append(Reference(label, None, means))
    return found
