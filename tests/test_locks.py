"""One process a run, with locks of files and without."""

from __future__ import annotations

import errno
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import ROOT, Ended

from vitcli import locks
from vitcli.files import write_json
from vitcli.locks import NoLocks, Taken, held, is_held
from vitcli.status import Busy, Status, only_one, read_status


@pytest.fixture(params=[errno.ENOTSUP, errno.ENOLCK, errno.EINVAL, errno.ENOSYS, None])
def lockless(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks, by what it answers; None: a system without them."""
    locks._warn.cache_clear()
    if request.param is None:
        monkeypatch.setattr(locks, "fcntl", None)
        return

    def flock(file: object, how: int) -> None:
        raise OSError(request.param, "no")

    monkeypatch.setattr("fcntl.flock", flock)


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    with held(path) as locked:
        assert locked
        assert is_held(path)
        with pytest.raises(Taken), held(path):
            pass
    assert not is_held(path)


def test_another_fault_is_no_lack_of_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(file: object, how: int) -> None:
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(OSError, match="broken disk"), held(tmp_path / "lock"):
        pass


@pytest.mark.usefixtures("lockless")
def test_without_locks_a_run_goes_on_with_one_warning(
    tiny: list[str], vitcli: Callable[..., Ended], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    for seed in (0, 1):
        assert vitcli("train", *tiny, f"seed={seed}").code == 0
    assert len(list(tmp_path.glob("outputs/runs/*/result.json"))) == 2
    (record,) = (r for r in caplog.records if r.name == "vitcli.locks")
    assert record.levelno == logging.WARNING
    assert "status.json alone" in record.getMessage()


@pytest.mark.usefixtures("lockless")
def test_without_locks_a_beat_keeps_others_out(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    with pytest.raises(NoLocks):
        is_held(tmp_path / ".lock")
    with only_one(tmp_path), Status(tmp_path).running():
        assert read_status(tmp_path)["state"] == "running"
        with pytest.raises(Busy, match="is being trained by process"), only_one(tmp_path):
            pass
    facts = {"state": "running", "pid": 1, "host": "elsewhere", "beat": time.time() - 600}
    write_json(tmp_path / "status.json", facts)
    with only_one(tmp_path):
        pass


def test_what_windows_has_not_is_not_imported() -> None:
    code = (
        "import signal, sys\n"
        "sys.modules.update(fcntl=None, resource=None)\n"
        "for name in ('SIGHUP', 'SIGUSR1', 'SIGUSR2'):\n    delattr(signal, name)\n"
        "import vitcli, vitcli.status, vitcli.study.launch, vitcli.stops\n"
        "from vitcli.machine import available_memory\n"
        "assert available_memory() > 1e8 and len(vitcli.stops.stops()) == 2\n"
        "sys.argv = ['vitcli', '--help']\n"
        "from vitcli.cli import main\n"
        "main()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    assert "ablate" in ended.stdout
