"""cifar10, cifar100, mnist, fashion_mnist, kmnist: small sets, held on the device as bytes.

A rectangle shows the middle of an image that is as large as its longer side: proportions are kept.
Images without colours have three equal channels.
"""

from __future__ import annotations

import logging
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.datasets import CIFAR10, CIFAR100, KMNIST, MNIST, FashionMNIST

from vitcli.config import DataConfig
from vitcli.data.counter import bits, integers
from vitcli.data.download import fetch
from vitcli.data.source import Batch, DataSource, Part
from vitcli.data.subsets import balanced_order
from vitcli.sets import published

_log = logging.getLogger(__name__)
READERS: dict[str, Any] = {
    "cifar10": CIFAR10,
    "cifar100": CIFAR100,
    "mnist": MNIST,
    "fashion_mnist": FashionMNIST,
    "kmnist": KMNIST,
}
# What torchvision's readers raise at files that are absent, cut off, or of another kind.
_BROKEN = (RuntimeError, AssertionError, TypeError, ValueError, LookupError)
_AT_ONCE = 1000  # images resized together: 12 MB as floats, where a whole part would be 600
_SHIFT_X, _SHIFT_Y, _FLIP = range(3)  # streams of an image's draw


class Held(DataSource):
    """A set that torchvision reads; data.size is a balanced prefix of the training images.

    Sources: Krizhevsky 2009 (CIFAR: 50,000 and 10,000 images of 32 x 32 pixels); LeCun et al. 1998,
    Xiao et al. 2017, Clanuwat et al. 2018 (MNIST, Fashion-MNIST, KMNIST: 60,000 and 10,000 of 28 x
    28). Crop and flip are done on the device, a batch at a time: next to no time beside a step, and
    no worker processes.
    """

    def __init__(self, config: DataConfig, device: torch.device) -> None:
        """Reads the files in data.root onto `device`, downloading them first if data.download.

        Raises:
            ValueError: the files are not there or not the original ones, or data.size is too large.
        """
        self.device, self._flip, self._size = device, config.augment.flip, config.height_width
        self._notes: list[str] = []
        self._train, self.num_classes = self._read(config, True, config.size)
        self._val, _ = self._read(config, False, config.val_size)
        self._held = self._train[0].shape[-1]
        pad = max(1, round(config.augment.pad * self._held / 32))
        self._pad = pad if config.augment.crop == "pad" else 0
        self.train_size, self.val_size = len(self._train[1]), len(self._val[1])

    def train_batch(self, index: Tensor, draw: Tensor | None = None) -> Batch:
        """Returns training images (B, 3, H, W) in [-1, 1] and labels (B,)."""
        pixels, labels = self._train
        images = pixels[index]
        if draw is not None:
            images = self._varied(images, draw)
        return self._finished(images), labels[index]

    def val_batch(self, index: Tensor) -> Batch:
        """Returns validation images (B, 3, H, W) in [-1, 1] and labels (B,)."""
        pixels, labels = self._val
        return self._finished(pixels[index]), labels[index]

    def labels(self, part: Part, index: Tensor) -> Tensor:
        """Returns the labels (B,)."""
        return (self._train if part == "train" else self._val)[1][index]

    def notes(self) -> list[str]:
        """Returns where the files have other numbers of images than those published."""
        return self._notes

    def _read(self, config: DataConfig, train: bool, most: int | None) -> tuple[Batch, int]:
        """Returns bytes (N, 1 or 3, S, S) and labels (N,), and how many classes there are.

        S is the side in the files. Smaller images are resized once, here; larger ones in each
        batch, to hold fewer bytes.
        """
        pixels, labels, num_classes = _files(config, train)
        if len(labels) != (usual := published(config.name)[not train]):
            part = "training" if train else "validation"
            self._notes.append(
                f"{config.name} in data.root={config.root} has {len(labels):,} {part} images, "
                f"not the {usual:,} of the published set"
            )
            _log.warning("%s", self._notes[-1])
        if train and most is not None and most > len(labels):
            raise ValueError(f"data.size={most}: {config.name} has {len(labels)} training images")
        order = balanced_order(labels, config.seed)[:most]
        pixels, side = pixels[order].contiguous(), max(self._size)
        if side < pixels.shape[-1]:
            parts = [_resized(part.float(), side) for part in torch.split(pixels, _AT_ONCE)]
            pixels = torch.cat([part.round().to(torch.uint8) for part in parts])
        return (pixels.to(self.device), labels[order].to(self.device)), num_classes

    def _varied(self, images: Tensor, draw: Tensor) -> Tensor:
        """Returns the images (B, C, S, S), bytes, shifted by up to `pad` pixels and flipped."""
        pad, axis = self._pad, torch.arange(self._held, device=images.device)
        rows = axis + integers(bits(0, _SHIFT_Y, draw), 2 * pad + 1)[:, None]
        columns = axis.expand(len(images), -1)
        if self._flip:
            flip = integers(bits(0, _FLIP, draw), 2)[:, None] == 1
            columns = torch.where(flip, columns.flip(1), columns)
        columns = columns + integers(bits(0, _SHIFT_X, draw), 2 * pad + 1)[:, None]
        padded = F.pad(images, (pad, pad, pad, pad))  # black
        which = torch.arange(len(images), device=images.device)[:, None, None]
        picked = padded[which, :, rows[:, :, None], columns[:, None, :]]  # (B, S, S, C)
        return picked.permute(0, 3, 1, 2)

    def _finished(self, images: Tensor) -> Tensor:
        images = images.float() / 127.5 - 1
        (height, width), longer = self._size, max(self._size)
        if longer > self._held:
            images = _resized(images, longer).clamp(-1, 1)
        top, left = (longer - height) // 2, (longer - width) // 2
        shown = images[:, :, top : top + height, left : left + width]
        return shown.expand(-1, 3, -1, -1).contiguous()


