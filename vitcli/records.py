"""What the files of one run say; what is missing or broken is said, never raised. No torch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitcli.files import LARGEST, is_number, one_line, read_record
from vitcli.status import read_status

_STEPS = 1 << 63  # how many can be drawn
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
        """Returns the metric, NaN where the run has no number of that name, or no finite one."""
        found: Any = self.metrics.get(metric)
        return float(found) if is_number(found) else math.nan

    def lacks(self, metric: str) -> str | None:
        """Returns why the run has no value of the metric, None if it has one."""
        if self.state != "done":
            return self.said
        if not math.isnan(self.value(metric)):
            return None
        if metric not in self.metrics:
            return f"no {metric}"
        return f"{metric} is {self.metrics[metric]!s:.40}"

    @property
    def said(self) -> str:
        """Returns the state, with the error if there is one."""
        return self.state + (f": {self.error}" if self.error else "")

    @property
    def failed(self) -> bool:
        """Returns whether it ended without a result, or gives a number that is not finite."""
        numbers = [value for value in self.metrics.values() if type(value) in (int, float)]
        broken = not all(map(is_number, numbers))
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
        step = record.get("step") if isinstance(record, dict) else None
        if type(step) is int and 0 <= step < _STEPS:
            yield record


def read_losses(run_id: str, runs_dir: Path) -> list[tuple[int, float]]:
    """Returns (step, training loss) of a run's log, rising; nothing where there is none."""
    log = ((record["step"], record.get("loss")) for record in read_log(runs_dir / run_id))
    # Null, as all steps were left out; no number of ours.
    return [(step, float(loss)) for step, loss in log if is_number(loss)]


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
        raise ValueError(f"result.json: {key} is {value!r:.40}, not a mapping")
    return value


def _number(result: dict[str, Any], key: str) -> Any:
    value = result.get(key)
    if value is not None and not is_number(value, 0):
        raise ValueError(f"result.json: {key} is {value!r:.40}, not a number from 0 to {LARGEST:g}")
    return value


def _lines(result: dict[str, Any], key: str) -> tuple[str, ...]:
    value = result.get(key, [])
    if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
        raise ValueError(f"result.json: {key} is {value!r:.40}, not a list of lines")
    return tuple(value)
