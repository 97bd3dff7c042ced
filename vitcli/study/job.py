"""One run of a study in whatever process has it: the launcher's, a worker's, a cluster's job."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from vitcli.frozen import read_own
from vitcli.status import Busy, Status, read_status
from vitcli.stops import stop_signal

_busy = threading.Event()  # of a worker: it has a run
_WATCH_SECONDS = 1.0


def job(composed: Any) -> None:
    """Does one run for one of Hydra's launchers; how it ended is in its files. Never raises."""
    stop = Path(composed.folder) / composed.stop
    if stop.exists():
        return
    if composed.launcher is not None:
        _leave_with(composed.launcher)
    _busy.set()
    try:
        with stop_signal(), _stopped_by(stop):  # it may still load its data, where none listens
            train_frozen(Path(composed.folder).parent.parent, composed.run, composed.threads)
    except KeyboardInterrupt:
        pass  # the launcher is told of the signal too, and stops the others
    finally:
        _busy.clear()
        if composed.launcher is not None and _gone(composed.launcher):
            os._exit(1)  # before the pool hands out the next run


def train_frozen(outputs: Path, run: str, threads: int) -> None:
    """Does the run that is frozen in its folder; how it ended is in its files.

    Raises:
        stops.Interrupted: a signal came; its state is saved.
    """
    from vitcli.runner import run as train

    folder = outputs / "runs" / run
    try:
        config = read_own(folder)
        if lacks_source(outputs, run, config.finetune.weights):
            return
        config.outputs, config.threads = str(outputs), config.threads or threads
        if config.finetune.weights is not None:  # a run of the study, wherever its folder is now
            config.finetune.source = str(outputs / "runs" / config.finetune.weights)
        train(config, quiet=True)
    except Busy:
        pass
    except Exception as error:
        if read_status(folder)["state"] != "failed":  # it never came to training
            line = f"{type(error).__name__}: {error}".splitlines()[0]
            Status(folder).update(state="failed", error=line)


def lacks_source(outputs: Path, run: str, source: str | None) -> bool:
    """Returns whether the run that this one fine-tunes has no result; says so in its status."""
    if source is None or (outputs / "runs" / source / "result.json").exists():
        return False
    state = read_status(outputs / "runs" / source)["state"]
    why = f"its source has no result ({state}): {source}"
    Status(outputs / "runs" / run).update(state="planned", error=why)
    return True


@contextmanager
def _stopped_by(stop: Path) -> Iterator[None]:
    """Sends this process a signal if the file appears while the block runs."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_WATCH_SECONDS):
            if stop.exists():
                os.kill(os.getpid(), signal.SIGTERM)
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


@cache
def _leave_with(launcher: int) -> None:
    """Ends this worker process, its run's state saved, when the launching process is gone."""

    def watch() -> None:
        while not _gone(launcher):
            time.sleep(_WATCH_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        while _busy.is_set():
            time.sleep(_WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _gone(launcher: int) -> bool:
    return launcher not in (os.getpid(), os.getppid())
