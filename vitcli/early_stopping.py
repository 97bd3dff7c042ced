"""Early stopping as in the paper's Fig. 4: the weights of the step that validates best."""

from __future__ import annotations

import copy
import time
from typing import Any

from torch import nn

from vitcli.data import DataSource
from vitcli.evals.inference import top1


class BestWeights:
    """Keeps a copy of the weights with the best validation top-1 so far; of equals the earliest.

    A part of the training state. Every `every` steps there is a look, and one after the last.
    """

    def __init__(self, model: nn.Module, data: DataSource, every: int) -> None:
        self.model, self.step = copy.deepcopy(model), 0
        self._top1 = -1.0
        self._data, self._every = data, every

    def look(self, model: nn.Module, step: int, ended: bool) -> float:
        """Validates `model` if it is time, keeps it if it is best; returns the seconds taken."""
        if step % self._every and not ended:
            return 0.0
        began = time.perf_counter()
        found = top1(model, self._data, "val", next(model.parameters()).device)
        if found > self._top1:
            self.model.load_state_dict(model.state_dict())
            self.step, self._top1 = step, found
        return time.perf_counter() - began

    def state_dict(self) -> dict[str, Any]:
        """Returns the best weights, their step and their top-1."""
        return {"model": self.model.state_dict(), "step": self.step, "top1": self._top1}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what `state_dict` returned."""
        self.model.load_state_dict(state_dict["model"])
        self.step, self._top1 = state_dict["step"], state_dict["top1"]
