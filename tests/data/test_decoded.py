"""Folders of images: what is read, what is refused, and batches as functions of their orders."""

from __future__ import annotations

import io
import itertools
import json
import os
import random
import shutil
import unicodedata
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Ended
from PIL import Image
from timm.data.readers.reader_image_folder import ReaderImageFolder
from torch import nn
from torchvision.datasets import ImageFolder

from vitcli.bench import trainer_of
from vitcli.compose import compose
from vitcli.config import CROP_MODES, AugmentConfig, DataConfig, RecipeConfig
from vitcli.data.augment import Mix, Transform
from vitcli.data.decode import decode, quietly
from vitcli.data.decoded import BadImages, Decoded
from vitcli.data.facts import of_files
from vitcli.evals import inference, ridge
from vitcli.evals.inference import scores
from vitcli.evals.real import RealLabels
from vitcli.models import build_model
from vitcli.stops import Interrupted
from vitcli.trainer import Trainer

CPU = torch.device("cpu")
COLOUR = Image.new("RGB", (20, 20), (200, 0, 0))
ALL = AugmentConfig(crop="inception", flip=True, randaugment="rand-m9-n2", erasing=0.5)
SMALL = ["model.depth=1", "train.batch_size=8", "threads=1", "data.img_size=16", "evals=upstream"]


def images_of(path: Path, **options: Any) -> Decoded:
    settings = {
        "name": "imagefolder", "img_size": 16, "val_size": None, "num_classes": None, "workers": 0,
    }  # fmt: skip
    return Decoded(DataConfig(**{**settings, "path": str(path), **options}), CPU)


def test_both_parts(folder: Path) -> None:
    data = images_of(folder)
    assert (data.num_classes, data.train_size, data.val_size) == (3, 36, 8)
    images, labels = data.train_batch(torch.arange(36))
    assert images.shape == (36, 3, 16, 16)
    assert labels.bincount().tolist() == [12, 12, 12]
    assert images.min() >= -1
    assert images.max() <= 1
    assert data.labels("val", torch.arange(8)).bincount(minlength=3).tolist() == [4, 4, 0]
    name = data.names("train")[5]
    pixels = Transform(DataConfig(img_size=16))(Image.open(folder / name), None)
    torch.testing.assert_close(images[5], pixels / 127.5 - 1)


def test_a_rectangle_is_a_crop_and_not_stretched(folder: Path) -> None:
    data = images_of(folder, img_size=[16, 24], crop_pct=1.0)
    images, _ = data.val_batch(torch.arange(8))
    assert images.shape == (8, 3, 16, 24)
    # 40 x 30 pixels, of which 24 x 18 cover the rectangle.
    image = Image.open(folder / data.names("val")[5])
    small = image.resize((24, 18), Image.Resampling.BILINEAR).crop((0, 1, 24, 17))
    expected = torch.from_numpy(np.array(small)).permute(2, 0, 1) / 127.5 - 1
    torch.testing.assert_close(images[5], expected)
    augmented, _ = images_of(folder, img_size=[16, 24], augment=ALL).train_batch(
        torch.arange(36), torch.arange(36)
    )
    assert augmented.shape == (36, 3, 16, 24)
    assert augmented.abs().max() <= 1


@pytest.mark.parametrize("size", [(1, 500), (500, 1), (40, 3)])
@pytest.mark.parametrize("mode", CROP_MODES)
def test_a_thin_image_has_a_pixel_left(mode: str, size: tuple[int, int]) -> None:
    seen = Transform(DataConfig(img_size=16, crop_mode=mode))(Image.new("RGB", size), None)
    assert seen.shape == (3, 16, 16)


def test_a_border_is_what_the_model_sees_as_0() -> None:
    config = DataConfig(img_size=64, crop_mode="border", crop_pct=1.0)
    framed = Transform(config)(Image.new("RGB", (64, 32), (255, 255, 255)), None)
    assert framed[:, 0, 0].tolist() == [128] * 3
    assert framed[:, 32, 32].tolist() == [255] * 3


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_facts_are_of_the_image_as_it_is_stored(kind: str) -> None:
    exif, place = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    COLOUR.resize((40, 20)).save(place, kind, exif=exif)
    (fact,) = of_files([("x", 0, place.getvalue)], 10**9)
    assert (fact.size, fact.orientation) == ((40, 20), 6)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_facts_call_bad_what_training_cannot_decode(kind: str) -> None:
    place = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).save(place, kind)
    known, trained = [], []
    for position in range(0, len(place.getvalue()), 3):
        data = bytearray(place.getvalue())
        data[position] ^= 255
        (fact,) = of_files([("x", 0, partial(bytes, data))], 10**9)
        known.append(fact.bad is not None)
        with quietly():
            try:
                decode(bytes(data), 10**9)
            except Exception:
                trained.append(True)
            else:
                trained.append(False)
    assert known == trained
    assert set(known) == {False, True}


