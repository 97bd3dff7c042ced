"""Streams: an order without random access, the same for any number of workers and any stop."""

from __future__ import annotations

import functools
import http.server
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
import torch
import webdataset
from archive_files import jpeg, samples, write_hfds, write_wds
from helpers import Ended
from pyarrow import parquet

from vitcli.bench import trainer_of
from vitcli.compose import compose
from vitcli.config import AugmentConfig, DataConfig, RunConfig
from vitcli.data import DataSource, build_data, streamed
from vitcli.data.streams import expand
from vitcli.identity import run_id
from vitcli.stops import Interrupted
from vitcli.trainer import Trainer

CPU = torch.device("cpu")
KNOWN = {"size": 12, "val_size": 6, "num_classes": 3}  # what shards do not say


def write_parquet(path: Path, bad: bool = False) -> None:
    write_hfds(path.parent / "saved", bad)
    path.mkdir()
    for split, rows in datasets.load_from_disk(path.parent / "saved").items():
        for shard in range(2):
            part = rows.shard(2, shard, contiguous=True)
            part.to_parquet(path / f"{split}-{shard:05d}-of-00002.parquet")


KINDS: dict[str, tuple[str, Callable[..., None], dict[str, Any]]] = {
    "saved": ("hfds", write_hfds, {}),
    "parquet": ("hfds", write_parquet, {}),
    "tar": ("wds", write_wds, KNOWN),
    "tar by datasets": ("hfds", write_wds, {**KNOWN, "columns": ["jpg", "cls"]}),
}


def opened(kind: str, path: Path, **options: Any) -> DataSource:
    name, write, known = KINDS[kind]
    if not path.exists():
        write(path)
    settings = {
        "val_size": None, "num_classes": None, "workers": 0, "img_size": 16, "root": str(path),
        "splits": ["train", "val" if name == "wds" else "validation"], **known, **options,
    }  # fmt: skip
    return build_data(DataConfig(name=name, path=str(path), stream=True, **settings), CPU)


def numbers(images: torch.Tensor) -> list[int]:
    """Which of `samples` they are, by their brightness."""
    return ((images[:, 0].mean((1, 2)) + 1) * 12.75).round().long().tolist()


def epochs(data: DataSource, steps: int, batch_size: int = 4, seed: int = 0) -> list[int]:
    orders = [data.order(seed, step, batch_size) for step in range(steps)]
    return [n for images, _ in data.batches("train", orders) for n in numbers(images)]


@pytest.mark.parametrize("kind", ["saved", "parquet", "tar"])
def test_an_epoch_has_every_image_with_its_label(kind: str, tmp_path: Path) -> None:
    data = opened(kind, tmp_path / "set")
    assert (data.num_classes, data.train_size, data.val_size) == (3, 12, 6)
    for part, size in (("train", 12), ("val", 6)):
        ((images, labels),) = data.batches(part, [(torch.arange(size),)])
        assert sorted(numbers(images)) == list(range(size))
        assert labels.tolist() == [n % 3 for n in numbers(images)]
        assert torch.equal(data.labels(part, torch.arange(size)), labels)
    both = epochs(data, 6)
    first, second = both[:12], both[12:]
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second
    assert epochs(data, 6) == both
    assert epochs(data, 6, seed=1) != both
    assert epochs(data, 4, batch_size=6) == both


def test_tar_files_by_datasets(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for split, count in (("train", 12), ("validation", 6)):
        with webdataset.TarWriter(str(tmp_path / f"set/{split}.tar")) as tar:
            for i, (file, label) in enumerate(samples(count)):
                tar.write({"__key__": f"{i:04d}", "jpg": file, "cls": label})
    data = opened("tar by datasets", tmp_path / "set")
    assert sorted(epochs(data, 3)) == list(range(12))


@pytest.mark.parametrize("kind", ["saved", "parquet", "tar"])
def test_any_position_in_any_batch_and_any_workers(kind: str, tmp_path: Path) -> None:
    augment = AugmentConfig(crop="inception", flip=True, randaugment="rand-m9-n2", erasing=0.5)
    data = opened(kind, tmp_path / "set", augment=augment)
    orders = [data.order(5, step, 7) for step in range(5)]  # across two epochs
    alone = list(data.batches("train", orders))
    helped = list(
        opened(kind, tmp_path / "set", augment=augment, workers=2).batches("train", orders)
    )
    late = list(data.batches("train", orders[2:]))
    for a, b in zip(alone + alone[2:], helped + late, strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])
    backwards = data.train_batch(*(entries.flip(0) for entries in orders[1]))
    assert torch.equal(backwards[0].flip(0), alone[1][0])


