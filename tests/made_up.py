"""Made-up results: a study's plan and its runs' numbers, in memory or in files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vitcli.analysis.results import Results
from vitcli.records import Run
from vitcli.schema import Axis, Cell, Claim, Metric, Paper, Study, XAxis

X = (1e3, 3e3, 9e3, 27e3, 81e3)
Values = Mapping[str, Any]  # of each row: values (seeds, columns), NaN for a run that failed


def claim(of: str, *pairs: Sequence[str], **options: Any) -> Claim:
    """A claim of a size of 0.01, at least, unless told otherwise."""
    if "within" not in options:
        options.setdefault("at_least", 0.01)
    for key in ("at_least", "within"):
        if key in options:
            options[key] = {"laptop": options[key]}
    facts = {"id": "c", "statement": "A statement.", "where": "Fig. 4"} | options
    return Claim(pairs=[list(pair) for pair in pairs], of=of, **facts)


def results(
    values: Values,
    *claims: Claim,
    x: str | None = "column",
    places: Sequence[float] = X,
    metrics: Mapping[str, Values] | None = None,
    declared: Mapping[str, Metric] | None = None,
    paper: Mapping[str, float] | None = None,
    flops: Mapping[str, float] | None = None,
) -> Results:
    """Results of metric `m` and of others.

    Args:
        declared: what evaluators say of metrics, in place of their names.
        paper: the paper's values by cell.
        flops: by row, what its place is multiplied by.
    """
    more, runs, cells = metrics or {}, dict[str, Run](), list[Cell]()
    arrays = {row: np.atleast_2d(np.asarray(of, dtype=float)) for row, of in values.items()}
    columns = max(of.shape[1] for of in arrays.values())
    seeds = max(len(of) for of in arrays.values())
    for row, of in arrays.items():
        for j in range(of.shape[1]):
            ids = {str(seed): f"{row}-c{j}-{seed}" for seed in range(len(of))}
            cell = Cell(row, f"c{j}", runs=ids, paper=(paper or {}).get(f"{row}-c{j}"))
            cells.append(cell)
            for seed, run in enumerate(ids.values()):
                if np.isnan(of[seed, j]):
                    runs[run] = Run(run, "failed", error="RuntimeError: no")
                    continue
                found = {"m": float(of[seed, j])}
                for name, rows in more.items():
                    found[name] = float(np.atleast_2d(rows[row])[seed][j])
                amount = places[j] * (flops or {}).get(row, 1.0)
                runs[run] = Run(run, "done", metrics=found, train_flops=amount, wall_s=1.0)
    known = {name: Metric(name) for name in ("m", *more)} | dict(declared or {})
    study = Study(
        title="S",
        metric="m",
        rows={row: Axis(row.upper()) for row in arrays},
        columns={f"c{j}": Axis(f"{places[j]:g}", float(places[j])) for j in range(columns)},
        paper=Paper("Fig. 4", "m"),
        cells=cells,
        x=None if x is None else XAxis(x, "Images"),
        claims=list(claims),
        seeds=list(range(seeds)),
        name="s",
        scale="laptop",
        metrics=known,
    )
    return Results(study, runs)


def single(values: Mapping[str, Sequence[float]], *claims: Claim, **options: Any) -> Results:
    """Results of one column, each row's values by seed; a claim's pairs are of cells `A-c0`."""
    columns = {row: np.asarray(of, dtype=float)[:, None] for row, of in values.items()}
    return results(columns, *claims, x=None, **options)


def with_run(found: Results, run: str, **changes: Any) -> Results:
    """The same results with another state or other numbers of one run."""
    return Results(found.study, {**found.runs, run: replace(found.runs[run], **changes)})


def with_study(found: Results, **changes: Any) -> Results:
    """The same runs under a study of which some is another."""
    return Results(replace(found.study, **changes), found.runs)


def write(found: Results, outputs: Path) -> Path:
    """Writes plan.json and the runs' files as runs leave them; returns the study's folder."""
    folder = outputs / "studies" / f"{found.study.name}-laptop"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_text(json.dumps(found.study.to_plan()))
    for run in found.runs.values():
        (outputs / "runs" / run.id).mkdir(parents=True, exist_ok=True)
        if run.state == "done":
            facts: dict[str, Any] = {"metrics": run.metrics, "params": run.params, "env": run.env}
            facts |= {"train_flops": run.train_flops, "wall_s": run.wall_s}
            text, name = json.dumps(facts), "result.json"
        else:
            text, name = json.dumps({"state": run.state, "error": run.error}), "status.json"
        (outputs / "runs" / run.id / name).write_text(text)
    return folder
