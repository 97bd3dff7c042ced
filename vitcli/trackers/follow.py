"""A tracker told of a run by a thread of its own: training never waits for it, and never fails."""

from __future__ import annotations

import math
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vitcli.config import RunConfig
from vitcli.files import one_line, read_record, write_record
from vitcli.identity import flat, is_free
from vitcli.records import read_log
from vitcli.trackers import About, Tracker, make_tracker

_MOST = 10_000  # new lines that wait for a tracker: 2 MB
_PATIENCE = {"done": 30.0, "failed": 5.0, "interrupted": 5.0}  # seconds, at the end of a run
_KEEPS = "tracked.json"  # in a run's folder, and a study's: whose group it has, and which tracker
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW", re.IGNORECASE)
_IN_URL = re.compile(r"//[^/@\s]+@")


class Follower:
    """Tells a tracker of a run; a tracker that fails is tried again with each line that comes.

    Args:
        name: which tracker.
        about: the run.
        warn: says a line: once when it fails, once if lines are missing at the end.
        tracker: what is told; None: the one of that name, made in the thread.
        before: lines that the run's log holds already.
        report: a study's folder `report/`, to be attached; then there is no run.
    """

    def __init__(
        self,
        name: str,
        about: About,
        warn: Callable[[str], None],
        tracker: Tracker | None = None,
        before: Iterable[Mapping[str, Any]] = (),
        report: Path | None = None,
    ) -> None:
        self._name, self._about, self._warn, self._tracker = name, about, warn, tracker
        self._lines = deque(before)
        self._most = len(self._lines) + _MOST
        self._dropped, self._why = 0, ""
        self._last: int | None = None  # step that the tracker holds; None: it has not begun
        self._report = report
        self._end: tuple[str, Mapping[str, float]] | None = None
        self._told = threading.Event()  # all of it
        self._news = threading.Event()
        self._news.set()  # begin at once
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def send(self, record: Mapping[str, Any]) -> None:
        """Takes a line of the log; returns at once."""
        if len(self._lines) < self._most:
            self._lines.append(record)
        else:
            self._dropped += 1
        self._news.set()

    def end(self, state: str, final: Mapping[str, float] | None = None) -> None:
        """Ends the tracker's run; waits for 30 s at most, for 5 if training was stopped or failed.

        Args:
            state: `done`, `interrupted` or `failed`.
            final: the last numbers.
        """
        if self._end is not None:  # a signal while its end was waited for
            return
        self._end = state, final or {}
        self._news.set()
        self._thread.join(_PATIENCE[state])
        missing = self._dropped + len(self._lines)
        if not self._told.is_set() and self._report is not None:
            why = self._why or f"no answer in {_PATIENCE[state]:g} s"
            self._warn(
                f"tracker={self._name}: {why}; the report was not attached; `vitcli report` tries "
                "again"
            )
        elif not self._told.is_set():
            self._warn(
                f"tracker={self._name}: {self._about.id} is not complete there, {missing} lines of "
                "its log and its end are missing; metrics.jsonl and result.json have all"
            )
        elif missing:
            self._warn(f"tracker={self._name}: it lacks {missing} lines of {self._about.id}")

    def _work(self) -> None:
        ended = False
        while not (ended or self._told.is_set()):
            self._news.wait()
            self._news.clear()
            ended = self._end is not None
            try:
                self._deliver()
            except Exception as error:
                first = not self._why
                self._why = without_secrets(f"{type(error).__name__}: {error}")
                if first and self._report is None:
                    said = f"{self._why}; the run goes on, and tries it again"
                    self._warn(f"tracker={self._name}: {said}")

    def _deliver(self) -> None:
        """Tells the tracker all that there is. What it fails at stays, to be told again."""
        if self._tracker is None:
            self._tracker = make_tracker(self._name)
        if self._last is None:
            self._last = self._tracker.start(self._about)
        while self._lines:
            step = int(self._lines[0]["step"])
            if step > self._last:
                self._tracker.log(step, _numbers(self._lines[0], leave=("step",)))
                self._last = step
            self._lines.popleft()
        if self._end is not None:
            state, final = self._end
            if self._report is not None:
                self._tracker.attach(self._report)
            self._tracker.finish(state, max(self._last, 0), _numbers(final))
            self._told.set()


def follow(
    config: RunConfig, folder: Path, step: int, warn: Callable[[str], None]
) -> Follower | None:
    """Returns what tells the config's tracker of the run in `folder`; None: it has none.

    The tracker is told first of what the log holds up to `step`, as far as it lacks it.
    """
    if config.tracker == "none":
        return None
    about = About(folder.name, _place(config.outputs), _group(folder), _settings(config))
    before = [record for record in read_log(folder) if record["step"] <= step]
    return Follower(config.tracker, about, warn, before=before)


def keep_group(folder: Path, group: str | None) -> None:
    """Writes into a run's folder which study it is tracked under, unless it says so already.

    A run that two studies share stays where it began.
    """
    if not (folder / _KEEPS).exists():
        write_record(folder / _KEEPS, {"group": group})


def track_report(study: Path, tracker: str | None, warn: Callable[[str], None]) -> None:
    """Attaches a study's report to a run of the study's own; waits for 30 s at most.

    Args:
        study: its folder.
        tracker: by name; None: the one that had it before, if any.
        warn: says a line if that fails.
    """
    place = study / _KEEPS
    if tracker is None:
        with suppress(ValueError, OSError):
            tracker = read_record(place).get("tracker")
    elif tracker != "none":
        write_record(place, {"tracker": tracker})
    if tracker not in (None, "none"):
        about = About(study.name, _place(study.parent.parent), study.name, {"study": study.name})
        Follower(str(tracker), about, warn, report=study / "report").end("done")


def without_secrets(text: str) -> str:
    """Returns the text on one line, without passwords of URLs and keys of the environment."""
    for name, value in os.environ.items():
        if _SECRET.search(name) and len(value) > 3:
            text = text.replace(value, "***")
    return _IN_URL.sub("//***@", one_line(text))


def _place(outputs: str | Path) -> Path:
    return Path(outputs) / "trackers"


def _group(folder: Path) -> str | None:
    keep_group(folder, None)
    with suppress(ValueError):  # damaged
        group = read_record(folder / _KEEPS).get("group")
        return group if isinstance(group, str) else None
    return None


def _settings(config: RunConfig) -> dict[str, Any]:
    """Returns what the run computes, by dotted key."""
    return {key: one for key, one in flat(asdict(config)) if not is_free(key, config)}


def _numbers(record: Mapping[str, Any], leave: tuple[str, ...] = ()) -> dict[str, float]:
    """Returns the finite numbers of a line: a loss is null where all steps were left out."""
    return {
        key: float(value)
        for key, value in record.items()
        if key not in leave and isinstance(value, int | float) and math.isfinite(value)
    }
