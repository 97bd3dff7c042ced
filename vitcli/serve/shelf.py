"""Runs and studies as their files say it now. What did not change is not read again. No torch.

Files may vanish, be half there or be anybody's: then the run or the study says so, and the others
are shown. Links inside a run's folder are not followed, as they may lead out of outputs.
"""

from __future__ import annotations

import json
import math
import os
import stat
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitcli.files import is_name, one_line, read_record
from vitcli.frozen import read_settings
from vitcli.records import Run, read_losses, read_run
from vitcli.schema import Study
from vitcli.status import read_status

Stamp = tuple[int, int, int] | None
_POINTS = 500  # of a curve, more than a screen shows
_SHOWN = ("step", "num_steps", "images_per_s", "loss")  # of a status


class Link(OSError):
    """What should be a plain file is a link, a folder or the like."""


@dataclass(frozen=True)
class _Read:
    """A run as it was read, and the stamps of the files that it was read from."""

    stamps: tuple[Stamp, ...]
    run: Run
    status: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Planned:
    """A study as it was read; `runs` of one that can be read, else its `problem`."""

    stamps: tuple[Stamp, ...]
    facts: Mapping[str, Any]
    runs: frozenset[str] = frozenset()


class Shelf:
    """The runs and studies in a folder, for several threads. None of its methods raises OSError.

    Args:
        outputs: the folder, without links in its own path.
    """

    def __init__(self, outputs: Path) -> None:
        self.outputs, self._runs_dir = outputs, outputs / "runs"
        self._runs: dict[str, _Read] = {}
        self._settings: dict[str, tuple[Stamp, dict[str, Any]]] = {}
        self._studies: dict[str, _Planned] = {}
        self._guard = threading.Lock()

    def overview(self, metric: str = "", patience: float = 0.0) -> dict[str, Any]:
        """Returns all studies and runs as JSON values.

        Args:
            metric: whose values the runs have; if there is no such, that of a study, or of most.
            patience: seconds to read config.yaml files, of which each takes 2.5 ms; a later call
                reads on.
        """
        with self._guard:
            self._look()
            unread = self._read_settings(patience)
            names = _by_count(name for read in self._runs.values() for name in read.run.metrics)
            wanted = [metric, *(str(s.facts["metric"]) for s in self._studies.values()), *names]
            chosen = next((name for name in wanted if name in names), "")
            states = {name: read.run.state for name, read in self._runs.items()}
            return {
                "studies": [_study(one, states) for one in self._studies.values()],
                "runs": [self._row(name, chosen) for name in self._runs],
                "metrics": sorted(names),
                "metric": chosen,
                "unread": unread,
            }

    def compare(self, names: Sequence[str]) -> dict[str, Any]:
        """Returns the runs with metrics, losses and settings. Raises KeyError: there is no such."""
        with self._guard:
            self._look()
            rows = [self._row(name, "") for name in names]
            settings = [self._settings_of(name) for name in names]
            runs = [self._runs[name].run for name in names]
        keys = dict.fromkeys(key for known in settings for key in known)
        found: list[dict[str, Any]] = []
        for row, run in zip(rows, runs, strict=True):
            metrics = {name: _finite(run.metrics[name]) for name in run.metrics}
            found.append(row | {"metrics": metrics, "losses": self._losses(run.id)})
        table = [[key, *(_text(known, key) for known in settings)] for key in keys]
        return {"runs": found, "settings": table}

    def _look(self) -> None:
        """Reads what is new or has changed, and forgets what is gone."""
        runs = dict(sorted(_folders(self._runs_dir)))
        self._runs = {name: self._read(name, linked) for name, linked in runs.items()}
        studies = sorted(name for name, linked in _folders(self.outputs / "studies") if not linked)
        found = {name: self._plan(name) for name in studies}
        self._studies = {name: one for name, one in found.items() if one is not None}
        for name in self._settings.keys() - runs.keys():
            del self._settings[name]

    def _read(self, name: str, linked: bool) -> _Read:
        folder, before = self._runs_dir / name, self._runs.get(name)
        try:
            if linked and not folder.resolve().is_relative_to(self.outputs):
                raise Link("its folder is a link that leads out of outputs")
            stamps = tuple(stamp(folder / file) for file in ("result.json", "status.json"))
            # Whether a process holds a running one is not seen by its files.
            if before and before.stamps == stamps and before.run.state != "running":
                return before
            run = read_run(name, self._runs_dir)
            return _Read(stamps, run, run.status or read_status(folder))
        except Exception as error:  # of anybody's files; one run must not hide all others
            return _Read((), Run(name, "unreadable", error=one_line(error)))

    def _plan(self, name: str) -> _Planned | None:
        """Returns the study in the folder of that name, None if none is planned there."""
        folder, before = self.outputs / "studies" / name, self._studies.get(name)
        report = folder / "report"
        paths = (folder / "plan.json", report / "claims.json", report / "report.html")
        facts: dict[str, Any] = {"folder": name, "title": name, "metric": "", "verdicts": []}
        try:
            stamps = tuple(stamp(path) for path in paths)
            if stamps[0] is None:
                return None
            if before and before.stamps == stamps:
                return before
            study = Study.from_plan(paths[0])
            facts |= {"title": study.title, "scale": study.scale, "metric": study.metric}
            facts |= {"report": stamps[2] is not None, "verdicts": _verdicts(paths[1])}
            return _Planned(stamps, facts, frozenset(study.run_ids))
        except Exception as error:  # as above
            said = one_line(error).replace(f"{folder}/", "")
            return _Planned((), facts | {"problem": said})

    def _row(self, name: str, metric: str) -> dict[str, Any]:
        read = self._runs[name]
        known = self._settings.get(name, (None, {}))[1]
        run, value = read.run, _finite(read.run.metrics.get(metric))
        return {
            "id": name,
            "state": run.state,
            "error": run.error,
            "model": _of_kind(str, known.get("model.name")),
            "data": _of_kind(str, known.get("data.alias") or known.get("data.name")),
            "size": _of_kind(int, known.get("data.size")),
            "seed": _of_kind(int, known.get("seed")),
            "value": value,
            "params": _finite(run.params),
            "seconds": _finite(run.wall_s or read.status.get("train_seconds")),
            **{key: _finite(read.status.get(key)) for key in _SHOWN},
            "studies": [one for one, study in self._studies.items() if name in study.runs],
        }

    def _read_settings(self, seconds: float) -> int:
        """Reads config.yaml files for so long; returns how many are left for the next call."""
        until, left = time.monotonic() + seconds, 0
        for name in self._runs:
            if time.monotonic() < until:
                self._settings_of(name)
            else:
                left += name not in self._settings
        return left

    def _settings_of(self, name: str) -> dict[str, Any]:
        """Returns the run's settings by dotted key, nothing where they cannot be read."""
        path, (before, known) = (
            self._runs_dir / name / "config.yaml",
            self._settings.get(name, (None, {})),
        )
        found: dict[str, Any] = {}
        now: Stamp = None
        if self._runs[name].stamps:  # else its folder may lead out
            try:
                now = stamp(path)
                if now is not None and now == before:
                    return known
                found = read_settings(path) if now else {}
            except Exception:  # as above; the page shows that there are none
                found = {}
        self._settings[name] = (now, found)
        return found

    def _losses(self, name: str) -> list[list[float]]:
        """Returns [step, loss] of a run's log, thinned out to what a screen can show."""
        try:
            there = self._runs[name].stamps and stamp(self._runs_dir / name / "metrics.jsonl")
            found = read_losses(name, self._runs_dir) if there else []
        except (OSError, KeyError):  # a link, gone by now, not ours to read
            return []
        points = [[step, loss] for step, loss in found if math.isfinite(loss)]
        every = math.ceil(len(points) / _POINTS) or 1
        thin = points[::every]
        return thin if not points or thin[-1] == points[-1] else [*thin, points[-1]]


