"""What a running study shows of itself: its report, written anew as runs end; notices. No torch.

By the launching process, in a thread, from the runs' files alone; a mistake here stops no study.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from vitcli.analysis.load import load
from vitcli.analysis.results import Results
from vitcli.files import one_line
from vitcli.notify import Notify
from vitcli.records import Run
from vitcli.report.build import Figures, end_live, write_live

TICK_SECONDS = 10.0  # between two looks at the runs, at least
# Of a study's time, 1 % in all: looks at the runs, the page's text, its figures. And the seconds
# that the first of each computes: of 40 runs 0.01, 0.07, 1.5. Later ones take 0.01, 0.02 to 0.4
# (the more, the more claims are undecided), 0.8.
_LOOKS, _TEXTS, _FIGURES = (0.002, 0.01), (0.003, 0.07), (0.005, 1.5)
_NAMED = 3  # runs in a notice
_BAD = ("failed", "lost")


class Share:
    """Keeps work below a share of the time since it was made, going by how long it took before.

    Counted is the time that its thread computes: on a busy machine it waits ten times as long for
    the runs themselves, which costs them nothing.

    Args:
        share: of the time, in (0, 1).
        expected: seconds that the work takes the first time.
    """

    def __init__(
        self,
        share: float,
        expected: float,
        clock: Callable[[], float] = time.monotonic,
        worked: Callable[[], float] = time.thread_time,
    ) -> None:
        self._share, self._next, self._spent = share, expected, 0.0
        self._clock, self._began, self._worked = clock, clock(), worked

    def allows(self) -> bool:
        """Returns whether the work, if it takes as long as last time, stays below the share."""
        return self._spent + self._next <= self._share * (self._clock() - self._began)

    @contextmanager
    def work(self) -> Iterator[None]:
        """Counts the time of the block."""
        began = self._worked()
        try:
            yield
        finally:
            self._next = self._worked() - began
            self._spent += self._next


class LivePage:
    """The page and the notices of the study in `folder`.

    Args:
        folder: the study's.
        notify: where notices go; None: nowhere.
        warn: is told in one line what went wrong, once of each kind.
    """

    def __init__(self, folder: Path, notify: Notify | None, warn: Callable[[str], None]) -> None:
        self._folder, self._runs_dir = folder, folder.parent.parent / "runs"
        self._notify, self._warn, self._warned = notify, warn, set[str]()
        self._looks, self._texts, self._figures = Share(*_LOOKS), Share(*_TEXTS), Share(*_FIGURES)
        self._drawn: Figures | None = None
        self._shown, self._undrawn = -1, True  # runs that had ended then; whether figures lag
        self.finished = False  # whether the study has come to its end; its launcher says so
        self._told = self._states(load(folder, self._runs_dir).runs)

    def tick(self) -> None:
        """Looks at the runs, if that is not too soon, and shows what is new."""
        if not self._looks.allows():
            return
        try:
            with self._looks.work():
                results = load(self._folder, self._runs_dir)
            self._write(results)
            self.tell_of_runs(results.runs)
        except Exception as error:  # a full disk, a plan that is edited: the runs go on
            self._say("page", f"the report was not written anew while the study runs: {error}")

    def _write(self, results: Results) -> None:
        ended = sum(run.state in ("done", "failed") for run in results.runs.values())
        draw = results.finished > 0 and self._figures.allows()
        if ended == len(results.runs) or not (draw or self._texts.allows()):
            return  # where all have ended, the report is next
        if ended == self._shown and not (draw and self._undrawn):
            return
        with (self._figures if draw else self._texts).work():
            self._drawn = write_live(results, self._folder, self._runs_dir, self._drawn, draw)
        self._shown, self._undrawn = ended, not draw

    def tell_of_runs(self, runs: Mapping[str, Run]) -> None:
        """Sends a notice of the runs that failed since the last call, and one of the lost."""
        now, before = self._states(runs), self._told
        self._told = now
        for event in _BAD:
            # One that was lost and is then called failed is the same one.
            new = [
                runs[run]
                for run, found in now.items()
                # The plan may have gained runs since: another command has asked for more seeds.
                if found[0] == event and (was := before.get(run, ("", None))) != found
                if was[0] != "lost"
            ]
            if new:
                named = [f"{run.id} ({run.error or run.state})" for run in new[:_NAMED]]
                named += [f"{len(new) - _NAMED} more"] if len(new) > _NAMED else []
                self.tell(event, f"{len(new)} {event}: {', '.join(named)}", runs)

    def tell(self, event: str, text: str, runs: Mapping[str, Run]) -> None:
        """Sends a notice, if there is to be any."""
        if self._notify is None:
            return
        counts = Counter(run.state for run in runs.values())
        name = self._folder.name
        problem = self._notify.send(name, event, f"vitcli, {name}: {text}", counts)
        if problem:
            self._say("notify", f"notify: no notice was sent: {problem}")

    def end(self, stopped: str) -> None:
        """Sends the last notices: of runs, and that the study ended, or by what it `stopped`."""
        runs = load(self._folder, self._runs_dir).runs
        self.tell_of_runs(runs)
        counts = Counter(run.state for run in runs.values())
        said = ", ".join(f"{number} {state}" for state, number in counts.most_common())
        event, what = ("failed", f"stopped by {stopped}") if stopped else ("end", "ended")
        self.tell(event, f"{what}: {said}", runs)

    def _say(self, kind: str, problem: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            self._warn(problem)

    @staticmethod
    def _states(runs: Mapping[str, Run]) -> dict[str, tuple[str, object]]:
        """Returns each run's state, and when it last said so."""
        return {name: (run.state, run.status.get("beat")) for name, run in runs.items()}


@contextmanager
def live(folder: Path, notify: Notify | None, warn: Callable[[str], None]) -> Iterator[LivePage]:
    """Shows the study while the block runs, as `LivePage` has it; then tells how it has ended."""
    shown, done = LivePage(folder, notify, warn), threading.Event()

    def follow() -> None:
        while not done.wait(TICK_SECONDS):
            shown.tick()

    thread, stopped = threading.Thread(target=follow, daemon=True), ""
    thread.start()
    try:
        yield shown
    except Exception as error:
        stopped = one_line(f"{type(error).__name__}: {error}")
        raise
    finally:
        done.set()
        thread.join()
        with suppress(OSError, ValueError):
            end_live(folder)
        if shown.finished or stopped:
            with suppress(OSError, ValueError):  # of a plan that is gone
                shown.end(stopped)
