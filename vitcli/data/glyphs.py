"""glyphs: unlimited images of printed letters, each drawn when it is asked for, labelled by letter.

An image is an affine warp of a letter in one font face, with contrast and noise; `colour` adds
random colours, `clutter` also pieces of other letters, one behind and one in front. Image i is a
pure function of (data.seed, i): a training set of N images is the first N, and takes no memory.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from vitcli.config import DataConfig
from vitcli.data.atlas import build_atlas
from vitcli.data.counter import bits, integers, uniform
from vitcli.data.source import Batch, DataSource, Part

_MOST = 2**40  # training images; validation images are drawn at the indices from here on
_LARGEST_CELL = 64  # pixels; larger images magnify: 1,000 classes at 224 px would take 1.4 GB
_NOISE_WINDOWS = 2**16  # places in the noise bank where an image's noise can begin

# Streams of the random function: of an image, of each of its glyphs, of the noise bank.
_SWAP, _NOISE, _WINDOW, _COLOURS = range(4)
_PER_IMAGE = _COLOURS + 12  # 3 for each colour: background, letter, two neighbours
_LETTER, _FACE, _TURN, _SHEAR, _SIZE, _ASPECT, _SHIFT_X, _SHIFT_Y, _EDGE, _PER_GLYPH = range(10)
_BANK = 100


class Glyphs(DataSource):
    """Letters in data.num_classes classes; image i has class i % num_classes."""

    def __init__(
        self, config: DataConfig, device: torch.device, first: int = 0, margin: int = 0
    ) -> None:
        """Draws the letters; data.size null means all 2^40 training images.

        Args:
            first: how many letters are left out before those of the classes.
            margin: pixels that are drawn around an image, as it would go on there.
        Raises:
            ValueError: data.num_classes or data.size is more than there are.
        """
        if config.size is not None and config.size > _MOST:
            raise ValueError(f"data.size={config.size}: glyphs has {_MOST} training images (2^40)")
        assert config.num_classes is not None  # by the rules, here and below
        assert config.val_size is not None
        self.device = device
        self.num_classes = config.num_classes
        self.train_size = config.size or _MOST
        self.val_size = config.val_size
        self._seed = config.seed
        height, width = config.height_width
        self._size, side = (height + 2 * margin, width + 2 * margin), min(height, width)
        self._colour, self._glyphs = config.level != "plain", 3 if config.level == "clutter" else 1
        # About as large as the letters in an image (0.6 to 0.95 of its shorter side), so that
        # bilinear sampling neither skips pixels nor blurs.
        ink = min(max(round(0.8 * side), 4), _LARGEST_CELL)
        self._atlas = build_atlas(config.num_classes, ink, device, first)
        # Half the shorter side is 1: a rectangle's letters have the proportions of a square's.
        self._half = torch.tensor([width / side, height / side], device=device)
        self._x, self._y = (  # centres of pixels
            (torch.arange(-margin, n + margin, device=device) * 2 + 1) / side - n / side
            for n in (width, height)
        )
        self._streams = torch.arange(_PER_IMAGE + _PER_GLYPH * self._glyphs, device=device)
        self._noise = _noise_bank(
            self._seed, (3 if self._colour else 1) * math.prod(self._size), device
        )

    def train_batch(self, index: Tensor, draw: Tensor | None = None) -> Batch:
        """Returns training images (B, 3, H, W) in [-1, 1] and labels (B,)."""
        labels = index % self.num_classes
        return self._draw(index, labels), labels

    def val_batch(self, index: Tensor) -> Batch:
        """Returns validation images (B, 3, H, W) in [-1, 1] and labels (B,)."""
        labels = index % self.num_classes
        return self._draw(index + _MOST, labels), labels

    def labels(self, part: Part, index: Tensor) -> Tensor:
        """Returns the labels (B,), without a drawing."""
        return index % self.num_classes

    # Sums, products and quotients of single entries only, here and below: sines, powers, matrix
    # products and fused multiply-adds round differently at other batch sizes.

    def _draw(self, index: Tensor, labels: Tensor) -> Tensor:
        random = bits(self._seed, self._streams, index[:, None])  # (B, streams)
        of_image, of_glyphs = random[:, :_PER_IMAGE], random[:, _PER_IMAGE:]
        ink = self._ink(of_glyphs.view(len(index), self._glyphs, _PER_GLYPH), labels)
        share = uniform(of_image)[..., None, None]
        colours = self._colours(share)
        image = colours[0]
        # From the back: a neighbour, the letter itself, a neighbour.
        for g in (1, 0, 2) if self._glyphs == 3 else (0,):
            image = image + ink[:, g, None] * (colours[1 + g] - image)
        window = integers(of_image[:, _WINDOW], _NOISE_WINDOWS)
        amplitude = 0.15 * share[:, _NOISE, None]  # of a range of 2, black to white
        noise = self._noise[window].view(len(index), -1, *self._size)
        return (image + amplitude * noise).clamp_(-1, 1).expand(-1, 3, -1, -1).contiguous()

    def _colours(self, share: Tensor) -> list[Tensor]:
        """Returns the colours, (B, 1 or 3, 1, 1), of the background and then of each glyph."""
        first, second, *others = share[:, _COLOURS:].chunk(4, dim=1)
        if not self._colour:  # white on black
            return [-1 + 0.3 * first[:, :1], 1 - 0.6 * second[:, :1]]
        # 0.4 apart at least, and 1.2 on average, in each channel: the letter can be seen.
        dark, bright = -1 + 0.8 * first, 1 - 0.8 * second
        swap = share[:, _SWAP, None] < 0.5
        neighbours = [2 * c - 1 for c in others]
        return [torch.where(swap, bright, dark), torch.where(swap, dark, bright), *neighbours]

    def _ink(self, random: Tensor, labels: Tensor) -> Tensor:
        """Returns how much ink of each glyph is on each pixel, (B, glyphs, H, W) in [0, 1]."""
        atlas, share = self._atlas, uniform(random)
        letter = integers(random[..., _LETTER], self.num_classes)
        letter[:, 0] = labels
        cell = atlas.first[letter] + integers(random[..., _FACE], atlas.count[letter])
        # Sizes are in half the shorter side; positions in half images, -1 to 1 from edge to edge.
        size = 0.6 + 0.35 * share[..., _SIZE]
        shift = 0.16 * share[..., _SHIFT_X : _SHIFT_Y + 1] - 0.08
        if self._glyphs > 1:
            # The letter smaller, its neighbours' middles on the edges: pieces of them are seen.
            size = size - 0.15
            shift[:, 1:] = _on_an_edge(random[:, 1:, _EDGE], share[:, 1:, _SHIFT_X])
        shift = shift * self._half
        # From pixel to cell: undo the shift, the rotation (up to 20 degrees; its sine and cosine
        # from the tangent of half of it), the shear, and the size (longest sides, ink to image).
        half = 0.35 * share[..., _TURN] - 0.175
        norm = 1 + half * half
        cos, sin = (1 - half * half) / norm, 2 * half / norm
        shear = 0.5 * share[..., _SHEAR] - 0.25
        wide, high = size * (0.8 + 0.4 * share[..., _ASPECT]), size
        along_x = torch.stack([(cos - shear * sin) / wide, -sin / high], -1)
        along_y = torch.stack([(sin + shear * cos) / wide, cos / high], -1)
        x = (self._x - shift[..., :1])[..., None] * along_x[..., None, :]  # (B, glyphs, W, 2)
        y = (self._y - shift[..., 1:])[..., None] * along_y[..., None, :]
        grid = (x * atlas.ink)[..., None, :, :] + (y * atlas.ink)[..., None, :]
        cells, grid = atlas.cells[cell.flatten()], grid.flatten(0, 1)
        return F.grid_sample(cells, grid, align_corners=False).view(*cell.shape, *grid.shape[1:3])


def _on_an_edge(random: Tensor, along: Tensor) -> Tensor:
    """Returns points (..., 2) on the four edges of the image, at `along` (0 to 1) of an edge."""
    side = integers(random, 4)
    across, along = 2.0 * (side % 2) - 1, 2 * along - 1
    x = torch.where(side < 2, across, along)
    y = torch.where(side < 2, along, across)
    return torch.stack([x, y], -1)


def _noise_bank(seed: int, length: int, device: torch.device) -> Tensor:
    """Returns noise (windows, length) of mean 0 and sd 1: overlapping windows on one sequence.

    Sums of four uniforms, near enough to a normal (kurtosis 2.7), without a logarithm to round.
    """
    places = torch.arange(_NOISE_WINDOWS + length - 1, device=device)
    total = torch.zeros(len(places), device=device)
    for stream in range(_BANK, _BANK + 4):
        total += uniform(bits(seed, stream, places))
    return ((total - 2) * 3**0.5).unfold(0, length, 1)
