"""Transfer: a checkpoint under a new head, at another resolution, its rate from a dev split.

Source: paper, sections 3.2, 4.1 and B.1.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitcli.config import RunConfig, under_new_head
from vitcli.data import DataSource
from vitcli.data.counter import bits
from vitcli.data.source import Batch, Order, Part
from vitcli.evals.inference import top1
from vitcli.files import read_record, write_record
from vitcli.frozen import read_config
from vitcli.identity import run_id
from vitcli.models import build_model
from vitcli.models.convert import Checkpoint, notes, read
from vitcli.models.convert.checkpoint import RESIZE
from vitcli.rules import validate
from vitcli.status import drop_state
from vitcli.trainer import Trainer
from vitcli.world import World

_STREAM = 0xDE5  # of this module's random numbers


def describe_source(config: RunConfig) -> RunConfig:
    """Returns the config with model, stem and position embedding of finetune.source, and its id.

    Raises:
        ValueError: no such checkpoint, or one that does not fit the rest of the config.
    """
    assert config.finetune.source is not None
    checkpoint = read(config.finetune.source, img_size=config.data.height_width)
    weights = _identity(config.finetune.source, checkpoint)
    described = under_new_head(config, checkpoint.config, weights)
    ours = (Path(config.finetune.source) / "config.yaml").exists()
    if (
        config.finetune.resize == "auto"
        and config.data.height_width != checkpoint.img_size
        and not ours
    ):
        described.finetune.resize = RESIZE[checkpoint.code_base]
    if config.finetune.preprocess == "source":
        described.data = checkpoint.preprocess.applied(config.data)
        described.finetune.preprocess = "data"
    validate(described)
    return described


def _identity(source: str, checkpoint: Checkpoint) -> str:
    """Returns the id of the run whose folder `source` is, which is known before it is trained.

    Of anything else, the digest of its weights as they take our pixels: what they compute.
    """
    own = Path(source) / "config.yaml"
    return run_id(read_config(own)) if own.exists() else digest(checkpoint.for_our_pixels()[0])


def digest(checkpoint: Checkpoint) -> str:
    """Returns a hash of the weights, the same wherever and in whichever format they lie."""
    found = hashlib.sha256()
    for name, tensor in sorted(checkpoint.state.items()):
        found.update(name.encode())
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def transferred(config: RunConfig, num_classes: int) -> tuple[nn.Module, list[str]]:
    """Returns the source's model under a head of zeros, and what there is to say of the change.

    Raises:
        ValueError: the checkpoint is not the one that the run was planned with.
    """
    assert config.finetune.source is not None
    img_size = config.data.height_width
    checkpoint = read(config.finetune.source, img_size=img_size)
    if _identity(config.finetune.source, checkpoint) != config.finetune.weights:
        planned = config.finetune.weights
        raise ValueError(
            f"finetune.source={config.finetune.source}: its weights are not {planned}, which the "
            "run was planned with"
        )
    method = None if config.finetune.resize == "auto" else config.finetune.resize
    resized, line = checkpoint.resize(img_size, method)
    fitting, folded = resized.for_our_pixels()
    # As the source's own config, but for the recipe's dropout.
    model = build_model(config, img_size, num_classes)
    model.load_state_dict(fitting.with_new_head(num_classes).state)
    others = checkpoint.preprocess.differences(config.data)
    return model, [line, *folded, *others, *notes(checkpoint)]


def pick_lr(
    config: RunConfig,
    data: DataSource,
    fresh: Callable[[], nn.Module],
    folder: Path,
    stop: Callable[[], bool],
    say: Callable[[str], None],
    world: World,
) -> dict[str, Any]:
    """Returns the rate of finetune.lr_grid that is best on a dev split, and what each one reached.

    Each trial trains a fresh model as the run itself will, on what the dev split leaves; it is kept
    in the run's folder, so that an interrupted search goes on where it was.

    Raises:
        stops.Interrupted: `stop()` became true; the trial's state was saved.
        FloatingPointError: no rate gave a finite loss.
    """
    split = DevSplit(data, config.finetune.dev_share, config.data.seed)
    tried = []
    for lr in config.finetune.lr_grid:
        trial = folder / "lr_grid" / f"{lr:g}"
        if not world.agree((trial / "dev.json").exists):
            found = _dev_top1(config, lr, fresh(), split, trial, stop, say, world)
            if world.first:
                write_record(trial / "dev.json", {"lr": lr, "top1": found})
        if world.first:  # of a trial that an earlier process was killed in, too
            drop_state(trial)
        tried.append(world.agree(partial(_tried, trial / "dev.json")))
        top1 = tried[-1]["top1"]
        came = "diverged" if top1 is None else f"top-1 {top1} on a dev split of {split.val_size}"
        say(f"rate {lr:g}: {came}")
    finite = [entry for entry in tried if entry["top1"] is not None]
    if not finite:
        raise FloatingPointError(f"finetune.lr_grid={config.finetune.lr_grid}: each rate diverged")
    best = max(finite, key=lambda entry: entry["top1"])  # of equals the first, the grid's order
    return {"lr": best["lr"], "tried": tried, "dev_size": split.val_size}


def _tried(path: Path) -> dict[str, Any]:
    found = read_record(path)
    if type(found.get("top1")) not in (int, float, type(None)) or "lr" not in found:
        raise ValueError(
            f"{path}: does not say what a rate reached; remove it, and the rate is tried anew"
        )
    return found


def _dev_top1(
    config: RunConfig,
    lr: float,
    model: nn.Module,
    split: DevSplit,
    folder: Path,
    stop: Callable[[], bool],
    say: Callable[[str], None],
    world: World,
) -> float | None:
    """Returns the dev split's top-1 after training at `lr`; None if the loss was not finite."""
    one = replace(config, recipe=replace(config.recipe, lr=lr))
    trainer = Trainer(one, model, split, folder, world)
    if (damaged := trainer.resume()) is not None:
        say(damaged)
    try:
        trainer.train(lambda record: None, stop)
    except FloatingPointError:
        return None
    return top1(trainer.trained, split, "val", trainer.device)