def _resized(images: Tensor, side: int) -> Tensor:
    return F.interpolate(images, (side, side), mode="bilinear", antialias=True)


def _files(config: DataConfig, train: bool) -> tuple[Tensor, Tensor, int]:
    """Returns the part's bytes (N, 1 or 3, S, S), labels (N,), and the number of classes."""
    reader = READERS[config.name]
    grey = issubclass(reader, MNIST)
    folder = reader.__name__ if grey else reader.base_folder
    if grey and (Path(config.root) / folder / "processed").exists():
        raise ValueError(
            f"data.root={config.root}: {folder}/processed is of old versions of torchvision, which "
            "would be read instead of the original files; remove it"
        )
    root = Path(config.root)
    try:
        return _opened(reader, root, train)
    except _BROKEN:
        if not config.download:
            raise ValueError(
                f"data.root={root}: {folder}{'/raw' * grey} is not there, or not as published; "
                "data.download=true fetches it"
            ) from None
    try:
        fetch(reader, root, lambda: _is_there(reader, root, train))
        return _opened(reader, root, train)
    except (OSError, HTTPException, *_BROKEN) as error:
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"data.download=true: {config.name}: {why[-1]}") from None


def _opened(reader: Any, root: Path, train: bool) -> tuple[Tensor, Tensor, int]:
    """Returns what `_files` does. Raises one of _BROKEN."""
    # CIFAR: checks the files against their published sums before it unpickles anything.
    files = reader(root, train=train)
    pixels, labels = torch.as_tensor(files.data), torch.as_tensor(files.targets)
    grey = issubclass(reader, MNIST)
    if pixels.shape[1:3] != ((28, 28) if grey else (32, 32)):
        raise ValueError("images of another size")
    if len(pixels) != len(labels) or not 0 <= labels.min() <= labels.max() < len(files.classes):
        raise ValueError("images and labels do not belong together")
    return pixels.unsqueeze(1) if grey else pixels.permute(0, 3, 1, 2), labels, len(files.classes)


def _is_there(reader: Any, root: Path, train: bool) -> bool:
    try:
        _opened(reader, root, train)
    except _BROKEN:
        return False
    return True
