"""`vitcli data`: walks a data set, and shows images as the model sees them."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torchvision.utils import save_image

from vitcli.config import DataConfig, RunConfig
from vitcli.data import Part, build_data
from vitcli.data.names import some
from vitcli.files import replacing

_BATCH = 64
_ROWS, _COLUMNS = 6, 8  # of training images on the sheet; two more rows of validation images


def check(config: DataConfig, console: Console) -> int:
    """Reads every image, prints size, classes, balance and speed, and each bad image; counts these.

    Raises:
        ValueError: the data set is not there, or has no end.
    """
    if config.name == "glyphs" and config.size is None:
        raise ValueError("data.size=null: glyphs has no end, set data.size")
    data = build_data(replace(config, max_bad=2**62), torch.device("cpu"))
    title = f"{config.alias or config.name}, {data.num_classes:,} classes"
    table = Table(title=title, title_justify="left")
    for heading in ("part", "images", "a class", "empty classes", "bad", "images/s"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    parts: tuple[tuple[Part, int], ...] = (("train", data.train_size), ("val", data.val_size))
    seen, without = 0, []
    for part, size in parts:
        every = torch.arange(size)
        counts = data.labels(part, every).bincount(minlength=data.num_classes)
        began = time.perf_counter()
        for _ in data.batches(part, ((index,) for index in torch.split(every, _BATCH))):
            pass
        speed = size / (time.perf_counter() - began)
        bad, seen = len(data.skipped()) - seen, len(data.skipped())
        balance = f"{counts.min():,} to {counts.max():,}"
        names = data.class_names() or [str(number) for number in range(data.num_classes)]
        empty = [names[c] for c in (counts == 0).nonzero().flatten().tolist()]
        without += [f"{part} has no images of {some(empty)}"] if empty else []
        table.add_row(part, f"{size:,}", balance, f"{len(empty):,}", f"{bad:,}", f"{speed:,.0f}")
    console.print(table)
    for line in without:
        console.print(line, markup=False, soft_wrap=True)
    for name, reason in data.skipped().items():
        console.print(f"{name}: {reason}", markup=False, soft_wrap=True)
    return seen


def show(config: RunConfig, path: Path) -> None:
    """Writes a PNG of a run's first training images, augmented, and two rows for validation.

    Raises:
        ValueError: the data set is not there.
    """
    data = build_data(config.data, torch.device("cpu"))
    train, _ = data.train_batch(*data.order(config.seed, 0, _ROWS * _COLUMNS))
    val, _ = data.val_batch(torch.arange(min(2 * _COLUMNS, data.val_size)))
    images = torch.cat([train, val])
    with replacing(path) as temporary:
        save_image(
            images, temporary, format="png", nrow=_COLUMNS, normalize=True, value_range=(-1, 1)
        )
