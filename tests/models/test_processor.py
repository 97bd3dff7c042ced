"""Hugging Face's image processors and resizing: as transformers does it, there and back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import images, randomize
from PIL import Image
from transformers import AutoImageProcessor, ViTConfig, ViTForImageClassification

import vitcli
from vitcli.config import DataConfig
from vitcli.data.augment import Transform
from vitcli.models.convert import Checkpoint, read, write

SIZES = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 8}
BASE = {
    "image_processor_type": "ViTImageProcessor", "do_resize": True, "do_rescale": True,
    "do_normalize": True, "rescale_factor": 1 / 255, "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3, "resample": 3, "size": {"height": 32, "width": 32},
}  # fmt: skip
CROP = {"do_center_crop": True, "crop_size": {"height": 32, "width": 32}}
DEIT = {"size": 36, "crop_size": 32, "do_center_crop": True}


@pytest.fixture(scope="module")
def theirs() -> Any:
    config = ViTConfig(**SIZES, intermediate_size=96, image_size=32, num_labels=3)
    return randomize(ViTForImageClassification(config))


@pytest.fixture
def folder(theirs: Any, tmp_path: Path) -> Path:
    theirs.save_pretrained(tmp_path / "theirs")
    return tmp_path / "theirs"


def described(folder: Path, processor: dict[str, Any]) -> Checkpoint:
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return read(str(folder))


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    small = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((60, 40))


def theirs_of(folder: Path, photo: Image.Image) -> torch.Tensor:
    """Returns transformers' pixels of the photo, as bytes."""
    processor = AutoImageProcessor.from_pretrained(folder)
    pixels: torch.Tensor = processor(photo, return_tensors="pt")["pixel_values"][0]
    return (pixels + 1) * 127.5


@pytest.mark.parametrize(
    ("changes", "mode", "share"),
    [
        ({}, "squash", 1.0),
        ({"size": 32}, "squash", 1.0),
        ({"size": {"shortest_edge": 36}, **CROP}, "center", 32 / 36),
        ({"size": {"height": 36, "width": 36}, **CROP}, "squash", 32 / 36),
        ({"image_processor_type": "DeiTImageProcessor", **DEIT}, "squash", 32 / 36),
        ({"image_processor_type": None, "feature_extractor_type": "DeiTFeatureExtractor", **DEIT},
         "squash", 32 / 36),
        ({"size": {"shortest_edge": 49}, **CROP}, "center", 32 / 49),
    ],
)  # fmt: skip
def test_what_is_understood_gives_transformers_pixels(
    changes: dict[str, Any],
    mode: str,
    share: float,
    folder: Path,
    photo: Image.Image,
    tmp_path: Path,
) -> None:
    """Within two of 255: Pillow and torch round differently."""
    processor = {key: value for key, value in (BASE | changes).items() if value is not None}
    checkpoint = described(folder, processor)
    assert checkpoint.assumed == []
    preprocess = checkpoint.preprocess
    assert (preprocess.crop_mode, preprocess.crop_pct) == (mode, pytest.approx(share))
    there = theirs_of(folder, photo)
    data = preprocess.applied(DataConfig(name="imagefolder", img_size=32))
    assert (Transform(data)(photo, None).float() - there).abs().max() <= 2
    how = write(checkpoint, tmp_path / "back")
    assert how.endswith("from_pretrained(" + repr(str(tmp_path / "back")) + ")")  # all of it
    torch.testing.assert_close(theirs_of(tmp_path / "back", photo), there)
    assert read(str(tmp_path / "back")).preprocess == preprocess


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"size": {"shortest_edge": 32}}, "images of all proportions, the shorter side 32"),
        ({"size": {"height": 64, "width": 64}}, "images of 64x64 for a model that takes 32x32"),
        ({"size": 224}, "images of 224x224 for a model that takes 32x32"),
        ({"do_resize": False}, "images are not resized"),
        ({"size": {"longest_edge": 32}}, "size={'longest_edge': 32}"),
        ({"size": 28, **CROP}, r"\(32, 32\) of \(28, 28\) pixels"),
        (
            {"image_processor_type": "ConvNextImageProcessor", "crop_pct": 0.875}
            | {"size": {"shortest_edge": 32}},
            "what ConvNextImageProcessor does",
        ),
    ],
)
def test_what_is_not_understood_is_said(changes: dict[str, Any], what: str, folder: Path) -> None:
    checkpoint = described(folder, BASE | changes)
    assert (checkpoint.preprocess.crop_mode, checkpoint.preprocess.crop_pct) == (None, None)
    with pytest.warns(UserWarning, match=f"{what}.*: its resize and crop are not read"):
        vitcli.load(folder)


