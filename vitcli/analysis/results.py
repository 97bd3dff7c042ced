"""A study and what its runs have found so far, as arrays over seeds and cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitcli.analysis.intervals import Array
from vitcli.records import Run, read_run
from vitcli.schema import Cell, Study


@dataclass(frozen=True)
class Results:
    """A study, and its runs by id: those of its cells, of their sources, and from scratch."""

    study: Study
    runs: Mapping[str, Run]

    @property
    def finished(self) -> int:
        """Returns how many of the runs have a result."""
        return sum(run.state == "done" for run in self.runs.values())

    @property
    def seeds(self) -> list[str]:
        """Returns the seeds, as the cells' runs are named by."""
        return [str(seed) for seed in self.study.seeds]

    def run(self, cell: Cell, seed: str) -> Run:
        """Returns the cell's run of a seed; one that is not planned has no state."""
        return self.runs.get(cell.runs.get(seed, ""), Run("", "not planned"))

    def of_cells(self) -> list[Run]:
        """Returns the cells' runs, each once even where cells share it."""
        ids = dict.fromkeys(run for cell in self.study.cells for run in cell.runs.values())
        return [self.runs[run] for run in ids]

    def values(self, cells: Sequence[Cell], metrics: Sequence[str]) -> Array:
        """Returns the mean over the metrics by seed and cell, (S, K); NaN where a run lacks one."""
        found = [
            [[self.run(cell, seed).value(name) for name in metrics] for cell in cells]
            for seed in self.seeds
        ]
        shape = (len(self.seeds), len(cells), len(metrics))
        return np.asarray(np.mean(np.reshape(found, shape), axis=-1))

    def mean(self, cell: Cell, metric: str, scratch: bool = False) -> float | None:
        """Returns the mean over the seeds that have a value; None if there is none.

        Args:
            scratch: of the cell's runs from scratch.
        """
        ids = cell.scratch if scratch else cell.runs
        values = [self.runs[run].value(metric) for run in ids.values()]
        finite = [value for value in values if not np.isnan(value)]
        return float(np.mean(finite)) if finite else None

    def correlation(self) -> float | None:
        """Returns how much of a cell's variance over the seeds all cells share, in [-1, 1].

        By the mean squares of seeds and of what they leave; None with under three whole seeds.
        Cells that are the same runs count once.
        """
        different = {tuple(cell.runs.values()): cell for cell in self.study.cells}
        values = self.values(list(different.values()), [self.study.metric])
        values = values[np.isfinite(values).all(axis=1)]
        n, k = values.shape
        apart = values - values.mean(axis=0) if n > 2 and k > 1 else np.zeros((0, 2))
        of_seeds = k * float(np.sum(apart.mean(axis=1) ** 2)) / max(n - 1, 1)
        rest = float(np.sum((apart - apart.mean(axis=1, keepdims=True)) ** 2))
        rest /= max((n - 1) * (k - 1), 1)
        return (of_seeds - rest) / (of_seeds + (k - 1) * rest) if of_seeds + rest > 0 else None

    def row(self, row: str) -> list[Cell]:
        """Returns the row's cells."""
        return [cell for cell in self.study.cells if cell.row == row]


def read_results(study: Study, runs_dir: Path) -> Results:
    """Returns the results of a plan, written to a file or not."""
    return Results(study, {run: read_run(run, runs_dir) for run in study.run_ids})
