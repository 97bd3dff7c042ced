"""The step loop. Data order and dropout are functions of (seed, step): stopping costs nothing."""

from __future__ import annotations

import itertools
import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim.swa_utils import AveragedModel

from vitcli.checkpoint import Stateful, load_state, save_state
from vitcli.config import RunConfig, num_steps
from vitcli.data import Batch, DataSource, Order
from vitcli.data.decoded import BadImages
from vitcli.data.names import some
from vitcli.gradients import Gradients, OutOfMemory
from vitcli.identity import run_id
from vitcli.looks import Looks
from vitcli.losses import Losses, open_log
from vitcli.machine import cores
from vitcli.optim import build_optimizer, lr_at
from vitcli.sharded import Sharded, ShardedOptimizer
from vitcli.stops import Interrupted
from vitcli.world import World

_log = logging.getLogger(__name__)
_INDEXED_STEPS = 64
_SAVING = 0.02  # of the time, at most: a state that takes a second is saved every 50 s at most
Observer = Callable[[dict[str, Any]], None]


class Trainer:
    """Trains `model` on `data`; its state is a step, the weights and the optimizer's moments.

    In a world of several processes each has a trainer, and all of them call the same methods.
    """

    def __init__(
        self,
        config: RunConfig,
        model: nn.Module,
        data: DataSource,
        folder: Path,
        world: World | None = None,
    ) -> None:
        self.config, self.model, self.data, self.folder = config, model, data, folder
        self.world = World() if world is None else world
        self.device = next(model.parameters()).device
        divided = config.parallel == "fsdp" and self.world.size > 1
        self._sharded = Sharded(model, self.world) if divided else None
        self.optimizer = build_optimizer(model, config.recipe)
        self.num_steps = num_steps(config, data.train_size)
        self.gradients = Gradients(model, config, self.num_steps, data.num_classes, self.world)
        self.log_every = min(50, max(1, self.num_steps // 100))
        keep = config.recipe.polyak
        self._averaged: AveragedModel | None = None
        if keep > 0:
            self._averaged = AveragedModel(
                model, avg_fn=lambda mean, new, n: mean.lerp(new, 1 - keep)
            )
        every = config.train.val_every or math.ceil(self.num_steps / 10)
        keeps = config.train.keep == "best"
        self.looks = Looks(model, data, self.num_steps, every if keeps else None)
        self.step, self.losses = 0, Losses(self.world)
        self._saved_at, self._saving_took = time.monotonic(), 0.0  # seconds
        self._batches: Iterator[Batch] | None = None

    def resume(self) -> str | None:
        """Goes on from the state in the run's folder, if there is one; returns what is damaged.

        Raises:
            ValueError: the state is of another run or version, or none is whole.
            RuntimeError: the processes do not see the same state.
        """
        self.step, said = load_state(self.folder, run_id(self.config), self._parts())
        if len(set(steps := self.world.gather(self.step))) > 1:
            raise RuntimeError(
                f"outputs={self.config.outputs}: its states are of steps {steps}, by process; all "
                "processes of a run need one file system"
            )
        return said

    @property
    def trained(self) -> nn.Module:
        """Returns the model that the training is for: the best so far, if it is kept."""
        return self.last if self.looks.best is None else self.looks.best

    @property
    def last(self) -> nn.Module:
        """Returns the model after the last step: the average of weights, if one is kept."""
        if self._sharded is not None:
            return self._sharded.gathered()
        return self.model if self._averaged is None else self._averaged.module

    def train(self, observe: Observer, stop: Callable[[], bool]) -> None:
        """Steps to the end; tells `observe` of the loss and speed every `log_every` steps.

        Raises:
            Interrupted: `stop()` became true; the state was saved.
            FloatingPointError: the loss is not finite; names the step.
            RuntimeError: a step does not fit into memory; says what would.
        """
        self.model.train()
        log = open_log(self.folder / "metrics.jsonl", self.step) if self.world.first else None
        checkpoint = self.config.checkpoint
        # Where the steps begin that the speed is measured over.
        since, first = time.perf_counter(), self.step
        with log or nullcontext(), self._streaming():
            while self.step < self.num_steps:
                asked = self.world.asked(stop)
                self.losses.add(self.train_step())
                self.step += 1
                ended = self.step == self.num_steps
                # Not of the step's speed.
                since += self.looks.look(lambda: self.last, self.step, ended)
                stopped = asked() and not ended
                marked = any(self.step % n == 0 for n in (self.log_every, checkpoint.every))
                if ended or marked:
                    images = (self.step - first) * self.config.train.batch_size
                    record = self._record(images / (time.perf_counter() - since))
                    if log is not None:
                        print(json.dumps(record), file=log, flush=True)
                    observe(record)
                    since, first = time.perf_counter(), self.step
                asks = marked or self.world.size == 1  # several agree only now and then
                if stopped or ended or (asks and self.world.agree(self._due)):
                    self._save()
                if stopped:
                    raise Interrupted(f"stopped after step {self.step} of {self.num_steps}")

    def _due(self) -> bool:
        """Returns whether the state is to be saved at this step."""
        since = time.monotonic() - self._saved_at
        wished = self.step % self.config.checkpoint.every == 0
        late = since >= 60 * self.config.checkpoint.minutes
        return (wished or late) and self._saving_took <= _SAVING * since

    def _save(self) -> None:
        self._finite(self.losses.values())  # a bad loss is never saved
        began, parts = time.monotonic(), self._parts()
        if self.world.first:
            save_state(self.folder, run_id(self.config), self.step, parts)
        else:
            for part in parts.values():  # whole only if all processes make it so
                part.state_dict()
        self._saved_at = time.monotonic()
        self._saving_took = self._saved_at - began

    @contextmanager
    def _streaming(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._batches = None  # ends the worker processes

    def train_step(self) -> Tensor | None:
        """Moves the weights by one step; returns this process's part of the batch's mean loss.

        The mean is over the images that could be decoded. None: the step was left out, as its
        gradient is not finite.

        Raises:
            BadImages: no image could be decoded.
            RuntimeError: the step does not fit into memory; says what would.
        """
        recipe, size = self.config.recipe, self.config.train.batch_size
        if recipe.dropout > 0:  # another process draws other masks
            other = (self.world.rank,) if self.world.rank else ()
            torch.manual_seed(hash((self.config.seed, self.step, *other)))
        total, mine = self._backward()
        seen = mine
        if self.world.size > 1:
            seen = int(self.world.sum([mine])[0]) if self.data.may_skip else size
        if seen < size:
            self._make_up(size, seen)
            total *= size / seen
        taken = self.config.train.on_nan == "stop" or self._is_finite()
        if taken:
            if recipe.grad_clip > 0:
                nn.utils.clip_grad_norm_(self.model.parameters(), recipe.grad_clip)
            for group in self.optimizer.param_groups:
                group["lr"] = lr_at(self.step, self.num_steps, recipe)
            self.optimizer.step()
            if self._averaged is not None:
                self._averaged.update_parameters(self.model)
        self.optimizer.zero_grad()
        return total if taken else None

    def _is_finite(self) -> bool:
        """Returns whether the gradient is finite; waits for the device."""
        norm = nn.utils.get_total_norm(
            [p.grad for p in self.model.parameters() if p.grad is not None]
        )
        return bool(torch.isfinite(norm.full_tensor() if isinstance(norm, DTensor) else norm))

    def _backward(self) -> tuple[Tensor, int]:
        """Returns what `Gradients.add` does, after smaller micro-batches where those asked fail."""
        while True:
            if self._batches is None:
                self._batches = self.data.batches("train", self._orders())
            parts = itertools.islice(self._batches, self.config.train.accumulate)
            try:
                return self.gradients.add(parts, self.step)
            except OutOfMemory as error:
                why = str(error)
            self._batches = None
            self.optimizer.zero_grad()
            if self.device.type != "cpu":
                torch.accelerator.empty_cache()
            self.gradients.halve(why)

    def _make_up(self, size: int, seen: int) -> None:
        """Scales the gradient of `seen` images, shares of a batch of `size`, to their mean."""
        if not seen:
            names = some(list(self.data.skipped()))
            raise BadImages(
                f"step {self.step + 1}: none of its {size} images can be decoded; "
                f"skipped so far: {names}"
            )
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                parameter.grad *= size / seen

    def _parts(self) -> dict[str, Stateful]:
        parts: dict[str, Stateful] = {
            "model": self.model, "optimizer": self.optimizer, "data": self.data,
            "looks": self.looks, "losses": self.losses,
        }  # fmt: skip
        if self._sharded is not None:
            parts |= {"model": self._sharded, "optimizer": ShardedOptimizer(self.optimizer)}
        if self._averaged is not None:
            parts["average"] = self._averaged
        return parts

    def _orders(self) -> Iterator[Order]:
        """Yields what the (micro-)batches from this step on are made of, without an end: its share.

        Drawn for many steps at once: a draw costs 0.5 ms.
        """
        train = self.config.train
        block, row = divmod(self.step, _INDEXED_STEPS)
        for step in itertools.count(block):
            many = _INDEXED_STEPS * train.batch_size
            shape = (_INDEXED_STEPS * train.accumulate, -1)
            order = self.data.order(self.config.seed, step, many)
            orders = list(zip(*(entries.view(shape) for entries in order), strict=True))
            for one in orders[row * train.accumulate :]:
                yield one if self.gradients.whole else tuple(map(self.world.share, one))
            row = 0

    def _record(self, images_per_s: float) -> dict[str, Any]:
        """Returns a line of the log, of the losses since the last one: null if all are left out."""
        values = self._finite(self.losses.values())
        self.losses.clear()
        for theirs in self.world.gather(self.data.skipped()):
            self.data.load_state_dict({"skipped": theirs})
        return {
            "step": self.step,
            "loss": sum(values) / len(values) if values else None,
            "lr": self.optimizer.param_groups[0]["lr"],
            "images_per_s": round(images_per_s, 1),
        }

    def _finite(self, values: list[float]) -> list[float]:
        """Returns the losses of the last steps. Raises FloatingPointError if one is not finite."""
        for step, value in enumerate(values, self.step - len(values) + 1):
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"the loss is {value} at step {step}: try a smaller recipe.lr "
                    f"(now {self.config.recipe.lr})"
                )
        return values


def use_threads(config: RunConfig) -> None:
    """Lets torch compute with `config.threads`, or with the cores that this process may use."""
    torch.set_num_threads(config.threads or cores())


def find_device(config: RunConfig) -> torch.device:
    """Returns the device to train on; `auto` is CUDA where there is a GPU. Raises ValueError."""
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if config.device != "cpu" and not getattr(torch, config.device).is_available():
        raise ValueError(f"device={config.device}: there is none here; choose from auto, cpu")
    if config.device in ("mps", "xpu"):
        _log.warning("device=%s is untested: compare a few steps with device=cpu", config.device)
    return torch.device(config.device)
