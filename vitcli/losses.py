"""The losses between two lines of the log, over stops and over processes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitcli.files import write_text
from vitcli.world import World

_IN_A_ROW = 10  # steps left out, and the run ends: its weights do not recover


class Losses:
    """The losses since the last line of the log, a part of the state: a stop leaves no trace there.

    A line is the mean over the same steps, however often the run was stopped between them.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._earlier: list[float] = []
        self._here: list[Tensor] = []
        self.left_out = self._in_a_row = 0  # steps whose gradient was not finite

    def add(self, loss: Tensor | None) -> None:
        """Adds this process's part of a step's loss, a tensor that nobody waits for.

        Args:
            loss: None if the step was left out.
        Raises:
            FloatingPointError: so were the ten before it.
        """
        if loss is not None:
            self._in_a_row = 0
            self._here.append(loss)
            return
        self.left_out, self._in_a_row = self.left_out + 1, self._in_a_row + 1
        if self._in_a_row > _IN_A_ROW:
            raise FloatingPointError(
                f"{self._in_a_row} steps in a row have a gradient that is not finite and were left "
                "out (train.on_nan=skip): try a smaller recipe.lr"
            )

    def values(self) -> list[float]:
        """Returns all of them, and waits for the device: the only place of the loop that does."""
        here = torch.stack(self._here).tolist() if self._here else []
        return self._earlier + self._world.sum(here)

    def clear(self) -> None:
        """Begins the next line."""
        self._earlier, self._here = [], []

    def state_dict(self) -> dict[str, Any]:
        """Returns the values."""
        counts = {"left_out": self.left_out, "in_a_row": self._in_a_row}
        return {"values": self.values(), **counts}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the values of a run that stopped."""
        self._earlier, self._here = list(state_dict["values"]), []
        self.left_out = state_dict["left_out"]
        self._in_a_row = state_dict.get("in_a_row", 0)


def open_log(path: Path, step: int) -> Any:
    """Returns the log opened for appending, without what was logged after the state's step."""
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    kept = [line for line in lines if _step(line) <= step]
    write_text(path, "".join(line + "\n" for line in kept))
    return path.open("a")


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # a line cut off by a crash, or not ours
        return math.inf