class DevSplit(DataSource):
    """A data set's training part in two: `share` of it to validate on, the rest to train on."""

    def __init__(self, data: DataSource, share: float, seed: int) -> None:
        self._data, self.device, self.num_classes = data, data.device, data.num_classes
        self.may_skip = data.may_skip
        order = bits(seed, _STREAM, torch.arange(data.train_size)).argsort()
        if data.train_size < 2:
            raise ValueError(f"finetune.dev_share={share}: one training image cannot be divided")
        held = min(max(1, round(share * data.train_size)), data.train_size - 1)
        self._held, self._kept = order[:held].to(data.device), order[held:].to(data.device)
        self.train_size, self.val_size = len(self._kept), len(self._held)

    def train_batch(self, index: Tensor, draw: Tensor | None = None) -> Batch:
        """Returns images and labels of what is left to train on."""
        return self._data.train_batch(self._kept[index], draw)

    def val_batch(self, index: Tensor) -> Batch:
        """Returns images and labels of the dev split, not augmented."""
        return self._data.train_batch(self._held[index])

    def labels(self, part: Part, index: Tensor) -> Tensor:
        """Returns the labels (B,) at `index`."""
        return self._data.labels("train", self._rows(part)[index])

    def batches(self, part: Part, orders: Iterable[Order]) -> Iterator[Batch]:
        """Yields the batch of each order."""
        rows = self._rows(part)
        return self._data.batches("train", ((rows[index], *draw) for index, *draw in orders))

    def skipped(self) -> dict[str, str]:
        """Returns the images that could not be decoded so far, and why."""
        return self._data.skipped()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what an earlier part of the run skipped."""
        self._data.load_state_dict(state_dict)

    def _rows(self, part: Part) -> Tensor:
        return self._kept if part == "train" else self._held
