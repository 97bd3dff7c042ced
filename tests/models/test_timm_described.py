"""Models that timm's config.json or train.py describes: read as timm makes them, or refused."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import images, randomize, same_logits
from timm.models import create_model, save_for_hf
from torch import nn

from vitcli.models.convert import Checkpoint, read

ARCH = "vit_tiny_patch16_224"
BIT = "resnetv2_50x1_bit"
SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 4}
HEADS = "model.num_heads=4"
# What train.py's parser has without any word of the user's.
UNSET = {
    "mean": None, "std": None, "interpolation": "", "crop_pct": None, "crop_mode": None,
    "img_size": None, "input_size": None, "gp": None, "in_chans": None, "model_kwargs": {},
}  # fmt: skip


def vit(**options: Any) -> nn.Module:
    return randomize(create_model(ARCH, **{**SIZES, "num_classes": 5, **options}))


def trained(path: Path, model: nn.Module, arch: str = ARCH, **args: Any) -> str:
    """Saves a model as train.py does; returns where."""
    held = {"arch": arch, "state_dict": model.state_dict(), "args": Namespace(**UNSET | args)}
    torch.save(held, path / "last.pth.tar")
    return str(path / "last.pth.tar")


def folder(path: Path, model: nn.Module, **args: Any) -> str:
    """Saves a model as timm's folder of a config; returns where."""
    model.pretrained_cfg = {**model.pretrained_cfg, "num_classes": 5}
    save_for_hf(model, path / "timm", model_args=args)
    return str(path / "timm")


def test_a_file_of_train_py_with_its_defaults(tmp_path: Path) -> None:
    theirs = vit()
    found = read(trained(tmp_path, theirs, model_kwargs=SIZES))
    assert found.assumed == []
    assert found.preprocess.interpolation == theirs.pretrained_cfg["interpolation"]
    assert (found.preprocess.crop_pct, found.preprocess.crop_mode) == (0.9, "center")
    same_logits(theirs, found.build(), (32, 32))
    found = read(trained(tmp_path, theirs, model_kwargs=SIZES, mean=[0.4], std=[0.2]))
    assert (found.preprocess.mean, found.preprocess.std) == ((0.4,) * 3, (0.2,) * 3)


