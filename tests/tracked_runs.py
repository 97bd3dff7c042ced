"""What the tests of trackers share: a run that was interrupted and went on."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from helpers import wait_for

from vitcli.compose import compose
from vitcli.identity import run_id
from vitcli.runner import run

KEY = "planted4711secret"


def interrupted(tiny: list[str], *overrides: str) -> Path:
    """Trains a run in two calls, a signal between them, and returns its folder."""
    config = compose([*tiny, "train.steps=400", *overrides])
    folder = Path(config.outputs) / "runs" / run_id(config)

    def send() -> None:
        log = folder / "metrics.jsonl"
        wait_for(lambda: log.exists() and len(log.read_text().splitlines()) > 5)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send)
    thread.start()
    with pytest.raises(KeyboardInterrupt, match="stopped after step"):
        run(config, quiet=True)
    thread.join()
    assert run(config, quiet=True).trained
    return folder


def logged(folder: Path) -> list[dict[str, Any]]:
    """Returns the run's own log."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def final(folder: Path) -> dict[str, float]:
    """Returns the run's own last numbers."""
    found: dict[str, float] = json.loads((folder / "result.json").read_text())["metrics"]
    return found


def check_no_key(outputs: Path) -> None:
    """Fails if a file of ours, or of a tracker in our folder, holds the planted key."""
    files = [path for path in outputs.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


def check_nothing_here(tmp_path: Path) -> None:
    """Fails if something was written to the working folder."""
    assert {path.name for path in tmp_path.iterdir()} <= {"outputs", "home"}
