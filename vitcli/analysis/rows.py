"""A study's runs as one tidy table: runs.csv, and `vitcli.results` in Python."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from vitcli.analysis.axes import place
from vitcli.analysis.results import Results
from vitcli.schema import Cell


def rows(results: Results) -> list[dict[str, Any]]:
    """Returns a row for each cell and seed, then for each run from scratch and each source.

    Keys: kind (cell, scratch, source), cell, row, column, seed, x, train_flops, params, each
    setting that varies, each metric, seconds, state, error, path (in outputs). None: not known.
    """
    settings = list(dict.fromkeys(key for c in results.study.cells for key in c.settings))
    metrics = _metrics(results)
    found = []
    for kind, cell, seed, run_id in _runs(results):
        run = results.runs[run_id]
        row: dict[str, Any] = {"kind": kind, "cell": None, "row": None, "column": None}
        if cell is not None:
            row |= {"cell": cell.id, "row": cell.row, "column": cell.column}
        row |= {"seed": seed, "x": place(results, cell) if cell and kind == "cell" else None}
        row |= {"train_flops": run.train_flops, "params": run.params}
        of_cell = cell.settings if cell is not None and kind == "cell" else {}
        row |= {key: of_cell.get(key) for key in settings}
        row |= {name: run.metrics.get(name) for name in metrics}
        row |= {"seconds": run.wall_s, "state": run.state, "error": run.error}
        row["path"] = f"runs/{run.id}"
        found.append(row)
    return found


def to_csv(results: Results) -> str:
    """Returns the rows as csv, with a header; what is not known is empty."""
    table, out = rows(results), io.StringIO()
    writer = csv.DictWriter(out, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return out.getvalue()


def _runs(results: Results) -> Iterator[tuple[str, Cell | None, int | None, str]]:
    seen: set[str] = set()
    for cell in results.study.cells:
        for seed, run in cell.runs.items():
            yield "cell", cell, int(seed), run
    for cell in results.study.cells:
        for seed, run in cell.scratch.items():
            if run not in seen:
                seen.add(run)
                yield "scratch", cell, int(seed), run
    for run in results.study.sources:
        yield "source", None, None, run


def _metrics(results: Results) -> list[str]:
    """Returns the metrics of any run, the study's first, then as its evaluators declare them."""
    there = {name for run in results.runs.values() for name in run.metrics}
    first = [results.study.metric, *results.study.tables, *results.study.metrics]
    known = [name for name in dict.fromkeys(first) if name in there]
    return [*known, *sorted(there - set(known))]
