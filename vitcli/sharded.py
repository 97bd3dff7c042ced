"""FSDP2: weights, gradients and moments divided among processes; whole again in files and measures.

A state on disk is the one that a single process would write, so any number of them goes on.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from vitcli.world import World


class Sharded:
    """A model whose weights are divided among the processes, block by block, in place."""

    def __init__(self, model: nn.Module, world: World) -> None:
        self._model = model
        device = next(model.parameters()).device
        # A copy without weights: those of a large model are not in memory twice.
        empty = {
            id(p): nn.Parameter(torch.empty_like(p, device="meta")) for p in model.parameters()
        }
        self._whole: nn.Module = copy.deepcopy(model, dict(empty))
        mesh = init_device_mesh(device.type, (world.size,))
        for block in model.get_submodule("blocks").children():
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)

    def gathered(self) -> nn.Module:
        """Returns a model with all weights, the same in every process."""
        self._whole.load_state_dict(_whole(self._model.state_dict()), assign=True)
        return self._whole

    def state_dict(self) -> dict[str, Any]:
        """Returns the whole weights; all processes are to call this."""
        state: dict[str, Any] = _whole(self._model.state_dict())
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes its part of whole weights."""
        own = self._model.state_dict()
        self._model.load_state_dict({k: _part(v, own[k]) for k, v in state_dict.items()})


class ShardedOptimizer:
    """The state of an optimizer of divided weights."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer

    def state_dict(self) -> dict[str, Any]:
        """Returns the whole moments; all processes are to call this."""
        state: dict[str, Any] = _whole(self._optimizer.state_dict())
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes its part of whole moments."""
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        state = {
            number: {k: _part(v, parameters[number]) for k, v in moments.items()}
            for number, moments in state_dict["state"].items()
        }
        self._optimizer.load_state_dict(state_dict | {"state": state})


def _whole(node: Any) -> Any:
    """Returns the node, nested as it is, with whole tensors in place of divided ones."""
    if isinstance(node, DTensor):
        return node.full_tensor()
    if isinstance(node, dict):
        return {key: _whole(value) for key, value in node.items()}
    return node


def _part(value: Any, like: Tensor) -> Any:
    """Returns a tensor divided as `like` is; what has not its shape, a count of steps, as it is."""
    if not isinstance(value, Tensor) or not isinstance(like, DTensor) or value.shape != like.shape:
        return value
    value = value.to(like.device)
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)
