"""The letters that glyphs are made of: which there are, and their drawings, once per font face."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.ft2font import FT2Font
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

# Unicode ranges in the order of the classes: a first handful is the plain alphabet. No digits, in
# any script: handwritten digits are what the representation is tested on.
_RANGES = (
    range(0x41, 0x2B0),  # Latin, A to Z and a to z first
    range(0x370, 0x400),  # Greek
    range(0x400, 0x530),  # Cyrillic
    range(0x530, 0x590),  # Armenian
    range(0x10A0, 0x1100),  # Georgian
    range(0x2D00, 0x2D30),  # Georgian, old small letters
    range(0xE80, 0xF00),  # Lao
    range(0x5D0, 0x5EB),  # Hebrew
    range(0x621, 0x6D4),  # Arabic, as they stand alone
    range(0x1D00, 0x1D80),  # Latin, phonetic
    range(0x2C60, 0x2C80),  # Latin, of minorities
    range(0xA720, 0xA800),  # Latin, of old texts
    range(0x1400, 0x1680),  # Canadian syllabics
    range(0x2D30, 0x2D68),  # Tifinagh
)
_REFERENCE = "DejaVuSans"  # the face with the most characters
# Two letters are one class if their drawings, scaled to one longest side of 16 pixels, overlap (sum
# of products over sum of squares less products) by more than this. Same shapes of two scripts (A of
# Latin, Greek, Cyrillic) have 0.97 to 1; pairs that differ in size or stroke alone 0.84 to 0.97
# (W w, O o, X x, C c, I l); pairs that a reader tells apart less (g q, J j 0.80, b h, D O 0.79).
_LOOK_ALIKE, _LOOK_SIDE = 0.82, 16
_FONT_SIZE = 128  # pixels; small letters are 70 high, more than the 64 of the largest cell
_BORDER = 1  # empty pixels around a drawing, so that sampling fades out at its edge


@dataclass(frozen=True)
class Atlas:
    """Drawings of letters: class k has the count[k] rows of `cells` from first[k] on.

    cells: (E, 1, A, A) float32 in [0, 1], ink in the middle, its longest side `ink` * A pixels.
    first, count: (num_classes,) int64.
    """

    cells: Tensor
    first: Tensor
    count: Tensor
    ink: float


def build_atlas(num_classes: int, side: int, device: torch.device, first: int = 0) -> Atlas:
    """Returns the drawings of `num_classes` letters, longest side `side` pixels.

    Args:
        first: the letters before are left out.
    Raises:
        ValueError: these are more than the letters there are.
    """
    known = letters()
    if first + num_classes > len(known):
        raise ValueError(
            f"data.num_classes={first or num_classes}: glyphs has at most {len(known)} distinct "
            "letters" + (f", evals.downstream=letters needs {num_classes} others" if first else "")
        )
    faces = [(_font(path), _characters(path)) for path in _face_paths()]
    drawings, count = [], []
    for letter in known[first : first + num_classes]:
        drawn = [_draw(font, letter, side) for font, has in faces if ord(letter) in has]
        drawings += drawn
        count.append(len(drawn))
    cells = torch.from_numpy(np.stack(drawings)[:, None]).to(device)
    counts = torch.tensor(count, device=device)
    return Atlas(cells, counts.cumsum(0) - counts, counts, side / (side + 2 * _BORDER))


@cache
def letters() -> str:
    """Returns one letter for each class that can be told apart, in the order of the classes."""
    path = next(p for p in _face_paths() if p.stem == _REFERENCE)
    font, has = _font(path), _characters(path)
    candidates = [
        chr(code)
        for codes in _RANGES
        for code in codes
        # An accented letter decomposes; 16 pixels do not show accents.
        if code in has
        and unicodedata.category(chr(code)) in ("Lu", "Ll", "Lo")
        and not unicodedata.decomposition(chr(code))
    ]
    drawings = np.stack([_draw(font, letter, _LOOK_SIDE).ravel() for letter in candidates])
    dot = drawings @ drawings.T
    squares = dot.diagonal()
    alike = dot / (squares[:, None] + squares[None, :] - dot) > _LOOK_ALIKE
    kept: list[int] = []
    for i in range(len(candidates)):
        if not alike[i, kept].any():
            kept.append(i)
    return "".join(candidates[i] for i in kept)


def _face_paths() -> list[Path]:
    return sorted(Path(matplotlib.get_data_path(), "fonts", "ttf").glob("DejaVu*.ttf"))


def _characters(path: Path) -> set[int]:
    return set(FT2Font(str(path)).get_charmap())


def _font(path: Path) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), _FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)


def _draw(font: ImageFont.FreeTypeFont, letter: str, side: int) -> NDArray[np.float32]:
    """Returns the letter (A, A) in [0, 1], its longest side `side` pixels, in the middle."""
    left, top, right, bottom = font.getbbox(letter)
    width, height = right - left, bottom - top
    cell = side + 2 * _BORDER
    canvas = math.ceil(max(width, height) * cell / side)
    image = Image.new("L", (canvas, canvas))
    corner = ((canvas - width) / 2 - left, (canvas - height) / 2 - top)
    ImageDraw.Draw(image).text(corner, letter, fill=255, font=font)
    pixels = np.asarray(image.resize((cell, cell), Image.Resampling.BOX))
    return pixels.astype(np.float32) / np.float32(255)
