"""How evaluators read a model: without a trace in its mode or in the random state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from vitcli.data import Batch, DataSource, Part

BATCH = 500


@contextmanager
def inference(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Runs the block in evaluation mode, float32, without gradients.

    After it, every submodule has its own mode again and the generators of the CPU and of `device`
    their states, also if the block raises.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with (
            torch.inference_mode(),
            torch.random.fork_rng([device] if device.type == "cuda" else []),
            torch.autocast(device.type, enabled=False),
        ):
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def batches(data: DataSource, part: Part) -> Iterator[Batch]:
    """Yields all images (B, 3, H, W) of a part and their labels (B,), in order, 500 at a time."""
    size = data.train_size if part == "train" else data.val_size
    every = range(0, size, BATCH)
    orders = ((torch.arange(i, min(i + BATCH, size), device=data.device),) for i in every)
    return data.batches(part, orders)
