"""The step loop. Data order and dropout are functions of (seed, step): stopping costs nothing."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from vitcli.checkpoint import Stateful, load_state, save_state
from vitcli.config import RunConfig, num_steps
from vitcli.data import Batch, DataSource, Order
from vitcli.data.augment import Mix
from vitcli.data.decoded import BadImages
from vitcli.data.readers import some
from vitcli.files import write_text
from vitcli.identity import run_id
from vitcli.looks import Looks
from vitcli.optim import build_optimizer, lr_at
from vitcli.step import build_loss
from vitcli.stops import Interrupted

_INDEXED_STEPS = 64
_SAVING = 0.02  # of the time, at most: a state that takes a second is saved every 50 s at most
Observer = Callable[[dict[str, Any]], None]


class Trainer:
    """Trains `model` on `data`; its state is a step, the weights and the optimizer's moments."""

    def __init__(self, config: RunConfig, model: nn.Module, data: DataSource, folder: Path) -> None:
        self.config, self.model, self.data, self.folder = config, model, data, folder
        self.device = next(model.parameters()).device
        self.optimizer = build_optimizer(model, config.recipe)
        self.num_steps = num_steps(config, data.train_size)
        self._loss = build_loss(model, config, self.num_steps)
        self.log_every = min(50, max(1, self.num_steps // 100))
        keep = config.recipe.polyak
        self._averaged: AveragedModel | None = None
        if keep > 0:
            self._averaged = AveragedModel(
                model, avg_fn=lambda mean, new, n: mean.lerp(new, 1 - keep)
            )
        every = config.train.val_every or math.ceil(self.num_steps / 10)
        keeps = config.train.keep == "best"
        self.looks = Looks(self.last, data, self.num_steps, every if keeps else None)
        self.step, self._losses = 0, Losses()
        self._saved_at, self._saving_took = time.monotonic(), 0.0  # seconds
        self._batches: Iterator[Batch] | None = None
        mixes = config.recipe.mixup > 0 or config.recipe.cutmix > 0
        self._mix = Mix(config.recipe, data.num_classes) if mixes else None

    def resume(self) -> str | None:
        """Goes on from the state in the run's folder, if there is one; returns what is damaged.

        Raises ValueError: the state is of another run or version, or none is whole.
        """
        self.step, said = load_state(self.folder, run_id(self.config), self._parts())
        return said

    @property
    def trained(self) -> nn.Module:
        """Returns the model that the training is for: the best so far, if it is kept."""
        return self.last if self.looks.best is None else self.looks.best

    @property
    def last(self) -> nn.Module:
        """Returns the model after the last step: the average of weights, if one is kept."""
        return self.model if self._averaged is None else self._averaged.module

    def train(self, observe: Observer, stop: Callable[[], bool]) -> None:
        """Steps to the end; tells `observe` of the loss and speed every `log_every` steps.

        Raises:
            Interrupted: `stop()` became true; the state was saved.
            FloatingPointError: the loss is not finite; names the step.
        """
        self.model.train()
        log = _open_log(self.folder / "metrics.jsonl", self.step)
        checkpoint = self.config.checkpoint
        since, first = time.perf_counter(), self.step  # of what the speed is of
        with log, self._streaming():
            while self.step < self.num_steps:
                self._losses.add(self.train_step())
                self.step += 1
                ended = self.step == self.num_steps
                since += self.looks.look(self.last, self.step, ended)  # not of the step's speed
                stopped = stop() and not ended
                marked = any(self.step % n == 0 for n in (self.log_every, checkpoint.every))
                if ended or marked:
                    images = (self.step - first) * self.config.train.batch_size
                    record = self._record(images / (time.perf_counter() - since))
                    print(json.dumps(record), file=log, flush=True)
                    observe(record)
                    since, first = time.perf_counter(), self.step
                if stopped or ended or (marked and self._due()):
                    self._save()
                if stopped:
                    raise Interrupted(f"stopped after step {self.step} of {self.num_steps}")

    def _due(self) -> bool:
        """Returns whether the state is to be saved where its loss is logged."""
        since = time.monotonic() - self._saved_at
        wished = self.step % self.config.checkpoint.every == 0
        late = since >= 60 * self.config.checkpoint.minutes
        return (wished or late) and self._saving_took <= _SAVING * since

    def _save(self) -> None:
        self._finite(self._losses.values())  # a bad loss is never saved
        began = time.monotonic()
        save_state(self.folder, run_id(self.config), self.step, self._parts())
        self._saved_at = time.monotonic()
        self._saving_took = self._saved_at - began

    @contextmanager
    def _streaming(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._batches = None  # ends the worker processes

    def train_step(self) -> Tensor:
        """Returns the batch's mean loss, and moves the weights by one optimizer step.

        The mean is over the images that could be decoded.

        Raises:
            BadImages: there is none.
        """
        config = self.config
        if config.recipe.dropout > 0:
            torch.manual_seed(hash((config.seed, self.step)))
        if self._batches is None:
            self._batches = self.data.batches("train", self._orders())
        size, parts, seen = config.train.batch_size, config.train.accumulate, 0
        total = torch.zeros((), device=self.device)
        for part, (images, labels) in enumerate(itertools.islice(self._batches, parts)):
            if not len(images):
                continue
            seen += len(images)
            share = len(images) / size
            if self._mix is not None:
                images, labels = self._mix(images, labels, hash((config.seed, self.step, part)))
            loss = self._loss(images, labels) * share
            torch.autograd.backward(loss)
            total += loss.detach()
        if seen < size:
            self._make_up(size, seen)
            total *= size / seen
        if config.recipe.grad_clip > 0:
            nn.utils.clip_grad_norm_(self.model.parameters(), config.recipe.grad_clip)
        for group in self.optimizer.param_groups:
            group["lr"] = lr_at(self.step, self.num_steps, config.recipe)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self._averaged is not None:
            self._averaged.update_parameters(self.model)
        return total

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
            "looks": self.looks, "losses": self._losses,
        }  # fmt: skip
        if self._averaged is not None:
            parts["average"] = self._averaged
        return parts

    def _orders(self) -> Iterator[Order]:
        """Yields what the (micro-)batches from this step on are made of, without an end.

        Drawn for many steps at once: a draw costs 0.5 ms.
        """
        train = self.config.train
        block, row = divmod(self.step, _INDEXED_STEPS)
        for step in itertools.count(block):
            many = _INDEXED_STEPS * train.batch_size
            shape = (_INDEXED_STEPS * train.accumulate, -1)
            order = self.data.order(self.config.seed, step, many)
            orders = list(zip(*(entries.view(shape) for entries in order), strict=True))
            yield from orders[row * train.accumulate :]
            row = 0

    def _record(self, images_per_s: float) -> dict[str, Any]:
        """Returns a line of the log, of the losses since the last one."""
        values = self._finite(self._losses.values())
        self._losses.clear()
        return {
            "step": self.step,
            "loss": sum(values) / len(values),
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


class Losses:
    """The losses since the last line of the log, a part of the state: a stop leaves no trace there.

    A line is the mean over the same steps, however often the run was stopped between them.
    """

    def __init__(self) -> None:
        self._earlier: list[float] = []
        self._here: list[Tensor] = []

    def add(self, loss: Tensor) -> None:
        """Adds a step's loss, a tensor that nobody waits for."""
        self._here.append(loss)

    def values(self) -> list[float]:
        """Returns all of them, and waits for the device: the only place of the loop that does."""
        return self._earlier + (torch.stack(self._here).tolist() if self._here else [])

    def clear(self) -> None:
        """Begins the next line."""
        self._earlier, self._here = [], []

    def state_dict(self) -> dict[str, Any]:
        """Returns the values."""
        return {"values": self.values()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the values of a run that stopped."""
        self._earlier, self._here = list(state_dict["values"]), []


def find_device(config: RunConfig) -> torch.device:
    """Returns the device to train on; `auto` is a GPU where there is one. Raises ValueError."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device=cuda: no CUDA device here; choose from auto, cpu")
    wish = config.device
    if wish == "auto":
        wish = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wish)


def _open_log(path: Path, step: int) -> Any:
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
