"""digits: the 1,797 handwritten 8x8 digits in scikit-learn (UCI, Alpaydin and Kaynak 1998)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vitcli.config import DataConfig
from vitcli.data.source import Batch, DataSource
from vitcli.data.subsets import balanced_order

_VAL_SIZE = 500  # leaves 1,297 to train on, whatever data.val_size


class Digits(DataSource):
    """Real images in ten classes: 1,297 to train on, 500 held out; data.seed fixes the split."""

    num_classes = 10

    def __init__(self, config: DataConfig, device: torch.device) -> None:
        """Loads all images at data.img_size onto `device`.

        Raises:
            ValueError: data.size is more than the training images there are.
        """
        pixels, labels = _read()
        order = balanced_order(labels, config.seed)
        most = len(order) - _VAL_SIZE
        if config.size is not None and config.size > most:
            raise ValueError(f"data.size={config.size}: digits has {most} training images")
        self.device = device
        self.train_size = config.size or most
        self.val_size = min(config.val_size or _VAL_SIZE, _VAL_SIZE)
        grey = pixels.float().view(-1, 1, 8, 8) / 8 - 1  # 0..16 -> [-1, 1]
        height, width = config.height_width
        side = min(height, width)
        grey = F.interpolate(grey, (side, side), mode="bilinear", antialias=True).clamp(-1, 1)
        # Whole and in proportion, in the middle of a rectangle, on their own background.
        left, top = (width - side) // 2, (height - side) // 2
        grey = F.pad(grey, (left, width - side - left, top, height - side - top), value=-1)
        self._images = grey[order].to(device)
        self._labels = labels[order].to(device)

    def train_batch(self, index: Tensor, draw: Tensor | None = None) -> Batch:
        """Returns training images (B, 3, H, W) in [-1, 1] and labels (B,)."""
        return self._batch(index + _VAL_SIZE)

    def val_batch(self, index: Tensor) -> Batch:
        """Returns validation images (B, 3, H, W) in [-1, 1] and labels (B,)."""
        return self._batch(index)

    def _batch(self, row: Tensor) -> Batch:
        return self._images[row].repeat(1, 3, 1, 1), self._labels[row]


def _read() -> tuple[Tensor, Tensor]:
    """Returns pixels (1797, 64), 0 to 16, and labels (1797,), int64, of scikit-learn's own file.

    Its `load_digits` reads the same, after an import of 2 s, a fifth of the start of a run.
    """
    found = find_spec("sklearn")
    assert found is not None
    assert found.submodule_search_locations is not None
    path = Path(found.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    rows = torch.from_numpy(np.loadtxt(path, delimiter=",", dtype=np.int64))
    return rows[:, :-1], rows[:, -1]
