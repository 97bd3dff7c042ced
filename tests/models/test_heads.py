"""From tokens to logits as other code has it: pooling, where the norm is, hidden layers."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import images, ours, randomize, same_logits, timm_vit
from safetensors.torch import save_file
from timm.models import create_model, save_for_hf
from torch import nn
from torchvision.models import VisionTransformer as TorchvisionViT
from torchvision.models.vision_transformer import interpolate_embeddings

import vitcli
from vitcli.config import ModelConfig, RunConfig
from vitcli.models import build_model
from vitcli.models.convert import read, write
from vitcli.models.convert.as_timm import timm_arguments

pytestmark = pytest.mark.filterwarnings("ignore:.*checkpoint. (assumed|unused|missing)")
HEADS = "model.num_heads=2"
TINY = {"depth": 2, "embed_dim": 64, "mlp_dim": 96, "num_heads": 2, "patch_size": 4}


def saved(model: nn.Module, path: Path) -> str:
    save_file({name: t.contiguous() for name, t in model.state_dict().items()}, path)
    return str(path)


def test_a_norm_after_the_mean_is_timms(tmp_path: Path) -> None:
    theirs = timm_vit(global_pool="avg", class_token=False)
    checkpoint = read(saved(theirs, tmp_path / "x.safetensors"), [HEADS])
    assert (checkpoint.config.model.pool, checkpoint.config.model.fc_norm) == ("gap", True)
    same_logits(theirs, checkpoint.build(), (16, 16))


def test_a_class_token_that_is_not_pooled_must_be_said(tmp_path: Path) -> None:
    theirs = timm_vit(global_pool="avg")
    source = saved(theirs, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"give model.pool=gap_class, .* or model.pool=token"):
        read(source, [HEADS])
    same_logits(theirs, vitcli.load(source, HEADS, "model.pool=gap_class"), (16, 16))
    of_token = timm_vit(global_pool="token", fc_norm=True)
    source = saved(of_token, tmp_path / "y.safetensors")
    same_logits(of_token, vitcli.load(source, HEADS, "model.pool=token"), (16, 16))
    both = of_token.state_dict() | {f"norm.{n}": t for n, t in of_token.fc_norm.named_parameters()}
    save_file({name: t.clone() for name, t in both.items()}, tmp_path / "z.safetensors")
    with pytest.raises(ValueError, match=r"model.pool=token: the file has norm and fc_norm"):
        read(str(tmp_path / "z.safetensors"), [HEADS, "model.pool=token"])


@pytest.mark.parametrize("options", [{}, {"class_token": False}, {"fc_norm": False}])
def test_timms_config_says_the_pooling(options: dict[str, object], tmp_path: Path) -> None:
    sizes = {"img_size": 16, "patch_size": 4, "embed_dim": 64, "depth": 1, "num_heads": 2}
    arguments = {**sizes, "num_classes": 3, "global_pool": "avg", **options}
    theirs = randomize(create_model("vit_tiny_patch16_224", **arguments))
    save_for_hf(theirs, tmp_path, model_args=arguments)
    same_logits(theirs, vitcli.load(tmp_path), (16, 16))


@pytest.mark.parametrize("pool", ["gap", "gap_class"])
@pytest.mark.parametrize("fc_norm", [True, False])
def test_ours_is_made_by_timm(pool: str, fc_norm: bool) -> None:
    run = RunConfig(ModelConfig(**TINY, pool=pool, fc_norm=fc_norm, gelu="erf"))
    checkpoint = ours(run, (16, 16))
    name, arguments = timm_arguments(checkpoint)
    theirs = create_model(name, **arguments).eval()
    theirs.load_state_dict(checkpoint.state)
    same_logits(theirs, checkpoint.build(), (16, 16))


def test_what_google_and_hugging_face_have_not_is_refused(tmp_path: Path) -> None:
    checkpoint = ours(RunConfig(ModelConfig(**TINY, pool="gap", fc_norm=True)), (16, 16))
    for target in ("x.npz", "x"):
        with pytest.raises(ValueError, match=r"model.pool=gap"):
            write(checkpoint, tmp_path / target)
    with pytest.raises(ValueError, match=r"model.fc_norm=true with model.pool=token"):
        build_model(RunConfig(ModelConfig(**TINY, fc_norm=True)), (16, 16), 3)


def test_a_table_without_a_row_for_the_class_token(tmp_path: Path) -> None:
    theirs = timm_vit(no_embed_class=True)
    checkpoint = read(saved(theirs, tmp_path / "x.safetensors"), [HEADS])
    assert "no place for the class token in a table of 16 rows" in checkpoint.assumed
    same_logits(theirs, checkpoint.build(), (16, 16))
    # 24 rows are 4 x 6 patches, or, less one, nothing that was asked for.
    wide = timm_vit(no_embed_class=True, img_size=(16, 24))
    source = saved(wide, tmp_path / "wide.safetensors")
    same_logits(wide, vitcli.load(source, HEADS, img_size=(16, 24)), (16, 24))


@pytest.mark.parametrize(
    ("patches", "options", "readings"),
    [
        ((4, 6), {}, "4x6 patches and the class token or 5x5 patches"),
        ((2, 5), {"no_embed_class": True}, "3x3 patches and the class token or 2x5 patches"),
        ((2, 8), {}, "2x8 patches and the class token or 4x4 patches and the class token"),
        ((2, 8), {"class_token": False, "global_pool": "avg"}, "2x8 patches or 4x4 patches"),
        ((1, 2), {"no_embed_class": True}, "1x1 patches and the class token or 1x2 patches"),
    ],
)
def test_a_table_of_two_readings_is_asked_for(
    patches: tuple[int, int], options: dict[str, object], readings: str, tmp_path: Path
) -> None:
    size = (4 * patches[0], 4 * patches[1])
    theirs = timm_vit(img_size=size, **options)
    source = saved(theirs, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=f"can be {readings}: give .* data.img_size="):
        read(source, [HEADS], size)
    checkpoint = read(source, [HEADS, f"data.img_size=[{size[0]},{size[1]}]"], (64, 64))
    same_logits(theirs, checkpoint.build(), size)


def test_a_table_is_for_the_images_of_its_config(tmp_path: Path) -> None:
    sizes = {"img_size": (8, 20), "patch_size": 4, "embed_dim": 64, "depth": 1, "num_heads": 2}
    options = {**sizes, "num_classes": 3, "no_embed_class": True}
    theirs = randomize(create_model("vit_tiny_patch16_224", **options))
    save_for_hf(theirs, tmp_path, model_args=options)  # ten rows: 2 x 5, not 3 x 3 and a class
    same_logits(theirs, read(str(tmp_path), [], (32, 32)).build(), (8, 20))
    with pytest.raises(ValueError, match="pos_embed has 10 rows, images of 16x16 have 4x4 patches"):
        read(str(tmp_path), ["data.img_size=16"])


def test_an_mlp_of_any_width_is_made_by_timm(tmp_path: Path) -> None:
    sizes = {"embed_dim": 88, "mlp_dim": 120}  # 88 * (120 / 88) is below 120
    checkpoint = ours(RunConfig(ModelConfig(**TINY | sizes)), (16, 16))
    write(checkpoint, tmp_path / "x.safetensors")
    name, arguments = timm_arguments(checkpoint)
    theirs = create_model(name, checkpoint_path=str(tmp_path / "x.safetensors"), **arguments)
    same_logits(theirs.eval(), checkpoint.build(), (16, 16))


def test_a_hidden_layer_may_have_its_own_width(tmp_path: Path) -> None:
    checkpoint = ours(
        RunConfig(ModelConfig(**TINY, head_hidden=True, head_hidden_dim=40)), (16, 16)
    )
    write(checkpoint, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as file:
        arrays = {name: file[name] for name in file.files if name != "vitcli"}
    assert arrays["pre_logits/kernel"].shape == (64, 40)
    np.savez(tmp_path / "bare.npz", **arrays)  # without our record
    found = read(str(tmp_path / "bare.npz"))
    assert found.config.model.head_hidden_dim == 40
    model = found.build()
    with torch.no_grad():
        features = model.forward_head(model.forward_features(images(16, 16)), pre_logits=True)
    assert features.shape == (2, 40)
    same_logits(checkpoint.build(), model, (16, 16))
    assert found.with_new_head(3).config.model.head_hidden_dim == 0
    headless = replace(checkpoint, num_classes=0)
    with pytest.raises(ValueError, match=r"model.head_hidden_dim=40: Hugging Face's"):
        write(headless, tmp_path / "hf")


def torchvision_vit(**options: object) -> nn.Module:
    sizes = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 2}
    sizes |= {"hidden_dim": 64, "mlp_dim": 96, "num_classes": 5}
    model = randomize(TorchvisionViT(**(sizes | options)))
    for name, p in model.named_parameters():
        if re.search(r"ln(_\d)?\.weight$", name):
            p.data += 1
    return model


@pytest.mark.parametrize("options", [{}, {"representation_size": 40}])
@pytest.mark.parametrize("older", [False, True])
def test_torchvisions_names(options: dict[str, object], older: bool, tmp_path: Path) -> None:
    theirs = torchvision_vit(**options)
    state = dict(theirs.state_dict())
    if older:
        words = (("mlp.0.", "mlp.linear_1."), ("mlp.3.", "mlp.linear_2."))
        for new, old in words:
            state = {name.replace(new, old): t for name, t in state.items()}
    torch.save(state, tmp_path / "x.pth")
    model = vitcli.load(tmp_path / "x.pth", HEADS)
    same_logits(theirs, model, (32, 32))
    assert model.preprocess.mean == (0.485, 0.456, 0.406)


def test_torchvisions_table_is_resized_as_torchvision_does(tmp_path: Path) -> None:
    theirs = torchvision_vit()
    torch.save(theirs.state_dict(), tmp_path / "x.pth")
    larger = torchvision_vit(image_size=56)
    larger.load_state_dict(interpolate_embeddings(56, 8, dict(theirs.state_dict())))
    same_logits(larger, vitcli.load(tmp_path / "x.pth", HEADS, img_size=56), (56, 56))


def test_parts_that_torchvisions_model_has_not_are_refused(tmp_path: Path) -> None:
    state = dict(torchvision_vit().state_dict())
    state["encoder.layers.encoder_layer_0.gamma"] = torch.ones(64)
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"no model of the paper has.*encoder_layer_0.gamma"):
        read(str(tmp_path / "x.pth"), [HEADS])


def test_what_is_assumed_is_a_warning(tmp_path: Path) -> None:
    source = saved(timm_vit(), tmp_path / "x.safetensors")
    with pytest.warns(UserWarning, match="the class token as representation, pixels in"):
        vitcli.load(source, HEADS)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.full((64,), torch.nan), "numbers that are not finite .* in norm.bias"),
        (torch.full((64,), 1e300, dtype=torch.float64), "numbers that are not finite"),
        (torch.ones(64, dtype=torch.int8), r"torch.int8 and not floats: norm.bias"),
    ],
)
def test_weights_that_are_no_numbers_are_refused(
    value: torch.Tensor, said: str, tmp_path: Path
) -> None:
    save_file({**timm_vit().state_dict(), "norm.bias": value}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=said):
        read(str(tmp_path / "x.safetensors"), [HEADS])


def test_heads_are_asked_for_where_the_width_is_none_of_the_papers(tmp_path: Path) -> None:
    source = saved(timm_vit(embed_dim=128), tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="width 128 does not tell how many heads there are"):
        read(source)
    widths = {64: 1, 192: 3, 384: 6, 768: 12, 1024: 16}
    for width, heads in widths.items():
        theirs = timm_vit(embed_dim=width, depth=1, num_heads=heads)
        checkpoint = read(saved(theirs, tmp_path / "y.safetensors"))
        assert checkpoint.config.model.num_heads == heads
        assert f"{heads} heads (usual at width {width})" in checkpoint.assumed
