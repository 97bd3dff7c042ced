"""An image's file, made what a person sees: upright, in RGB, with 8 bits a channel."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

# Tags of a TIFF, and their values, that Pillow does not obey of all images.
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
_COMPRESSION, _RAW, _PLANAR, _PLANES, _FORMAT, _SIGNED = 259, 1, 284, 2, 339, 2
UPRIGHT = 1  # EXIF's orientation, of those that say nothing too
# What makes an image of each of EXIF's orientations upright. Pillow's own function also writes the
# EXIF anew, and fails at that where a tag is odd.
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIXTEEN_BITS = ("PNG", "PPM")  # formats whose whole numbers have 16 bits, whatever Pillow's mode


def decode(data: bytes, max_pixels: int) -> Image.Image:
    """Returns the image in RGB, 8 bits, turned as its EXIF orientation says; of frames the first.

    Colours under transparent pixels are shown, as torchvision's and timm's loaders show them.

    Raises:
        ValueError: it has more than `max_pixels`, or numbers whose range its file does not say.
        Exception: whatever Pillow raises for files that are broken or no images.
    """
    return upright(opened(data, max_pixels))[0]


def opened(data: bytes, max_pixels: int) -> Image.Image:
    """Returns the image as it is in its file. Raises as `decode` does."""
    image: Image.Image = Image.open(io.BytesIO(data))
    if image.width * image.height > max_pixels:
        size = f"{image.width:,} x {image.height:,} pixels"
        raise ValueError(f"{size}, more than data.max_pixels={max_pixels}")
    return image


def upright(image: Image.Image) -> tuple[Image.Image, int]:
    """Returns the image in RGB, 8 bits, turned, and its orientation. Raises as `decode` does."""
    eight = _eight_bits(image)
    turned = orientation(eight)
    return (eight if turned == UPRIGHT else eight.transpose(_TURN[turned])), turned


def why(error: Exception) -> str:
    """Returns the reason why a file could not be read or decoded, on one line."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    return " ".join(str(error).split()) or type(error).__name__


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


def orientation(image: Image.Image) -> int:
    """Returns EXIF's orientation, 1 to 8; 1, upright, where there is none that can be read.

    The image is decoded already, or a TIFF: Pillow decodes a PNG to find its EXIF, and a broken one
    would be taken for upright.
    """
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except Exception:  # Pillow raises all kinds on a broken EXIF; viewers show such images upright
        return UPRIGHT
    return found if found in range(1, 9) else UPRIGHT


def _eight_bits(image: Image.Image) -> Image.Image:
    """Returns the image in RGB, with its EXIF."""
    mode, tags = image.mode, getattr(image, "tag_v2", {})  # of a TIFF
    planes = tags.get(_PLANAR) == _PLANES and tags.get(_COMPRESSION) == _RAW
    if planes and max(tags.get(_BITS, (8,))) > 8:  # Pillow takes their halves for pixels
        raise ValueError(f"mode {mode}, 16 bits in a plane for each channel: save it with 8 bits")
    if mode != "I" and _SIGNED in tags.get(_FORMAT, ()):
        raise ValueError(f"mode {mode}, signed numbers of no known range: save it with 8 bits")
    if mode.startswith("I;16") or (mode == "I" and image.format in _SIXTEEN_BITS):
        found = Image.fromarray(_scaled(image)).convert("RGB")
        found.info = dict(image.info)
        return found
    if mode in ("I", "F"):
        kind = "whole numbers" if mode == "I" else "floats"
        raise ValueError(f"mode {mode}, {kind} of no known range: save it with 8 or 16 bits")
    if "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == "RGB":  # as most are: without a copy
        image.load()
        return image
    return image.convert("RGB")


def _scaled(image: Image.Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Returns the grey image's 12 or 16 bits as 8: Pillow clips, so that all above 255 is white."""
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    bits = 12 if tags.get(_BITS) == (12,) else 16
    grey = (np.asarray(image).astype(np.int32) >> (bits - 8)).astype(np.uint8)
    return 255 - grey if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else grey
