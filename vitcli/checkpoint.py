"""Training state and weights on disk. Nothing is unpickled: tensors and plain values only."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from vitcli.config import RunConfig, weights_record
from vitcli.files import FORMAT, check_format, replacing
from vitcli.identity import run_id
from vitcli.models.convert.preprocess import Preprocess
from vitcli.models.convert.tensors import write_tensors
from vitcli.seal import check_zip
from vitcli.status import state_paths


class Stateful(Protocol):
    """What a training state is made of: model, optimizer, average, data, looks, losses."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


def save_state(folder: Path, run: str, step: int, parts: Mapping[str, Stateful]) -> None:
    """Writes all that is needed to go on after `step` steps; keeps the state before it, too.

    Args:
        folder: the run's.
        run: its id.
        step: how many are done.
        parts: whose states are written.
    """
    newer, older = state_paths(folder)
    of = {"format": FORMAT, "run": run, "step": step}
    state = of | {name: part.state_dict() for name, part in parts.items()}
    with replacing(newer, keep=older, durable=True) as temporary:
        torch.save(state, temporary)


def load_state(folder: Path, run: str, parts: Mapping[str, Stateful]) -> tuple[int, str | None]:
    """Puts the newest whole state into `parts`; returns its step, and what is damaged if any is.

    The step is 0 if there is no state.

    Raises:
        ValueError: all there are are damaged, or one is of another run or version of vitcli.
    """
    damaged = []
    for path in filter(Path.exists, state_paths(folder)):
        try:
            check_zip(path)
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            damaged.append(f"{path} is damaged ({' '.join(str(error).split())})")
            continue
        _check(path, state, run, parts)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        step = int(state["step"])
        if not damaged:
            return step, None
        return step, f"{damaged[0]}: resumed from the older state, of step {step}"
    if damaged:
        raise ValueError(f"{'; '.join(damaged)}: remove what is damaged, and the run starts anew")
    return 0, None


def _check(path: Path, state: Any, run: str, parts: Mapping[str, Stateful]) -> None:
    held = check_format(path, state) if isinstance(state, dict) else {}
    lacking = [name for name in ("run", *parts) if name not in held]
    if lacking:
        raise ValueError(
            f"{path} is of another version of vitcli, it has no {', '.join(lacking)}: remove it, "
            "and the run starts anew"
        )
    if state["run"] != run:
        raise ValueError(
            f"{path} is the state of another run, {state['run']}: remove it, and this one, {run}, "
            "starts anew"
        )


def save_weights(
    folder: Path, model: nn.Module, config: RunConfig, classes: list[str] | None = None
) -> None:
    """Writes the run's final weights as safetensors, and beside them what and whose they are.

    Args:
        classes: of the head, in order, where they have names.
    """
    record = weights_record(config, "vitcli", asdict(Preprocess.of(config.data)), classes)
    path = folder / "checkpoints" / "model.safetensors"
    write_tensors(path, model.state_dict(), {"run": run_id(config), **record})
