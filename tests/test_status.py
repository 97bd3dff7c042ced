"""What a run says of itself, and when it is not believed; files that are whole or absent."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import made_up
import pytest
from helpers import Ended, wait_for

from vitcli import status
from vitcli.files import read_json, write_json, write_record, write_text
from vitcli.status import Busy, Status, only_one, read_status


def test_a_run_without_a_status_is_planned(tmp_path: Path) -> None:
    assert read_status(tmp_path) == {"state": "planned"}


def test_a_status_beats_while_the_block_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitcli.status.BEAT_SECONDS", 0.01)
    status = Status(tmp_path)
    with only_one(tmp_path), status.running():
        first = read_status(tmp_path)
        status.note(step=3)
        deadline = time.monotonic() + 10
        while read_status(tmp_path).get("step") != 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        later = read_status(tmp_path)
    assert first["state"] == later["state"] == "running"
    assert later["step"] == 3
    assert later["beat"] > first["beat"]
    status.update(state="done")
    assert read_status(tmp_path)["state"] == "done"


@pytest.mark.parametrize(
    ("host", "age", "state"),
    [
        ("here", 0, "lost"), ("elsewhere", 0, "running"), ("elsewhere", 600, "lost"),
        ("elsewhere", -30, "running"), ("elsewhere", -600, "lost"),  # the clock of another machine
    ],
)  # fmt: skip
def test_a_dead_process_or_an_old_beat_is_lost(
    tmp_path: Path, host: str, age: float, state: str
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    facts = {"state": "running", "pid": dead.pid, "beat": time.time() - age}
    name = socket.gethostname() if host == "here" else host
    write_json(tmp_path / "status.json", {**facts, "host": name})
    assert read_status(tmp_path)["state"] == state


@pytest.mark.parametrize(
    "text",
    [
        '"num_steps": 0', '"num_steps": null', '"step": -1', '"step": 1e400', '"beat": Infinity',
        '"beat": NaN', '"beat": true', '"images_per_s": "fast"', '"images_per_s": [1]',
        '"images_per_s": -1', f'"train_seconds": {"9" * 400}', '"note": 3', '"error": []',
        '"host": {}', '"state": 1', r'"error": "\ud800"',
    ],
)  # fmt: skip
def test_a_status_with_what_does_not_fit_stops_no_other(
    tmp_path: Path, text: str, vitcli: Callable[..., Ended]
) -> None:
    found = made_up.results({"A": [[0.1], [0.2]], "B": [[0.3], [math.nan]]})
    folder = made_up.write(found, tmp_path)
    status = tmp_path / "runs" / "B-c0-1" / "status.json"
    whole = {"state": "running", "host": "elsewhere", "pid": 1, "beat": time.time(), "step": 1}
    whole |= {"num_steps": 2, "images_per_s": 5.0, "train_seconds": 1.0}
    status.write_text(json.dumps(whole))
    running = vitcli("status", folder.name, "--outputs", str(tmp_path))
    assert "1 running; about" in running.out
    status.write_text(json.dumps(whole).replace("}", f", {text}}}"))
    ended = vitcli("status", folder.name, "--outputs", str(tmp_path))
    assert (ended.code, ended.err) == (0, "")
    assert "3 done, 1 unreadable" in ended.out
    assert "B-c0-1: status.json: " in ended.out
    status.unlink()
    status.mkdir()
    ended = vitcli("status", folder.name, "--outputs", str(tmp_path))
    assert "B-c0-1: status.json: Is a directory" in ended.out


def test_a_living_process_that_beats_no_more_is_lost(tmp_path: Path) -> None:
    facts = {"state": "running", "pid": os.getpid(), "host": socket.gethostname()}
    write_json(tmp_path / "status.json", {**facts, "beat": time.time() - 600})
    assert read_status(tmp_path)["state"] == "lost"  # its number was given to another process


def test_a_folder_has_one_owner_until_it_lets_go(tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(Busy, match="is being trained by"), only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass


@pytest.mark.parametrize("lives", [True, False])
def test_a_lock_of_this_machine_alone_keeps_no_other_machine_out(
    lives: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on some network drives: there the other one's beat counts."""
    monkeypatch.setattr(status, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(status, "_LOST_AFTER_SECONDS", 2.0)

    def beat() -> None:
        now = {"state": "running", "host": "other-node", "pid": 7, "beat": time.time()}
        write_record(tmp_path / "status.json", now)

    beat()
    if lives:
        threading.Timer(0.2, beat).start()
        with pytest.raises(Busy, match="is being trained by process 7 of other-node"):
            only_one(tmp_path).__enter__()
    else:
        with only_one(tmp_path):
            assert read_status(tmp_path)["state"] == "lost"
    assert "was killed a moment ago: waiting" in caplog.text


def test_files_are_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": 1}
    write_json(path, {"a": "\udcff"})  # of the name of a file that is not UTF-8
    assert read_json(path) == {"a": "?"}
    write_text(path, '{"a": ')
    with pytest.raises(ValueError, match=r"a.json: not valid JSON"):
        read_json(path)
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_here_a_run_lives_as_long_as_its_lock_is_held(tmp_path: Path) -> None:
    facts = {"state": "running", "pid": os.getpid(), "host": socket.gethostname()}
    write_json(tmp_path / "status.json", {**facts, "beat": time.time() - 600})  # the clock jumped
    with only_one(tmp_path):
        assert read_status(tmp_path)["state"] == "running"
    assert read_status(tmp_path)["state"] == "lost"


def test_the_heart_beats_on_after_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitcli.status.BEAT_SECONDS", 0.01)
    beats: list[int] = []

    def write(path: Path, value: object) -> None:
        beats.append(len(beats))
        if len(beats) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("vitcli.status.write_record", write)
    with Status(tmp_path).running():
        wait_for(lambda: len(beats) > 5, 10)
