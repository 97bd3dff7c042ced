"""What there is to know of each image before training: how it is stored, and what it looks like.

ImageHash's perceptual hash of 64 bits says what an image looks like: whether each of the 8 x 8
lowest frequencies of the image at 32 x 32 pixels is above their median.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import imagehash
import numpy as np
from PIL import Image

from vitcli.data.decode import UPRIGHT, opened, orientation, quietly, upright, why

_SIDE = 32
_BLOCKS = np.kron(np.eye(8), np.full(_SIDE // 8, 8 / _SIDE))  # means of 4 of 32 pixels each
_PLAIN = 2.0  # standard deviation of bytes, below which the hash would be that of noise
File = tuple[str, int, Callable[[], bytes]]  # its name and label, and what reads it


_LYING = 4  # orientations above it swap width and height


class Fact(NamedTuple):
    """What is known of one image."""

    name: str
    label: int
    bad: str | None = None  # why it cannot be decoded; then nothing below is known
    mode: str = ""  # as Pillow calls it; of what has no files: nothing
    size: tuple[int, int] = (0, 0)  # pixels, width and height, as it is stored
    orientation: int = UPRIGHT  # EXIF's
    transparent: bool = False  # it may have pixels that are
    animated: bool = False  # it has more frames than the first
    pixels: int = 0  # a hash of 64 bits of the decoded image
    looks: int | None = None  # the perceptual hash; None: of one colour, there is nothing to see
    small: bytes = b""  # the grey image at 8 x 8 pixels


def of_files(files: Iterable[File], max_pixels: int) -> list[Fact]:
    """Returns the facts of encoded images, in their order."""
    facts: list[Fact] = []
    images: list[Image.Image | None] = []
    with quietly():
        for name, label, read in files:
            try:
                raw = opened(read(), max_pixels)
                mode, size, stored = raw.mode, raw.size, UPRIGHT
                if raw.format == "TIFF":  # Pillow gives its size turned, and turns it as it reads
                    stored = orientation(raw)
                    size = size[::-1] if stored > _LYING else size
                image, turned = upright(raw)
            except Exception as error:  # Pillow raises all kinds on broken files
                facts.append(Fact(name, label, why(error)))
                images.append(None)
                continue
            facts.append(
                Fact(
                    name,
                    label,
                    mode=mode,
                    size=size,
                    orientation=max(stored, turned),
                    transparent=raw.has_transparency_data,
                    animated=_is_animated(raw),
                )
            )
            images.append(image)
    return _seen(facts, images)


def of_pixels(names: Iterable[str], labels: Iterable[int], pixels: Any) -> list[Fact]:
    """Returns the facts of images (B, H, W, 3), bytes, that have no files."""
    facts = [Fact(name, label) for name, label in zip(names, labels, strict=True)]
    return _seen(facts, [Image.fromarray(image) for image in pixels])


def perceptual(grey: Any) -> Any:
    """Returns the perceptual hash (B,), uint64, of grey images (B, 32, 32)."""
    found = np.array([imagehash.phash(Image.fromarray(image)).hash for image in grey])
    return np.packbits(found.reshape(len(grey), -1), axis=1).view(np.uint64)[:, 0]


def _seen(facts: list[Fact], images: list[Image.Image | None]) -> list[Fact]:
    """Returns the facts with what the images look like, where there are any."""
    there = [i for i, image in enumerate(images) if image is not None]
    if not there:
        return facts
    seen = [image for image in images if image is not None]
    grey = np.stack([_grey(image) for image in seen])
    small = (_BLOCKS @ grey @ _BLOCKS.T).round().astype(np.uint8)
    hashes, plain = perceptual(grey), grey.std((1, 2)) < _PLAIN
    for i, image, looks, flat, eight in zip(there, seen, hashes, plain, small, strict=True):
        facts[i] = facts[i]._replace(
            pixels=_digest(image), looks=None if flat else int(looks), small=eight.tobytes()
        )
    return facts


def _is_animated(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # of a second frame that is broken: the first one could be read
        return True


def _grey(image: Image.Image) -> Any:
    side = (_SIDE, _SIDE)
    return np.asarray(image.convert("L").resize(side, Image.Resampling.BILINEAR, reducing_gap=2.0))


def _digest(image: Image.Image) -> int:
    """Returns 64 bits: of a million images, two that differ share them in one of 10^7 cases."""
    found = hashlib.blake2b(b"%dx%d" % image.size, digest_size=8)
    found.update(image.tobytes())
    return int.from_bytes(found.digest())
