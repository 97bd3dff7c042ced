"""How evaluators read a model: without a trace in its mode or in the random state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_BATCH = 500


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


def batches(
    fetch: Callable[[Tensor], tuple[Tensor, Tensor]], size: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields images (B, 3, S, S) and labels (B,) at positions 0 ... size - 1, 500 at a time."""
    for start in range(0, size, _BATCH):
        yield fetch(torch.arange(start, min(start + _BATCH, size), device=device))
