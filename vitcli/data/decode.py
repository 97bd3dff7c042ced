"""An image's file, made what a person sees: upright, in RGB, with 8 bits a channel."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import ExifTags, Image, ImageOps

_UPRIGHT = 1  # EXIF's orientation, of those that say nothing too
_SIXTEEN_BITS = ("PNG", "PPM")  # formats whose whole numbers have 16 bits, whatever Pillow's mode


def decode(data: bytes, max_pixels: int) -> Image.Image:
    """Returns the image in RGB, 8 bits, turned as its EXIF orientation says; of frames the first.

    Colours under transparent pixels are shown, as torchvision's and timm's loaders show them.

    Raises:
        ValueError: it has more than `max_pixels`, or numbers whose range its file does not say.
        Exception: whatever Pillow raises for files that are broken or no images.
    """
    image: Image.Image = Image.open(io.BytesIO(data))
    if image.width * image.height > max_pixels:
        size = f"{image.width:,} x {image.height:,} pixels"
        raise ValueError(f"{size}, more than data.max_pixels={max_pixels}")
    eight = _eight_bits(image)
    return ImageOps.exif_transpose(eight) if orientation(eight) != _UPRIGHT else eight


def orientation(image: Image.Image) -> int:
    """Returns EXIF's orientation, 1 to 8; 1, upright, where there is none that can be read."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, _UPRIGHT)
    except Exception:  # Pillow raises all kinds on a broken EXIF; viewers show such images upright
        return _UPRIGHT
    return found if found in range(1, 9) else _UPRIGHT


@contextmanager
def quietly() -> Iterator[None]:
    """Keeps Pillow's warnings and its limit of pixels out of the block: data.max_pixels is ours."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _eight_bits(image: Image.Image) -> Image.Image:
    """Returns the image in RGB, with its EXIF."""
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format in _SIXTEEN_BITS):
        # Pillow's own conversion clips: all above 255 would be white.
        grey = (np.asarray(image).astype(np.int32) >> 8).astype(np.uint8)
        found = Image.fromarray(grey).convert("RGB")
        found.info = dict(image.info)
        return found
    if mode in ("I", "F"):
        kind = "whole numbers of 32 bits" if mode == "I" else "floats"
        raise ValueError(f"mode {mode}, {kind}, of no known range: save it with 8 or 16 bits")
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")
