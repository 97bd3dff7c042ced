"""BiT and hybrids of Google's and timm's code: logits there and here, and back."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from checkpoints import randomize, same_logits
from safetensors.torch import save_file
from timm.layers.std_conv import StdConv2d, StdConv2dSame
from timm.models import create_model, save_for_hf
from timm.models.resnetv2 import ResNetV2
from timm.models.vision_transformer import VisionTransformer as TimmViT
from timm.models.vision_transformer_hybrid import HybridEmbed
from torch import Tensor, nn

import vitcli
from vitcli.config import ModelConfig, PosEmbConfig, RunConfig, StemConfig
from vitcli.models import build_model
from vitcli.models.convert import Checkpoint, Preprocess, read, write

pytestmark = pytest.mark.filterwarnings("ignore:.*checkpoint. (assumed|unused|missing)")


@pytest.fixture(scope="module")
def bit() -> nn.Module:
    """Returns timm's BiT, with three units."""
    conv = partial(StdConv2d, eps=1e-8)
    options = {"stem_type": "fixed", "conv_layer": conv, "num_classes": 7}
    return randomize(ResNetV2([1, 2], (256, 512), stem_chs=64, **options))


def google_arrays(bit: nn.Module) -> dict[str, np.ndarray]:
    """Returns a BiT's weights as the files of `big_transfer` name and shape them."""
    arrays: dict[str, Tensor] = {}

    def conv(name: str, weight: Tensor) -> None:
        arrays[f"resnet/{name}/kernel"] = weight.permute(2, 3, 1, 0)

    def norm(name: str, layer: nn.Module) -> None:
        arrays[f"resnet/{name}/gamma"], arrays[f"resnet/{name}/beta"] = layer.weight, layer.bias

    conv("root_block/standardized_conv2d", bit.stem.conv.weight)
    norm("group_norm", bit.norm)
    conv("head/conv2d", bit.head.fc.weight)
    arrays["resnet/head/conv2d/bias"] = bit.head.fc.bias
    for s, stage in enumerate(bit.stages):
        for u, unit in enumerate(stage.blocks):
            name = f"block{s + 1}/unit{u + 1:02}"
            for n, part in enumerate("abc", 1):
                conv(f"{name}/{part}/standardized_conv2d", getattr(unit, f"conv{n}").weight)
                norm(f"{name}/{part}/group_norm", getattr(unit, f"norm{n}"))
            if unit.downsample is not None:
                conv(f"{name}/a/proj/standardized_conv2d", unit.downsample.conv.weight)
    return {name: t.detach().numpy() for name, t in arrays.items()}


def test_a_bit_without_a_head_gives_timms_features(bit: nn.Module, tmp_path: Path) -> None:
    body = {name: tensor for name, tensor in bit.state_dict().items() if "head" not in name}
    save_file(body, tmp_path / "body.safetensors")
    theirs = copy.deepcopy(bit)
    theirs.reset_classifier(0)
    same_logits(theirs, vitcli.load(tmp_path / "body.safetensors"), (64, 96))


def test_bit_of_google_and_of_timm_gives_timms_logits(bit: nn.Module, tmp_path: Path) -> None:
    np.savez(tmp_path / "bit.npz", **google_arrays(bit))
    save_file(bit.state_dict(), tmp_path / "bit.safetensors")
    for source in ("bit.npz", "bit.safetensors"):
        same_logits(bit, vitcli.load(tmp_path / source), (64, 96))
    checkpoint = read(str(tmp_path / "bit.npz"))
    assert checkpoint.config.model.layers == [1, 2]
    assert (checkpoint.num_classes, checkpoint.unused, checkpoint.missing) == (7, [], [])


def test_an_optimizers_moments_are_no_weights(bit: nn.Module, tmp_path: Path) -> None:
    arrays = google_arrays(bit)
    moments = {f"opt/mu/{name}": 0.5 * array + 0.1 for name, array in arrays.items()}
    np.savez(tmp_path / "bit.npz", **moments, **arrays)
    same_logits(bit, vitcli.load(tmp_path / "bit.npz"), (64, 96))


def test_groups_that_no_file_says_are_assumed(bit: nn.Module, tmp_path: Path) -> None:
    save_file(bit.state_dict(), tmp_path / "bit.safetensors")
    said = "group norms of 32 groups (Google's and timm's)"
    assert said in read(str(tmp_path / "bit.safetensors")).assumed
    assert said not in read(str(tmp_path / "bit.safetensors"), ["model.groups=32"]).assumed


def test_timms_folder_goes_back_to_google_and_timm(tmp_path: Path) -> None:
    theirs = randomize(create_model("resnetv2_50x1_bit", num_classes=7))
    save_for_hf(theirs, tmp_path / "folder")
    checkpoint = read(str(tmp_path / "folder"))
    assert checkpoint.assumed == []
    assert write(checkpoint, tmp_path / "back.npz") == "as in big_transfer"
    again = create_model("resnetv2_50x1_bit", num_classes=7)
    again.load_pretrained(tmp_path / "back.npz")
    same_logits(theirs, again.eval(), (64, 64))
    with np.load(tmp_path / "back.npz") as written:
        assert set(written.files) == {*google_arrays(theirs), "vitcli"}
    how = write(checkpoint, tmp_path / "back.safetensors")
    assert how.startswith("timm.create_model('resnetv2_50x1_bit', num_classes=7, ")


