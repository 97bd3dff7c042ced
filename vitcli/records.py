"""What the files of one run say; what is missing or broken is said, never raised. No torch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitcli.files import one_line, read_record
from vitcli.status import read_status

_NUMBERS = ("params", "train_flops", "wall_s", "train_s")


@dataclass(frozen=True)
class Run:
    """What the files of one run say."""

    id: str
    state: str  # as `read_status` says; "done" wherever there is a result; "unreadable"
    error: str | None = None  # one line
    metrics: Mapping[str, Any] = field(default_factory=dict)
    params: int | None = None
    train_flops: float | None = None
    wall_s: float | None = None
    train_s: float | None = None  # of the wall time, in training
    env: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what was left out, assumed or converted
    status: Mapping[str, Any] = field(default_factory=dict)  # of one without a result

    def value(self, metric: str) -> float:
        """Returns the metric, NaN where the run has no finite number of that name."""
        found = self.metrics.get(metric)
        return float(found) if isinstance(found, int | float) and math.isfinite(found) else math.nan

    def lacks(self, metric: str) -> str | None:
        """Returns why the run has no value of the metric, None if it has one."""
        if self.state != "done":
            return self.said
        if not math.isnan(self.value(metric)):
            return None
        return f"{metric} is {self.metrics[metric]}" if metric in self.metrics else f"no {metric}"

    @property
    def said(self) -> str:
        """Returns the state, with the error if there is one."""
        return self.state + (f": {self.error}" if self.error else "")

    @property
    def failed(self) -> bool:
        """Returns whether it ended without a result, or gives a number that is not finite."""
        broken = any(isinstance(v, float) and not math.isfinite(v) for v in self.metrics.values())
        return self.state in ("failed", "lost", "unreadable") or broken


def read_run(run_id: str, runs_dir: Path) -> Run:
    """Returns what the run's files in `runs_dir` say, a problem with them as its error."""
    folder = runs_dir / run_id
    try:
        if not (folder / "result.json").exists():
            return _unfinished(run_id, folder)
        result = read_record(folder / "result.json")
        metrics, env = (_mapping(result, key) for key in ("metrics", "env"))
        known = {key: _number(result, key) for key in _NUMBERS}
        notes = _lines(result, "notes")
    except (ValueError, OSError) as error:
        return Run(run_id, "unreadable", error=one_line(error).replace(f"{folder}/", ""))
    said = {key: str(value) for key, value in env.items()}
    return Run(run_id, "done", metrics=metrics, env=said, notes=notes, **known)


def read_log(folder: Path) -> Iterator[dict[str, Any]]:
    """Yields the lines of the log of the run in `folder` that are whole, each with its step."""
    path = folder / "metrics.jsonl"
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):  # cut off by a crash
            continue
        if isinstance(record, dict) and type(record.get("step")) is int:
            yield record


def read_losses(run_id: str, runs_dir: Path) -> list[tuple[int, float]]:
    """Returns (step, training loss) of a run's log, rising; nothing where there is none."""
    found = []
    for record in read_log(runs_dir / run_id):
        try:
            found.append((record["step"], float(record["loss"])))
        # Null, as all steps were left out; no number of ours.
        except (ValueError, KeyError, TypeError, OverflowError):
            continue
    return found


def _unfinished(run_id: str, folder: Path) -> Run:
    status = read_status(folder)
    reason = one_line(status.get("error") or "")
    if status["state"] == "done":
        reason = "status.json says done, but there is no result.json"
    error = reason.replace(f"{folder}/", "") or None
    return Run(run_id, status["state"], error=error, status=status)


def _mapping(result: dict[str, Any], key: str) -> dict[str, Any]:
    value = result.get(key, {} if key == "env" else None)
    if not isinstance(value, dict):
        raise ValueError(f"result.json: {key} is {value!r}, not a mapping")
    return value


def _number(result: dict[str, Any], key: str) -> Any:
    value = result.get(key)
    if value is not None and type(value) not in (int, float):
        raise ValueError(f"result.json: {key} is {value!r}, not a number")
    return value


def _lines(result: dict[str, Any], key: str) -> tuple[str, ...]:
    value = result.get(key, [])
    if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
        raise ValueError(f"result.json: {key} is {value!r}, not a list of lines")
    return tuple(value)
