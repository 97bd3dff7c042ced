"""Where encoded images lie: folders, rows, shards, a page each. `open_parts` is the way in."""

from __future__ import annotations

from collections.abc import Callable

from vitcli.config import DataConfig
from vitcli.data.divided import divide
from vitcli.data.folders import FolderReader
from vitcli.data.labels import Classes
from vitcli.data.rows import HuggingFaceReader
from vitcli.data.shards import ShardReader
from vitcli.data.source import Part, Reader

_KINDS: dict[str, Callable[[DataConfig, Part, Classes | None], Reader]] = {
    "imagefolder": FolderReader,
    "imagenet": FolderReader,
    "hfds": HuggingFaceReader,
    "wds": ShardReader,
}


def open_parts(config: DataConfig) -> dict[Part, Reader]:
    """Returns the readers of both parts; the classes are those of the training part.

    Raises:
        ValueError: there is no such data set, or a part of it has no images or no classes.
    """
    if config.path is None:
        raise ValueError(f"data.path=null: data.name={config.name} needs the place of the images")
    kind = _KINDS[config.name]
    train = kind(config, "train", None)
    if config.val_share is not None:
        return divide(train, config)
    return {"train": train, "val": kind(config, "val", train.classes)}
