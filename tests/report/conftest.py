"""Studies whose runs are made up: what the report draws and writes, without any training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_up import claim, results, with_study

from vitcli.analysis.results import Results
from vitcli.schema import Axis, Cell, Curve, Metric, Paper

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
ROWS = {"none": "none", "learned_1d": "1-D", "learned_2d": "2-D", "relative": "relative"}
COLUMNS = {"stem": "stem", "every_layer": "every layer", "shared": "every layer, shared"}
NOISE = (0.004, -0.006, 0.001, 0.005, -0.002, -0.004, 0.003)
NULLS = {"raw pixels": "pixels", "untrained": "untrained"}


@pytest.fixture
def whole() -> Results:
    """Five seeds of every cell, `none` 0.15 below the others, noise of about 0.005; two nulls."""
    values = {
        cell: [0.52 + 0.15 * (cell != "none-stem") + NOISE[(3 * i + 2 * s) % 7] for s in range(5)]
        for i, cell in enumerate(TABLE_8)
    }
    one = {cell: np.asarray(of)[:, None] for cell, of in values.items()}
    found = results(
        one,
        claim("difference", ["learned_1d-stem", "none-stem"], id="position", at_least=0.04),
        claim("difference", ["learned_1d-stem", "relative-stem"], id="kind", within=0.04),
        x=None,
        metrics={
            "pixels": {cell: np.full((5, 1), 0.4) for cell in values},
            "untrained": {cell: np.full((5, 1), 0.3 + 0.01 * i) for i, cell in enumerate(values)},
        },
        declared={"m": Metric("5-shot linear top-1 on digits", nulls=NULLS, transferred=True)},
    )
    cells, runs = list[Cell](), {}
    for cell in found.study.cells:  # of a single column: given the table's rows and columns
        name = cell.row
        row, column = name.rsplit("-", 1)
        cells.append(replace(cell, row=row, column=column, paper=TABLE_8[name]))
        env = {"torch": "2.15.0", "device": "cpu", "commit": "0123abc"}
        for run in cell.runs.values():
            runs[run] = replace(found.runs[run], params=201_354, wall_s=30.0, env=env)
    return with_study(
        Results(found.study, runs),
        title="Position embedding: kind and place",
        name="pos-emb",
        setting="upstream: glyphs, 60,000 images; model nano",
        rows={key: Axis(label) for key, label in ROWS.items()},
        columns={key: Axis(label) for key, label in COLUMNS.items()},
        cells=cells,
        tables=["pixels"],
        differences=["Glyphs stand in for JFT-300M."],
        paper=Paper("Table 8", "ImageNet 5-shot linear top-1"),
    )


@pytest.fixture
def curve() -> Results:
    """Five rows over five sizes of three seeds, two of the rows equal; the paper's own curves."""
    rows = ["vit_nano", "vit_micro", "bit_nano", "bit_micro", "hybrid"]
    values = {
        row: np.array(
            [
                [
                    0.45 + (0.055 - 0.018 * (i // 2)) * j + 0.06 * (i // 2)
                    + 0.4 * NOISE[(3 * i + 2 * seed + j) % 7]
                    for j in range(5)
                ]
                for seed in range(3)
            ]
        )
        for i, row in enumerate(rows)
    }  # fmt: skip
    more: dict[str, Any] = {"val/top1": values}
    found = results(values, claim("slope", ["vit_nano", "bit_nano"], id="data"), metrics=more)
    return with_study(
        found,
        title="Data against the convolution's prior",
        name="data-scaling",
        metrics={**found.study.metrics, "m": Metric("5-shot linear top-1 on digits")},
        tables=["val/top1"],
        paper=Paper(
            "Table 6",
            "top-1, mean of five sets, fine-tuned",
            curve=Curve("table6", "exaflops", "average"),
        ),
    )
