"""Data sets: images by index, as pure functions of the config. `build_data` is the way in."""

from __future__ import annotations

from collections.abc import Callable

import torch

from vitcli.config import DataConfig
from vitcli.data.decoded import Decoded
from vitcli.data.digits import Digits
from vitcli.data.glyphs import Glyphs
from vitcli.data.held import READERS, Held
from vitcli.data.source import Batch, DataSource, Order, Part
from vitcli.data.streamed import Streamed
from vitcli.plugins import DATA, load

__all__ = ["Batch", "DataSource", "Order", "Part", "build_data"]


def build_data(config: DataConfig, device: torch.device) -> DataSource:
    """Returns the data set that data.name names, its batches on `device`.

    Raises:
        ValueError: the data set is not there, or has less than data.size or data.num_classes.
    """
    sources: dict[str, Callable[[DataConfig, torch.device], DataSource]] = {
        "glyphs": Glyphs,
        "digits": Digits,
        **dict.fromkeys(READERS, Held),
        "imagefolder": Decoded,
        "imagenet": Decoded,
        "hfds": Streamed if config.stream else Decoded,
        "wds": Streamed if config.stream else Decoded,
    }
    source = sources.get(config.name) or load(DATA, config.name)
    made: DataSource = source(config, device)
    return made
