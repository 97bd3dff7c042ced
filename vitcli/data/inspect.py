"""`vitcli data`: walks a data set, and shows images as the model sees them."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torchvision.utils import save_image

from vitcli.config import DataConfig, RunConfig
from vitcli.data import DataSource, Part, build_data
from vitcli.data.decode import UPRIGHT
from vitcli.data.decoded import EMPTY
from vitcli.data.duplicates import duplicates
from vitcli.data.facts import Fact
from vitcli.data.names import counted, some
from vitcli.files import replacing
from vitcli.progress import counting

_ROWS, _COLUMNS = 6, 8  # of training images on the sheet; two more rows of validation images
_PARTS: tuple[Part, ...] = ("train", "val")


@dataclass(frozen=True)
class OfPart:
    """What `check` found in a part: numbers of images, of a class the fewest and the most."""

    part: str
    images: int
    fewest: int
    most: int
    empty_classes: list[str]
    bad: int
    images_per_s: float


@dataclass(frozen=True)
class Checked:
    """What `check` found in a set.

    Attributes:
        notes: what was left out or assumed, on modes, sizes, orientations, and which images are
            there twice.
        bad: the images that cannot be decoded, by name and why.
    """

    data: str
    classes: list[str]
    parts: list[OfPart]
    notes: list[str]
    bad: dict[str, str]


def check(config: DataConfig) -> Checked:
    """Reads every image and returns what there is to know of the set.

    Raises:
        ValueError: the data set is not there, or has no end.
    """
    if config.name == "glyphs" and config.size is None:
        raise ValueError("data.size=null: glyphs has no end, set data.size")
    with _unlogged():
        return _check(config, build_data(config, torch.device("cpu")))


def _check(config: DataConfig, data: DataSource) -> Checked:
    names = data.class_names() or [str(number) for number in range(data.num_classes)]
    title = config.alias or config.name
    facts: dict[Part, list[Fact]] = {}
    parts = []
    with counting(title, data.train_size + data.val_size) as count:
        for part in _PARTS:
            began, facts[part] = time.perf_counter(), []
            for found in data.facts(part):
                facts[part] += found
                count(len(found))
            speed = len(facts[part]) / (time.perf_counter() - began)
            parts.append(_of_part(part, facts[part], names, speed))
    every = [*facts["train"], *facts["val"]]
    twice = duplicates(facts["train"], facts["val"], names)
    opened = [line for line in data.notes() if EMPTY not in line]  # of those the parts tell
    notes = [*opened, *_kinds(every), *(twice or ["no image is there twice"])]
    bad = {fact.name: fact.bad for fact in every if fact.bad is not None}
    return Checked(title, names, parts, notes, bad)


@contextmanager
def _unlogged() -> Iterator[None]:
    """Keeps the log of what data sets note out of the block: `check` shows the notes."""
    logs = [logging.getLogger(f"vitcli.data.{name}") for name in ("decoded", "held", "streams")]
    for log in logs:
        log.disabled = True
    try:
        yield
    finally:
        for log in logs:
            log.disabled = False


def _of_part(part: Part, facts: Sequence[Fact], names: Sequence[str], speed: float) -> OfPart:
    of_class = Counter(fact.label for fact in facts)
    counts = [of_class[number] for number in range(len(names))]
    empty = [name for name, images in zip(names, counts, strict=True) if not images]
    bad = sum(fact.bad is not None for fact in facts)
    return OfPart(part, len(facts), min(counts), max(counts), empty, bad, speed)


def print_checked(checked: Checked, console: Console) -> None:
    """Prints what was found: a row a part, then a line for each thing to know, and bad image."""
    title = f"{checked.data}, {len(checked.classes):,} classes"
    table = Table(title=title, title_justify="left")
    for heading in ("part", "images", "a class", "empty classes", "bad", "images/s"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    for each in checked.parts:
        balance, empty = f"{each.fewest:,} to {each.most:,}", f"{len(each.empty_classes):,}"
        row = (f"{each.images:,}", balance, empty, f"{each.bad:,}", f"{each.images_per_s:,.0f}")
        table.add_row(each.part, *row)
    console.print(table)
    without = [
        f"{each.part} has no images of {some(each.empty_classes)}"
        for each in checked.parts
        if each.empty_classes
    ]
    for line in (*without, *checked.notes, *(f"{n}: {why}" for n, why in checked.bad.items())):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _kinds(facts: Sequence[Fact]) -> list[str]:
    """Returns how the images are stored that have files, a line each."""
    stored = [fact for fact in facts if fact.mode]
    if not stored:
        return []
    sizes = sorted((fact.size for fact in stored), key=lambda size: (size[0] * size[1], size))
    smallest, median, largest = (
        f"{width:,} x {height:,}" for width, height in (sizes[0], sizes[len(sizes) // 2], sizes[-1])
    )
    turned = Counter(str(fact.orientation) for fact in stored if fact.orientation != UPRIGHT)
    lines = [
        f"modes: {counted(Counter(fact.mode for fact in stored))}",
        f"width x height: {smallest} to {largest}, median {median}, {len(set(sizes)):,} different",
    ]
    if turned:
        lines.append(f"turned upright by their EXIF orientation: {counted(turned)}")
    if transparent := sum(fact.transparent for fact in stored):
        lines.append(f"with transparency, under which their colours are shown: {transparent:,}")
    if animated := sum(fact.animated for fact in stored):
        lines.append(f"of several frames, of which the first is taken: {animated:,}")
    return lines


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
