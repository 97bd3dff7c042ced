"""A source's pixels are its own: mean and std are folded, resize and crop are taken over."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import ours, randomize, timm_vit
from helpers import Ended
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform, resolve_data_config
from timm.models import create_model, save_for_hf
from torch import Tensor, nn
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

from vitcli.argv import finetune_argv
from vitcli.compose import compose
from vitcli.config import DataConfig, ModelConfig, RunConfig, StemConfig
from vitcli.data.augment import Transform
from vitcli.models.convert import Checkpoint, read, write
from vitcli.transfer import describe_source

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 2}
SHAPES = [(48, 32), (64, 40), (33, 70)]


def normed(pixels: Tensor) -> Tensor:
    """Returns pixels in [0, 1] as a model of ImageNet's mean and std has them."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in IMAGENET)
    return (pixels - mean) / std


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of noise, in proportions of their own; the same to validate on."""
    place, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number, size in enumerate(SHAPES):
        for i in range(2):
            small = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)
            for part in ("train", "val"):
                folder = place / part / f"c{number}"
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(small).resize(size).save(folder / f"{i}.png")
    return place


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    return randomize(create_model("vit_tiny_patch16_224", num_classes=3, **SIZES))


@pytest.fixture
def folder(theirs: nn.Module, tmp_path: Path) -> str:
    """timm's folder of a model that was trained as most of its are."""
    said = {"mean": IMAGENET[0], "std": IMAGENET[1], "interpolation": "bicubic", "crop_pct": 0.9}
    theirs.pretrained_cfg = {**theirs.pretrained_cfg, **said, "input_size": (3, 32, 32)}
    save_for_hf(theirs, tmp_path / "timm", model_args=SIZES)
    return str(tmp_path / "timm")


def own(photos: Path, *more: str) -> list[str]:
    return [
        "data=imagefolder", f"data.path={photos}", "data.img_size=32", "data.workers=0",
        "evals=upstream", "threads=1", "device=cpu", *more,
    ]  # fmt: skip


def test_a_folded_model_computes_the_same_of_our_pixels(theirs: nn.Module, folder: str) -> None:
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    fitting, lines = read(folder).for_our_pixels()
    assert len(lines) == 1
    assert "0.485" in lines[0]
    with torch.no_grad():
        expected = theirs(normed(pixels))
        assert (theirs(2 * pixels - 1) - expected).abs().max() > 0.01
        torch.testing.assert_close(fitting.build()(2 * pixels - 1), expected, atol=1e-5, rtol=1e-5)
    assert fitting.for_our_pixels() == (fitting, [])


def test_a_resnet_that_sees_the_pixels_first_cannot_be_folded() -> None:
    stem = StemConfig("resnet", {"8": [1, 1]}, width=16, root="imagenet")
    sizes = {"depth": 1, "embed_dim": 64, "mlp_dim": 64, "num_heads": 2, "patch_size": 8}
    checkpoint = ours(RunConfig(ModelConfig(**sizes), stem=stem), (32, 32))
    checkpoint = replace(checkpoint, preprocess=replace(checkpoint.preprocess, mean=(0.4,) * 3))
    with pytest.raises(ValueError, match=r"mean \[0.4, .*: a ResNet that sees the pixels"):
        checkpoint.for_our_pixels()


def test_eval_sees_what_timm_sees(
    vitcli: Callable[..., Ended], theirs: nn.Module, folder: str, photos: Path, tmp_path: Path
) -> None:
    """The head is fitted on timm's own pixels of these images, so that others are told apart."""
    transform = create_transform(**resolve_data_config({}, model=theirs))
    files = sorted((photos / "val").rglob("*.png"))
    labels = torch.tensor([int(file.parent.name[1]) for file in files])
    with torch.no_grad():
        pixels = torch.stack([transform(Image.open(file).convert("RGB")) for file in files])
        features = theirs.forward_head(theirs.forward_features(pixels), pre_logits=True)
        wanted = 20 * torch.nn.functional.one_hot(labels, 3).float() - 10
        with_one = torch.cat([features, torch.ones(len(files), 1)], 1)
        solved = torch.linalg.lstsq(with_one, wanted).solution
        fitted = copy.deepcopy(theirs)
        fitted.head.weight.copy_(solved[:-1].T)
        fitted.head.bias.copy_(solved[-1])
    save_for_hf(fitted, folder, model_args=SIZES)
    options = own(photos, f"outputs={tmp_path / 'out'}")
    ended = vitcli("eval", folder, *options)
    assert ended.code == 0, ended.err
    assert re.search(r"val/top1 +1.0000", ended.out)
    assert "are folded into its patch projection" in ended.out
    (path,) = (tmp_path / "out/evals").glob("*/result.json")
    data = json.loads(path.read_text())["data"]
    assert (data["interpolation"], data["crop_pct"]) == ("bicubic", 0.9)
    loss = float(re.search(r"val/loss +([0-9.]+)", ended.out)[1])
    assert loss < 1e-4
    # One's own word wins, and is said to differ.
    ended = vitcli("eval", folder, *options, "data.crop_pct=0.5")
    assert "preprocessing: crop_pct 0.9 in the source, 0.5 here" in ended.out


