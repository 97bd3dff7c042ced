"""BiT ResNets and the hybrid's ResNet against timm, and the small-image root."""

from __future__ import annotations

import pytest
import torch
from timm.layers.std_conv import StdConv2d
from timm.models import create_model
from torch import nn

from vitcli.config import ModelConfig, PosEmbConfig, RecipeConfig, RunConfig, StemConfig
from vitcli.models import build_model
from vitcli.models.resnet import Pointwise, build_bit, group_norm

R50 = {"16": [3, 4, 9], "32": [3, 4, 6, 3]}
B16 = {"depth": 12, "embed_dim": 768, "mlp_dim": 3072, "num_heads": 12, "patch_size": 16}
NANO = {"depth": 2, "embed_dim": 32, "mlp_dim": 64, "num_heads": 2, "patch_size": 4}


def resnet(**options: object) -> ModelConfig:
    return ModelConfig(
        **({"family": "resnet", "layers": [1, 1], "width": 16, "root": "small"} | options)
    )


def randomize(model: nn.Module) -> None:
    """Gives every parameter a value that matters: no zeros, no ones."""
    generator = torch.Generator().manual_seed(0)
    for name, p in model.named_parameters():
        p.data = torch.randn(p.shape, generator=generator) * (0.2 if p.ndim == 1 else 0.05)
        if "norm" in name and name.endswith("weight"):
            p.data += 1