@pytest.mark.parametrize("crop", ["none", "inception"])
@pytest.mark.parametrize("upright", [False, True])
def test_the_thinnest_images_show_their_middle(crop: str, upright: bool) -> None:
    ramp = np.linspace(0, 255, 30_000).astype(np.uint8)[None]
    image = Image.fromarray(ramp.T if upright else ramp).convert("RGB")
    augment = AugmentConfig(crop=crop)
    config = DataConfig(name="imagefolder", img_size=32, crop_pct=1.0, augment=augment)
    for draw in (None, 1):
        pixels = Transform(config)(image, draw).float()
        assert pixels.shape == (3, 32, 32)
        torch.testing.assert_close(pixels, torch.full_like(pixels, 127.5), atol=1, rtol=0)
    if crop == "none":  # 6 GB, if all of it were resized before the crop
        assert Transform(config)(Image.new("RGB", (2_000_000, 1)), None).shape == (3, 32, 32)


def test_training_crops_of_a_rectangle_are_stretched_as_those_of_a_square() -> None:
    # Red is the place from left to right, green from top to bottom: their slopes are the scales.
    places = np.indices((240, 240), dtype=np.uint8)
    image = Image.fromarray(np.dstack([places[1], places[0], places[0]]))
    crop = AugmentConfig(crop="inception", min_area=0.2)
    transform = Transform(DataConfig(name="imagefolder", img_size=[16, 32], augment=crop))
    pixels = torch.stack([transform(image, draw) for draw in range(200)]).float()
    across = (pixels[:, 0, :, 28] - pixels[:, 0, :, 4]).mean(1) / 24
    down = (pixels[:, 1, 14] - pixels[:, 1, 2]).mean(1) / 12
    stretch = across / down
    assert 0.72 < stretch.min() < 0.8
    assert 1.25 < stretch.max() < 1.39


def test_subsets_are_nested_and_balanced(folder: Path) -> None:
    whole = images_of(folder).names("train")
    for size in (3, 10, 35):
        part = images_of(folder, size=size)
        assert part.names("train") == whole[:size]
        counts = part.labels("train", torch.arange(size)).bincount(minlength=3)
        assert counts.max() - counts.min() <= 1
    with pytest.raises(ValueError, match=r"data\.size=37: .* has 36 training images"):
        images_of(folder, size=37)


def test_an_image_depends_on_its_draw_alone_and_leaves_the_generators_alone(folder: Path) -> None:
    data = images_of(folder, augment=ALL)
    index, draw = torch.arange(36), torch.arange(36) * -(2**57) + 5
    whole, _ = data.train_batch(index, draw)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    state = (random.getstate(), torch.get_rng_state())
    for i in (0, 7, 35):
        assert torch.equal(data.train_batch(index[i : i + 1], draw[i : i + 1])[0][0], whole[i])
    assert random.getstate() == state[0]
    assert torch.equal(torch.get_rng_state(), state[1])
    assert np.random.rand() == pytest.approx(0.417022004702574)
    other, _ = data.train_batch(index, draw + 1)
    assert sum(torch.equal(a, b) for a, b in zip(whole, other, strict=True)) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_make_the_same_batches(folder: Path, workers: int) -> None:
    orders = [(torch.arange(i, i + 7) % 36, torch.arange(7) + i) for i in range(0, 50, 7)]
    alone = list(images_of(folder, augment=ALL).batches("train", orders))
    helped = list(images_of(folder, augment=ALL, workers=workers).batches("train", orders))
    for a, b in zip(alone, helped, strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])