def test_finetune_takes_over_resize_and_crop(folder: str, photos: Path, tmp_path: Path) -> None:
    def described(*words: str) -> DataConfig:
        argv = finetune_argv(folder, own(photos, *words))
        return describe_source(compose([*argv, "train.steps=1"])).data

    taken = described()
    assert (taken.interpolation, taken.crop_pct) == ("bicubic", 0.9)
    mine = described("data.interpolation=bilinear")
    assert (mine.interpolation, mine.crop_pct) == ("bilinear", 0.875)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"image_mean": list(IMAGENET[0]), "image_std": list(IMAGENET[1])},
        {"do_normalize": False},
        {"rescale_factor": 1 / 127.5},
        {"rescale_factor": 1 / 127.5, "do_normalize": False},
        {"do_rescale": False, "do_normalize": False},
    ],
)
def test_hugging_faces_scales_are_a_mean_and_a_std(options: dict[str, Any], tmp_path: Path) -> None:
    sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 96, "image_size": 32, "patch_size": 8, "num_labels": 3}
    theirs = randomize(ViTForImageClassification(ViTConfig(**sizes)))
    theirs.save_pretrained(tmp_path)
    usual = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    processor = ViTImageProcessor(**{"size": {"height": 32, "width": 32}, **usual, **options})
    processor.save_pretrained(tmp_path)
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    there = processor(image, return_tensors="pt")["pixel_values"].float()
    checkpoint = read(str(tmp_path))
    byte = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None] / 255
    mean, std = (
        torch.tensor(v).view(1, 3, 1, 1)
        for v in (checkpoint.preprocess.mean, checkpoint.preprocess.std)
    )
    torch.testing.assert_close((byte - mean) / std, there, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        found = checkpoint.for_our_pixels()[0].build()(2 * byte - 1)
        torch.testing.assert_close(found, theirs(there).logits, atol=1e-3, rtol=1e-3)


def test_a_squash_and_a_crop_are_transformers(tmp_path: Path) -> None:
    """Within two of 255: Pillow and torch round differently."""
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)).resize((80, 50))
    squash = ViTImageProcessor(size={"height": 32, "width": 32})
    crop = {"do_center_crop": True, "crop_size": {"height": 32, "width": 32}}
    centre = ViTImageProcessor(size={"shortest_edge": 40}, **crop)
    for processor, mode, share in ((squash, "squash", 1.0), (centre, "center", 0.8)):
        data = DataConfig(name="imagefolder", img_size=32, crop_pct=share, crop_mode=mode)
        found = Transform(data)(image, None).float()
        there = (processor(image, return_tensors="pt")["pixel_values"][0] + 1) * 127.5
        assert (found - there).abs().max() <= 2


def test_mean_std_resize_and_crop_go_there_and_back(folder: str, tmp_path: Path) -> None:
    first = read(folder)
    assert first.preprocess.crop_pct == 0.9
    write(first, tmp_path / "one.safetensors")
    write(read(str(tmp_path / "one.safetensors")), tmp_path / "hf")
    back = read(str(tmp_path / "hf")).preprocess
    assert (back.mean, back.std, back.interpolation) == (*IMAGENET, "bicubic")
    assert (back.crop_mode, back.crop_pct) == ("center", pytest.approx(0.9, abs=0.02))


def test_google_s_file_has_them_folded(theirs: nn.Module, folder: str, tmp_path: Path) -> None:
    assert "are folded into its patch projection" in write(read(folder), tmp_path / "x.npz")
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with np.load(tmp_path / "x.npz") as file:
        np.savez(tmp_path / "bare.npz", **{n: file[n] for n in file.files if n != "vitcli"})
    bare: Checkpoint = read(str(tmp_path / "bare.npz"), ["model.gelu=erf"])
    with torch.no_grad():
        found, expected = bare.build()(2 * pixels - 1), theirs(normed(pixels))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_eval_takes_what_a_file_does_not_say(
    vitcli: Callable[..., Ended], photos: Path, tmp_path: Path
) -> None:
    save_file(timm_vit(num_classes=3, embed_dim=128).state_dict(), tmp_path / "x.safetensors")
    options = own(photos, "data.img_size=16", f"outputs={tmp_path / 'out'}")
    ended = vitcli("eval", str(tmp_path / "x.safetensors"), *options)
    assert ended.code == 2
    assert "give model.num_heads=" in ended.err
    for heads in (2, 4):
        ended = vitcli(
            "eval", str(tmp_path / "x.safetensors"), *options, f"model.num_heads={heads}"
        )
        assert ended.code == 0, ended.err
        assert "checkpoint: assumed: GELU erf" in ended.out
    results = [json.loads(p.read_text()) for p in (tmp_path / "out").rglob("result.json")]
    assert len({result["metrics"]["val/loss"] for result in results}) == 2
    ended = vitcli("finetune", str(tmp_path / "x.safetensors"), *options, "model.num_heads=2")
    assert ended.code == 2
    assert "give `vitcli convert` what a file does not say" in ended.err