def stamp(path: Path) -> Stamp:
    """Returns what tells whether a file has changed, None where there is none. Raises Link."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(found.st_mode):
        raise Link(f"{path.name} is no plain file")
    return found.st_mtime_ns, found.st_size, found.st_ino


def _folders(parent: Path) -> list[tuple[str, bool]]:
    """Returns names of the folders in `parent`, and whether each is a link."""
    try:
        with os.scandir(parent) as entries:
            found = [(e.name, e.is_symlink()) for e in entries if is_name(e.name) and e.is_dir()]
            return [(name, linked) for name, linked in found if _is_text(name)]
    except OSError:
        return []


def _is_text(name: str) -> bool:
    """Returns whether a page can name it: no bytes that are no UTF-8."""
    return not any("\ud800" <= sign <= "\udfff" for sign in name)


def _verdicts(path: Path) -> list[dict[str, str]]:
    """Returns word and statement of each claim, as the last whole report has them."""
    if stamp(path) is None:
        return []
    claims = read_record(path)["claims"]
    return [
        {"word": str(each["verdict"]), "statement": str(each["claim"]["statement"])}
        for each in claims
    ]


def _study(one: _Planned, states: Mapping[str, str]) -> dict[str, Any]:
    """Returns a study with how many of its runs are in which state."""
    counts = Counter(states.get(run, "planned") for run in one.runs)
    return {**one.facts, "runs": len(one.runs), "counts": dict(sorted(counts.items()))}


def _by_count(names: Any) -> list[str]:
    return [name for name, _ in Counter(names).most_common()]


def _of_kind(kind: type, value: Any) -> Any:
    """Returns the value, None if a config that somebody edited has one of another kind."""
    return value if isinstance(value, kind) else None


def _finite(value: Any) -> Any:
    """Returns the number if JavaScript has it, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < 2**1000 else None  # not of NaN, and no overflow either


def _text(known: Mapping[str, Any], key: str) -> str | None:
    """Returns a setting in print, None where the run has no such."""
    if key not in known:
        return None
    value = known[key]
    return value if isinstance(value, str) else json.dumps(value, default=str)
