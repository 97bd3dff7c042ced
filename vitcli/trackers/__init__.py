"""Trackers of others that follow a run: TensorBoard, W&B, MLflow, trackio. No torch.

A run's own `metrics.jsonl` stays the record; a tracker is told of its lines. Each library is
imported only where it was chosen, by `tracker=`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

_EXTRAS = {"tensorboard": "trackers", "wandb": "trackers", "mlflow": "trackers"} | {
    "trackio": "trackio"
}
ALONE = "vitcli"  # what the project is called of runs that no study asked for


@dataclass(frozen=True)
class About:
    """What a tracker is told when a run, or a study's own run, begins."""

    id: str  # the run's folder; of a study, the study's
    folder: Path  # outputs/trackers
    group: str | None = None  # the study's folder; None: of no study
    config: Mapping[str, Any] = field(default_factory=dict)  # by dotted key


class Tracker(Protocol):
    """One run in one library. All methods may fail and may take long: a thread calls them."""

    def start(self, about: About) -> int:
        """Begins the run, or goes on with it; returns the last step that it holds, -1: none."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Takes one line of the log; steps rise."""

    def attach(self, report: Path) -> None:
        """Takes a study's folder `report/`: the page and its figures."""

    def finish(self, state: str, step: int, final: Mapping[str, float]) -> None:
        """Ends the run: `done`, `interrupted` or `failed`, at a step, with its last numbers."""


def check_installed(tracker: str) -> None:
    """Raises ValueError, saying what to install, if the tracker's library is not there."""
    if tracker != "none" and find_spec(tracker) is None:
        raise ValueError(f"tracker={tracker}: it needs pip install 'vitcli[{_EXTRAS[tracker]}]'")


def make_tracker(tracker: str) -> Tracker:
    """Returns the tracker of that name; imports its library."""
    module = importlib.import_module(f"vitcli.trackers.{tracker}")
    made: Tracker = module.Run()
    return made
