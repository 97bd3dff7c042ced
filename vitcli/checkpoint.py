"""Training state and weights on disk. Nothing is unpickled: tensors and plain values only."""

from __future__ import annotations

import io
import json
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from vitcli.compose import read_config
from vitcli.config import weights_record
from vitcli.files import write_bytes


def save_state(folder: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Writes all that is needed to go on after `step` steps; replaces the state before it."""
    state = {"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(_state_path(folder), buffer.getvalue())


def load_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Puts the saved state into `model` and `optimizer`; returns its step, 0 if there is none."""
    path = _state_path(folder)
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def save_weights(folder: Path, model: nn.Module) -> None:
    """Writes the final weights of the run in `folder` as safetensors, with what they are."""
    config = read_config(folder / "config.yaml")
    size = [config.data.img_size, config.data.img_size]
    # One entry only: safetensors writes several in any order, and the same run is the same bytes.
    metadata = {"vitcli": json.dumps(weights_record(config, "vitcli", {"size": size}))}
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_bytes(folder / "checkpoints" / "model.safetensors", save(tensors, metadata))


def drop_state(folder: Path) -> None:
    """Removes the training state of a run that has its result."""
    _state_path(folder).unlink(missing_ok=True)


def _state_path(folder: Path) -> Path:
    return folder / "checkpoints" / "state.pt"
