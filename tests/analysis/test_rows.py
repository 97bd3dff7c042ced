"""runs.csv and `vitcli.results`: one tidy row a run, with all that is known of it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from made_up import results, write

import vitcli
from vitcli.analysis.rows import rows, to_csv

VALUES = {"vit": [[0.1, 0.2], [0.3, np.nan]], "bit": [[0.5, 0.6], [0.7, 0.8]]}


def test_a_row_has_its_cell_seed_x_cost_settings_and_metrics() -> None:
    found = results(VALUES, metrics={"val/top1": {"vit": np.ones((2, 2)), "bit": np.ones((2, 2))}})
    for cell in found.study.cells:
        cell.settings = {"model.name": cell.row}
    first, *rest = rows(found)
    assert first == {
        "kind": "cell", "cell": "vit-c0", "row": "vit", "column": "c0", "seed": 0, "x": 1e3,
        "train_flops": 1e3, "params": None, "model.name": "vit", "m": 0.1, "val/top1": 1.0,
        "seconds": 1.0, "state": "done", "error": None, "path": "runs/vit-c0-0",
    }  # fmt: skip
    failed = next(row for row in rest if row["path"] == "runs/vit-c1-1")
    assert (failed["state"], failed["error"], failed["m"]) == ("failed", "RuntimeError: no", None)
    assert len(rest) == 7


def test_the_csv_is_the_same_table() -> None:
    found = results(VALUES)
    read = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert [row["path"] for row in read] == [row["path"] for row in rows(found)]
    assert [row["m"] for row in read if row["cell"] == "bit-c1"] == ["0.6", "0.8"]
    assert {row["m"] for row in read if row["state"] == "failed"} == {""}


def test_results_in_python_are_those_of_the_newest_plan(tmp_path: Path) -> None:
    found = results(VALUES)
    folder = write(found, tmp_path)
    assert vitcli.results("s", tmp_path) == rows(found)
    assert vitcli.results(folder.name, str(tmp_path)) == rows(found)


def test_results_of_what_is_not_planned(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no plan of 'pos-emb': nothing is planned"):
        vitcli.results("pos-emb", tmp_path)