def test_a_subset_is_the_first_so_many(tmp_path: Path) -> None:
    for kind in ("saved", "parquet", "tar"):
        data = opened(kind, tmp_path / kind.replace(" ", ""), size=5, val_size=2)
        first = [0, 2, 4, 6, 8] if kind == "tar" else list(range(5))  # of two shards, dealt out
        assert sorted(epochs(data, 5, batch_size=1)) == first
        assert data.val_size == 2


def test_the_buffer_mixes_near_and_the_shards_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed, "_BUFFER", 1)
    ordered = [*range(0, 12, 2), *range(1, 12, 2)]
    assert epochs(opened("tar", tmp_path / "set"), 3) == ordered  # its size is not known
    starts = {epochs(opened("saved", tmp_path / "saved"), 12, 1, seed)[0] for seed in range(9)}
    assert len(starts) > 3


@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_in_mid_epoch_is_exact_twice(workers: int, tmp_path: Path) -> None:
    write_hfds(tmp_path / "set")
    config = compose(
        ["data=hfds", "data.stream=true", f"data.path={tmp_path / 'set'}", "data.img_size=16",
         "data.augment.randaugment=rand-m9-n2", "data.augment.erasing=0.3", "train.batch_size=4",
         "model.depth=1", "train.steps=10", "recipe.mixup=0.2", "train.accumulate=2",
         "evals=upstream", "threads=1"]
    )  # fmt: skip

    def trainer(name: str, workers: int) -> Trainer:
        torch.manual_seed(0)
        config.data.workers = workers
        made = trainer_of(config)
        made.folder = tmp_path / name
        made.folder.mkdir(exist_ok=True)
        return made

    unbroken = trainer("unbroken", 0)
    unbroken.train(lambda record: None, lambda: False)
    for step in (2, 5):  # an epoch is 3 steps
        broken = trainer("broken", workers)
        broken.resume()
        with pytest.raises(Interrupted, match=f"after step {step}"):
            broken.train(lambda record: None, lambda broken=broken, step=step: broken.step >= step)
    last = trainer("broken", workers)
    last.resume()
    last.train(lambda record: None, lambda: False)
    for a, b in zip(unbroken.model.parameters(), last.model.parameters(), strict=True):
        assert torch.equal(a, b)


def settings(tmp_path: Path, kind: str, *more: str) -> list[str]:
    name, write, known = KINDS[kind]
    if not (tmp_path / "set").exists():
        write(tmp_path / "set")
    return [
        f"data={name}", f"data.path={tmp_path / 'set'}", "data.stream=true", "data.img_size=16",
        "model.depth=1", "threads=1", "train.steps=5", "train.batch_size=4", "evals.draws=2",
        f"data.root={tmp_path}", f"outputs={tmp_path / 'outputs'}",
        *(f"data.{key}={value}" for key, value in known.items()), *more,
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["saved", "parquet", "tar"])
def test_a_run_end_to_end(kind: str, vitcli: Callable[..., Ended], tmp_path: Path) -> None:
    ended = vitcli("train", *settings(tmp_path, kind))
    assert ended.code == 0, ended.err
    assert "val/top1" in ended.out
    assert "fewshot/digits/5shot" in ended.out


def test_a_stream_with_itself_downstream_as_files(
    vitcli: Callable[..., Ended], tmp_path: Path
) -> None:
    downstream = [f"evals.path={tmp_path / 'set'}", "evals.shots=[2]"]
    ended = vitcli("train", *settings(tmp_path, "saved", "evals.downstream=hfds", *downstream))
    assert ended.code == 0, ended.err
    assert "fewshot/hfds/2shot" in ended.out
    url = [*settings(tmp_path, "saved"), "evals.downstream=wds", "evals.path='http://host/set'"]
    ended = vitcli("train", *url)
    assert ended.code == 2
    assert "evals.path=http://host/set: few-shot evaluation needs files, not a URL" in ended.err


def test_check_and_show(vitcli: Callable[..., Ended], tmp_path: Path) -> None:
    ended = vitcli("data", "check", *settings(tmp_path, "saved"))
    assert ended.code == 0, ended.err
    assert "4 to 4" in ended.out
    ended = vitcli("data", "show", *settings(tmp_path, "saved"), "--out", str(tmp_path / "a.png"))
    assert ended.code == 0, ended.err
    assert (tmp_path / "a.png").exists()


