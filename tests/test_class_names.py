"""Names of classes go with the weights: a head is used by them, or what is assumed is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import ours
from helpers import Ended
from PIL import Image
from transformers import ViTForImageClassification

from vitcli import run as train
from vitcli.compose import compose
from vitcli.config import DataConfig
from vitcli.evaluate import _by_name, _same_classes
from vitcli.models.convert import Checkpoint, read, write

NAMES = ["1", "10", "2", "B", "a"]  # in torchvision's order
NATURAL = ["1", "2", "10", "a", "B"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five classes, each of a colour of its own."""
    place = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name in NAMES:
        colour = tuple(rng.integers(0, 256, 3).tolist())
        for part in ("train", "val"):
            (place / part / name).mkdir(parents=True)
            for i in range(4):
                Image.new("RGB", (16, 16), colour).save(place / part / name / f"{i}.png")
    return place


@pytest.fixture(scope="module")
def own(photos: Path) -> list[str]:
    return [
        "data=imagefolder", f"data.path={photos}", "data.img_size=16", "data.workers=0",
        "evals=upstream", "threads=1", "device=cpu",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def trained(own: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the photos, which tells all of them apart."""
    few = ["model.depth=1", "train.batch_size=16", "train.steps=60", "data.augment.crop=none"]
    outputs = tmp_path_factory.mktemp("outputs")
    trained = train(*own, *few, "train.precision=fp32", f"outputs={outputs}")
    assert trained.result["classes"] == NAMES
    assert trained.result["metrics"]["val/top1"] == 1.0
    return trained.folder


def nameless(trained: Path, place: Path) -> str:
    """Returns the run's weights in a file that says no classes."""
    write(replace(read(str(trained)), classes=None), place / "bare.safetensors")
    return str(place / "bare.safetensors")


def top1(ended: Ended) -> float:
    assert ended.code == 0, ended.err
    (line,) = (line for line in ended.out.splitlines() if line.startswith("val/top1"))
    return float(line.split()[1])


def test_a_head_is_used_by_its_names(
    vitcli: Callable[..., Ended], own: list[str], trained: Path, tmp_path: Path
) -> None:
    natural = [*own, "data.class_order=natural", f"outputs={tmp_path / 'o'}"]
    by_name = vitcli("eval", str(trained / "checkpoints" / "model.safetensors"), *natural)
    assert top1(by_name) == 1.0
    assert "the head's classes are matched by name" in by_name.out

    bare = nameless(trained, tmp_path)
    assumed = vitcli("eval", bare, *natural)
    assert top1(assumed) < 1
    assert (
        "the checkpoint does not name its classes: taken in the data's order, 1, 2, 10, a, B"
        in (" ".join(assumed.out.split()))
    )
    (tmp_path / "map.txt").write_text("\r\n".join(NAMES) + " \r\n\r\n", "utf-8-sig")  # by Excel
    mapped = vitcli("eval", bare, *natural, f"data.class_map={tmp_path / 'map.txt'}")
    assert top1(mapped) == 1.0

    (tmp_path / "map.txt").write_text("\n".join(NAMES[:4]))
    short = vitcli("eval", bare, *natural, f"data.class_map={tmp_path / 'map.txt'}")
    assert (short.code, "4 names for a head of 5 classes" in short.err) == (2, True)
    assert "only `vitcli eval` reads it" in vitcli("train", *own, "data.class_map=x").err


def test_a_head_meets_data_that_number_their_classes() -> None:
    names = ["0", "1", "10", *map(str, range(2, 10))]  # as torchvision sorts folders
    run = compose(["model=pico", "model.depth=1"])
    checkpoint = replace(ours(run, (16, 16), classes=len(names)), classes=names)
    ordered, said = _by_name(checkpoint, None, run.data)
    assert said == ["the head's classes are matched by name"]
    rows = checkpoint.state["head.weight"]
    assert torch.equal(ordered.state["head.weight"], rows[[0, 1, *range(3, 11), 2]])

    named = replace(ours(run, (16, 16), classes=2), classes=["cat", "dog"])
    same, said = _by_name(named, None, run.data)
    assert same is named
    assert said[0].startswith(
        "the data have numbers of classes, no names: taken in the head's order, cat, "
    )
    assert _by_name(replace(named, classes=["0", "1"]), None, run.data)[1] == []
    own = replace(named, classes=None)
    assert _by_name(own, None, run.data, known=True)[1] == []
    (line,) = _by_name(own, None, run.data)[1]
    assert line.startswith("the checkpoint does not name its classes: taken in the order of their ")


def test_eval_says_what_its_data_left_out(
    vitcli: Callable[..., Ended], own: list[str], photos: Path, trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(photos, tmp_path / "other")
    (tmp_path / "other" / "val" / "a" / "notes.txt").write_text("")
    (tmp_path / "other" / "val" / "a" / "broken.jpg").write_bytes(b"no image")
    other = tmp_path / "other"
    place = [f"data.path={other}", "data.max_bad=1", f"outputs={tmp_path / 'o'}"]
    ended = vitcli("eval", str(trained), *own, *place, "threads=1")
    assert top1(ended) == 1.0
    said = [
        f"{other}/val: 1 files of kinds that are not read: .txt (1)",
        "images left out that cannot be decoded: 1 (val/a/broken.jpg)",
    ]
    assert set(said) <= set(ended.out.splitlines())
    few = ["evals.downstream=imagefolder", f"evals.path={other}", "evals.shots=[1]"]
    few += ["evals.draws=1", "data.max_bad=1"]
    ended = vitcli("eval", str(trained), *own, *few, f"outputs={tmp_path / 'few'}")
    assert ended.code == 0, ended.err
    said = [f"few-shot on imagefolder: {line}" for line in said]
    assert set(said) <= set(ended.out.splitlines())
    short = ["model.depth=1", "train.batch_size=16", "train.steps=1"]
    assert vitcli("train", *own, *few, *short, f"outputs={tmp_path / 'few'}").code == 0
    (result,) = (tmp_path / "few" / "runs").glob("*/result.json")
    assert set(said) <= set(json.loads(result.read_text())["notes"])


def test_a_head_of_numbers_is_known_to_be_of_its_own_data_alone(
    vitcli: Callable[..., Ended], tiny: list[str], tmp_path: Path
) -> None:
    ten = ["data.num_classes=10", "evals=upstream"]
    assert vitcli("train", *tiny, *ten).code == 0
    (run,) = (tmp_path / "outputs" / "runs").iterdir()
    said = "the checkpoint does not name its classes: taken in the order of their numbers"
    assert said not in vitcli("eval", str(run), f"outputs={tmp_path}").out
    digits = ["data=digits", "data.img_size=16", "evals=upstream", f"outputs={tmp_path}"]
    assert said in vitcli("eval", str(run), *digits).out
    one = DataConfig(name="hfds", path="a")
    for other, same in (
        (replace(one, size=9), True),
        (replace(one, path="b"), False),
        (replace(one, columns=["image", "fine"]), False),
    ):
        assert _same_classes(one, other) == same
    named = replace(one, alias="pets")
    assert _same_classes(named, replace(named, path="b"))


def test_a_head_of_other_classes_is_refused(
    vitcli: Callable[..., Ended], own: list[str], photos: Path, trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(photos, tmp_path / "other")
    for part in ("train", "val"):
        (tmp_path / "other" / part / "a").rename(tmp_path / "other" / part / "z")
    place = [f"data.path={tmp_path / 'other'}", f"outputs={tmp_path / 'o'}"]
    ended = vitcli("eval", str(trained / "checkpoints" / "model.safetensors"), *own, *place)
    assert (ended.code, "Traceback" in ended.err) == (2, False)
    assert "a in the head alone, z in the data alone; data.class_map=FILE" in ended.err


def test_names_go_to_hugging_face_and_back(trained: Path, tmp_path: Path) -> None:
    checkpoint = read(str(trained))
    assert checkpoint.classes == NAMES
    assert checkpoint.build().classes == NAMES
    write(checkpoint, tmp_path / "theirs")
    theirs = ViTForImageClassification.from_pretrained(tmp_path / "theirs")
    assert theirs.config.id2label == dict(enumerate(NAMES))
    assert read(str(tmp_path / "theirs")).classes == NAMES
    write(checkpoint, tmp_path / "ours.safetensors")
    assert read(str(tmp_path / "ours.safetensors")).classes == NAMES


def test_rows_of_the_head_follow_their_names(trained: Path) -> None:
    checkpoint = read(str(trained))
    moved, said = _by_name(checkpoint, NATURAL, DataConfig(name="imagefolder"))
    assert said == ["the head's classes are matched by name"]
    images = torch.rand(3, 3, 16, 16)
    before, after = (c.build()(images) for c in (checkpoint, moved))
    torch.testing.assert_close(after, before[:, [NAMES.index(name) for name in NATURAL]])
    same: tuple[Checkpoint, list[str]] = _by_name(checkpoint, NAMES, DataConfig())
    assert same == (checkpoint, [])