@pytest.mark.parametrize("arch", [ARCH, BIT])
def test_images_of_train_py_s_arguments_are_kept_without_its_model(
    arch: str, tmp_path: Path
) -> None:
    theirs = vit() if arch == ARCH else randomize(create_model(BIT, num_classes=5))
    said = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "crop_pct": 0.8, "img_size": 64}
    found = read(trained(tmp_path, theirs, "my_model", **said), [HEADS] * (arch == ARCH))
    assert any("arch my_model of the file is not used" in line for line in found.assumed)
    preprocess = found.preprocess
    assert (preprocess.mean, preprocess.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert (preprocess.crop_pct, preprocess.crop_mode) == (0.8, "center")
    assert preprocess.size == ((32, 32) if arch == ARCH else (64, 64))  # a table's size is its own


@pytest.mark.parametrize("said", [{"img_size": 64}, {"input_size": [3, 64, 64]}])
def test_a_resnet_of_train_py_takes_the_images_of_its_arguments(
    said: dict[str, Any], tmp_path: Path
) -> None:
    theirs = randomize(create_model(BIT, num_classes=5))
    found = read(trained(tmp_path, theirs, BIT, mean=[0.4] * 3, **said))
    assert found.assumed == []
    assert (found.preprocess.size, found.preprocess.mean) == ((64, 64), (0.4,) * 3)
    same_logits(theirs, found.build(), (64, 64))


def test_the_images_of_train_py_are_not_its_table_s(tmp_path: Path) -> None:
    """train.py gives the model no img_size: that is one of model_kwargs, or a fork's."""
    theirs = vit()
    kwargs = {**SIZES, "dynamic_img_size": True}
    found = read(trained(tmp_path, theirs, model_kwargs=kwargs, img_size=64))
    assert (found.preprocess.size, found.assumed) == ((32, 32), [])
    kwargs = {key: value for key, value in SIZES.items() if key != "img_size"}
    found = read(trained(tmp_path, theirs, model_kwargs=kwargs, img_size=32))
    assert found.config.model.num_heads == 4
    same_logits(theirs, found.build(), (32, 32))


@pytest.mark.parametrize("save", [trained, folder])
@pytest.mark.parametrize(
    ("arch", "options", "refusal"),
    [
        (ARCH, {"global_pool": "avg", "pool_include_prefix": True}, "pool_include_prefix=true"),
        (BIT, {"global_pool": "max"}, "pooling max of the timm model: a BiT has avg"),
        (BIT, {"global_pool": "avgmax"}, "pooling avgmax of the timm model"),
        (BIT, {"output_stride": 16}, "stride 16 of the timm model: a BiT has 32"),
        (BIT, {"act_layer": "silu"}, "activation SiLU of the timm model: a BiT has ReLU"),
        (BIT, {"avg_down": True}, "downsampling DownsampleAvg of the timm model"),
    ],
)
def test_what_timm_computes_otherwise_is_refused(
    save: Any, arch: str, options: dict[str, Any], refusal: str, tmp_path: Path
) -> None:
    args = {**SIZES, **options} if arch == ARCH else options
    theirs = create_model(arch, num_classes=5, **args)
    if save is trained:
        source = trained(tmp_path, theirs, arch, model_kwargs=args)
    else:
        source = folder(tmp_path, theirs, **args)
    with pytest.raises(ValueError, match=refusal):
        read(source)


@pytest.mark.parametrize("absent", ["blocks.1.", "qkv.bias", "patch_embed.proj.bias"])
def test_weights_that_timm_makes_and_the_file_has_not_are_refused(
    absent: str, tmp_path: Path
) -> None:
    theirs = vit()
    state = {name: t for name, t in theirs.state_dict().items() if absent not in name}
    source = folder(tmp_path, theirs, **SIZES)
    for path in Path(source).glob("*.safetensors"):
        path.unlink()
    torch.save(state, Path(source) / "pytorch_model.bin")
    with pytest.raises(ValueError, match=f"config.json: not in the file, of .*{absent}"):
        read(source)
    held = {"arch": ARCH, "state_dict": state, "args": Namespace(**UNSET | {"model_kwargs": SIZES})}
    torch.save(held, tmp_path / "last.pth.tar")
    with pytest.raises(ValueError, match=f"with its model_kwargs: not in the file, of .*{absent}"):
        read(str(tmp_path / "last.pth.tar"), [HEADS])


@pytest.mark.parametrize(
    "args",
    [
        {"pretrained": True},
        {"checkpoint_path": "other.pth"},
        {"pretrained": True, "pretrained_cfg_overlay": {"file": "other.pth"}},
    ],
)
def test_a_file_here_fetches_nothing_and_opens_no_other(
    args: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("timm loads weights")

    theirs = vit()
    sources = [trained(tmp_path, theirs, model_kwargs=SIZES | args)]
    sources.append(folder(tmp_path, theirs, **SIZES | args))
    monkeypatch.setattr("timm.models._builder.load_pretrained", never)
    monkeypatch.setattr("timm.models._factory.load_checkpoint", never)
    for source in sources:
        same_logits(theirs, read(source).build(), (32, 32))


def test_what_lies_beside_does_not_silence_what_the_file_says(tmp_path: Path) -> None:
    theirs = vit(act_layer="gelu_tanh", global_pool="avg")
    kwargs = {**SIZES, "act_layer": "gelu_tanh"}
    theirs.register_buffer("criterion_weight", torch.ones(5))
    found = read(trained(tmp_path, theirs, model_kwargs=kwargs, gp="avg"))
    assert (found.assumed, found.unused) == ([], ["criterion_weight"])
    same_logits(theirs, found.build(), (32, 32))


def test_a_model_elsewhere_is_not_asked_for(tmp_path: Path) -> None:
    theirs = vit()
    source = Path(folder(tmp_path, theirs, **SIZES))
    said = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(said | {"architecture": "hf-hub:x/y"}))
    with pytest.raises(ValueError, match="hf-hub:x/y: must be the name of one of timm's own"):
        read(str(source))
    found: Checkpoint = read(trained(tmp_path, theirs, "hf-hub:x/y"), [HEADS])
    assert any("hf-hub:x/y of the file is not used" in line for line in found.assumed)


def test_a_crop_without_a_mode_is_of_the_middle(tmp_path: Path) -> None:
    source = Path(folder(tmp_path, vit(), **SIZES))
    said = json.loads((source / "config.json").read_text())
    said["pretrained_cfg"].pop("crop_mode", None)
    (source / "config.json").write_text(json.dumps(said))
    preprocess = read(str(source)).preprocess
    assert (preprocess.crop_pct, preprocess.crop_mode) == (0.9, "center")
    with torch.no_grad():
        assert read(str(source)).build()(images(32, 32)).shape == (2, 5)
