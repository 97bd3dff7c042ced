"""Reads what the files of one run say; what is missing or broken is said, never raised."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vitcli.files import read_json
from vitcli.status import read_status


@dataclass(frozen=True)
class Run:
    """What the files of one run say. Either `value`, the study's metric, or `error` may be set."""

    id: str
    state: str  # as `read_status` says; "done" wherever there is a result; "unreadable"
    value: float | None = None
    error: str | None = None  # one line
    metrics: Mapping[str, Any] = field(default_factory=dict)
    params: int | None = None
    train_flops: float | None = None
    wall_s: float | None = None
    env: Mapping[str, str] = field(default_factory=dict)


def read_run(run_id: str, metric: str, runs_dir: Path) -> Run:
    """Returns what the run's files in `runs_dir` say, a problem with them as its error."""
    folder = runs_dir / run_id
    try:
        if not (folder / "result.json").exists():
            return _unfinished(run_id, folder)
        result = read_json(folder / "result.json")
        if not isinstance(result, dict) or not isinstance(result.get("metrics"), dict):
            raise ValueError("result.json has no metrics")
    except ValueError as error:
        reason = _one_line(error).replace(f"{folder}/", "")
        return Run(run_id, "unreadable", error=reason)
    run = Run(
        run_id,
        "done",
        metrics=result["metrics"],
        params=result.get("params"),
        train_flops=result.get("train_flops"),
        wall_s=result.get("wall_s"),
        env={key: str(value) for key, value in result.get("env", {}).items()},
    )
    return measured(run, metric)


def measured(run: Run, metric: str) -> Run:
    """Returns the run with its value of `metric`, or the reason why there is none."""
    if run.state != "done":
        return run
    value, found = run.metrics.get(metric), metric in run.metrics
    if isinstance(value, int | float) and math.isfinite(value):
        return replace(run, value=float(value), error=None)
    problem = f"{metric} is {value}" if found else f"result.json has no metric {metric}"
    return replace(run, value=None, error=problem)


def _unfinished(run_id: str, folder: Path) -> Run:
    try:
        status = read_status(folder)
    except (KeyError, TypeError) as error:
        raise ValueError(f"status.json is not a run's ({_one_line(error)})") from error
    reason = _one_line(status.get("error") or "")
    if status["state"] == "done":
        reason = "status.json says done, but there is no result.json"
    return Run(run_id, status["state"], error=reason or None)


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
