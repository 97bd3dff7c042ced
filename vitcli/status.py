"""What a run says of itself while it lives, `status.json`, and the lock that keeps others out."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from vitcli.files import is_number, read_record, sweep, write_record
from vitcli.locks import NoLocks, Taken, held, is_held

_log = logging.getLogger(__name__)
BEAT_SECONDS = 2.0
_LOST_AFTER_SECONDS = 60.0  # without a beat, of another machine's process
# What else is read of a status: texts, and numbers with their least.
_TEXTS = ("host", "error", "note")
_NUMBERS = {
    "pid": 0,
    "beat": 0,
    "step": 0,
    "num_steps": 1,
    "train_seconds": 0,
    "images_per_s": 0,
}


class Status:
    """Keeps `folder/status.json` up to date; beats in a thread while the run lives.

    Of an earlier status it keeps the seconds that the run was trained for.

    Args:
        folder: the run's.
        silent: write nothing: another process of the same run does.
    """

    def __init__(self, folder: Path, silent: bool = False) -> None:
        self._path, self.writes = folder / "status.json", not silent
        self._fields: dict[str, Any] = {"host": socket.gethostname(), "pid": os.getpid()}
        if earlier := read_status(folder).get("train_seconds"):
            self._fields["train_seconds"] = earlier
        self._done = threading.Event()
        self._guard = threading.Lock()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Beats until the block is left; the block says how it ends, by `update`."""
        thread = threading.Thread(target=self._beat, daemon=True)
        self.update(state="running")
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()

    def update(self, **changes: Any) -> None:
        """Adds `changes` to what is known and writes it, if the folder is still there."""
        with self._guard:
            self._fields |= changes
            if not self.writes or not self._path.parent.is_dir():
                return
            write_record(self._path, {**self._fields, "beat": time.time()})

    def note(self, **changes: Any) -> None:
        """Adds `changes`; the next beat writes them."""
        with self._guard:
            self._fields |= changes

    def _beat(self) -> None:
        while not self._done.wait(BEAT_SECONDS):
            with suppress(OSError):  # a full disk may have room again
                self.update()


def read_status(folder: Path) -> dict[str, Any]:
    """Returns the run's status.

    Its state is `planned` without a status, `lost` if it is running without a beat, `unreadable` if
    its file is damaged; then there is an `error`. The next start of the run writes another.
    """
    path = folder / "status.json"
    try:
        if not path.exists():
            return {"state": "planned"}
        status = read_record(path)
        for key, value in status.items():
            lacks = key in _TEXTS and not isinstance(value, str | None)
            if lacks or (key in _NUMBERS and not is_number(value, _NUMBERS[key])):
                raise ValueError(f"{path}: {key} is {value!r:.40}")
        if not isinstance(status.get("state"), str):
            raise ValueError(f"{path}: state is {status.get('state')!r:.40}")
        if status["state"] == "running" and not _alive(folder, status):
            status["state"] = "lost"
    except KeyError as error:  # of one that is running
        return {"state": "unreadable", "error": f"{path}: not the status of a run ({error})"}
    except OSError as error:
        return {"state": "unreadable", "error": f"{path}: {error.strerror}"}
    except ValueError as error:
        return {"state": "unreadable", "error": str(error)}
    return status


class Busy(RuntimeError):
    """Another process is training this run."""


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Holds the run's folder. Raises Busy if another process of this machine does.

    Where there are no locks, or the lock may hold on one machine alone, a run that beats is taken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            locked = stack.enter_context(held(folder / ".lock"))
        except Taken:
            raise Busy(f"{folder.name} is {by_whom(read_status(folder))}") from None
        _outwait(folder, locked)
        yield


def _outwait(folder: Path, locked: bool) -> None:
    """Returns when no process beats that our lock does not keep out. Raises Busy if one does.

    That is any process where there are no locks; else one of another machine, as a lock may hold
    on one machine alone. A process that was killed leaves a last beat, which is waited out.
    """
    first, until = read_status(folder), time.monotonic() + _LOST_AFTER_SECONDS
    here = first.get("host") == socket.gethostname()
    if first["state"] != "running" or (locked and here):
        return
    _log.warning("%s is %s, or was killed a moment ago: waiting", folder.name, by_whom(first))
    while time.monotonic() < until:
        time.sleep(BEAT_SECONDS)
        status = read_status(folder)
        if status["state"] != "running":
            return
        if status["beat"] != first["beat"]:
            raise Busy(f"{folder.name} is {by_whom(status)}")


def settle(folder: Path) -> None:
    """Ends a run that was killed or stopped just after it wrote its result.

    Its training states and temporary files are removed, its status is `done`.
    """
    status = read_status(folder)
    if status["state"] not in ("lost", "interrupted", "failed", "unreadable"):
        return
    with suppress(Busy), only_one(folder):
        sweep(folder)
        drop_state(folder)
        known = {} if status["state"] == "unreadable" else status
        kept = {key: known[key] for key in known.keys() - {"error", "traceback"}}
        Status(folder).update(**kept | {"state": "done"})


def drop_state(folder: Path) -> None:
    """Removes the training states of a run that has its result."""
    for path in state_paths(folder):
        path.unlink(missing_ok=True)


def state_paths(folder: Path) -> tuple[Path, Path]:
    """Returns where the run's newer training state is, and the one before it."""
    newer = folder / "checkpoints" / "state.pt"
    return newer, newer.with_name("state.before.pt")


def by_whom(status: Mapping[str, Any]) -> str:
    """Returns which process has a run that is being trained."""
    pid, host = status.get("pid", "unknown"), status.get("host", "unknown")
    return f"being trained by process {pid} of {host}"


def _alive(folder: Path, status: dict[str, Any]) -> bool:
    """Returns whether the run's process lives: here by its lock, elsewhere by its beat.

    Clocks differ, but a beat that is more than a minute ahead is none.
    """
    beats: bool = abs(time.time() - status["beat"]) < _LOST_AFTER_SECONDS
    if status["host"] != socket.gethostname():
        return beats
    try:
        return is_held(folder / ".lock")
    except NoLocks:
        return beats