@pytest.mark.parametrize("resample", [True, 6, 2.5, "2"])
def test_resampling_is_one_of_pillow_s(resample: Any, folder: Path) -> None:
    assert described(folder, BASE | {"resample": 3.0}).preprocess.interpolation == "bicubic"
    with pytest.raises(ValueError, match=r"resample=.* in preprocessor_config.json: Pillow has"):
        described(folder, BASE | {"resample": resample})


@pytest.mark.parametrize(
    ("mode", "share", "lost", "comes_back"),
    [
        ("squash", 1.0, None, ("squash", 1.0)),
        ("squash", 0.8, None, ("squash", 0.8)),
        ("center", 0.8, None, ("center", 0.8)),
        (None, 0.8, None, ("center", 0.8)),
        ("center", 0.9, "crop 0.9 is written in whole pixels, 32 of 35", ("center", 32 / 35)),
        ("squash", 0.9, "crop 0.9 is written in whole pixels, 32 of 35", ("squash", 32 / 35)),
        ("border", 0.8, "crop 0.8 border of 32x32 pixels cannot be said", ("squash", 1.0)),
        (None, None, "how images are cropped is not known", ("squash", 1.0)),
    ],
)
def test_what_transformers_cannot_say_of_a_crop_is_said(
    mode: str | None,
    share: float | None,
    lost: str | None,
    comes_back: tuple[str, float],
    folder: Path,
    tmp_path: Path,
) -> None:
    checkpoint = described(folder, BASE)
    preprocess = replace(checkpoint.preprocess, crop_mode=mode, crop_pct=share)
    how = write(replace(checkpoint, preprocess=preprocess), tmp_path / "back")
    assert (lost or "") in how
    assert ("; " in how) == (lost is not None)
    back = read(str(tmp_path / "back")).preprocess
    assert (back.crop_mode, back.crop_pct) == (comes_back[0], pytest.approx(comes_back[1]))


@pytest.mark.parametrize("size", [(48, 48), (24, 24), (32, 64)])
def test_a_table_is_resized_as_in_transformers(
    size: tuple[int, int], theirs: Any, folder: Path
) -> None:
    described(folder, BASE)
    pixels = images(*size)
    with torch.no_grad():
        expected = theirs(pixels, interpolate_pos_encoding=True).logits
        found = vitcli.load(folder, img_size=size)(pixels)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


NAMES = list("abc")


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        ({"0": "a", "1": "b", "2": "c"}, NAMES),
        ({"2": "c", "0": "a", "1": "b"}, NAMES),
        (NAMES, NAMES),
        ({"0": "a", "1": "b"}, None),
        ({str(i): str(i) for i in range(4)}, None),
        ({"1": "a", "2": "b", "3": "c"}, None),
        ({"0": "a", "1": "b", "3": "c"}, None),
        ({"0": "a", "1": "b", "2": None}, None),
        ({"0": 0, "1": 1, "2": 2}, ["0", "1", "2"]),
        ("abc", None),
    ],
)
def test_names_of_classes_that_do_not_fit_the_head_are_left_out(
    names: Any, kept: list[str] | None, folder: Path, tmp_path: Path
) -> None:
    described(folder, BASE)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"id2label": names}))
    checkpoint = read(str(folder))
    assert checkpoint.classes == kept
    assert bool(checkpoint.assumed) == (kept is None)
    assert all(line.startswith("names of ") for line in checkpoint.assumed)
    write(checkpoint, tmp_path / "back")
    back = ViTForImageClassification.from_pretrained(tmp_path / "back")
    assert list(back.config.id2label.values()) == (kept or ["LABEL_0", "LABEL_1", "LABEL_2"])
