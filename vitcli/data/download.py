"""Downloads of the sets that torchvision reads: once, however many processes want them."""

from __future__ import annotations

import logging
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torchvision.datasets import MNIST

_log = logging.getLogger(__name__)
_PATIENCE_SECONDS = 120.0


def fetch(reader: Any, root: Path, there: Callable[[], bool]) -> None:
    """Downloads a set into `root`; where another process does so, waits for it instead.

    torchvision downloads, checks and unpacks in a folder of its own, and what is whole is renamed
    into place: nobody reads half a file, and a process that is killed leaves none.

    Args:
        reader: torchvision's class of the set.
        root: where all sets are.
        there: whether the set can be read.
    Raises:
        OSError, RuntimeError: as torchvision does, of a server that does not answer, or answers
            with other files.
    """
    root.mkdir(parents=True, exist_ok=True)
    name = reader.__name__
    with _alone(root / f".{name}.lock", name):
        if there():  # since another process fetched it
            return
        part = root / f".{name}.part"
        shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
        try:
            for archive in _archives(reader):  # what a person put there is not fetched again
                if (root / archive).is_file():
                    (part / archive).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(root / archive, part / archive)
            with _patience(_PATIENCE_SECONDS):
                reader(part, download=True)
            for file in [path for path in part.rglob("*") if path.is_file()]:
                place = root / file.relative_to(part)
                place.parent.mkdir(parents=True, exist_ok=True)
                file.replace(place)
        finally:
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Ends what asks a server that is silent for so long; torchvision would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _archives(reader: Any) -> list[str]:
    """Returns the paths of the set's archives in its root."""
    if issubclass(reader, MNIST):
        return [f"{reader.__name__}/raw/{name}" for name, _ in reader.resources]
    return [reader.filename]


@contextmanager
def _alone(path: Path, name: str) -> Iterator[None]:
    """Holds the lock at `path`, which the system gives back however this process ends."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _log.warning("%s: another process downloads it, and holds %s: waiting for it", name, path)
        lock.acquire()
    except OSError as error:
        _log.warning("%s: no lock (%s): no two processes may download at once", path, error)
    try:
        yield
    finally:
        lock.release()
