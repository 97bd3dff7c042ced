"""Times our training step against a plain loop around timm's ViT, and the data against the step."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
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
from vitcli.perf import num_tokens, train_flops
from vitcli.progress import measuring
from vitcli.sets import UNKNOWN_CLASSES
from vitcli.step import has_bf16
from vitcli.trainer import Trainer, find_device, use_threads

ROUNDS = 9  # each round times every contestant once, so that a drift of the machine hits all alike
SECONDS = 0.3  # of a contestant in a round
_TIMED_STEPS = 5  # of each model in `vitcli plan --time`
_TIMED_FLOPS = 4e11  # of one timed step at most: a second or so on two cores

# The laptop's two; a deep narrow one, D = 192, 12 layers; and the paper's shape at its smallest.
SHAPES = {
    "nano": ["model=nano"],
    "BiT nano": ["model=bit_nano"],
    "Ti, 65 tokens": ["model=ti", "model.patch_size=4", "data.img_size=32"],
    "S/16, 224 px": ["model=s", "data.img_size=224", "train.batch_size=32"],
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


def bench_step(name: str, overrides: Sequence[str]) -> dict[str, float]:
    """Returns images/s of a training step, timed in turn with others on one batch; medians.

    `ours` is compiled, `plain` is not, `timm_fp32` and `timm_bf16` are a plain loop around timm's
    ViT, `drawn` makes the batch alone. `ratio` is ours over timm's best, of a ResNet over plain;
    `compile_s` the seconds before the first step, 2 where torch's cache on disk has it. `of_peak`
    of a ViT is the speed of our whole step, in FLOP/s, over that of one of its products alone.
    """
    config = compose(["evals=upstream", *overrides, "compile=on"])
    device, size = find_device(config), config.train.batch_size
    use_threads(config)
    data = build_data(config.data, device)
    index = torch.arange(size, device=device)
    batch = data.train_batch(index)
    fixed = Fixed(data.num_classes, batch)
    contestants: dict[str, Callable[[], object]] = {
        "ours": trainer_of(config, fixed).train_step,
        "plain": trainer_of(replace(config, compile="off"), fixed).train_step,
        "drawn": partial(data.train_batch, index),
    }
    pure = config.model.family == "vit" and not config.stem.layers
    if pure:
        contestants["product"], product_flops = _product(config, device)
        for kind in ("fp32", "bf16") if has_bf16(device) else ("fp32",):
            contestants[f"timm_{kind}"] = _timm_step(
                config, data.num_classes, batch, kind == "bf16"
            )
    compile_s = _seconds(contestants["ours"], device)
    seconds = side_by_side(name, contestants, device)
    peak = {}
    if pure:
        product = product_flops / seconds.pop("product")
        peak = {"of_peak": _step_flops(config) / seconds["ours"] / product}
    speed = {key: size / value for key, value in seconds.items()}
    others = [value for key, value in speed.items() if key.startswith("timm")]
    ratio = speed["ours"] / max(others or [speed["plain"]])
    return speed | peak | {"ratio": ratio, "compile_s": compile_s}


def show(found: Mapping[str, Mapping[str, float]], console: Console) -> None:
    """Prints what `bench_step` found, a column a model."""
    table = Table(
        title=f"training step, {torch.get_num_threads()} threads, images/s (median)",
        caption="matmul peak: FLOP/s of the first product of an MLP alone, of a whole batch",
    )
    table.add_column()
    for name in found:
        table.add_column(name, justify="right")
    rows = {"ours": "ours", "plain": "not compiled", "timm_fp32": "timm fp32"}
    rows |= {"timm_bf16": "timm bf16", "drawn": "images made"}
    for key, label in rows.items():
        table.add_row(
            label, *(_speed(speed[key]) if key in speed else "--" for speed in found.values())
        )
    best = (f"{s['ratio']:.2f}" if "timm_fp32" in s else "--" for s in found.values())
    table.add_row("ours / best of timm", *best)
    table.add_row("ours / not compiled", *(f"{s['ours'] / s['plain']:.2f}" for s in found.values()))
    peaks = (f"{s['of_peak']:.0%}" if "of_peak" in s else "--" for s in found.values())
    table.add_row("of matmul peak", *peaks)
    table.add_row("to compile", *(f"{speed['compile_s']:.0f} s" for speed in found.values()))
    console.print(table)


def _speed(images_per_s: float) -> str:
    return f"{images_per_s:,.0f}" if images_per_s >= 100 else f"{images_per_s:.1f}"


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
    per_image = _step_flops(config) / config.train.batch_size
    batch_size = max(1, min(config.train.batch_size, int(_TIMED_FLOPS / per_image)))
    train = replace(config.train, batch_size=batch_size, accumulate=1)
    one = replace(config, train=train, compile="off")  # the first minute would be of compiling
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        data = None if config.data.name in ("glyphs", "digits") else _noise(one)
        seconds = statistics.median(step_seconds(trainer_of(one, data), _TIMED_STEPS))
    finally:
        torch.set_num_threads(before)
    return per_image * batch_size / seconds


def _step_flops(config: RunConfig) -> float:
    """Returns the training FLOPs of one step."""
    step = replace(config.train, steps=1, images=None, epochs=None)
    return train_flops(replace(config, train=step))[1]


def _noise(config: RunConfig) -> DataSource:
    """Returns one batch of noise in a run's shapes, for the time of a step without its data."""
    data, device, size = config.data, find_device(config), config.train.batch_size
    images = torch.rand((size, 3, *data.height_width), device=device)
    classes = data.num_classes or UNKNOWN_CLASSES
    return Fixed(classes, (images, torch.arange(size, device=device) % classes))


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


def _product(config: RunConfig, device: torch.device) -> tuple[Callable[[], object], float]:
    """Returns the first product of a block's MLP, of a whole batch, and its FLOPs.

    In bf16 where the device multiplies in it. It stands for the peak at the model's shapes.
    """
    model = config.model
    rows = config.train.batch_size * num_tokens(model, config.data.height_width)
    kind = torch.bfloat16 if has_bf16(device) else torch.float32
    tokens = torch.randn(rows, model.embed_dim, dtype=kind, device=device)
    weight = torch.randn(model.mlp_dim, model.embed_dim, dtype=kind, device=device)
    flops = 2.0 * rows * weight.numel()
    return partial(nn.functional.linear, tokens, weight), flops


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
    with measuring(name, ROUNDS) as tell:
        for _ in range(ROUNDS):
            tell("round")
            rounds.append({key: round_of(call) for key, call in contestants.items()})
    return {key: statistics.median(r[key] for r in rounds) for key in contestants}


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    began = time.perf_counter()
    call()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter() - began
