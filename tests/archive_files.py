"""Small data sets in archives, each written by its own library."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import datasets
import webdataset
from PIL import Image


def jpeg(colour: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 16), (colour, 0, 255 - colour)).save(file, "JPEG")
    return file.getvalue()


def samples(count: int, bad: bool = False) -> list[tuple[bytes, int]]:
    """Images as bright as their number, in three classes."""
    files = [(jpeg(10 * i), i % 3) for i in range(count)]
    return [*files, (jpeg(0)[:200], 0)] if bad else files


def write_hfds(path: Path, bad: bool = False) -> None:
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["a", "b", "c"])
    )
    splits = {}
    for split, count in (("train", 12), ("validation", 6)):
        rows = samples(count, bad and split == "train")
        columns = {"image": [{"bytes": f} for f, _ in rows], "label": [c for _, c in rows]}
        splits[split] = datasets.Dataset.from_dict(columns, features)
    datasets.DatasetDict(splits).save_to_disk(path)


def write_parquet(path: Path) -> None:
    write_hfds(path / "saved")
    for split, rows in datasets.load_from_disk(path / "saved").items():
        rows.to_parquet(path / f"{split}-00000-of-00001.parquet")
    shutil.rmtree(path / "saved")


def write_wds(path: Path, bad: bool = False) -> None:
    path.mkdir()
    for split, count in (("train", 12), ("val", 6)):
        rows = samples(count, bad and split == "train")
        for shard in range(2):
            with webdataset.TarWriter(str(path / f"{split}-{shard:04d}.tar")) as tar:
                for i, (file, label) in list(enumerate(rows))[shard::2]:
                    kind = {"json": {"label": label}} if shard else {"cls": label}
                    tar.write({"__key__": f"x/{i:04d}", "jpg": file, **kind})
