"""Arrow data sets and tar shards, each written by its own library."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import webdataset
from archive_files import jpeg, write_hfds, write_parquet, write_wds
from helpers import Ended

from vitcli.config import DataConfig
from vitcli.data.decoded import BadImages, Decoded

WRITERS = {"hfds": write_hfds, "wds": write_wds}


def opened(name: str, path: Path, **options: Any) -> Decoded:
    splits = ["train", "val" if name == "wds" else "validation"]
    settings = {"val_size": None, "num_classes": None, "splits": splits, **options}
    return Decoded(DataConfig(name=name, path=str(path), **settings), torch.device("cpu"))


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("workers", [0, 2])
def test_every_image_with_its_label(name: str, workers: int, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / "set")
    data = opened(name, tmp_path / "set", workers=workers)
    assert (data.num_classes, data.train_size, data.val_size) == (3, 12, 6)
    ((images, labels),) = data.batches("train", [(torch.arange(12),)])
    number = ((images[:, 0].mean((1, 2)) + 1) * 12.75).round().long()
    assert number.sort().values.tolist() == list(range(12))
    assert torch.equal(labels, number % 3)
    assert opened(name, tmp_path / "set", size=5).names("train") == data.names("train")[:5]


@pytest.mark.parametrize("name", WRITERS)
def test_a_bad_image_is_named(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / "set", bad=True)
    where = {"hfds": r"train\[12\]", "wds": r"train-0000\.tar/x/0012\.jpg"}[name]
    with pytest.raises(BadImages, match=where):
        opened(name, tmp_path / "set").train_batch(torch.arange(13))


@pytest.mark.parametrize(("name", "write"), [("hfds", write_parquet), ("wds", write_wds)])
def test_files_of_a_split_of_a_longer_name_are_left_out_and_said(
    name: str, write: Callable[[Path], None], tmp_path: Path
) -> None:
    write(tmp_path / "set")
    (first, *_) = sorted((tmp_path / "set").glob("train*"))
    for other in ("trainval-0", "train_unlabelled-0"):
        shutil.copy(first, first.with_name(other + first.suffix))
    data = opened(name, tmp_path / "set")
    assert data.train_size == 12
    said = f"{tmp_path / 'set'}: left out, not train and a number: "
    names = [f"train_unlabelled-0{first.suffix}", f"trainval-0{first.suffix}"]
    assert data.notes() == [said + ", ".join(names)]


def test_a_split_in_several_folders_is_refused(tmp_path: Path) -> None:
    for configuration in ("full", "small"):
        write_parquet(tmp_path / "set" / configuration)
    with pytest.raises(
        ValueError, match=r"in several folders, full, small: name one, as data\.path"
    ):
        opened("hfds", tmp_path / "set")
    assert opened("hfds", tmp_path / "set" / "full").train_size == 12


@pytest.mark.parametrize("name", WRITERS)
def test_a_run_end_to_end(
    name: str, vitcli: Callable[..., Ended], tiny: list[str], tmp_path: Path
) -> None:
    WRITERS[name](tmp_path / "set")
    few = [o for o in tiny if not o.startswith("data.")]
    ended = vitcli(
        "train", f"data={name}", f"data.path={tmp_path / 'set'}", "data.img_size=16", *few
    )
    assert ended.code == 0, ended.err
    assert "val/top1" in ended.out


def test_what_is_not_there(tmp_path: Path) -> None:
    for name, message in (
        ("hfds", "no such folder; data.download"),
        ("wds", r"no shards train-<number>"),
    ):
        with pytest.raises(ValueError, match=message):
            opened(name, tmp_path / "nowhere")
    write_hfds(tmp_path / "set")
    with pytest.raises(ValueError, match="no split dev, but train, validation"):
        opened("hfds", tmp_path / "set", splits=["train", "dev"])
    with pytest.raises(ValueError, match="has image, label"):
        opened("hfds", tmp_path / "set", columns=["img", "label"])


def test_a_sample_without_a_class(tmp_path: Path) -> None:
    with webdataset.TarWriter(str(tmp_path / "train.tar")) as tar:
        tar.write({"__key__": "0", "jpg": jpeg(0)})
    with pytest.raises(ValueError, match=r"0\.jpg has no class in \.cls"):
        opened("wds", tmp_path)
