"""The losses of all runs: as logged, by row, whatever is missing or cut off."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from made_up import with_run
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


def test_a_run_that_has_not_ended_ends_before_the_axis_does(curve: Results, tmp_path: Path) -> None:
    log(tmp_path, "vit_nano-c0-0", (0, 3.0), (10, 2.0), (30, 1.0))
    under_way = with_run(curve, "vit_nano-c0-0", state="running", status={"num_steps": 100})
    (points,) = losses.read(under_way, tmp_path)["vit_nano"]
    assert points == [(0.0, 3.0), (0.1, 2.0), (0.3, 1.0)]
    failed = with_run(curve, "vit_nano-c0-0", state="failed", status={})
    assert losses.read(failed, tmp_path)["vit_nano"][0][-1] == (1.0, 1.0)


def test_runs_without_a_log_are_left_out(curve: Results, tmp_path: Path) -> None:
    assert losses.read(curve, tmp_path) == {}