@pytest.mark.parametrize("kind", ["saved", "parquet", "tar"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_image_is_named_once(kind: str, workers: int, tmp_path: Path) -> None:
    _, write, _ = KINDS[kind]
    write(tmp_path / "set", bad=True)
    data = opened(kind, tmp_path / "set", size=13, max_bad=1, workers=workers)
    assert sorted(epochs(data, 26, batch_size=1)) == sorted([*range(12), *range(12)])
    name = {
        "saved": "train[12]", "parquet": "train[1:5]", "tar": "train-0000.tar/x/0012.jpg"
    }[kind]  # fmt: skip
    assert list(data.skipped()) == [name]


def test_a_row_without_an_image_is_a_bad_image(tmp_path: Path) -> None:
    nothing: dict[str, Any] = {"bytes": None, "path": None}
    gone: dict[str, Any] = {"bytes": None, "path": str(tmp_path / "none.png")}
    images = [{"bytes": jpeg(0), "path": None}, nothing, None, gone]
    rows = {"image": images, "label": [0, 1, 1, 1]}
    features = {
        "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        "label": pa.int64(),
    }
    (tmp_path / "set").mkdir()
    for split in ("train", "validation"):
        table = pa.table(rows, schema=pa.schema(features))
        parquet.write_table(table, tmp_path / "set" / f"{split}-0.parquet")
    known = {"size": 4, "val_size": 4, "num_classes": 2, "max_bad": 3}
    data = opened("parquet", tmp_path / "set", **known)
    assert epochs(data, 4, batch_size=1) == [0]
    assert sorted(data.skipped()) == ["train[0:1]", "train[0:2]", "train[0:3]"]
    assert "No such file" in data.skipped()["train[0:3]"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server of `tmp_path`."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


URL: dict[str, Any] = {"download": True, "splits": ["train-{0000..0001}", "val-{0000..0001}"]}


def test_shards_of_a_url_are_those_of_the_folder(server: str, tmp_path: Path) -> None:
    folder = opened("tar", tmp_path / "set")
    config = DataConfig(name="wds", path=f"{server}/set", stream=True, img_size=16, **KNOWN, **URL)
    data = build_data(config, CPU)
    assert epochs(data, 6) == epochs(folder, 6)
    with pytest.raises(ValueError, match=r"http://.*data\.download=true"):
        build_data(DataConfig(name="wds", path=f"{server}/set", stream=True), CPU)


def test_a_url_end_to_end_with_what_it_lacks(
    server: str, vitcli: Callable[..., Ended], tmp_path: Path
) -> None:
    splits = "data.splits=['train-{0000..0002}','val-{0000..0001}']"
    overrides = settings(tmp_path, "tar", splits, "data.download=true", f"data.path='{server}/set'")
    ended = vitcli("train", *overrides)  # the third shard is never needed
    assert ended.code == 0, ended.err
    ended = vitcli("train", *overrides, "data.size=13", "data.max_bad=1")
    assert ended.code == 1
    assert "train-0002.tar: HTTP Error 404" in ended.err


def test_the_numbers_in_a_pattern() -> None:
    assert expand("train") == ["train"]
    assert expand("a{08..10}") == ["a08", "a09", "a10"]
    assert expand("{0..1}-{2..3}x") == ["0-2x", "0-3x", "1-2x", "1-3x"]


@pytest.mark.parametrize("pattern", ["train-{002..000}", "train-{a,b}"])
def test_patterns_that_stand_for_nothing(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"is no range of numbers, as \{000\.\.099\} is one"):
        expand(pattern)


def test_the_hub_is_asked_only_if_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_hfds(tmp_path / "saved")
    found = datasets.load_from_disk(tmp_path / "saved")
    asked = []

    def load(path: str, name: str | None, cache_dir: str, streaming: bool) -> object:
        assert name is None
        asked.append((path, cache_dir, streaming))
        if not streaming:
            return found
        splits = datasets.IterableDatasetDict()
        for name, rows in found.items():
            splits[name] = rows.to_iterable_dataset(num_shards=3)
            said = datasets.splits.SplitDict()
            said.add(datasets.SplitInfo(name, num_examples=len(rows)))
            splits[name].info.splits = said
        return splits

    monkeypatch.setattr(datasets, "load_dataset", load)
    config = DataConfig(
        name="hfds", path="them/theirs", stream=True, root="there", num_classes=None, img_size=16
    )
    with pytest.raises(ValueError, match="no such folder"):
        build_data(config, CPU)
    assert not asked
    config.download = True
    data = build_data(config, CPU)
    assert (data.num_classes, data.train_size, data.val_size) == (3, 12, 6)
    assert sorted(epochs(data, 3)) == list(range(12))
    config.stream = False
    assert build_data(config, CPU).train_size == 12
    assert asked == [("them/theirs", "there", stream) for stream in (True, True, False, False)]


def test_what_a_stream_does_not_say(tmp_path: Path) -> None:
    for key in KNOWN:
        with pytest.raises(ValueError, match=rf"data\.{key}=null .*set data\.{key}"):
            opened("tar", tmp_path / "set", **{key: None})
    with pytest.raises(ValueError, match=r"data\.size=13 .* has 12"):
        opened("saved", tmp_path / "saved", size=13)
    assert opened("saved", tmp_path / "saved", val_size=99).val_size == 6
    with pytest.raises(ValueError, match=r"data\.num_classes=4 .* has 3"):
        opened("saved", tmp_path / "saved", num_classes=4)
    with pytest.raises(ValueError, match=r"data\.size=13 .* has 12"):
        epochs(opened("tar", tmp_path / "set", size=13), 13, 1)
    with pytest.raises(ValueError, match=r"train-000\d\.tar/x/00\d\d\.jpg: class 2 of 2 classes"):
        epochs(opened("tar", tmp_path / "set", num_classes=2), 3)


def test_places_that_make_no_sense(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for kind, message in (
        ("tar", r"no shards train-<number>"),
        ("saved", r"empty: .* no files train-<number>"),
    ):
        with pytest.raises(ValueError, match=message):
            opened(kind, tmp_path / "empty")
    with pytest.raises(ValueError, match=r"no files dev-<number>"):
        opened("parquet", tmp_path / "set", splits=["train", "dev"])
    with pytest.raises(ValueError, match="has image, label"):
        opened("parquet", tmp_path / "set", columns=["img", "label"])
    for path, stream, message in (
        ("s3://a", True, "a folder, http:// or https://"),
        ("http://a", False, r"a URL is a stream, data\.stream=true"),
    ):
        with pytest.raises(ValueError, match=message):
            build_data(DataConfig(name="wds", path=path, stream=stream), CPU)


def test_samples_that_make_no_sense(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for split in ("train", "val"):
        with webdataset.TarWriter(str(tmp_path / f"set/{split}.tar")) as tar:
            tar.write({"__key__": "0", "jpg": jpeg(0), "json": {"width": 20}, "cls": 1})
            tar.write({"__key__": "1", "jpg": jpeg(0), "json": [20]})
    data = opened("tar", tmp_path / "set", size=1)
    assert data.labels("train", torch.arange(1)).tolist() == [1]
    with pytest.raises(ValueError, match=r"train\.tar: 1\.jpg has no class"):
        opened("tar", tmp_path / "set", size=2).labels("train", torch.arange(2))
    os.truncate(tmp_path / "set/val.tar", 1600)  # in the first image
    with pytest.raises(OSError, match=r"val\.tar: unexpected end of data"):
        data.val_batch(torch.arange(1))


def test_members_that_are_not_used_are_said_of_streams_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = opened("tar", tmp_path / "set")
    for number in (2, 3):
        with webdataset.TarWriter(str(tmp_path / f"set/train-000{number}.tar")) as tar:
            tar.write({"__key__": f"{number}", "a.png": b"x", "jpg": jpeg(0), "cls": 1})
    data = opened("tar", tmp_path / "set", size=14)
    assert data.notes() == []
    epochs(data, 14, batch_size=1)
    (line,) = caplog.messages  # of the first shard that has some, the count of all in the notes
    assert line == f"{tmp_path}/set/train-0002.tar: 1 members that are not used: .a.png (1)"
    assert data.notes() == [f"{tmp_path}/set/train: 2 members that are not used: .a.png (2)"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=imagefolder", "data.path=x"], r"data\.stream=true with data\.name=imagefolder"),
        ([], "only for hfds, wds"),
        (["data=hfds", "data.path=x", "finetune.source=y", "finetune.lr_grid=[0.1]"],
         r"finetune\.lr_grid=\[0\.1\] with data\.stream=true"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense(overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compose([*overrides, "data.stream=true"])


def test_the_identity_of_what_is_no_stream_is_as_before() -> None:
    assert run_id(RunConfig()) == "nano-p1-learned_1d-glyphs-s0-9f6d269905"
    hfds = ["data=hfds", "data.path=x"]
    assert run_id(compose(hfds)) != run_id(compose([*hfds, "data.stream=true"]))


def test_a_result_lists_what_was_skipped(vitcli: Callable[..., Ended], tmp_path: Path) -> None:
    write_hfds(tmp_path / "set", bad=True)
    ended = vitcli(
        "train",
        *settings(tmp_path, "saved", "data.max_bad=1", "train.epochs=2", "train.steps=null"),
    )
    assert ended.code == 0, ended.err
    (result,) = tmp_path.glob("outputs/runs/*/result.json")
    assert list(json.loads(result.read_text())["skipped"]) == ["train[12]"]
