"""Times our training step against a plain loop around timm's ViT, and the data against the step."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from vitcli.compose import compose
from vitcli.config import FinetuneConfig, RunConfig
from vitcli.data import Batch, DataSource, build_data
from vitcli.models import build_model
from vitcli.perf import train_flops
from vitcli.progress import measuring
from vitcli.trainer import Trainer, find_device

ROUNDS = 9  # each round times every contestant once, so that a drift of the machine hits all alike
SECONDS = 0.3  # of a contestant in a round
_TIMED_STEPS = 5  # of each model in `vitcli plan --time`
_TIMED_FLOPS = 4e11  # of one timed step at most: a second or so on two cores

# The laptop's model, and a deep narrow one: D = 192, 12 layers, 65 tokens.
SHAPES = {
    "nano": ["model=nano"],
    "Ti, 65 tokens": ["model=ti", "model.patch_size=4", "data.img_size=32"],
}


class Fixed(DataSource):
    """A data set that is one batch: what is left is the step."""

    def __init__(self, num_classes: int, batch: tuple[Tensor, Tensor]) -> None:
        self.num_classes, self.train_size, self.val_size = num_classes, len(batch[1]), 0
        self.device, self._batch = batch[1].device, batch

    def train_batch(self, index: Tensor, draw: Tensor | None = None) -> Batch:
        return self._batch

    def val_batch(self, index: Tensor) -> Batch:
        return self._batch


def bench(console: Console) -> None:
    """Prints images/s of our step and of timm's, their ratio, and what drawing the images costs."""
    table = Table(title=f"training step, {torch.get_num_threads()} threads, images/s (median)")
    for heading in (
        "model",
        "ours",
        "timm fp32",
        "timm bf16",
        "ours / best timm",
        "glyphs",
        "of a step",
    ):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for name, overrides in SHAPES.items():
        config = compose(overrides)
        device = find_device(config)
        data = build_data(config.data, device)
        batch_size = config.train.batch_size
        index = torch.arange(batch_size, device=device)
        trainer = trainer_of(config, Fixed(data.num_classes, data.train_batch(index)))
        timm = partial(_timm_step, config, data.num_classes, data.train_batch(index))
        contestants: dict[str, Callable[[], object]] = {
            "ours": trainer.train_step,
            "fp32": timm(bf16=False),
            "glyphs": partial(data.train_batch, index),
        }
        if has_bf16(device):
            contestants["bf16"] = timm(bf16=True)
        seconds = side_by_side(name, contestants, device)
        speed = {key: f"{batch_size / value:,.0f}" for key, value in seconds.items()}
        ratio = min(seconds["fp32"], seconds.get("bf16", math.inf)) / seconds["ours"]
        share = seconds["glyphs"] / (seconds["ours"] + seconds["glyphs"])
        bf16 = speed.get("bf16", "--")
        row = (speed["ours"], speed["fp32"], bf16, f"{ratio:.2f}", speed["glyphs"])
        table.add_row(name, *row, f"{share:.1%}")
    console.print(table)


def has_bf16(device: torch.device) -> bool:
    """Returns whether the device multiplies in bf16.

    A CPU that does not imitates it: on one with AVX2 alone, the rounds took more than nine minutes.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("amx_bf16", "avx512_bf16", "arm_bf16"))


def trainer_of(config: RunConfig, data: DataSource | None = None) -> Trainer:
    """Returns a trainer of a fresh model, on `data` if given; without a folder it can only step."""
    device = find_device(config)
    data = data or build_data(config.data, device)
    model = build_model(config, config.data.height_width, data.num_classes).to(device)
    return Trainer(config, model, data, Path())


def step_seconds(trainer: Trainer, steps: int) -> list[float]:
    """Returns the seconds of each of `steps` training steps, after one that does not count."""
    trainer.model.train()
    return [_seconds(trainer.train_step, trainer.device) for _ in range(steps + 1)][1:]


def flops_per_second(config: RunConfig) -> float:
    """Returns the speed of a run's training steps here, in one of the processes of a study.

    No data set is opened but those that are made here, whose images cost a core's time too.
    """
    config = replace(config, finetune=FinetuneConfig())
    steps = replace(config.train, steps=1, images=None, epochs=None)
    per_image = train_flops(replace(config, train=steps))[1] / config.train.batch_size
    batch_size = max(1, min(config.train.batch_size, int(_TIMED_FLOPS / per_image)))
    one = replace(config, train=replace(config.train, batch_size=batch_size, accumulate=1))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        data = None if config.data.name in ("glyphs", "digits") else _noise(one)
        seconds = statistics.median(step_seconds(trainer_of(one, data), _TIMED_STEPS))
    finally:
        torch.set_num_threads(before)
    return per_image * batch_size / seconds


def _noise(config: RunConfig) -> DataSource:
    """Returns one batch of noise in a run's shapes, for the time of a step without its data."""
    data, device, size = config.data, find_device(config), config.train.batch_size
    images = torch.rand((size, 3, *data.height_width), device=device)
    labels = torch.arange(size, device=device) % (data.num_classes or 1000)
    return Fixed(data.num_classes or 1000, (images, labels))


def _timm_step(
    config: RunConfig, num_classes: int, batch: Batch, bf16: bool
) -> Callable[[], object]:
    model = config.model
    images, labels = batch
    net = VisionTransformer(
        img_size=config.data.height_width,
        patch_size=model.patch_size,
        num_classes=num_classes,
        embed_dim=model.embed_dim,
        depth=model.depth,
        num_heads=model.num_heads,
        mlp_ratio=model.mlp_dim / model.embed_dim,
    ).to(images.device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.05, fused=True)

    def step() -> None:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            loss = nn.functional.cross_entropy(net(images), labels)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def side_by_side(
    name: str, contestants: dict[str, Callable[[], object]], device: torch.device
) -> dict[str, float]:
    """Returns the median seconds of one call of each, timed in turn."""

    def round_of(call: Callable[[], object]) -> float:
        once = _seconds(call, device)  # not counted: its caches are still the one's before it
        many = max(1, round(SECONDS / once))
        return _seconds(lambda: [call() for _ in range(many)], device) / many

    for call in contestants.values():
        call()  # warm-up
    rounds = []
    with measuring(name, ROUNDS, quiet=False) as tell:
        for _ in range(ROUNDS):
            tell("round")
            rounds.append({key: round_of(call) for key, call in contestants.items()})
    return {key: statistics.median(r[key] for r in rounds) for key in contestants}


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    began = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
