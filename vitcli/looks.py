"""Validation during training: early stopping (Fig. 4), and a look near the end."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

from torch import nn

from vitcli.data import DataSource
from vitcli.evals.inference import top1


class Looks:
    """Validates at nine tenths of the training, and keeps the best weights if asked to.

    What top-1 there is at nine tenths tells whether the training was long enough. With `every`,
    there is a look every so many steps and one after the last, and a copy of the weights with the
    best top-1 so far is kept; of equals the earliest. A part of the training state.
    """

    def __init__(
        self, model: nn.Module, data: DataSource, num_steps: int, every: int | None
    ) -> None:
        self.best = None if every is None else copy.deepcopy(model)
        self.best_step = 0
        self.late: float | None = None
        self._top1 = -1.0
        self._data, self._every, self._late_step = data, every, num_steps * 9 // 10

    def look(self, make: Callable[[], nn.Module], step: int, ended: bool) -> float:
        """Validates the model that `make` returns if it is time; returns the seconds it took."""
        due = self._every is not None and (ended or step % self._every == 0)
        if not due and step != self._late_step:
            return 0.0
        began = time.perf_counter()
        model = make()
        found = top1(model, self._data, "val", next(model.parameters()).device)
        if step == self._late_step:
            self.late = found
        if due and found > self._top1:
            assert self.best is not None
            self.best.load_state_dict(model.state_dict())
            self.best_step, self._top1 = step, found
        return time.perf_counter() - began

    def state_dict(self) -> dict[str, Any]:
        """Returns what was seen so far, and the best weights if they are kept."""
        seen = {"late": self.late, "step": self.best_step, "top1": self._top1}
        return seen | ({} if self.best is None else {"model": self.best.state_dict()})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what `state_dict` returned."""
        self.late = state_dict["late"]
        self.best_step, self._top1 = state_dict["step"], state_dict["top1"]
        if self.best is not None:
            self.best.load_state_dict(state_dict["model"])