def test_resuming_in_mid_epoch_with_workers_is_exact_twice(folder: Path, tmp_path: Path) -> None:
    # 36 images in batches of 8: an epoch is 4.5 steps, both stops are within one.
    config = compose(
        ["data=imagefolder", f"data.path={folder}", "data.workers=2", *SMALL, "train.steps=12",
         "recipe.mixup=0.2", "recipe.cutmix=1.0", "recipe.label_smoothing=0.1",
         "recipe.dropout=0.1", "data.augment.randaugment=rand-m9-n2", "data.augment.erasing=0.3"]
    )  # fmt: skip

    def trainer(name: str, workers: int = 2) -> Trainer:
        torch.manual_seed(0)
        config.data.workers = workers
        made = trainer_of(config)
        made.folder = tmp_path / name
        made.folder.mkdir(exist_ok=True)
        return made

    unbroken = trainer("unbroken", workers=0)
    unbroken.train(lambda record: None, lambda: False)
    for step in (2, 7):
        broken = trainer("broken")
        broken.resume()
        with pytest.raises(Interrupted, match=f"after step {step}"):
            broken.train(lambda record: None, lambda broken=broken, step=step: broken.step >= step)
    last = trainer("broken")
    last.resume()
    assert last.step == 7
    last.train(lambda record: None, lambda: False)
    for a, b in zip(unbroken.model.parameters(), last.model.parameters(), strict=True):
        assert torch.equal(a, b)


