"""The gradient of a batch's mean loss: over micro-batches, processes, and what fits into memory."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from vitcli.config import RunConfig
from vitcli.data import Batch
from vitcli.data.augment import Mix
from vitcli.machine import available_memory
from vitcli.memory import fits
from vitcli.step import build_loss, precision
from vitcli.world import World, unsynced

_log = logging.getLogger(__name__)


class OutOfMemory(RuntimeError):
    """A micro-batch does not fit."""


class Gradients:
    """Adds up the gradients of a step's micro-batches, of each this process's share."""

    def __init__(
        self, model: nn.Module, config: RunConfig, num_steps: int, num_classes: int, world: World
    ) -> None:
        self._config, self._world = config, world
        self._device = next(model.parameters()).device
        self._loss = world.joined(model, build_loss(model, config, num_steps, world.size))
        recipe = config.recipe
        mixes = recipe.mixup > 0 or recipe.cutmix > 0
        self._mix = Mix(recipe, num_classes) if mixes else None
        self.pieces = 1  # that a micro-batch is taken in, one after the other, to fit

    @property
    def whole(self) -> bool:
        """Returns whether each process must be given all images of a batch: they mix in pairs."""
        return self._mix is not None

    @property
    def micro_batch(self) -> int:
        """Returns how many images this process has in memory at once."""
        shares = self._config.train.accumulate * self._world.size * self.pieces
        return -(-self._config.train.batch_size // shares)

    def add(self, batches: Iterable[Batch], step: int) -> tuple[Tensor, int]:
        """Returns the sum of the losses over the batch size, and of how many images; of this share.

        Raises:
            OutOfMemory: a micro-batch does not fit; what gradients there are then means nothing.
        """
        total, seen, last = torch.zeros((), device=self._device), 0, self._config.train.accumulate
        for part, (images, labels) in enumerate(batches, 1):
            if self._mix is not None and len(images):
                draw = hash((self._config.seed, step, part - 1))
                images, labels = map(self._world.share, self._mix(images, labels, draw))
            if not len(images) and self._world.size == 1:
                continue
            seen += len(images)
            with unsynced(self._loss, last=part == last):
                try:
                    total += self._backward(images, labels)
                except (RuntimeError, MemoryError) as error:
                    if not _is_of_memory(error):
                        raise
                    why = str(error).splitlines()[0]
                    del images, labels
                    raise OutOfMemory(why) from None
        return total, seen

    def halve(self, why: str) -> None:
        """Takes micro-batches of half the size from now on.

        Raises:
            RuntimeError: they are of one image, or train.auto_batch does not allow it; says what
                would fit.
        """
        train, now = self._config.train, self.micro_batch
        if train.auto_batch and now > 1:
            self.pieces *= 2
            _log.warning("out of memory: micro-batches of %d images, not %d", self.micro_batch, now)
            return
        raise RuntimeError(f"out of memory, with {now} images at once: {self._advice()} ({why})")

    def _advice(self) -> str:
        """Returns what would fit, as far as that is known."""
        config, device = self._config, self._device
        there = torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else available_memory()
        bf16 = precision(config, 1, device) == "bf16"
        size, processes = config.train.batch_size, self._world.size
        smaller = fits(config, self.micro_batch, processes, bf16, there)
        if not smaller:
            vit, divided = config.model.family == "vit", config.parallel == "fsdp"
            may_divide = vit and not config.recipe.polyak and config.train.keep != "best"
            ways = ["recompute=true"] * (vit and not config.recompute)
            ways += ["parallel=fsdp over several processes"] * (may_divide and not divided)
            less = ", ".join([*ways, "a smaller data.img_size", "a smaller model"])
            return f"not even one image fits into {there / 1e9:.3g} GB; what takes less: {less}"
        for parts in range(-(-size // (smaller * processes)), size // processes + 1):
            if size % parts == 0 and not (self.whole and size // parts % 2):
                break
        else:
            return (
                f"{smaller} images at once should fit, but no train.accumulate makes so few of "
                f"train.batch_size={size}; take another batch size"
            )
        able = processes == 1 and config.recipe.dropout == 0
        hint = "; train.auto_batch=true finds what does" if able else ""
        return (
            f"train.accumulate={parts} with train.batch_size={size}, "
            f"{-(-size // (parts * processes))} images at once, should fit{hint}"
        )

    def _backward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Adds a micro-batch's gradients; returns the sum of its losses over the batch size."""
        size, processes = self._config.train.batch_size, self._world.size
        if not len(images):  # none could be decoded, but the others wait for the gradient
            images = images.new_zeros((1, *images.shape[1:]))
            labels, size = labels.new_zeros((1, *labels.shape[1:])), 0
        total = torch.zeros((), device=self._device)
        pieces = (x.tensor_split(min(self.pieces, len(images))) for x in (images, labels))
        for some, their_labels in zip(*pieces, strict=True):
            share = len(some) / size if size else 0.0
            loss = self._loss(some, their_labels) * (share * processes)  # their mean is taken
            torch.autograd.backward(loss)
            total += loss.detach() / processes
        return total


def _is_of_memory(error: Exception) -> bool:
    named = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return named or "can't allocate memory" in str(error)
