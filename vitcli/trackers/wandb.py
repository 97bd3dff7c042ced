"""Weights & Biases, through its own library: online where there is a key, else offline."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitcli.trackers import ALONE, About

# Nothing of this process goes to W&B but what is logged: its errors stay here.
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
_SECONDS = 30.0  # for a server that does not answer

import wandb  # noqa: E402  (it reads the line above when it is imported)


class Run:
    """A W&B run whose id is ours. Offline, a run that goes on writes all of its log anew, to a
    folder that takes the place of its earlier ones: `wandb sync` of it sends each step once.
    """

    def start(self, about: About) -> int:
        """Begins the run or, online, goes on with it; returns the last step it holds, -1: none."""
        mode: Any = os.environ.get("WANDB_MODE") or _mode()
        offline = mode == "offline"
        about.folder.mkdir(parents=True, exist_ok=True)
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or ALONE,
            id=about.id,
            name=about.id,
            group=about.group,
            config=dict(about.config),
            mode=mode,
            dir=os.environ.get("WANDB_DIR") or about.folder,
            resume=None if offline else "allow",
            settings=wandb.Settings(
                console="off",
                silent=True,
                disable_git=True,  # a remote's address may hold a password
                disable_code=True,
                disable_job_creation=True,
                init_timeout=_SECONDS,
                finish_timeout=_SECONDS,
            ),
        )
        if not offline:
            return int(self._run.step) - 1
        here = Path(self._run.dir).parent
        for folder in here.parent.glob(f"offline-run-*-{glob.escape(about.id)}"):
            if folder != here:
                shutil.rmtree(folder)
        return -1

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds the values to the history."""
        self._run.log(dict(values), step=step)

    def attach(self, report: Path) -> None:
        """Adds the page as HTML, and each figure that is a PNG."""
        media = {
            f"figures/{p.stem}": wandb.Image(str(p)) for p in (report / "figures").glob("*.png")
        }
        page = wandb.Html((report / "report.html").read_text("utf-8"), inject=False)
        self._run.log({"report": page, **media})

    def finish(self, state: str, step: int, final: Mapping[str, float]) -> None:
        """Adds the last numbers to the summary and ends the run."""
        self._run.summary.update(dict(final))
        self._run.finish(exit_code=0 if state == "done" else 1)


def _mode() -> str:
    """Returns `online` where the user has logged in; nobody is asked."""
    return "online" if wandb.login(prompt=False) else "offline"
