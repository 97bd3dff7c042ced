"""What a checkpoint's images go through before the model, and how a data set is given the same."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

from vitcli.config import CROP_MODES, DataConfig
from vitcli.rules import OWN

INTERPOLATIONS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # Pillow's order
_SEEN = ("interpolation", "crop_pct", "crop_mode")  # what decides which pixels evaluation sees
_LARGEST = 10**6  # pixels of a side
OURS = 0.5  # mean and std of our pixels, which are in [-1, 1]


@dataclass(frozen=True)
class Preprocess:
    """What an image goes through before the model: size in pixels, then (pixel - mean) / std.

    Pixels are in [0, 1]; mean 0.5 and std 0.5 give [-1, 1]. `size` is (height, width). `crop_pct`
    and `crop_mode` say what evaluation sees of an image, as `data.crop_pct` and `data.crop_mode`;
    None: nothing says it.
    """

    size: tuple[int, int]
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    interpolation: str = "bilinear"
    crop_pct: float | None = None
    crop_mode: str | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for what no image can go through: files of others say it."""
        size, mean, std = (
            values if isinstance(values, tuple) else ()
            for values in (self.size, self.mean, self.std)
        )
        numbers = [v for v in (*mean, *std) if isinstance(v, int | float) and math.isfinite(v)]
        share = 1.0 if self.crop_pct is None else self.crop_pct
        sound = {
            "size": len(size) == 2 and all(type(s) is int and 0 < s <= _LARGEST for s in size),
            "mean, std": len(mean) == len(std) == 3 and len(numbers) == 6 and min(std) > 0,
            "interpolation": self.interpolation in INTERPOLATIONS,
            "crop_pct": isinstance(share, int | float) and 0 < share <= 1,
            "crop_mode": self.crop_mode in (None, *CROP_MODES),
        }
        if wrong := [name for name, fine in sound.items() if not fine]:
            raise ValueError(f"preprocessing of no known kind: {wrong[0]} in {self}")

    @classmethod
    def of(cls, data: DataConfig) -> Preprocess:
        """Returns what a data set's images go through; those that are not resized say no crop."""
        if data.name not in OWN:
            return cls(data.height_width)
        return cls(data.height_width, **{key: getattr(data, key) for key in _SEEN})

    def applied(self, data: DataConfig) -> DataConfig:
        """Returns the data with interpolation and crop as here, as far as they are known and ours.

        Only encoded images are resized by them.
        """
        said = {key: value for key in _SEEN if (value := getattr(self, key)) is not None}
        if said["interpolation"] not in ("bilinear", "bicubic"):
            del said["interpolation"]
        return replace(data, **said) if data.name in OWN else data

    def differences(self, data: DataConfig) -> list[str]:
        """Returns a line for each way in which a data set's images are resized otherwise."""
        theirs, ours = asdict(self), asdict(self.of(data))
        return [
            f"preprocessing: {key} {theirs[key]} in the source, {ours[key]} here"
            for key in _SEEN
            if data.name in OWN and theirs[key] not in (None, ours[key])
        ]

    @property
    def is_ours(self) -> bool:
        """Returns whether its pixels are in [-1, 1], as those of all our data sets."""
        return {*self.mean, *self.std} == {OURS}