def test_what_timm_and_google_have_no_bit_for_is_refused(tmp_path: Path) -> None:
    run = RunConfig(
        ModelConfig(family="resnet", layers=[1, 1], width=16, root="small"), PosEmbConfig("none")
    )
    state = randomize(build_model(run, (16, 16), 3)).state_dict()
    checkpoint = Checkpoint("vitcli", run, state, 3, Preprocess((16, 16)))
    with pytest.raises(ValueError, match=r"model.root=small: big_transfer has imagenet only"):
        write(checkpoint, tmp_path / "x.npz")
    assert "timm has no such BiT" in write(checkpoint, tmp_path / "x.safetensors")
    same_logits(checkpoint.build(), vitcli.load(tmp_path / "x.safetensors"), (16, 16))


def test_what_timm_has_no_hybrid_for_is_said(tmp_path: Path) -> None:
    sizes = {"depth": 1, "embed_dim": 64, "mlp_dim": 256, "num_heads": 1, "patch_size": 16}
    for groups, said in ((16, "not for timm"), (32, "timm.create_model('vit_base_r50_s16_224'")):
        stem = StemConfig("resnet", layers={"16": [3, 4, 9]}, groups=groups)
        run = RunConfig(ModelConfig(**sizes), stem=stem)
        state = randomize(build_model(run, (32, 32), 3)).state_dict()
        checkpoint = Checkpoint("vitcli", run, state, 3, Preprocess((32, 32)))
        assert said in write(checkpoint, tmp_path / "x.safetensors")


def test_other_resnets_are_refused(tmp_path: Path) -> None:
    theirs = create_model("resnetv2_50", num_classes=3)
    save_for_hf(theirs, tmp_path / "folder")
    with pytest.raises(ValueError, match="a ResNetV2 of timm's with other parts than BiT's"):
        read(str(tmp_path / "folder"))
    save_file(theirs.state_dict(), tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="no model of the paper has: norm"):
        read(str(tmp_path / "x.safetensors"))


def narrow_hybrid() -> nn.Module:
    """Returns timm's hybrid with a root of 32 channels, whose norms have 32 groups."""
    channels, conv = (128, 256), StdConv2dSame
    options = {"preact": False, "stem_type": "same", "num_classes": 0, "global_pool": ""}
    backbone = ResNetV2(
        [1, 1], channels, stem_chs=32, conv_layer=lambda *a, **k: conv(*a, eps=1e-8, **k), **options
    )
    return randomize(
        TimmViT(
            img_size=32, patch_size=1, embed_dim=64, depth=1, num_heads=2, num_classes=5,
            embed_layer=lambda **k: HybridEmbed(backbone, **k),
        )
    )  # fmt: skip


def test_a_hybrid_with_a_narrow_root_has_the_groups_of_its_code(tmp_path: Path) -> None:
    theirs = narrow_hybrid()
    save_file(theirs.state_dict(), tmp_path / "hybrid.safetensors")
    checkpoint = read(str(tmp_path / "hybrid.safetensors"), ["model.num_heads=2"])
    assert checkpoint.config.stem.groups == 32
    assert "group norms of 32 groups (Google's and timm's)" in checkpoint.assumed
    ours = checkpoint.build()
    same_logits(theirs, ours, (32, 32))
    # The root, written out: weights standardised, TensorFlow's padding, a group norm, ReLU, pool.
    root, x = ours.patch_embed.backbone.stem, torch.randn(2, 3, 32, 32)
    w = root.conv.weight.detach()
    mean, var = w.mean((1, 2, 3), keepdim=True), w.var((1, 2, 3), keepdim=True, unbiased=False)
    y = F.conv2d(F.pad(x, (2, 3, 2, 3)), (w - mean) / (var + 1e-8).sqrt(), stride=2)
    grouped = y.view(2, 32, -1)
    grouped = (grouped - grouped.mean(2, keepdim=True)) / (
        grouped.var(2, keepdim=True, unbiased=False) + 1e-5
    ).sqrt()
    scale, shift = (t.detach().view(1, -1, 1, 1) for t in (root.norm.weight, root.norm.bias))
    y = F.relu(grouped.view_as(y) * scale + shift)
    expected = F.max_pool2d(F.pad(y, (0, 1, 0, 1), value=-torch.inf), 3, 2)
    with torch.no_grad():
        torch.testing.assert_close(root(x), expected, atol=1e-5, rtol=1e-5)
    write(checkpoint, tmp_path / "again.safetensors")
    same_logits(theirs, vitcli.load(tmp_path / "again.safetensors"), (32, 32))


def test_groups_of_ones_own_are_said_where_google_would_have_others(tmp_path: Path) -> None:
    save_file(narrow_hybrid().state_dict(), tmp_path / "hybrid.safetensors")
    words = ["model.num_heads=2", "stem.groups=16"]
    checkpoint = read(str(tmp_path / "hybrid.safetensors"), words)
    assert not any("groups" in line for line in checkpoint.assumed)
    how = write(checkpoint, tmp_path / "x.npz")
    assert "group norms of 16 groups: recorded in the file" in how
    same_logits(checkpoint.build(), vitcli.load(tmp_path / "x.npz"), (32, 32))
    with pytest.raises(ValueError, match=r"stem.groups=5: must divide the width 32"):
        read(str(tmp_path / "hybrid.safetensors"), ["model.num_heads=2", "stem.groups=5"])
