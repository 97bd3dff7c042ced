"""The command line in another process, and small studies of the user's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


TWO_CELLS = """
title: Two
metric: val/top1
seeds: [0]
rows: {a: {label: A, overrides: [pos_emb=none]}, b: {label: B, overrides: [pos_emb=learned_1d]}}
columns: {c: {label: C}}
paper: {where: nowhere, metric: none}
claims: []
scales: {laptop: {}}
"""


OWN = {
    "title": "Depth",
    "metric": "val/top1",
    "rows": {
        "one": {"label": "1 layer", "overrides": ["model.depth=1"]},
        "two": {"label": "2 layers", "overrides": ["model.depth=2"]},
    },
    "columns": {"here": "Here"},
    "paper": {"where": "Fig. 8", "metric": "ImageNet 5-shot"},
    "scales": {"laptop": {}},
    "seeds": [0, 1],
}


def claim(**changes: object) -> dict[str, object]:
    """A claim of the study above, with changes."""
    pairs = [["one-here", "two-here"]]
    facts = {"id": "c", "statement": "s", "where": "w", "at_least": {"laptop": 0.01}}
    return facts | {"pairs": pairs} | changes


def but_depth(overrides: list[str]) -> list[str]:
    """The overrides but for model.depth, which the study above varies."""
    return [o for o in overrides if not o.startswith("model.depth")]


def start(*arguments: str, cwd: Path, module: str = "vitcli") -> subprocess.Popen[str]:
    """Starts `python -m vitcli`, or another module, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_heed_ctrl_c,
    )


def _heed_ctrl_c() -> None:
    """What a shell starts in the background ignores SIGINT, and so would what it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(condition: Callable[[], bool], seconds: float = 300) -> None:
    """Returns once the condition holds; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def killed_after_its_result(folder: Path) -> None:
    """Leaves in a finished run what there is when it was killed before its last acts."""
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps(status | {"state": "running"}))
    for left in ("state.pt", "state.before.pt", ".state.pt.123"):
        (folder / "checkpoints" / left).touch()