def same_logits(ours: nn.Module, theirs: nn.Module, img_size: tuple[int, int]) -> None:
    randomize(theirs)
    ours.load_state_dict(theirs.state_dict())  # strict: the names are timm's
    images = torch.randn(2, 3, *img_size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs.eval()(images)
        assert expected.std() > 0.05
        torch.testing.assert_close(ours.eval()(images), expected, atol=1e-5, rtol=1e-5)


def test_logits_of_bit_are_timms() -> None:
    theirs = create_model("resnetv2_50x1_bit", num_classes=7)
    run = RunConfig(
        model=resnet(layers=[3, 4, 6, 3], width=64, root="imagenet"),
        pos_emb=PosEmbConfig(kind="none"),
    )
    same_logits(build_model(run, (64, 96), 7), theirs, (64, 96))


def test_wide_bit_has_timms_parameters() -> None:
    with torch.device("meta"):
        theirs = create_model("resnetv2_152x2_bit", num_classes=7).state_dict()
        ours = build_bit([3, 8, 36, 3], 128, "imagenet", 0, 7).state_dict()
    assert {n: p.shape for n, p in ours.items()} == {n: p.shape for n, p in theirs.items()}


def test_logits_of_the_hybrid_are_timms() -> None:
    theirs = create_model("vit_base_r50_s16_224", img_size=64, num_classes=7)
    run = RunConfig(model=ModelConfig(**B16, gelu="erf"), stem=StemConfig("resnet", R50))
    same_logits(build_model(run, (64, 64), 7), theirs, (64, 64))


def test_first_logits_of_bit_are_zero_and_its_calls_are_timms() -> None:
    run = RunConfig(model=resnet(), pos_emb=PosEmbConfig(kind="none"))
    model = build_model(run, (16, 16), 5)
    features = model.forward_features(torch.randn(2, 3, 16, 16))
    assert features.shape == (2, 128, 8, 8)
    assert model.forward_head(features, pre_logits=True).shape == (2, 128)
    assert model.forward_head(features).shape == (2, 5)
    assert not model.forward_head(features).any()


def test_units_of_the_hybrid_start_as_their_shortcut() -> None:
    run = RunConfig(
        model=ModelConfig(**NANO), stem=StemConfig(layers={"4": [2, 1]}, width=8, root="small")
    )
    model = build_model(run, (16, 16), 5)
    unit = model.patch_embed.backbone.stages[0].blocks[1]
    x = torch.randn(2, 32, 4, 4).relu()
    assert torch.equal(unit(x), x)


@pytest.mark.parametrize(
    ("layers", "root", "patch", "patch_on_map"),
    [
        ([1], "small", 4, 4),
        ([1, 1], "small", 4, 2),
        ([1, 1, 1], "small", 4, 1),
        ([1], "imagenet", 4, 1),
        ([1, 1], "imagenet", 16, 2),
    ],
)
def test_patches_of_the_feature_map_make_up_the_stride(
    layers: list[int], root: str, patch: int, patch_on_map: int
) -> None:
    stem = StemConfig("resnet_nano", {str(patch): layers}, width=8, root=root)
    run = RunConfig(model=ModelConfig(**(NANO | {"patch_size": patch})), stem=stem)
    model = build_model(run, (32, 48), 5)
    assert model.patch_embed.patch_size == patch_on_map
    tokens = model.forward_features(torch.randn(2, 3, 32, 48))
    assert tokens.shape == (2, 1 + (32 // patch) * (48 // patch), 32)


def test_every_parameter_of_a_small_hybrid_and_bit_learns() -> None:
    stem = StemConfig("resnet_nano", {"4": [2, 1]}, width=8, root="small")
    hybrid = build_model(RunConfig(model=ModelConfig(**NANO), stem=stem), (16, 16), 5)
    bit = build_model(RunConfig(model=resnet(), pos_emb=PosEmbConfig(kind="none")), (16, 16), 5)
    for model in (hybrid, bit):
        randomize(model)
        model(torch.randn(2, 3, 16, 16)).square().sum().backward()
        assert all(p.grad is not None and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize(
    ("channels", "groups"), [(8, 4), (16, 8), (24, 12), (32, 16), (64, 32), (72, 24), (192, 32)]
)
def test_groups_divide_the_channels(channels: int, groups: int) -> None:
    assert group_norm(channels).num_groups == groups


@pytest.mark.parametrize(
    ("run", "keys"),
    [
        (
            RunConfig(
                model=ModelConfig(**NANO),
                stem=StemConfig("resnet_nano", {"4": [1, 1, 1, 1]}, width=8, root="small"),
            ),
            ("stem.layers", "stem.root", "model.patch_size"),
        ),
        (
            RunConfig(model=ModelConfig(**NANO), stem=StemConfig("resnet", R50)),
            ("model.patch_size", "stem"),
        ),
        (
            RunConfig(
                model=ModelConfig(**NANO),
                stem=StemConfig(layers={"4": [1]}, width=12, root="small"),
            ),
            ("stem.width",),
        ),
        (RunConfig(model=resnet()), ("pos_emb.kind", "model.family")),
        (
            RunConfig(
                model=resnet(), pos_emb=PosEmbConfig(kind="none"), stem=StemConfig("resnet", R50)
            ),
            ("stem", "model.family"),
        ),
        (
            RunConfig(model=resnet(), recipe=RecipeConfig(dropout=0.1)),
            ("recipe.dropout", "model.family"),
        ),
        (RunConfig(model=resnet(head_hidden=True)), ("model.head_hidden", "model.family")),
        (RunConfig(model=resnet(layers=[])), ("model.layers", "model.family")),
    ],
)
def test_wrong_combinations_name_their_keys(run: RunConfig, keys: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=".*".join(keys)):
        build_model(run, (16, 16), 5)


@pytest.mark.parametrize("side", [1, 7, 8])  # 1: small against the weights
@pytest.mark.parametrize("stride", [1, 2])
def test_pointwise_convolutions_are_timms_forward_and_backward(side: int, stride: int) -> None:
    ours, theirs = (kind(12, 20, 1, stride=stride, eps=1e-8) for kind in (Pointwise, StdConv2d))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 12, side, side + 1, requires_grad=True)
    y, expected = ours(x), theirs(x)
    torch.testing.assert_close(y, expected)
    direction = torch.randn_like(y)
    found = torch.autograd.grad(y, (x, ours.weight), direction)
    torch.testing.assert_close(found, torch.autograd.grad(expected, (x, theirs.weight), direction))
