"""Which names are data, and of which split."""

from __future__ import annotations

import pytest

from vitcli.data.names import is_data, of_split, shown


@pytest.mark.parametrize(
    "name",
    [
        "train.tar", "train-0.parquet", "train_0001.tar", "train0001.tar", "train.shard12.tar",
        "train-00000-of-00005.parquet", "train-00000-of-00005-a1b2c3d4e5f60718.parquet",
        "train-part-3.tar",
    ],
)  # fmt: skip
def test_a_split_s_files_have_its_name_and_numbers(name: str) -> None:
    assert of_split(name, "train")


@pytest.mark.parametrize(
    "name",
    [
        "trainval-0.parquet", "train_unlabelled-0.parquet", "trainee.tar", "train-clean-100.tar",
        "val-0.tar", "pretrain-0.tar",
    ],
)  # fmt: skip
def test_another_split_s_files_have_not(name: str) -> None:
    assert not of_split(name, "train")
    assert of_split("train-clean-100-0001.tar", "train-clean-100")


def test_what_systems_leave_is_no_data() -> None:
    names = ["cat", ".git", "._cat.jpg", "__MACOSX", "@eaDir", "Thumbs.db", "a.b", "n01440764"]
    assert [name for name in names if is_data(name)] == ["cat", "a.b", "n01440764"]


def test_what_no_stream_could_write_is_escaped() -> None:
    assert shown("caf\udce9/0.png") == r"caf\xe9/0.png"
    assert shown("caf\u00e9") == "caf\u00e9"
