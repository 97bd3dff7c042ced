"""What the tests share: tiny settings on the real configs, and the command line in this process."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import OWN, Ended

# One thread: the suite shares its cores with the workers it starts, where spinning is slow.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Takes back what a run of another test, in this process, has set."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture
def tiny(tmp_path: Path) -> list[str]:
    """Overrides that make a run of a second, the same on every CPU, in the test's folder."""
    return [
        "data.size=256", "data.val_size=64", "data.num_classes=8", "train.steps=8",
        "train.batch_size=16", "evals.draws=2", "model.depth=1", "threads=1",
        "train.precision=fp32",
        f"outputs={tmp_path / 'outputs'}",
    ]  # fmt: skip


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., Path]:
    """Writes a study of the user's, `own-depth`, into a folder for --config-dir."""

    def write(**changes: object) -> Path:
        path = tmp_path / "conf" / "study" / "own_depth.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(OWN | changes))
        return tmp_path / "conf"

    return write


@pytest.fixture
def vitcli(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Calls `vitcli` with these arguments in this process."""

    def call(*arguments: str) -> Ended:
        from vitcli.cli import main

        monkeypatch.setattr(sys, "argv", ["vitcli", *arguments])
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capfd.readouterr()
        return Ended(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium of this machine."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    assert path, f"no browser: install one of {', '.join(names)} (apt-get install chromium)"
    with sync_playwright() as playwright:
        # Root, as in a container, has no sandbox; the pages are our own.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
