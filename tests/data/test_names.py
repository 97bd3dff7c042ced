"""Which names are data, and of which split."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from vitcli.data.names import is_data, natural_order, of_split, shown, walk


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
        f"train-{'0123456789abcdef' * 8}-copy.parquet",  # hours, if it backtracks
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
    assert shown("a\nb\x1b[31m") == r"a\nb\x1b[31m"


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    for name in ("root/a/0.png", "root/b/0.png", "elsewhere/0.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name, to in (
        ("a/self", "."), ("a/up", ".."), ("a/b", "../b"), ("b/a", "../a"), ("c", "../elsewhere"),
    ):  # fmt: skip
        os.symlink(to, tmp_path / "root" / name)
    found = walk(tmp_path / "root")
    assert sorted(found.files) == ["a/0.png", "a/b/0.png", "b/0.png", "b/a/0.png", "c/0.png"]
    assert sorted(found.odd) == [
        "a/b/a", "a/self", "a/up", "b/a/b", "b/a/self", "b/a/up",
    ]  # fmt: skip


def test_what_is_neither_a_file_nor_a_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")  # whose reader would wait for ever
    os.symlink("nowhere", tmp_path / "class")
    os.symlink("nowhere.png", tmp_path / "0.png")  # an image that is missing: it counts as bad
    found = walk(tmp_path)
    assert (found.files, sorted(found.odd)) == (["0.png"], ["class", "pipe.png"])


def test_a_link_to_itself_is_left_out(tmp_path: Path) -> None:
    os.symlink("self", tmp_path / "self")
    os.symlink("0.png", tmp_path / "0.png")
    found = walk(tmp_path)
    assert (found.files, sorted(found.odd)) == ([], ["0.png", "self"])


def test_a_folder_that_cannot_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    scan = os.scandir

    def refused(path: Path) -> object:
        if path.name == "a":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(OSError, match=r"Permission denied: .*/a"):
        walk(tmp_path)


def test_an_order_does_not_depend_on_how_names_are_listed() -> None:
    names = ["1", "01", "001", "a", "A", "a1", "A01", "a01"]
    for seed in range(9):
        shuffled = random.Random(seed).sample(names, len(names))
        assert natural_order(shuffled) == ["001", "01", "1", "A", "a", "A01", "a01", "a1"]
