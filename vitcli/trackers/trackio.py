"""trackio, through its own library: SQLite in outputs/, or what its TRACKIO_ variables name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitcli.trackers import ALONE, About


class Run:
    """A run of trackio with our id as its name; its study is the project."""

    def start(self, about: About) -> int:
        """Begins the run or goes on with it; returns the last step that it holds, -1: none."""
        # Read once, when trackio is imported.
        os.environ.setdefault("TRACKIO_DIR", str((about.folder / "trackio").absolute()))
        import trackio
        import trackio.run
        import trackio.utils

        # Its greetings would stand between the lines of our own output, which others parse.
        for module in (trackio, trackio.run, trackio.utils):
            vars(module)["print"] = _silent
        self._trackio: Any = trackio
        self._run: Any = trackio.init(
            project=about.group or ALONE,
            name=about.id,
            group=about.group,
            config=dict(about.config),
            resume="allow",
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )
        held = self._run._initial_last_step  # asked of the store or server; there is no other way
        self._next = 0 if held is None else int(held) + 1
        return self._next - 1

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a line."""
        self._run.log(dict(values), step=step)

    def attach(self, report: Path) -> None:
        """Adds a line with the page as text, and each figure that is a PNG."""
        page = self._trackio.Markdown((report / "report.md").read_text("utf-8"))
        media = {
            f"figures/{path.stem}": self._trackio.Image(str(path))
            for path in sorted((report / "figures").glob("*.png"))
        }
        self._run.log({"report": page, **media}, step=self._next)

    def finish(self, state: str, step: int, final: Mapping[str, float]) -> None:
        """Adds the last numbers, and writes what waits."""
        if final:
            self._run.log(dict(final), step=step)
        self._trackio.finish()


def _silent(*words: object, **how: object) -> None:
    """Says nothing."""
