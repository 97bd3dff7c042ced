"""Training state and weights on disk. Nothing is unpickled: tensors and plain values only."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save
from torch import nn

from vitcli.config import RunConfig, weights_record
from vitcli.files import write_bytes


class Stateful(Protocol):
    """What a training state is made of: a model, an average of models, an optimizer."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


def save_state(folder: Path, step: int, parts: Mapping[str, Stateful]) -> None:
    """Writes all that is needed to go on after `step` steps; replaces the state before it."""
    buffer = io.BytesIO()
    torch.save({"step": step} | {name: part.state_dict() for name, part in parts.items()}, buffer)
    write_bytes(_state_path(folder), buffer.getvalue())


def load_state(folder: Path, parts: Mapping[str, Stateful]) -> int:
    """Puts the saved state into `parts`; returns its step, 0 if there is none.

    Raises:
        ValueError: another version of vitcli wrote it.
    """
    path = _state_path(folder)
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    if lacking := [name for name in parts if name not in state]:
        raise ValueError(
            f"{path} is of another version of vitcli, it has no {', '.join(lacking)}: remove it, "
            "and the run starts anew"
        )
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])


def save_weights(folder: Path, model: nn.Module, config: RunConfig) -> None:
    """Writes the run's final weights as safetensors, and beside them what they are."""
    size = config.data.height_width
    # One entry only: safetensors writes several in any order, and the same run is the same bytes.
    metadata = {"vitcli": json.dumps(weights_record(config, "vitcli", {"size": size}))}
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_bytes(folder / "checkpoints" / "model.safetensors", save(tensors, metadata))


def drop_state(folder: Path) -> None:
    """Removes the training state of a run that has its result."""
    _state_path(folder).unlink(missing_ok=True)


def _state_path(folder: Path) -> Path:
    return folder / "checkpoints" / "state.pt"
