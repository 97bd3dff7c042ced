"""Encoded images inside other files: Hugging Face data sets and WebDataset shards."""

from __future__ import annotations

import json
import tarfile
from functools import cached_property
from pathlib import Path
from typing import Any

from vitcli.config import DataConfig
from vitcli.data.source import Part


class HuggingFaceReader:
    """A data set saved by `datasets` at data.path, or one of the Hub with that name.

    Its splits, image and label columns are named by data.splits and data.columns.
    """

    def __init__(self, config: DataConfig, part: Part) -> None:
        """Opens the split; from the Hub only if data.download.

        Raises:
            ValueError: there is no such data set, split or column, or `datasets` is not installed.
        """
        try:
            import datasets
        except ImportError:
            raise ValueError("data.name=hfds needs datasets: pip install 'vitcli[data]'") from None
        path = str(config.path)
        if Path(path).is_dir():
            found = datasets.load_from_disk(path)
        elif config.download:
            found = datasets.load_dataset(path, cache_dir=config.root)
        else:
            raise ValueError(
                f"data.path={path}: no such folder; data.download=true looks for it on the Hub"
            )
        split = config.splits[part == "val"]
        if not isinstance(found, datasets.DatasetDict) or split not in found:
            have = ", ".join(found) if isinstance(found, datasets.DatasetDict) else "none"
            raise ValueError(
                f"data.splits={config.splits}: {path} has no split {split}, but {have}"
            )
        rows = found[split]
        image, label = config.columns
        for column in (image, label):
            if column not in rows.column_names:
                have = ", ".join(rows.column_names)
                raise ValueError(f"data.columns={config.columns}: {path} has {have}")
        self.labels = [int(number) for number in rows[label]]
        feature = rows.features[label]
        names = getattr(feature, "names", None)
        self.classes = names or [str(i) for i in range(max(self.labels) + 1)]
        self._images = rows.select_columns([image]).cast_column(image, datasets.Image(decode=False))
        self._column, self._split = image, split

    def read(self, row: int) -> bytes:
        """Returns the image's file."""
        image = self._images[row][self._column]
        return bytes(image["bytes"] or Path(image["path"]).read_bytes())

    def name(self, row: int) -> str:
        """Returns the split and the row."""
        return f"{self._split}[{row}]"


class ShardReader:
    """WebDataset shards in the folder data.path: <split>*.tar, splits named by data.splits.

    A sample is the files of one name up to its first dot: an image, and its class in .cls or as
    `label` in .json. The shards' headers are read once, so that images can be read in any order.
    """

    def __init__(self, config: DataConfig, part: Part) -> None:
        """Lists the samples. Raises ValueError if there are none, or one has no class."""
        folder, split = Path(str(config.path)), config.splits[part == "val"]
        self._shards = sorted(folder.glob(f"{split}*.tar"))
        if not self._shards:
            raise ValueError(f"data.path={folder}: no shards {split}*.tar")
        self.labels: list[int] = []
        self._images: list[tuple[int, int, int, str]] = []  # shard, offset, bytes, name
        for number, shard in enumerate(self._shards):
            self._list(number, shard)
        if not self._images:
            raise ValueError(f"data.path={folder}: no images in {split}*.tar")

    @cached_property
    def classes(self) -> list[str]:
        """The classes' numbers: shards do not name them."""
        return [str(i) for i in range(max(self.labels) + 1)]

    def read(self, row: int) -> bytes:
        """Returns the image's file."""
        shard, offset, size, _ = self._images[row]
        with self._shards[shard].open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def name(self, row: int) -> str:
        """Returns the shard and the file in it."""
        shard, _, _, name = self._images[row]
        return f"{self._shards[shard].name}/{name}"

    def _list(self, number: int, shard: Path) -> None:
        labels: dict[str, int] = {}
        images: dict[str, tuple[int, int, int, str]] = {}
        try:
            with tarfile.open(shard, "r:") as tar:
                for member in tar:
                    folder, _, base = member.name.rpartition("/")
                    key, _, kind = base.partition(".")
                    key = f"{folder}/{key}"
                    if kind.lower() in ("jpg", "jpeg", "png", "webp", "ppm", "pgm"):
                        images[key] = (number, member.offset_data, member.size, member.name)
                    elif kind in ("cls", "json"):
                        labels[key] = _label(tar.extractfile(member), kind)
        except (tarfile.TarError, ValueError, KeyError) as error:
            raise ValueError(f"{shard}: {error}") from None
        for key, image in images.items():
            if key not in labels:
                raise ValueError(f"{shard}: {image[3]} has no class in .cls, nor as label in .json")
            self.labels.append(labels[key])
            self._images.append(image)


def _label(file: Any, kind: str) -> int:
    text = file.read().decode()
    return int(text if kind == "cls" else json.loads(text)["label"])
