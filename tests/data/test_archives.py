"""Arrow data sets and tar shards, each written by its own library."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
import webdataset
from archive_files import jpeg, write_hfds, write_parquet, write_wds
from helpers import Ended

from vitcli.compose import compose
from vitcli.config import DataConfig
from vitcli.data import build_data
from vitcli.data.decoded import BadImages, Decoded
from vitcli.evals.fewshot import FewShot

WRITERS = {"hfds": write_hfds, "wds": write_wds}


def opened(name: str, path: Path, **options: Any) -> Decoded:
    splits = ["train", "val" if name == "wds" else "validation"]
    own = {"root": str(path.parent), "val_size": None, "num_classes": None, "splits": splits}
    return Decoded(DataConfig(name=name, path=str(path), **{**own, **options}), torch.device("cpu"))


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
def test_downstream_of_another_set_its_own_names_are_usual(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / "set")
    of = [f"evals.downstream={name}", f"evals.path={tmp_path / 'set'}", "evals.shots=[2]"]
    config = compose([*of, "evals.draws=2"])
    cpu = torch.device("cpu")
    (found,) = FewShot.build(config, build_data(config.data, cpu), cpu)
    assert found.protocol()["test_size"] == 6
    usual = compose([f"data={name}", "data.path=x"]).data.splits  # as conf/data has them
    assert usual == ["train", "val" if name == "wds" else "validation"]


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
    second = "val" if name == "wds" else "validation"
    said = f"{tmp_path / 'set'}: left out, not train or {second} and a number: "
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


def rows(path: Path, split: str, labels: list[Any], names: list[str] | None = None) -> None:
    """Writes a split whose labels are as they are given."""
    path.mkdir(exist_ok=True)
    columns = {"image": [{"bytes": jpeg(10 * i)} for i in range(len(labels))], "label": labels}
    data = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
    if names:
        data = data.cast_column("label", datasets.ClassLabel(names=names))
    data.to_parquet(path / f"{split}-0.parquet")


@pytest.mark.parametrize(
    ("labels", "names"),
    [(["dog", "cat"] * 2, ["cat", "dog"]), ([True, False] * 2, ["False", "True"])],
)
def test_labels_that_are_names_become_classes(
    labels: list[Any], names: list[str], tmp_path: Path
) -> None:
    rows(tmp_path / "set", "train", labels)
    rows(tmp_path / "set", "validation", labels[1:2])
    data = opened("hfds", tmp_path / "set")
    assert data.classes == names
    assert data.labels("val", torch.arange(1)).tolist() == [names.index(str(labels[1]))]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 1, None, 1], r"train\[2\]: label is None, .* \(1 of 4 labels are not\)"),
        ([0, -1, -1, 1], r"train\[1\]: label is -1, which means that it is hidden, .*2 of 4"),
        ([0.0, 1.5, 1.0], r"train\[0\]: label is 0\.0, .* \(3 of 3"),
        ([[0], [1]], r"train\[0\]: label is \[0\], "),
        ([0, 10**12], r"train\[1\]: label is 1000000000000, "),
        (["cat", "", None], r"train\[1\]: label is '', .* \(2 of 3"),
    ],
)
def test_labels_that_are_no_classes_are_counted_and_named(
    labels: list[Any], said: str, tmp_path: Path
) -> None:
    rows(tmp_path / "set", "train", labels)
    rows(tmp_path / "set", "validation", [0, 1])
    with pytest.raises(ValueError, match=said):
        opened("hfds", tmp_path / "set")


def test_splits_that_list_their_classes_in_two_orders_are_taken_by_name(tmp_path: Path) -> None:
    rows(tmp_path / "set", "train", [0, 1, 2], ["a", "b", "c"])
    rows(tmp_path / "set", "validation", [0, 1, 2], ["c", "a", "b"])
    data = opened("hfds", tmp_path / "set")
    files = dict(zip(data.names("val"), data.labels("val", torch.arange(3)).tolist(), strict=True))
    assert [files[f"validation[{i}]"] for i in range(3)] == [2, 0, 1]
    assert data.notes() == ["validation lists its classes otherwise than train: taken by name"]


def test_a_class_of_validation_that_training_has_not_is_named(tmp_path: Path) -> None:
    rows(tmp_path / "set", "train", ["a", "b"])
    rows(tmp_path / "set", "validation", ["a", "x"])
    with pytest.raises(ValueError, match=r"validation\[1\]: label is 'x', not .* \(1 of 2"):
        opened("hfds", tmp_path / "set")


def test_numbers_are_no_classes_where_training_has_names(tmp_path: Path) -> None:
    rows(tmp_path / "set", "train", ["a", "b"])
    rows(tmp_path / "set", "validation", [0, 1])
    with pytest.raises(
        ValueError, match=r"validation\[0\]: label is 0, not the name of one of the 2"
    ):
        opened("hfds", tmp_path / "set")


@pytest.mark.parametrize("stream", [False, True])
def test_numbers_are_no_classes_where_training_lists_them(stream: bool, tmp_path: Path) -> None:
    rows(tmp_path / "set", "train", [0, 1], ["a", "b"])
    rows(tmp_path / "set", "validation", [1, 0])
    own = {"path": str(tmp_path / "set"), "root": str(tmp_path), "num_classes": None}
    config = DataConfig(name="hfds", stream=stream, **own)
    said = r"\[a, b\] and by number; save both with" if stream else "label is 1, not the name of"
    with pytest.raises(ValueError, match=said):
        build_data(config, torch.device("cpu"))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("names", [["b", "a"], ["a", "b", "c"], None])
def test_files_of_a_split_that_list_other_classes_are_refused(
    names: list[str] | None, stream: bool, tmp_path: Path
) -> None:
    rows(tmp_path / "set", "train", [0, 1], ["a", "b"])
    (tmp_path / "set" / "train-0.parquet").rename(tmp_path / "first.parquet")
    rows(tmp_path / "set", "train", [0, 1], names)
    (tmp_path / "set" / "train-0.parquet").rename(tmp_path / "set" / "train-1.parquet")
    (tmp_path / "first.parquet").rename(tmp_path / "set" / "train-0.parquet")
    rows(tmp_path / "set", "validation", [0, 1], ["a", "b"])
    config = DataConfig(name="hfds", path=str(tmp_path / "set"), root=str(tmp_path), stream=stream)
    with pytest.raises(
        ValueError, match=r"train-1\.parquet has the classes .*train-0\.parquet has"
    ):
        build_data(config, torch.device("cpu"))


def test_files_with_other_columns_are_refused(tmp_path: Path) -> None:
    rows(tmp_path / "set", "train", [0, 1])
    rows(tmp_path / "set", "validation", [0, 1])
    other = datasets.Dataset.from_dict({"label": [0, 1]})
    other.to_parquet(tmp_path / "set" / "train-1.parquet")
    with pytest.raises(ValueError, match=r"train-1\.parquet: data\.columns=.*: it has label$"):
        opened("hfds", tmp_path / "set")


def test_columns_that_are_not_read_may_differ(tmp_path: Path) -> None:
    rows(tmp_path / "set", "train", [0, 1])
    rows(tmp_path / "set", "validation", [0, 1])
    first = datasets.Dataset.from_parquet(
        str(tmp_path / "set" / "train-0.parquet"), cache_dir=str(tmp_path)
    )
    first.to_parquet(tmp_path / "set" / "train-1.parquet")
    first.add_column("caption", ["x", "y"]).to_parquet(tmp_path / "set" / "train-0.parquet")
    assert opened("hfds", tmp_path / "set").train_size == 4


def test_caches_and_unfinished_downloads_are_left_out_and_said(tmp_path: Path) -> None:
    write_hfds(tmp_path / "saved")
    for split in ("train", "validation"):
        shutil.copytree(tmp_path / "saved" / split, tmp_path / "set" / split)
    (data,) = (tmp_path / "set" / "train").glob("data-*.arrow")
    shutil.copy(data, data.with_name("cache-0123456789abcdef.arrow"))
    (tmp_path / "set" / "train-1.jsonl").touch()
    (tmp_path / "set" / "README.md").touch()
    found = opened("hfds", tmp_path / "set")
    assert found.train_size == 12
    assert found.notes() == [
        f"{tmp_path / 'set'}: left out, not train or validation and a number: train-1.jsonl, "
        "train/cache-0123456789abcdef.arrow",
        f"{tmp_path / 'set'}: 5 files of kinds that are not read: .json (4), .md (1)",
    ]


def test_parts_of_two_configurations_are_not_mixed(tmp_path: Path) -> None:
    write_parquet(tmp_path / "set" / "full")
    (tmp_path / "set" / "small").mkdir()
    for file in (tmp_path / "set" / "full").glob("validation*"):
        shutil.move(file, tmp_path / "set" / "small")
    with pytest.raises(ValueError, match="train and validation are in several folders, full, smal"):
        opened("hfds", tmp_path / "set")


@pytest.mark.parametrize(("name", "write"), [("hfds", write_parquet), ("wds", write_wds)])
@pytest.mark.parametrize("second", ["val", "valid", "validation"])
def test_a_part_for_validation_of_a_usual_name_is_not_divided_away(
    name: str, write: Callable[[Path], None], second: str, tmp_path: Path
) -> None:
    write(tmp_path / "set")
    for file in (tmp_path / "set").glob("val*"):
        file.rename(file.with_name(second + file.name[file.name.index("-") :]))
    usual = {"val_share": 0.2, "splits": ["train", "validation"]}
    with pytest.raises(ValueError, match=f"has {second}.* for validation already"):
        opened(name, tmp_path / "set", **usual)


def test_a_file_where_a_folder_is_wanted(tmp_path: Path) -> None:
    for name, write in (("hfds", write_parquet), ("wds", write_wds)):
        write(tmp_path / name)
        file = next((tmp_path / name).glob("train*"))
        with pytest.raises(ValueError, match="a file; give the folder that it is in"):
            opened(name, file)


def test_a_configuration_of_a_set_of_the_hub_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_hfds(tmp_path / "saved")
    saved = datasets.load_from_disk(tmp_path / "saved")

    def load(path: str, name: str | None, **_: object) -> object:
        if name != "small":
            raise ValueError("Config name is missing.\nPlease pick one of: ['full', 'small']\nE.g.")
        return saved

    monkeypatch.setattr(datasets, "load_dataset", load)
    few = {"download": True, "path": Path("them/theirs")}
    with pytest.raises(ValueError, match=r"one of: \['full', 'small'\] \(data\.config_name=NAME\)"):
        opened("hfds", **few)
    assert opened("hfds", **few, config_name="small").train_size == 12
    with pytest.raises(
        ValueError, match=r"data\.config_name=small: only for sets of the Hub; .* is a folder"
    ):
        opened("hfds", tmp_path / "saved", config_name="small")
    with pytest.raises(ValueError, match=r"data\.config_name=small: only for data\.name=hfds"):
        compose(["data=wds", "data.path=x", "data.config_name=small"])


def test_a_hidden_label_of_a_split_with_classes_of_its_own_is_named(tmp_path: Path) -> None:
    rows(tmp_path / "set", "train", [0, 1], ["a", "b"])
    rows(tmp_path / "set", "validation", [1, None], ["b", "a"])
    with pytest.raises(ValueError, match=r"validation\[1\]: label is None, .* \(1 of 2"):
        opened("hfds", tmp_path / "set")


def damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[300:900] = bytes(byte ^ 255 for byte in content[300:900])
    path.write_bytes(content)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: os.truncate(path, 900), "Parquet magic bytes not found"),
        (lambda path: os.truncate(path, 0), "Parquet file size is 0 bytes"),
        (damaged, "Invalid or truncated"),
    ],
)
def test_damaged_parquet_is_one_line(
    stream: bool, spoil: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    rows(tmp_path / "set", "train", [0, 1] * 50)
    rows(tmp_path / "set", "validation", [0, 1])
    spoil(tmp_path / "set" / "train-0.parquet")
    config = DataConfig(
        name="hfds", path=str(tmp_path / "set"), root=str(tmp_path), stream=stream, val_size=None,
        num_classes=2, workers=0, img_size=16,
    )  # fmt: skip

    def read() -> None:
        build_data(config, torch.device("cpu")).train_batch(torch.arange(4))

    with pytest.raises((ValueError, OSError), match=f"{tmp_path / 'set'}.*{said}") as raised:
        read()
    assert "\n" not in str(raised.value)


def test_a_column_without_images_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for split in ("train", "validation"):
        numbers = datasets.Dataset.from_dict({"image": [1, 2], "label": [0, 1]})
        numbers.to_parquet(tmp_path / "set" / f"{split}-0.parquet")
    with pytest.raises(ValueError, match=r"set: image are no images \(Unsupported cast"):
        opened("hfds", tmp_path / "set")
    for split in ("train", "validation"):
        nothing = datasets.Dataset.from_dict({"image": [None, None], "label": [0, 1]})
        nothing = nothing.cast_column("image", datasets.Image())
        nothing.to_parquet(tmp_path / "set" / f"{split}-0.parquet")
    data = opened("hfds", tmp_path / "set", max_bad=2)
    assert len(data.train_batch(torch.arange(2))[0]) == 0
    assert set(data.skipped().values()) == {"no image in this row"}


def shard(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


OK = {"0.cls": b"0", "0.jpg": jpeg(0), "1.jpg": jpeg(9), "1.cls": b"1"}


def shards(tmp_path: Path, train: dict[str, bytes], val: dict[str, bytes] = OK) -> Decoded:
    shard(tmp_path / "set" / "train-0.tar", train)
    shard(tmp_path / "set" / "val-0.tar", val)
    return opened("wds", tmp_path / "set")


def test_names_in_shards_as_people_write_them(tmp_path: Path) -> None:
    apart, composed = "cafe\u0301", "caf\u00e9"
    wild = {"./A.JPG": jpeg(0), "./A.CLS": b"0\n", f"{apart}.png": jpeg(9), f"{composed}.cls": b"1"}
    latin = b"\xe9".decode("utf-8", "surrogateescape")
    data = shards(tmp_path, {**wild, f"{latin}.jpg": jpeg(18), f"{latin}.cls": b"1"})
    assert sorted(data.names("train")) == [
        "train-0.tar/./A.JPG", r"train-0.tar/\xe9.jpg", f"train-0.tar/{apart}.png",
    ]  # fmt: skip
    assert data.notes() == []


def test_of_a_sample_s_images_the_first_is_taken_and_its_labels_agree(tmp_path: Path) -> None:
    data = shards(tmp_path, {**OK, "1.png": jpeg(3), "1.json": b'{"label": 1}'})
    assert data.train_size == 2
    assert data.notes() == [f"{tmp_path}/set/train: 1 members that are not used: .png (1)"]
    with pytest.raises(ValueError, match=r"train-0\.tar: 1\.json: class 0, and 1 before"):
        shards(tmp_path, {**OK, "1.json": b'{"label": 0}'})
    later = {**OK, "2.cls": b"1", "2.jpg": jpeg(9)}
    assert shards(tmp_path, {**later, "0.json": b'{"label": 0}', "0.png": jpeg(3)}).train_size == 3
    with pytest.raises(ValueError, match=r"train-0\.tar: 0\.json: class 1, and 0 before"):
        shards(tmp_path, {**later, "0.json": b'{"label": 1}', "0.png": jpeg(3)})


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (b"", "0.jpg: its class is '', not .* \\(1 of 2 labels are not\\)"),
        (b"1.5", "0.jpg: its class is 1.5, not"),
        (b"NaN", "0.jpg: its class is nan, not"),
        (b"-1", "0.jpg: its class is -1, which means that it is hidden"),
        (b"cat", "0.jpg: its class is 'cat', a name: 1 of 2 labels are names, the others numbers"),
        (b"\xff", "0.cls: 'utf-8' codec can't decode"),
        (b"cat\n0.9", r"0.cls: 'cat\\n0.9' is no class: it has control characters"),
    ],
)
def test_classes_in_shards_that_are_none(label: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"train-0.tar.*{said}"):
        shards(tmp_path, {**OK, "0.cls": label})


def test_a_shard_that_is_cut_off_or_two_in_one_is_refused(tmp_path: Path) -> None:
    shards(tmp_path, OK)
    path = tmp_path / "set" / "train-0.tar"
    whole = path.read_bytes()
    end = len(whole.rstrip(b"\0"))
    # tarfile itself ends without a word where the next member's header is cut, or is none.
    for content in (whole[:700], whole[: end // 512 * 512 - 200], whole[:512] * 3, b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"train-0\.tar: (cut off or damaged|unexpected end)"):
            opened("wds", tmp_path / "set")
    path.write_bytes(whole * 2)
    with pytest.raises(ValueError, match=r"train-0\.tar: there is more after its end"):
        opened("wds", tmp_path / "set")


def test_a_byte_order_mark_is_no_part_of_a_class(tmp_path: Path) -> None:
    data = shards(tmp_path, {**OK, "0.cls": b"\xef\xbb\xbf0", "1.cls": b"\xef\xbb\xbf1"})
    assert data.classes == ["0", "1"]


def test_sparse_members_are_left_out_and_said(tmp_path: Path) -> None:
    shards(tmp_path, OK)
    with (tmp_path / "2.png").open("wb") as file:
        file.truncate(1 << 20)
    for name, content in OK.items():
        (tmp_path / name).write_bytes(content)
    path = tmp_path / "set" / "train-0.tar"
    subprocess.run(["tar", "-cSf", path, "-C", tmp_path, "2.png", *OK], check=True)
    assert opened("wds", tmp_path / "set").notes() == [
        f"{tmp_path}/set/train: 1 members that are not used: sparse files (1)"
    ]


def test_what_is_beside_the_shards_or_is_all_there_is(tmp_path: Path) -> None:
    shards(tmp_path, OK)
    (tmp_path / "set" / "train-1.tar.gz").touch()
    said = f"{tmp_path}/set: left out, not train or val and a number: train-1.tar.gz"
    assert opened("wds", tmp_path / "set").notes() == [said]
    with pytest.raises(ValueError, match=r"no images in train-.*\.05\.jpg \(1\)"):
        shards(tmp_path, {"22.05.jpg": jpeg(0), "22.05.cls": b"0"})


def test_members_of_shards_that_are_no_samples_are_counted(tmp_path: Path) -> None:
    write_wds(tmp_path / "set")
    more = {
        "22.05.jpg": jpeg(0),
        "1.left.png": b"",
        "notes.txt": b"",
        "._0.jpg": b"",
        "x.cls": b"2",
    }
    with tarfile.open(tmp_path / "set" / "train-0002.tar", "w") as tar:
        for name, content in more.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("9.jpg")
        link.type, link.linkname = tarfile.LNKTYPE, "22.05.jpg"
        tar.addfile(link)
    data = opened("wds", tmp_path / "set")
    assert data.train_size == 12
    kinds = (
        ".05.jpg (1), ._0.jpg (1), .left.png (1), .txt (1), labels without an image (1), links (1)"
    )
    assert data.notes() == [f"{tmp_path}/set/train: 6 members that are not used: {kinds}"]


def test_shards_may_name_their_classes(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for split, names in (("train", ["dog", "cat"]), ("val", ["dog", "dog"])):
        with webdataset.TarWriter(str(tmp_path / "set" / f"{split}-0.tar")) as tar:
            for i, name in enumerate(names):
                tar.write({"__key__": str(i), "jpg": jpeg(9 * i), "cls": name.encode()})
    data = opened("wds", tmp_path / "set")
    assert data.classes == ["cat", "dog"]
    assert data.labels("val", torch.arange(2)).tolist() == [1, 1]


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
        ("wds", "no such folder"),
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
