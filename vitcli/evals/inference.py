"""How evaluators read a model: without a trace in its mode or in the random state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vitcli.data import Batch, DataSource, Part

_NO_FLOAT64 = ("mps",)  # devices
BATCH = 250  # images; on a CPU, 500 of them take a BiT nano 1.15 times as long each


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


def exact(values: Tensor) -> Tensor:
    """Returns the values in float64, on the CPU where their device has none."""
    return (values.cpu() if values.device.type in _NO_FLOAT64 else values).double()


def batches(data: DataSource, part: Part, most: int | None = None) -> Iterator[Batch]:
    """Yields a part's images (B, 3, H, W) and labels (B,), 250 at a time: the first `most`, or all.

    Training images are not augmented. B is smaller where images cannot be decoded, but never 0.

    Raises:
        ValueError: none of them can be decoded.
    """
    size = data.train_size if part == "train" else data.val_size
    size = size if most is None else min(most, size)
    every = range(0, size, BATCH)
    orders = ((torch.arange(i, min(i + BATCH, size), device=data.device),) for i in every)
    seen = False
    for batch in data.batches(part, orders):
        if len(batch[0]):
            yield batch
            seen = True
    if not seen:
        raise ValueError(f"data.max_bad: none of the {part} images could be decoded")


@dataclass(frozen=True)
class Scores:
    """Means over the images that could be decoded: top-1, top-5 (fractions), loss (nats)."""

    top1: float
    top5: float
    loss: float


def scores(
    model: nn.Module, data: DataSource, part: Part, device: torch.device, most: int | None = None
) -> Scores:
    """Returns how good `model` is on a part's images, the first `most` or all."""
    right = among = loss = seen = 0.0
    with inference(model, device):
        for images, labels in batches(data, part, most):
            logits = model(images)
            best = logits.topk(min(5, data.num_classes)).indices == labels[:, None]
            right += float(best[:, 0].sum())
            among += float(best.sum())
            loss += float(cross_entropy(logits, labels, reduction="sum"))
            seen += len(labels)
    return Scores(right / seen, among / seen, loss / seen)


def top1(
    model: nn.Module, data: DataSource, part: Part, device: torch.device, most: int | None = None
) -> float:
    """Returns how often `model` is right on a part's images, the first `most` or all."""
    return scores(model, data, part, device, most).top1
