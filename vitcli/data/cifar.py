"""cifar10, cifar100: 50,000 and 10,000 images of 32 x 32 pixels, held on the device as bytes.

A rectangle shows the middle of an image that is as large as its longer side: proportions are kept.
"""

from __future__ import annotations

from urllib.error import URLError

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.datasets import CIFAR10, CIFAR100

from vitcli.config import DataConfig
from vitcli.data.counter import bits, integers
from vitcli.data.source import Batch, DataSource, Part
from vitcli.data.subsets import balanced_order

_SIDE = 32  # pixels of the images in the files
_AT_ONCE = 1000  # images resized together: 12 MB as floats, where a whole part would be 600
_SHIFT_X, _SHIFT_Y, _FLIP = range(3)  # streams of an image's draw


class Cifar(DataSource):
    """CIFAR-10 or CIFAR-100; data.size is a balanced prefix of the training images.

    Source: Krizhevsky 2009. Crop and flip are done on the device, a batch at a time: next to no
    time beside a step, and no worker processes.
    """

    def __init__(self, config: DataConfig, device: torch.device) -> None:
        """Reads the files in data.root onto `device`, downloading them first if data.download.

        Raises:
            ValueError: the files are not there or not the original ones, or data.size is too large.
        """
        self.num_classes = 10 if config.name == "cifar10" else 100
        self.device, self._flip, self._size = device, config.augment.flip, config.height_width
        # Smaller images are resized once, here; larger ones in each batch, to hold fewer bytes.
        self._held = min(_SIDE, max(self._size))
        pad = max(1, round(config.augment.pad * self._held / _SIDE))
        self._pad = pad if config.augment.crop == "pad" else 0
        self._train = self._read(config, True, config.size)
        self._val = self._read(config, False, config.val_size)
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

    def _read(self, config: DataConfig, train: bool, most: int | None) -> Batch:
        """Returns bytes (N, 3, S, S), S at most 32, and labels (N,)."""
        reader = CIFAR10 if config.name == "cifar10" else CIFAR100
        try:
            # Checks the files against their published sums before it unpickles anything.
            files = reader(config.root, train=train, download=config.download)
        except URLError as error:
            raise ValueError(f"data.download=true: {config.name}: {error.reason}") from None
        except RuntimeError:
            raise ValueError(
                f"data.root={config.root}: {reader.base_folder} is not there, or not as published; "
                "data.download=true fetches it"
            ) from None
        if train and most is not None and most > len(files.targets):
            held = len(files.targets)
            raise ValueError(f"data.size={most}: {config.name} has {held} training images")
        labels = torch.tensor(files.targets)
        order = balanced_order(labels, config.seed)[:most]
        pixels = torch.from_numpy(files.data).permute(0, 3, 1, 2)[order].contiguous()
        if self._held < _SIDE:
            parts = [_resized(part.float(), self._held) for part in torch.split(pixels, _AT_ONCE)]
            pixels = torch.cat([part.round().to(torch.uint8) for part in parts])
        return pixels.to(self.device), labels[order].to(self.device)

    def _varied(self, images: Tensor, draw: Tensor) -> Tensor:
        """Returns the images (B, 3, S, S), bytes, shifted by up to `pad` pixels and flipped."""
        pad, axis = self._pad, torch.arange(self._held, device=images.device)
        rows = axis + integers(bits(0, _SHIFT_Y, draw), 2 * pad + 1)[:, None]
        columns = axis.expand(len(images), -1)
        if self._flip:
            flip = integers(bits(0, _FLIP, draw), 2)[:, None] == 1
            columns = torch.where(flip, columns.flip(1), columns)
        columns = columns + integers(bits(0, _SHIFT_X, draw), 2 * pad + 1)[:, None]
        padded = F.pad(images, (pad, pad, pad, pad))  # black
        which = torch.arange(len(images), device=images.device)[:, None, None]
        picked = padded[which, :, rows[:, :, None], columns[:, None, :]]  # (B, S, S, 3)
        return picked.permute(0, 3, 1, 2)

    def _finished(self, images: Tensor) -> Tensor:
        images = images.float() / 127.5 - 1
        (height, width), longer = self._size, max(self._size)
        if longer > self._held:
            images = _resized(images, longer).clamp(-1, 1)
        top, left = (longer - height) // 2, (longer - width) // 2
        return images[:, :, top : top + height, left : left + width].contiguous()


def _resized(images: Tensor, side: int) -> Tensor:
    return F.interpolate(images, (side, side), mode="bilinear", antialias=True)
