"""The losses of all runs: as logged, by row, whatever is missing or cut off."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from matplotlib.collections import LineCollection

from vitcli.analysis.results import Results
from vitcli.report import losses


def log(runs: Path, run: str, *points: tuple[int, float], end: str = "") -> None:
    (runs / run).mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"step": step, "loss": loss, "lr": 0.1}) for step, loss in points]
    (runs / run / "metrics.jsonl").write_text("\n".join([*lines, end]))


def test_a_line_a_run_over_its_share_of_the_training(curve: Results, tmp_path: Path) -> None:
    log(tmp_path, "vit_nano-c0-0", (10, 2.0), (20, 1.0))
    log(tmp_path, "vit_nano-c1-1", (10, 2.5), (40, 0.5), end='{"step": 50, "lo')
    log(tmp_path, "hybrid-c0-0", (5, 3.0))
    found = losses.read(curve, tmp_path)
    assert {row: len(logs) for row, logs in found.items()} == {"vit_nano": 2, "hybrid": 1}
    ax = losses.draw(curve, found).axes[0]
    lines = [
        line for c in ax.collections if isinstance(c, LineCollection) for line in c.get_paths()
    ]
    assert [np.asarray(line.vertices).tolist() for line in lines[:2]] == [
        [[0.5, 2.0], [1.0, 1.0]],
        [[0.25, 2.5], [1.0, 0.5]],
    ]
    legend = ax.get_legend()
    assert legend is not None
    assert [t.get_text() for t in legend.get_texts()] == ["VIT_NANO", "HYBRID"]


def test_runs_without_a_log_are_left_out(curve: Results, tmp_path: Path) -> None:
    assert losses.read(curve, tmp_path) == {}
