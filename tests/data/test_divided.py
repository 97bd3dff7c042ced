"""Sets without a part for validation, and folders of other names than train/ and val/."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
import webdataset
from archive_files import samples
from helpers import Ended
from PIL import Image

from vitcli.compose import compose
from vitcli.config import DataConfig
from vitcli.data import build_data
from vitcli.data.decoded import Decoded
from vitcli.data.divided import held_out
from vitcli.evals.fewshot import FewShot
from vitcli.identity import run_id

CPU = torch.device("cpu")
SIZES = {"a": 1, "b": 2, "c": 7, "d": 20}


def opened(
    path: Path, share: float | None = 0.2, name: str = "imagefolder", **more: Any
) -> Decoded:
    settings = {"img_size": 16, "val_size": None, "num_classes": None, "workers": 0, **more}
    config = DataConfig(name=name, path=str(path), val_share=share, **settings)
    return Decoded(config, torch.device("cpu"))


def photos(path: Path, sizes: dict[str, int] = SIZES) -> Path:
    for number, (name, size) in enumerate(sizes.items()):
        (path / name).mkdir(parents=True)
        for i in range(size):
            Image.new("RGB", (20, 20), (60 * number, 10 * i, 0)).save(path / name / f"{i}.png")
    return path


@pytest.mark.parametrize("inside", ["", "train"])
def test_each_class_is_divided_and_it_is_said(inside: str, tmp_path: Path) -> None:
    photos(tmp_path / "photos" / inside)
    data = opened(tmp_path / "photos")
    train, val = data.names("train"), data.names("val")
    assert sorted(train + val) == sorted(
        os.path.join(inside, c, f"{i}.png") for c, size in SIZES.items() for i in range(size)
    )
    assert Counter(Path(name).parent.name for name in val) == {"b": 1, "c": 1, "d": 4}
    for part, names in (("train", train), ("val", val)):
        labels = data.labels(part, torch.arange(len(names))).tolist()
        assert [data.classes[n] for n in labels] == [Path(name).parent.name for name in names]
    where = tmp_path / "photos"
    *placed, divided, single = data.notes()
    assert placed == (
        [] if inside else [f"{where}: no train/<class>/: its own folders are the classes"]
    )
    assert divided == (
        f"{where}: data.val_share=0.2 holds 6 of 30 images, of 3 classes, out for validation, "
        "by their names and data.seed=0"
    )
    assert single == f"{where}: classes of one image, which is for training: a"


def test_the_order_in_which_files_are_found_does_not_count() -> None:
    names = [f"{c}/{i}.png" for c, size in SIZES.items() for i in range(size)]
    labels = [list(SIZES).index(name[0]) for name in names]
    rows, single = held_out(labels, names, 0.3, seed=5)
    expected = {names[row] for row in rows}
    assert single == [0]
    order = random.Random(1).sample(range(len(names)), len(names))
    rows, _ = held_out([labels[i] for i in order], [names[i] for i in order], 0.3, seed=5)
    assert {names[order[row]] for row in rows} == expected
    rows, _ = held_out(labels, names, 0.3, seed=6)
    assert {names[row] for row in rows} != expected


def test_another_file_moves_one_other_at_most() -> None:
    names = [f"{i}.png" for i in range(100)]
    before = {names[row] for row in held_out([0] * 100, names, 0.1, 0)[0]}
    for new in range(100, 150):
        names.append(f"{new}.png")
        rows, _ = held_out([0] * len(names), names, 0.1, 0)
        after = {names[row] for row in rows}
        assert len(after) == int(len(names) / 10 + 0.5)
        assert len(before - after) <= 1
        before = after


def test_every_image_is_held_out_by_some_seed() -> None:
    names = [f"{i}.png" for i in range(20)]
    drawn = Counter(row for seed in range(1000) for row in held_out([0] * 20, names, 0.25, seed)[0])
    # Binomial: 1,000 seeds, a quarter each, so an sd of 14 around 250; 4 sd for the worst of 20.
    assert all(abs(drawn[row] - 250) < 4 * 13.7 for row in range(20))


def test_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    photos(tmp_path / "vehicles", {"boat": 4, "car": 4, "train": 4})
    assert opened(tmp_path / "vehicles").classes == ["boat", "car", "train"]


def test_classes_of_usual_names_of_parts_are_classes(tmp_path: Path) -> None:
    photos(tmp_path, {"valid": 4, "invalid": 4})
    assert opened(tmp_path).classes == ["invalid", "valid"]


@pytest.mark.parametrize("second", ["val", "validation"])
def test_a_part_for_validation_that_is_there_is_not_overlooked(second: str, tmp_path: Path) -> None:
    photos(tmp_path / "train")
    photos(tmp_path / second)
    with pytest.raises(ValueError, match=rf"^data\.val_share=0\.2: .* has {second}/ .* already"):
        opened(tmp_path)
    data = opened(tmp_path, None)
    assert data.val_size == 30

    said = [f"{tmp_path}: no val/: validation/ is taken"] if second == "validation" else []
    assert data.notes() == said


@pytest.mark.parametrize("second", [True, False])
def test_a_downstream_set_is_divided_only_where_it_has_one_part(
    second: bool, tmp_path: Path
) -> None:
    photos(tmp_path / "up" / "first")
    photos(tmp_path / "down" / "train", {"a": 6, "b": 6})
    if second:
        photos(tmp_path / "down" / "val", {"a": 3, "b": 3})
    words = ["data=imagefolder", f"data.path={tmp_path / 'up'}", "data.val_share=0.25"]
    words += ["data.splits=[first,second]", "data.workers=0", "evals.shots=[2]"]
    words += ["evals.downstream=imagenet", f"evals.path={tmp_path / 'down'}"]
    config = compose(words)
    (few,) = FewShot.build(config, build_data(config.data, CPU), CPU)
    sizes = few.protocol()["support_pool"], few.protocol()["test_size"]
    assert sizes == ((12, 6) if second else (8, 4))


def test_folders_may_have_any_names(tmp_path: Path) -> None:
    photos(tmp_path / "training")
    photos(tmp_path / "testing", {"b": 2})
    photos(tmp_path / "extra")
    with pytest.raises(
        ValueError,
        match=r"no folder train/, but extra, testing, training; .*splits=.*val_share=0\.1",
    ):
        opened(tmp_path, None)
    data = opened(tmp_path, None, splits=["training", "testing"])
    assert (data.train_size, data.val_size, data.num_classes) == (30, 2, 4)
    assert data.notes() == [
        f"{tmp_path}: left out, not training or testing: extra",
        f"{tmp_path}: classes without a validation image: a, c, d",
    ]
    with pytest.raises(ValueError, match=r"has testing/ for validation already"):
        opened(tmp_path, splits=["training", "testing"])
    shutil.rmtree(tmp_path / "testing")
    with pytest.raises(ValueError, match=r"no folder testing/, but extra, training"):
        opened(tmp_path, None, splits=["training", "testing"])
    assert opened(tmp_path, splits=["training", "testing"]).val_size == 6


def test_what_cannot_be_divided(tmp_path: Path) -> None:
    photos(tmp_path / "one", {"a": 1, "b": 1})
    with pytest.raises(ValueError, match=r"data\.val_share=0\.2: no class .* has two images"):
        opened(tmp_path / "one")


@pytest.mark.parametrize("kind", ["files", "saved", "single", "shards"])
def test_archives_are_divided_too(kind: str, tmp_path: Path) -> None:
    files = samples(12)
    rows = datasets.Dataset.from_dict(
        {"image": [{"bytes": file} for file, _ in files], "label": [c for _, c in files]}
    ).cast_column("image", datasets.Image())
    if kind == "shards":
        with webdataset.TarWriter(str(tmp_path / "train-0.tar")) as tar:
            for i, (file, label) in enumerate(files):
                tar.write({"__key__": f"{i:04d}", "jpg": file, "cls": label})
    elif kind == "files":
        rows.to_parquet(tmp_path / "train-0.parquet")
    else:
        saved = rows if kind == "single" else datasets.DatasetDict(train=rows)
        saved.save_to_disk(tmp_path / "set")
    path = tmp_path if kind in ("files", "shards") else tmp_path / "set"
    name = "wds" if kind == "shards" else "hfds"
    data = opened(path, 0.25, name, root=str(tmp_path / "cache"))
    assert (data.train_size, data.val_size) == (9, 3)
    assert not set(data.names("train")) & set(data.names("val"))
    images, labels = data.val_batch(torch.arange(3))
    number = ((images[:, 0].mean((1, 2)) + 1) * 12.75).round().long()
    assert torch.equal(labels, number % 3)
    if kind in ("files", "shards"):
        (first,) = path.glob("train-0.*")
        shutil.copy(first, path / f"validation-0{first.suffix}")
        with pytest.raises(ValueError, match=r"has validation.* for validation already"):
            opened(path, 0.25, name, root=str(tmp_path / "cache"))


def test_a_run_says_what_it_held_out(
    vitcli: Callable[..., Ended], tiny: list[str], tmp_path: Path
) -> None:
    photos(tmp_path / "photos")
    few = [o for o in tiny if not o.startswith("data.")]
    settings = ["data=imagefolder", f"data.path={tmp_path / 'photos'}", "data.img_size=16", *few]
    settings += ["evals=upstream", "data.workers=0", "train.batch_size=8"]
    ended = vitcli("train", *settings)
    assert ended.code == 2
    assert "data.val_share=0.1 divides it" in ended.err
    ended = vitcli("train", *settings, "data.val_share=0.2")
    assert ended.code == 0, ended.err
    (result,) = tmp_path.glob("outputs/runs/*/result.json")
    said = "data.val_share=0.2 holds 6 of 30 images, of 3 classes, out for validation"
    assert any(said in note for note in json.loads(result.read_text())["notes"])


def test_the_share_is_part_of_a_run_s_identity() -> None:
    own = ["data=imagefolder", "data.path=x"]
    names = {run_id(compose([*own, *more])) for more in ([], ["data.val_share=0.1"])}
    assert len(names | {run_id(compose([*own, "data.val_share=0.2"]))}) == 3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.val_share=0.1"], r"data\.val_share=0\.1 with data\.name=glyphs"),
        (["data=imagefolder", "data.path=x", "data.val_share=1"], r"data\.val_share=1: .* 0 and 1"),
        (["data=imagefolder", "data.path=x", "data.val_share=0"], r"data\.val_share=0: .* 0 and 1"),
        (["data=hfds", "data.path=x", "data.val_share=0.1", "data.stream=true"], "not divided"),
        (["data=imagefolder", "data.path=x", "data.splits=[a,a]"], r"data\.splits=\['a', 'a'\]"),
    ],
)
def test_settings_that_make_no_sense(overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compose(overrides)
