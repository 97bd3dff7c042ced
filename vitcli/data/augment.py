"""What is done to an image between its file and the model, and to a batch before the loss.

timm's transforms, which draw from the global generators: these are set for each image by its draw,
and afterwards as they were before.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data.mixup import Mixup
from timm.data.random_erasing import RandomErasing
from timm.data.transforms import RandomResizedCropAndInterpolation
from timm.data.transforms_factory import transforms_imagenet_eval, transforms_imagenet_train
from torch import Tensor
from torch.nn.functional import one_hot

from vitcli.config import DataConfig, RecipeConfig
from vitcli.data.source import Batch

_GREY = 128  # the middle of a byte, which the model sees as 0
_THINNEST = 100  # times as long as wide; what a longer image has at its ends is in no crop


class Transform:
    """Makes bytes (3, H, W) of an image, with a draw as for training, without as for evaluation."""

    def __init__(self, config: DataConfig) -> None:
        augment, self.size = config.augment, config.height_width
        self.max_pixels = config.max_pixels
        self._thinnest = _THINNEST * max(self.size) // min(self.size)
        if config.crop_mode == "border":  # the whole image: its shorter side is a pixel or more
            self._thinnest = min(self.size)
        aspect = self.size[1] / self.size[0]
        common: dict[str, Any] = {"interpolation": config.interpolation, "use_prefetcher": True}
        # use_prefetcher: bytes out, for processes to hand over; the device scales them.
        self._eval = transforms_imagenet_eval(
            self.size,
            crop_pct=config.crop_pct,
            crop_mode=config.crop_mode,
            mean=(0.5, 0.5, 0.5),  # of a border
            **common,
        )
        self._train = transforms_imagenet_train(
            self.size,
            scale=(augment.min_area, 1.0),
            ratio=(3 / 4 * aspect, 4 / 3 * aspect),  # of the crop: no more stretched than a square
            hflip=0.5 if augment.flip else 0.0,
            auto_augment=augment.randaugment,
            mean=(0.5, 0.5, 0.5),
            **{"color_jitter": None, **common},
        )
        self._train.transforms[0].get_params = _at_least_a_pixel
        if augment.crop == "none":
            self._train.transforms[0:1] = self._eval.transforms[:-1]  # resize and centre crop
        self._erase = RandomErasing(augment.erasing, device="cpu") if augment.erasing else None

    def __call__(self, image: Image.Image, draw: int | None) -> Tensor:
        """Returns the image (3, H, W), uint8. Sets the global generators if there is a draw."""
        if max(image.size) > self._thinnest * min(image.size):
            image = _middle(image, self._thinnest)
        if draw is None:
            plain: Tensor = self._eval(image)
            return plain
        random.seed(draw)
        np.random.seed(draw % 2**32)
        torch.default_generator.manual_seed(draw)  # torch.manual_seed: 0.1 ms, for every device
        pixels: Tensor = self._train(image)
        if self._erase is not None:  # it writes zeros: bytes wrap around, so that grey is zero
            pixels = self._erase(pixels - _GREY) + _GREY
        return pixels


def _at_least_a_pixel(image: Image.Image, *ranges: tuple[float, float]) -> tuple[int, ...]:
    """Returns timm's random crop (top, left, height, width), its sides not rounded to no pixel."""
    top, left, height, width = RandomResizedCropAndInterpolation.get_params(image, *ranges)
    height, width = max(height, 1), max(width, 1)
    return min(top, image.height - height), min(left, image.width - width), height, width


def _middle(image: Image.Image, ratio: int) -> Image.Image:
    """Returns the middle of a thin image: 1,000,000 x 1 pixels, resized whole, take gigabytes."""
    width, height = image.size
    across, down = min(width, ratio * height), min(height, ratio * width)
    left, top = (width - across) // 2, (height - down) // 2
    return image.crop((left, top, left + across, top + down))


class Mix:
    """MixUp and CutMix of a batch with itself in reverse, as timm has them.

    Source: Zhang et al. 2018 (MixUp), Yun et al. 2019 (CutMix).
    """

    def __init__(self, recipe: RecipeConfig, num_classes: int) -> None:
        self._mixup = Mixup(recipe.mixup, recipe.cutmix, label_smoothing=0, num_classes=num_classes)

    def __call__(self, images: Tensor, labels: Tensor, draw: int) -> Batch:
        """Returns images (B, 3, H, W) and targets (B, K); the last of an odd batch is not mixed.

        Only a batch that an undecodable image was skipped from is odd: images are mixed in pairs.
        """
        even = len(images) // 2 * 2
        with kept_random():
            np.random.seed(draw % 2**32)
            _, targets = self._mixup(images[:even], labels[:even])  # in place
        last = one_hot(labels[even:], targets.shape[1]).to(targets)
        return images, torch.cat([targets, last])


@contextmanager
def kept_random() -> Iterator[None]:
    """Gives Python's, numpy's and torch's CPU generators their states again after the block."""
    states: list[tuple[Callable[..., None], object]] = [
        (random.setstate, random.getstate()),
        (np.random.set_state, np.random.get_state()),
        (torch.set_rng_state, torch.get_rng_state()),
    ]
    try:
        yield
    finally:
        for restore, state in states:
            restore(state)
