"""Locks of files, which the system drops however a process ends, where it has any."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

try:
    import fcntl as _fcntl
except ImportError:  # Windows
    fcntl: Any = None
else:
    fcntl = _fcntl

_log = logging.getLogger(__name__)
# What file systems without locks answer; others than these are faults.
_NONE = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS, errno.EINVAL}


class Taken(RuntimeError):
    """Another process holds the lock."""


class NoLocks(OSError):
    """This system, or this file system, has no locks."""


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Holds the file's lock; makes the file. Gives False, with one warning, where there are none.

    Raises Taken if another process has it.
    """
    locked = True
    with path.open("w") as file:
        try:
            _take(file)
        except NoLocks as error:
            _warn(str(error))
            locked = False
        _held.add(file)
        try:
            yield locked
        finally:
            _held.discard(file)


def _let_go() -> None:
    """Closes in a forked child what its parent holds: the lock ends with the parent."""
    for file in _held:
        file.close()


_held: set[Any] = set()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def is_held(path: Path) -> bool:
    """Returns whether a process holds the file's lock. Raises NoLocks."""
    try:
        with path.open() as file:
            _lock(file, shared=True)
    except FileNotFoundError:
        return False
    except Taken:
        return True
    return False


def _take(file: Any) -> None:
    for more in (True, True, False):  # who asks `is_held` has it for a moment
        try:
            return _lock(file, shared=False)
        except Taken:
            if not more:
                raise
            time.sleep(0.02)


def _lock(file: Any, shared: bool) -> None:
    if fcntl is None:
        raise NoLocks("this system has no locks of files that we know")
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Taken from None
    except OSError as error:
        if error.errno not in _NONE:
            raise
        raise NoLocks(f"the file system has no locks ({error.strerror})") from None


@cache
def _warn(why: str) -> None:
    _log.warning("%s: who trains a run is known by its status.json alone, within a minute", why)