def spoil(root: Path) -> set[str]:
    """Makes two of the training images undecodable; returns their names."""
    whole = (root / "train/c0/3.jpg").read_bytes()
    (root / "train/c0/3.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "train/c1/4.jpg").write_text("not an image")
    return {"train/c0/3.jpg", "train/c1/4.jpg"}


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_images_are_named_counted_and_left_out(folder: Path, workers: int) -> None:
    names = spoil(folder)
    data = images_of(folder, max_bad=2, workers=workers)
    orders = [(torch.arange(i, i + 12),) for i in (0, 12, 24)]
    labels = torch.cat([labels for _, labels in data.batches("train", orders)])
    assert labels.bincount().tolist() == [11, 11, 12]
    assert set(data.skipped()) == names
    assert "truncated" in data.skipped()["train/c0/3.jpg"].lower()
    row = data.names("train").index("train/c1/4.jpg")
    images, _ = data.train_batch(torch.tensor([row]))
    assert images.shape == (0, 3, 16, 16)
    wide = images_of(folder, max_bad=2, img_size=[16, 24])
    assert wide.train_batch(torch.tensor([row]))[0].shape == (0, 3, 16, 24)
    strict = images_of(folder, max_bad=1, workers=workers)
    with pytest.raises(BadImages, match=r"train/c\d/\d\.jpg: .*2 images .* data\.max_bad=1 may"):
        list(strict.batches("train", orders))


def resumable(folder: Path, place: Path, *more: str) -> Trainer:
    config = compose(
        [
            "data=imagefolder",
            f"data.path={folder}",
            "data.workers=0",
            *SMALL,
            "train.steps=9",
            *more,
        ]
    )
    torch.manual_seed(0)
    trainer = trainer_of(config)
    trainer.folder = place
    place.mkdir(exist_ok=True)
    trainer.resume()
    return trainer


def test_what_was_skipped_before_a_stop_counts(folder: Path, tmp_path: Path) -> None:
    names = spoil(folder)
    trainer = resumable(folder, tmp_path / "run", "data.max_bad=1")
    with pytest.raises(Interrupted):
        trainer.train(lambda record: None, lambda: bool(trainer.data.skipped()))
    assert len(trainer.data.skipped()) == 1
    trainer = resumable(folder, tmp_path / "run", "data.max_bad=1")
    assert trainer.step < 4.5  # in the first epoch: the other is still to come
    with pytest.raises(BadImages, match=r"2 images .* data\.max_bad=1"):
        trainer.train(lambda record: None, lambda: False)
    trainer = resumable(folder, tmp_path / "run", "data.max_bad=2")
    trainer.train(lambda record: None, lambda: False)
    assert set(trainer.data.skipped()) == names


def test_what_other_processes_skipped_counts(folder: Path) -> None:
    data = images_of(folder, max_bad=1)
    data.load_state_dict({"skipped": {"a.jpg": "broken", "b.jpg": "broken"}})
    with pytest.raises(BadImages, match=r"b\.jpg: broken \(2 images .* data\.max_bad=1 may"):
        data.val_batch(torch.arange(1))


def test_the_mean_is_over_the_images_that_are_left(folder: Path, tmp_path: Path) -> None:
    # Micro-batches of one image: those that are empty have no share, the others a larger one.
    spoil(folder)
    settings = ["data.max_bad=2", "recipe.optimizer=sgd", "train.batch_size=36"]
    whole = resumable(folder, tmp_path / "a", *settings)
    parts = resumable(folder, tmp_path / "b", *settings, "train.accumulate=36")
    losses = whole.train_step(), parts.train_step()
    assert len(whole.data.skipped()) == len(parts.data.skipped()) == 2
    torch.testing.assert_close(*losses)
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_batch_without_an_image_stops_and_names_what_was_skipped(
    folder: Path, tmp_path: Path
) -> None:
    for file in folder.glob("train/*/*"):
        file.write_text("not an image")
    trainer = resumable(folder, tmp_path / "run", "data.max_bad=99", "train.batch_size=2")
    first = trainer.data.names("train")
    with pytest.raises(BadImages, match=r"step 1: none of its 2 images .* train/c\d/") as stopped:
        trainer.train(lambda record: None, lambda: False)
    assert sum(name in str(stopped.value) for name in first) == 2
    assert not (tmp_path / "run/checkpoints").exists()


def test_the_odd_image_of_a_batch_is_not_mixed() -> None:
    images, labels = torch.rand(5, 3, 8, 8), torch.tensor([0, 1, 2, 1, 0])
    mix = Mix(RecipeConfig(mixup=0.5, cutmix=1.0), 3)
    for size in (1, 4, 5):
        mixed, targets = mix(images[:size].clone(), labels[:size], 3)
        assert mixed.shape == (size, 3, 8, 8)
        torch.testing.assert_close(targets.sum(1), torch.ones(size))
        if size > 1:
            assert not torch.equal(mixed[:4], images[:4])
        if size % 2:
            assert torch.equal(mixed[-1], images[size - 1])
            assert targets[-1].tolist() == torch.eye(3)[labels[size - 1]].tolist()


def without_c2(folder: Path) -> str:
    return f"{folder}: classes without a validation image: c2"


def test_files_that_are_no_images_are_said_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert images_of(folder).notes() == [without_c2(folder)]
    caplog.clear()
    for name in ("a.txt", "b.TXT", "c.json", "README"):
        (folder / "train/c0" / name).write_text("")
    (folder / "train/list.csv").write_text("")  # beside the classes
    COLOUR.save(folder / "loose.png")  # beside the parts
    images_of(folder)
    assert caplog.messages == [
        f"{folder}: left out, not train or val: loose.png",
        f"{folder / 'train'}: 5 files of kinds that are not read: .txt (2), .csv (1), .json (1), "
        "README (1)",
        without_c2(folder),
    ]


def test_a_run_stops_with_the_bad_image_s_name_and_goes_on_if_allowed(
    vitcli: Callable[..., Ended], folder: Path, tmp_path: Path
) -> None:
    spoil(folder)
    settings = ["data=imagefolder", f"data.path={folder}", *SMALL, "train.epochs=1"]
    settings.append(f"outputs={tmp_path / 'outputs'}")
    ended = vitcli("train", *settings)
    assert ended.code == 1
    assert "BadImages: train/c" in ended.err
    assert "data.max_bad=0" in ended.err
    ended = vitcli("train", *settings, "data.max_bad=2")
    assert ended.code == 0, ended.err
    (result,) = tmp_path.glob("outputs/runs/*/result.json")
    assert len(json.loads(result.read_text())["skipped"]) == 2


def test_a_tiny_image_and_empty_classes(folder: Path) -> None:
    Image.new("RGB", (1, 1), (255, 0, 0)).save(folder / "train/c0/0.jpg")
    (folder / "train/c10").mkdir()
    (folder / "val/c10").mkdir()
    data = images_of(folder, augment=ALL)
    assert data.classes == ["c0", "c1", "c10", "c2"]  # empty, but a class: numbers do not shift
    for i in range(20):
        images, _ = data.train_batch(torch.arange(36), torch.arange(36) + 36 * i)
        assert images.isfinite().all()
    assert data.val_batch(torch.arange(8))[0].shape == (8, 3, 16, 16)


@pytest.mark.parametrize("beside", [".ipynb_checkpoints", "@eaDir", "__MACOSX"])
def test_folders_of_systems_are_no_classes_and_said(
    beside: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(folder / "train/c0", folder / "train" / beside)
    shutil.copy(folder / "train/c0/3.jpg", folder / "train/c0/._3.jpg")
    data = images_of(folder)
    assert (data.classes, data.train_size) == (["c0", "c1", "c2"], 36)
    said = f"{folder / 'train'}: left out, by their names no data: "
    assert data.notes() == [said + ", ".join(sorted([beside, "c0/._3.jpg"])), without_c2(folder)]
    assert caplog.messages == data.notes()


@pytest.mark.parametrize("order", ["torchvision", "natural"])
def test_classes_are_in_the_order_of_another_library(order: str, tmp_path: Path) -> None:
    for part, name in itertools.product(("train", "val"), ["1", "2", "10", "a", "B", "a2", "a10"]):
        (tmp_path / part / name).mkdir(parents=True)
        COLOUR.save(tmp_path / part / name / "0.png")
    theirs = (
        ImageFolder(str(tmp_path / "train")).class_to_idx
        if order == "torchvision"
        else ReaderImageFolder(str(tmp_path / "train")).class_to_idx
    )
    data = images_of(tmp_path, class_order=order)
    assert data.classes == sorted(theirs, key=theirs.__getitem__)
    files = data.names("train")
    labels = data.labels("train", torch.arange(len(files))).tolist()
    assert {Path(f).parent.name: n for f, n in zip(files, labels, strict=True)} == theirs


def test_accents_in_two_forms_are_one_class(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    for part, name in (("train", composed), ("val", apart), ("train", "z"), ("val", "z")):
        (tmp_path / part / name).mkdir(parents=True)
        COLOUR.save(tmp_path / part / name / "0.png")
    data = images_of(tmp_path)
    assert data.classes == [composed, "z"]
    assert sorted(data.labels("val", torch.arange(2)).tolist()) == [0, 1]
    (tmp_path / "train" / apart).mkdir()
    with pytest.raises(ValueError, match=f"train has {composed} twice"):
        images_of(tmp_path)


def test_an_order_that_accents_change_is_said(tmp_path: Path) -> None:
    apart = unicodedata.normalize("NFD", "\u00e9cole")
    for part, name in itertools.product(("train", "val"), [apart, "fox"]):
        (tmp_path / part / name).mkdir(parents=True)
        COLOUR.save(tmp_path / part / name / "0.png")
    theirs = ImageFolder(str(tmp_path / "train")).classes
    assert theirs == [apart, "fox"]
    data = images_of(tmp_path)
    assert data.classes == ["fox", "\u00e9cole"]
    assert data.notes() == [
        f"{tmp_path / 'train'}: classes are sorted with their accents composed (NFC): fox, "
        "\u00e9cole; torchvision sorts the names as they are written: \u00e9cole, fox"
    ]


def test_a_part_s_name_may_have_its_accents_apart(tmp_path: Path) -> None:
    for name in (unicodedata.normalize("NFD", "entra\u00een\u00e9"), "val"):
        (tmp_path / name / "a").mkdir(parents=True)
        COLOUR.save(tmp_path / name / "a" / "0.png")
    assert images_of(tmp_path, splits=["entra\u00een\u00e9", "val"]).train_size == 1


def test_folders_that_are_no_classes_and_classes_without_images(folder: Path) -> None:
    (folder / "train/c9").mkdir()
    data = images_of(folder)
    said = f"{folder}: classes without a training image: c9"
    assert data.notes() == [said, without_c2(folder)]
    (folder / "train/c0/breed").mkdir()
    shutil.copy(folder / "train/c0/0.jpg", folder / "train/c0/breed/0.jpg")
    with pytest.raises(ValueError, match=r"train/c0/breed has images but is no class"):
        images_of(folder)
    shutil.rmtree(folder / "train/c0/breed")
    shutil.copy(folder / "train/c0/0.jpg", folder / "train/0.jpg")
    with pytest.raises(ValueError, match=r"train/ has images but is no class"):
        images_of(folder)


def test_a_file_is_what_is_in_it_whatever_its_name(folder: Path) -> None:
    shutil.copy(folder / "val/c0/0.png", folder / "train/c0/A.JPEG")
    (folder / "train/c0/empty.JPG").touch()
    os.symlink("nowhere.jpg", folder / "train/c0/link.jpg")
    data = images_of(folder, max_bad=2)
    images, _ = data.train_batch(torch.arange(data.train_size))
    assert len(images) == 37
    assert data.skipped()["train/c0/empty.JPG"] == "not an image"
    assert "No such file" in data.skipped()["train/c0/link.jpg"]


def test_names_that_are_not_utf8_are_shown_escaped(
    vitcli: Callable[..., Ended], tmp_path: Path
) -> None:
    for part in (b"train", b"val"):
        place = os.path.join(os.fsencode(tmp_path), part, b"caf\xe9")
        os.makedirs(place)
        for name in (b"0.png", b"bad.png"):
            COLOUR.save(os.path.join(place, name))
    Path(os.fsdecode(os.path.join(place, b"bad.png"))).write_text("no image")
    ended = vitcli("data", "check", "data=imagefolder", f"data.path={tmp_path}", "data.workers=0")
    assert (ended.code, "Traceback" in ended.err) == (1, False)
    assert r"val/caf\xe9/bad.png: not an image" in ended.out
    latin = tmp_path / b"\xe9".decode("utf-8", "surrogateescape")
    os.symlink(".", latin)
    ended = vitcli("data", "check", "data=imagefolder", f"data.path={latin}")
    assert (ended.code, "Traceback" in ended.err) == (2, False)
    assert rf"data.path={tmp_path}/\xe9: not UTF-8" in ended.err


def test_layouts_that_make_no_sense(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.path=.*nowhere: no such folder"):
        images_of(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"data\.num_classes=5: .* has 3"):
        images_of(folder, num_classes=5)
    shutil.copytree(folder / "val/c0", folder / "val/other")
    with pytest.raises(ValueError, match="val/other has images but is no class"):
        images_of(folder)
    shutil.rmtree(folder / "val")
    (folder / "val/c0").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"no images in val/<class>/"):
        images_of(folder)


class Reddest(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))  # the class is the brightest channel


def test_real_labels(tmp_path: Path) -> None:
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 0, 0)]
    for part in ("train", "val"):
        for i, colour in enumerate(colours):
            path = tmp_path / part / f"n{i % 3}" / f"ILSVRC2012_val_{i + 1:08d}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 20), colour).save(path)
    file = tmp_path / "real.json"
    file.write_text(json.dumps([[0, 2], [0], [], [1, 0]]))
    data = images_of(tmp_path, name="imagenet")
    evaluator = RealLabels(data, file, CPU)
    assert evaluator.protocol()["test_size"] == 3
    assert dict(evaluator.run(Reddest())) == {"val/real": pytest.approx(2 / 3)}
    file.write_text("[[0]]")
    with pytest.raises(ValueError, match=r"real\.json: no labels for val/n"):
        RealLabels(data, file, CPU)
    file.write_text(json.dumps([[0, 2], [0], [], [999, 0]]))  # of all of ImageNet's classes
    with pytest.raises(ValueError, match=r"its classes go up to 999, the data have 3"):
        RealLabels(data, file, CPU)


