"""A study's folder and its runs' files, made up: what the report reads, without any training."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

METRIC = "fewshot/digits/5shot"
# The paper's Table 8.
TABLE_8 = {
    "none-stem": 0.61382,
    "learned_1d-stem": 0.64206,
    "learned_1d-every_layer": 0.63964,
    "learned_1d-shared": 0.64292,
    "learned_2d-stem": 0.64001,
    "learned_2d-every_layer": 0.64046,
    "learned_2d-shared": 0.64022,
    "relative-stem": 0.64032,
}
ENCODED = [["learned_1d-stem", x] for x in ("learned_2d-stem", "relative-stem")]
Folders = tuple[Path, Path]
Make = Callable[..., Folders]


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    os.utime(path, (1_700_000_000, 1_700_000_000))  # long before the report is written


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Returns a function that writes a study and returns its folder and that of the runs.

    `runs[cell][seed]` is a value of the metric, or a status to write in place of a result.
    """

    def write(runs: Mapping[str, Mapping[int, Any]], **plan: Any) -> Folders:
        cells = []
        for cell_id, seeds in runs.items():
            row, column = cell_id.rsplit("-", 1)
            ids = {str(seed): f"run-{cell_id}-s{seed}" for seed in seeds}
            paper = TABLE_8.get(cell_id)
            cells.append({"id": cell_id, "row": row, "column": column, "paper": paper, "runs": ids})
            for seed, value in seeds.items():
                folder = tmp_path / "runs" / ids[str(seed)]
                if isinstance(value, dict):
                    _write(folder / "status.json", value)
                    continue
                _write(folder / "status.json", {"state": "done"})
                result = {"metrics": {METRIC: value, "val/top1": 0.75}, "params": 201_354}
                result |= {"train_flops": 2e12, "wall_s": 30.0, "steps": 800, "images": 51_200}
                env = {"torch": "2.15.0", "device": "cpu", "commit": "0123abc"}
                _write(folder / "result.json", result | {"env": env})
        rows = {"none": "none", "learned_1d": "1-D", "learned_2d": "2-D", "relative": "relative"}
        columns = {"stem": "stem", "every_layer": "every layer", "shared": "every layer, shared"}
        study: dict[str, Any] = {
            "study": "pos-emb",
            "title": "Position embedding: kind and place",
            "scale": "laptop",
            "overrides": [],
            "metric": METRIC,
            "metric_label": "5-shot linear top-1 on digits",
            "setting": "upstream: glyphs, 60,000 images; model nano",
            "differences": ["Glyphs stand in for JFT-300M."],
            "seeds": sorted({seed for seeds in runs.values() for seed in seeds}),
            "rows": [{"id": key, "label": label} for key, label in rows.items()],
            "columns": [{"id": key, "label": label} for key, label in columns.items()],
            "cells": cells,
            "paper": {"where": "Table 8", "metric": "ImageNet 5-shot linear top-1", "n": 1},
            "claims": [
                {
                    "id": "position-matters",
                    "statement": "Some position information is much better than none.",
                    "where": "D.4, Table 8",
                    "test": "greater",
                    "pairs": [["learned_1d-stem", "none-stem"]],
                    "alpha": 0.05,
                },
                {
                    "id": "kind-does-not-matter",
                    "statement": "Which kind makes no difference.",
                    "where": "D.4, Table 8",
                    "test": "equivalent",
                    "pairs": ENCODED,
                    "margin": 0.04,
                    "alpha": 0.05,
                },
            ],
        }
        folder = tmp_path / "studies" / "pos-emb-laptop"
        _write(folder / "plan.json", study | plan)
        return folder, tmp_path / "runs"

    return write


@pytest.fixture
def whole() -> dict[str, dict[int, Any]]:
    """Returns three seeds of every cell, `none` 0.15 below the others, noise of about 0.005."""
    noise = (0.004, -0.006, 0.001, 0.005, -0.002, -0.004, 0.003)
    return {
        cell_id: {
            seed: round(0.52 + 0.15 * (cell_id != "none-stem") + noise[(3 * i + 2 * seed) % 7], 4)
            for seed in range(3)
        }
        for i, cell_id in enumerate(TABLE_8)
    }
