"""No test of a tracker uses the accounts of who runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tracked_runs import KEY


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the user's accounts nor the folder of the tests: keys that must not be written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("WANDB_DIR", "WANDB_PROJECT", "MLFLOW_TRACKING_URI", "TRACKIO_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", KEY * 3)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", KEY)
