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


def labels(of: Mapping[str, str], **values: float) -> list[dict[str, Any]]:
    """Returns rows or columns as plan.json has them."""
    return [{"id": key, "label": text, "value": values.get(key)} for key, text in of.items()]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Returns a function that writes a study and returns its folder and that of the runs.

    `runs[cell][seed]` is a value of the metric, or a status to write in place of a result;
    `also` gives a cell's and seed's further metrics.
    """

    def write(
        runs: Mapping[str, Mapping[int, Any]],
        also: Callable[[str, int], dict[str, float]] = lambda cell, seed: {},
        **plan: Any,
    ) -> Folders:
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
                metrics = {METRIC: value, "val/top1": 0.75} | also(cell_id, seed)
                result = {"metrics": metrics, "params": 201_354}
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
            "mode": None,
            "figure": "bars",
            "x": None,
            "tables": {},
            "sources": {},
            "rows": labels(rows),
            "columns": labels(columns),
            "cells": cells,
            "paper": {
                "where": "Table 8",
                "metric": "ImageNet 5-shot linear top-1",
                "n": 1,
                "curve": None,
            },
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
        folder = tmp_path / "studies" / f"{plan.get('study', 'pos-emb')}-laptop"
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


@pytest.fixture
def curve() -> dict[str, Any]:
    """Returns `make`'s arguments for five rows over six sizes of three seeds, two of them equal."""
    rows = {
        "vit_nano": "ViT nano",
        "vit_micro": "ViT micro",
        "bit_nano": "BiT nano",
        "bit_micro": "BiT micro",
        "hybrid": "Hybrid nano",
    }
    sizes = {f"c{size}": float(size) for size in (1000, 3000, 10_000, 30_000, 100_000, 300_000)}
    noise = (0.012, -0.018, 0.003, 0.015, -0.006, -0.012, 0.009)
    runs = {
        f"{row}-{column}": {
            seed: 0.45
            + (0.055 - 0.018 * (i // 2)) * j
            + 0.06 * (i // 2)
            + 0.4 * noise[(3 * i + 2 * seed + j) % 7]
            for seed in range(3)
        }
        for i, row in enumerate(rows)
        for j, column in enumerate(sizes)
    }
    return {
        "runs": runs,
        "study": "data-scaling",
        "title": "Data against the convolution's prior",
        "mode": "fewshot",
        "figure": "curve",
        "x": {"of": "column", "label": "Images upstream"},
        "tables": {"val/top1": "upstream validation top-1"},
        "rows": labels(rows),
        "columns": labels({key: f"{size:,.0f}" for key, size in sizes.items()}, **sizes),
        "paper": {
            "where": "Table 6",
            "metric": "top-1, mean of five sets, fine-tuned",
            "n": 1,
            "curve": {"table": "table6", "x": "exaflops", "y": "average"},
        },
        "claims": [
            {
                "id": "data-crossing",
                "statement": "With little data the ResNet leads, with much the ViT.",
                "where": "Figs. 3 and 4",
                "test": "greater",
                "pairs": [["vit_nano-c300000", "bit_nano-c300000"]],
                "alpha": 0.05,
            }
        ],
    }
