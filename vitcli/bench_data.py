"""Times the data against what they are compared with: timm's loader, and a training step."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from timm.data.dataset_factory import create_dataset
from timm.data.loader import create_loader

from vitcli.bench import Fixed, side_by_side, trainer_of
from vitcli.compose import compose
from vitcli.data import Batch, DataSource, Order, build_data
from vitcli.data.held import Held
from vitcli.data.order import batch_draw, batch_index
from vitcli.machine import cores
from vitcli.progress import measuring
from vitcli.trainer import find_device

ROUNDS = 5
FILES = 1024  # of 224 x 224 pixels, quality 90; whole batches, as timm drops the rest
_SIDE, _BATCH = 224, 64
_CIFAR_SIDES = (16, 32, 48)


class _MadeCifar(Held):
    """CIFAR-10 in all but its pixels."""

    def _read(self, config: object, train: bool, most: int | None) -> tuple[Batch, int]:
        side, many = min(32, max(self._size)), 50000 if train else 10000
        pixels = torch.randint(0, 256, (many, 3, side, side), dtype=torch.uint8, device=self.device)
        return (pixels, torch.randint(0, 10, (many,), device=self.device)), 10


def bench_data() -> dict[str, dict[str, float]]:
    """Returns images/s of our loader and timm's on a folder of JPEGs, and CIFAR's beside a step.

    The folder is written for the occasion. Both loaders crop, flip and scale to [-1, 1] alike, in
    as many worker processes as there are cores for this one; timm's once with its prefetcher (its
    own default) and once without.
    """
    workers = cores()
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        _write_jpegs(Path(folder))
        torch.set_num_threads(1)
        try:
            speeds = _loaders(Path(folder), workers)
        finally:
            torch.set_num_threads(threads)
    best = max(speed for name, speed in speeds.items() if name != "ours")
    jpegs = {**speeds, "ratio": speeds["ours"] / best, "workers": workers}
    return {"jpeg_folder": jpegs, **{f"cifar10_{side}": _cifar(side) for side in _CIFAR_SIDES}}


def show(found: dict[str, dict[str, float]], console: Console) -> None:
    """Prints what `bench_data` found."""
    jpegs = dict(found["jpeg_folder"])
    ratio, workers = jpegs.pop("ratio"), jpegs.pop("workers")
    table = Table(title=f"JPEG folder, {_SIDE} px, {workers} workers, images/s (median)")
    for heading in (*jpegs, "ours / best timm"):
        table.add_column(heading, justify="right")
    table.add_row(*(f"{speed:,.0f}" for speed in jpegs.values()), f"{ratio:.2f}")
    console.print(table)
    table = Table(title="CIFAR-10 on the device: crop and flip, beside a step of nano")
    for heading in ("pixels", "images/s", "of a step"):
        table.add_column(heading, justify="right")
    for side in _CIFAR_SIDES:
        of = found[f"cifar10_{side}"]
        table.add_row(str(side), f"{of['images_per_s']:,.0f}", f"{of['share_of_step']:.1%}")
    console.print(table)


def _write_jpegs(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("train", FILES), ("val", 2)):
        for number in range(count):
            path = folder / part / str(number % 2) / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(rng.integers(0, 256, (28, 28, 3), dtype=np.uint8))
            coarse.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC).save(path, quality=90)


def _loaders(folder: Path, workers: int) -> dict[str, float]:
    """Returns images/s over an epoch, start of the workers included, of each loader."""
    settings = [f"data.path={folder}", f"data.img_size={_SIDE}", f"data.workers={workers}"]
    ours = build_data(compose(["data=imagefolder", *settings]).data, torch.device("cpu"))

    settings_of_timm: dict[str, Any] = {
        "is_training": True,
        "scale": (0.05, 1.0),
        "color_jitter": None,
        "interpolation": "bilinear",
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "num_workers": workers,
        "persistent_workers": False,
        "device": torch.device("cpu"),
    }

    def timm_epoch(prefetcher: bool) -> Callable[[], int]:
        theirs = create_dataset("", root=str(folder), split="train")  # the loader transforms
        loader = create_loader(
            theirs, (3, _SIDE, _SIDE), _BATCH, use_prefetcher=prefetcher, **settings_of_timm
        )
        return lambda: sum(len(images) for images, _ in loader)

    epochs: dict[str, Callable[[], int]] = {
        "ours": lambda: sum(len(images) for images, _ in ours.batches("train", _epoch(ours))),
        "timm": timm_epoch(True),
        "timm, no prefetcher": timm_epoch(False),
    }
    speeds: dict[str, list[float]] = {name: [] for name in epochs}
    with measuring("JPEG files", ROUNDS * len(epochs)) as tell:
        for _ in range(ROUNDS):
            for name, epoch in epochs.items():
                tell(name)
                began = time.perf_counter()
                images = epoch()
                speeds[name].append(images / (time.perf_counter() - began))
    return {name: statistics.median(of_rounds) for name, of_rounds in speeds.items()}


def _epoch(data: DataSource) -> Iterator[Order]:
    index = batch_index(0, data.train_size, 0, data.train_size, data.device)
    draw = batch_draw(0, data.train_size, 0, index)
    return zip(torch.split(index, _BATCH), torch.split(draw, _BATCH), strict=True)


def _cifar(side: int) -> dict[str, float]:
    """Returns images/s, and the share of a step that reads them."""
    config = compose(["data=cifar10", "evals=upstream", f"data.img_size={side}"])
    device = find_device(config)
    cifar = _MadeCifar(config.data, device)
    index = torch.randint(cifar.train_size, (config.train.batch_size,), device=device)
    draw = batch_draw(0, cifar.train_size, 0, index)
    trainer = trainer_of(config, Fixed(cifar.num_classes, cifar.train_batch(index, draw)))
    seconds = side_by_side(
        f"CIFAR-10, {side} pixels",
        {"step": trainer.train_step, "data": lambda: cifar.train_batch(index, draw)},
        device,
    )
    share = seconds["data"] / (seconds["data"] + seconds["step"])
    return {"images_per_s": len(index) / seconds["data"], "share_of_step": share}