def test_a_part_without_an_image_that_decodes_is_not_scored(folder: Path) -> None:
    for path in (folder / "val").rglob("*.*"):
        path.write_bytes(b"no image")
    config = compose(["model=pico", "data.img_size=16"])
    model = build_model(config, (16, 16), 3)
    with pytest.raises(ValueError, match=r"data\.max_bad: none of the val images"):
        scores(model, images_of(folder, max_bad=99, img_size=16), "val", CPU)


def test_one_class_alone_is_said(folder: Path) -> None:
    assert not any("one class" in note for note in images_of(folder).notes())
    for part in ("train", "val"):
        for other in ("c1", "c2"):
            shutil.rmtree(folder / part / other, ignore_errors=True)
    assert any("one class alone, so any model is" in note for note in images_of(folder).notes())


def test_a_subset_has_an_image_of_each_class(folder: Path) -> None:
    assert images_of(folder, size=3).train_size == 3
    with pytest.raises(ValueError, match=r"^data\.size=2: .* has 3 classes, and a subset holds"):
        images_of(folder, size=2)


def test_a_batch_without_an_image_that_decodes_is_passed_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "BATCH", 1)
    monkeypatch.setattr(ridge, "BATCH", 1)
    config = compose(["model=pico", "data.img_size=16"])
    model = build_model(config, (16, 16), 3)
    for part in ("train", "val"):
        min((folder / part).rglob("*.*")).write_bytes(b"no image")
    data = images_of(folder, max_bad=99, img_size=16)
    assert 0 <= scores(model, data, "val", CPU).top1 <= 1
    probe = ridge.Probe(data, [1], 5, 0, 32.0)
    probe.check("folder")
    with inference.inference(model, CPU):
        assert len(probe.top1(partial(ridge.pre_logits, model))[1]) == 5


