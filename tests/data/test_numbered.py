"""Numbers of shards: what is missing is said, what is there twice is refused."""

from __future__ import annotations

import pytest

from vitcli.data.numbered import check_numbers


@pytest.mark.parametrize(
    "files",
    [
        ["train.tar"],
        ["train-0.tar", "train-1.tar"],
        ["train-00001-of-00002.tar", "train-00002-of-00002.tar"],  # from 1
        ["train-00000-of-00001-a1b2c3d4e5f60718.parquet"],
        ["a/train/0000.parquet", "a/train/0001.parquet"],
        [f"train-{day}.tar" for day in (20261128, 20261129)],
        ["train/7c3a9e11.parquet", "train/7c3a9e33.parquet"],  # hashes
        [
            f"train/part-0000{i}-0a1b2c3d-0000-4000-8000-0a1b2c3d4e5f-c000.snappy.parquet"
            for i in (0, 2)
        ],  # of Spark: numbers of its own
    ],
)
def test_what_is_whole_needs_no_word(files: list[str]) -> None:
    assert check_numbers("here: train", files) == []


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["train-00000-of-00003.tar", "train-00002-of-00003.tar"],
         "train-*.tar (2 of 3 are there): 1"),
        (["train-1-of-3.tar", "train-3-of-3.tar"], "train-*.tar (2 of 3 are there): 2"),
        (["train-000.tar", "train-003.tar"], "train-*.tar: 1, 2"),
        (["train-0.tar", f"train-{10**18}.tar"], "train-*.tar: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 ..."),
    ],
)  # fmt: skip
def test_missing_numbers_are_said(files: list[str], said: str) -> None:
    expected = f"here: train: files that are missing, by their numbers, of {said}"
    assert check_numbers("here: train", files) == [expected]


def test_several_names_of_one_split_are_said() -> None:
    assert check_numbers("here: train", ["train2014-0.tar", "train2017-0.tar", "train.tar"]) == [
        "here: train: taken together: train2014-*.tar, train2017-*.tar, 1 files without a number"
    ]


@pytest.mark.parametrize(
    "files",
    [
        ["train-0.tar", "train-00000.tar"],
        ["train-00000-of-00001-aaaaaaaa.parquet", "train-00000-of-00001-bbbbbbbb.parquet"],
    ],
)
def test_a_number_that_is_there_twice_is_refused(files: list[str]) -> None:
    with pytest.raises(ValueError, match=f"here: train has {files[0]} and {files[1]}, of one num"):
        check_numbers("here: train", files)


def test_two_sets_are_refused() -> None:
    files = ["train-00000-of-00001.parquet", "train-00001-of-00002.parquet"]
    with pytest.raises(ValueError, match=f"files of two sets, {files[0]} and {files[1]}"):
        check_numbers("here: train", files)
    files = ["other.parquet", "train-0.parquet", "train-1-of-2.parquet"]
    with pytest.raises(ValueError, match=f"files of two sets, {files[1]} and {files[2]}: keep one"):
        check_numbers("here: train", files)