def test_imagenet_end_to_end_with_itself_downstream(
    vitcli: Callable[..., Ended], folder: Path, tmp_path: Path
) -> None:
    few = [s for s in SMALL if s != "evals=upstream"]
    settings = [
        "data=imagenet", f"data.path={folder}", "data.num_classes=null", "train.steps=3",
        "evals.downstream=imagefolder", f"evals.path={folder}", "evals.shots=[2]", "evals.draws=2",
    ]  # fmt: skip
    ended = vitcli("train", *settings, *few, f"outputs={tmp_path / 'outputs'}")
    assert ended.code == 0, ended.err
    assert "fewshot/imagefolder/2shot" in ended.out


def test_the_identity_has_the_path_unless_the_set_is_named() -> None:
    from vitcli.identity import run_id

    def name(*overrides: str) -> str:
        return run_id(compose(["data=imagefolder", *overrides]))

    assert name("data.path=a") != name("data.path=b")
    assert name("data.path=a", "data.alias=pets") == name("data.path=b", "data.alias=pets")
    assert "-pets-" in name("data.path=a", "data.alias=pets")
    assert name("data.path=a", "data.workers=7", "data.max_bad=9") == name("data.path=a")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=imagefolder"], r"data\.path=null"),
        (["data.path=x"], r"data\.path=x"),
        (["data=imagefolder", "data.path=x", "data.augment.crop=pad"], r"data\.augment\.crop=pad"),
        (["data.augment.flip=true"], r"data\.augment with data\.name=glyphs"),
        (["data=cifar10", "data.augment.erasing=0.5"], r"data\.augment\.erasing=0\.5"),
        *(
            (["data=imagefolder", "data.path=x", f"data.augment.randaugment={words}"], "rand-m9")
            for words in ("strong", "rand-m9-w3", "rand-m9-n2.5", "rand-m..-n2", "rand-m9-t0")
        ),
        (["recipe.mixup=0.2", "train.batch_size=7"], "in pairs"),
        (["evals.downstream=imagefolder"], r"evals\.path=None"),
        (["data=imagefolder", "data.path=x", "data.real_labels=y"], r"data\.real_labels=y"),
    ],
)
def test_settings_that_make_no_sense(overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compose(overrides)


@pytest.mark.parametrize("words", ["rand-m9-n2-mstd0.5-inc1", "rand-mmax7-p0.3-tweights", "rand"])
def test_randaugment_is_written_as_timm_reads_it(words: str) -> None:
    augment = compose(
        ["data=imagefolder", "data.path=x", f"data.augment.randaugment={words}"]
    ).data.augment
    transform = Transform(DataConfig(name="imagefolder", img_size=8, augment=augment))
    assert transform(COLOUR, 1).shape == (3, 8, 8)


@pytest.mark.parametrize("size", [(9, 5), (2, 2), (1, 3)])
def test_a_crop_has_a_pixel_at_least(size: tuple[int, int]) -> None:
    crop = AugmentConfig(crop="inception", min_area=0)
    transform = Transform(DataConfig(name="imagefolder", img_size=8, augment=crop))
    image = Image.new("RGB", size, (200, 200, 200))
    assert all(bool((transform(image, draw) == 200).all()) for draw in range(2000))


def test_workers_without_shared_memory_are_one_line_and_no_hang(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = images_of(folder, workers=2)
    monkeypatch.setattr("vitcli.data.workers._SHARED", str(tmp_path))
    full = os.statvfs_result((4096, 4096, 100, 0, 0, 0, 0, 0, 0, 255))
    monkeypatch.setattr("os.statvfs", lambda path: full)
    with pytest.raises(
        RuntimeError, match=r"^data.workers=2: their batches need 0.0123 MB of "
    ) as e:
        next(iter(data.batches("train", [(torch.arange(4),)])))
    assert "0 MB are free; enlarge it (docker run --shm-size=1g) or data.workers=0" in str(e.value)
    alone = images_of(folder)  # decodes here
    assert len(next(iter(alone.batches("train", [(torch.arange(4),)])))[0]) == 4
