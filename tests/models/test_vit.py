"""The Vision Transformer against the paper's parameter counts and timm's logits."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torch import nn

from vitcli.config import ModelConfig, PosEmbConfig, RecipeConfig, RunConfig, StemConfig
from vitcli.models import build_model
from vitcli.models.vit import Attention, VisionTransformer, attend, gelu_tanh

SIZES = {  # depth, width, MLP, heads (paper, Table 1; Ti and S: Steiner et al., Table 1)
    "ti": (12, 192, 768, 3),
    "s": (12, 384, 1536, 6),
    "b": (12, 768, 3072, 12),
    "l": (24, 1024, 4096, 16),
    "h": (32, 1280, 5120, 16),
}
STEMS = {  # units in each stage of the hybrid's ResNet (paper, section 3.1; R26: Steiner et al.)
    "r50": {"16": [3, 4, 9], "32": [3, 4, 6, 3]},
    "r26": {"32": [2, 2, 2, 2]},
}
NANO = {"depth": 2, "embed_dim": 32, "mlp_dim": 64, "num_heads": 2, "patch_size": 4}


def config(size: str, patch: int, stem: str = "", **options: object) -> RunConfig:
    depth, width, mlp, heads = SIZES[size]
    sizes = {
        "depth": depth,
        "embed_dim": width,
        "mlp_dim": mlp,
        "num_heads": heads,
        "patch_size": patch,
    }
    return RunConfig(
        model=ModelConfig(**(sizes | options)),
        stem=StemConfig(name="resnet", layers=STEMS[stem]) if stem else StemConfig(),
    )


def nano(
    img_size: tuple[int, int] = (16, 16), dropout: float = 0.0, **options: object
) -> nn.Module:
    run = RunConfig(model=ModelConfig(**(NANO | options)), recipe=RecipeConfig(dropout=dropout))
    return build_model(run, img_size, 5)


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


@pytest.mark.parametrize(
    ("size", "patch", "stem", "pool", "parameters"),
    [
        ("ti", 16, "", "token", 5_717_416),
        ("s", 16, "", "token", 22_050_664),
        ("s", 32, "", "token", 22_878_952),
        ("b", 16, "", "token", 86_567_656),
        ("b", 32, "", "token", 88_224_232),
        ("b", 8, "", "token", 86_576_872),
        ("b", 16, "", "gap", 86_566_120),
        ("l", 16, "", "token", 304_326_632),
        ("l", 32, "", "token", 306_535_400),
        ("h", 14, "", "token", 632_045_800),
        ("b", 16, "r50", "token", 98_659_112),
        ("l", 32, "r50", "token", 328_994_856),
        ("s", 32, "r26", "token", 36_431_912),
    ],
)
def test_parameters_are_counted_as_in_the_official_tests(
    size: str, patch: int, stem: str, pool: str, parameters: int
) -> None:
    with torch.device("meta"):
        model = build_model(config(size, patch, stem, pool=pool), (224, 224), 1000)
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("pool", ["token", "gap"])
def test_logits_are_timms(pool: str) -> None:
    pooled = {"global_pool": "avg", "class_token": False, "fc_norm": False} if pool == "gap" else {}
    theirs = TimmViT(
        img_size=64, patch_size=16, embed_dim=384, num_heads=6, num_classes=7, **pooled
    )
    ours = build_model(config("s", 16, pool=pool, gelu="erf"), (64, 64), 7)
    same_logits(ours, theirs, (64, 64))


def test_logits_of_rectangles_are_timms() -> None:
    theirs = TimmViT(
        img_size=(8, 20),
        patch_size=4,
        embed_dim=32,
        depth=2,
        num_heads=2,
        mlp_ratio=2,
        num_classes=5,
    )
    same_logits(nano((8, 20), gelu="erf"), theirs, (8, 20))


def test_logits_of_the_tanh_gelu_are_timms() -> None:
    theirs = TimmViT(
        img_size=16, patch_size=4, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2, num_classes=5,
        act_layer="gelu_tanh",
    )  # fmt: skip
    same_logits(nano(), theirs, (16, 16))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_the_gelu_of_compiled_steps_is_the_tanh_one(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, tolerance: float
) -> None:
    x = torch.linspace(-40, 40, 20_001, dtype=dtype, requires_grad=True)
    expected = F.gelu(x, approximate="tanh")
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.delattr(F, "gelu")
    y = gelu_tanh(x)
    assert y.dtype == dtype
    torch.testing.assert_close(y, expected, rtol=tolerance, atol=1e-6)
    (ours,), (theirs,) = torch.autograd.grad(y.sum(), x), torch.autograd.grad(expected.sum(), x)
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=2e-6)


def test_hidden_layer_of_the_head_is_tanh() -> None:
    model = nano(head_hidden=True)
    randomize(model)
    tokens = model.forward_features(torch.randn(3, 3, 16, 16))
    hidden = torch.tanh(model.pre_logits.fc(tokens[:, 0]))
    torch.testing.assert_close(model.forward_head(tokens, pre_logits=True), hidden)
    torch.testing.assert_close(model.forward_head(tokens), model.head(hidden))


@pytest.mark.parametrize(("pool", "tokens"), [("token", 17), ("gap", 16)])
def test_shapes(pool: str, tokens: int) -> None:
    model = nano(pool=pool)
    features = model.forward_features(torch.randn(2, 3, 16, 16))
    assert features.shape == (2, tokens, 32)
    assert model.forward_head(features, pre_logits=True).shape == (2, 32)
    assert model.forward_head(features).shape == (2, 5)


@pytest.mark.parametrize("head_hidden", [False, True])
def test_first_logits_are_zero(head_hidden: bool) -> None:
    assert not nano(head_hidden=head_hidden)(torch.randn(2, 3, 16, 16)).any()


def test_initial_weights_are_the_official_ones() -> None:
    torch.manual_seed(0)
    model = nano(embed_dim=64, mlp_dim=192)
    block = model.blocks[0]
    for matrix in (*block.attn.qkv.weight.chunk(3), block.attn.proj.weight):
        assert 0.97 < matrix.abs().max() / (6 / 128) ** 0.5 <= 1
    for matrix in (block.mlp.fc1.weight, block.mlp.fc2.weight):
        assert 0.97 < matrix.abs().max() / (6 / 256) ** 0.5 <= 1
    assert 0 < block.mlp.fc1.bias.abs().max() < 1e-5
    assert model.patch_embed.proj.weight.std().item() == pytest.approx(48**-0.5, rel=0.05)
    assert not any(
        p.any() for p in (model.cls_token, block.attn.qkv.bias, model.patch_embed.proj.bias)
    )


def test_dropout_is_where_the_official_code_has_it() -> None:
    model = nano(dropout=0.5)
    seen: list[nn.Module] = []
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(lambda module, *_: seen.append(module))
    images = torch.randn(2, 3, 16, 16)
    model.forward_features(images)
    # On the first tokens, and in each block after the attention's output and both dense layers.
    in_blocks = [[b.attn.dropout, b.mlp.dropout, b.mlp.dropout] for b in model.blocks]
    assert seen == [model.dropout, *in_blocks[0], *in_blocks[1]]
    assert not torch.equal(model.forward_features(images), model.forward_features(images))
    model.eval()
    assert torch.equal(model.forward_features(images), model.forward_features(images))


@pytest.mark.parametrize("has_bias", [False, True])
def test_plain_attention_is_the_fused_one(has_bias: bool) -> None:
    q, k, v = torch.randn(3, 2, 4, 9, 8, dtype=torch.float64).unbind(0)
    bias = torch.randn(2, 4, 9, 9, dtype=torch.float64) if has_bias else None
    torch.testing.assert_close(
        attend(q, k, v, bias), F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    )


def test_attention_in_bfloat16_is_that_in_float32() -> None:
    torch.manual_seed(0)
    attention, x = Attention(64, 4, dropout=0.0), torch.randn(2, 17, 64)
    with torch.autocast("cpu", torch.bfloat16):
        y = attention(x)
    torch.testing.assert_close(y.float(), attention(x), atol=0.03, rtol=0.03)


@pytest.mark.parametrize(
    ("run", "img_size", "keys"),
    [
        ({"model": {"patch_size": 5}}, (16, 16), ("model.patch_size", "data.img_size")),
        ({}, (16, 18), ("model.patch_size", "data.img_size")),
        ({"model": {"num_heads": 3}}, (16, 16), ("model.num_heads", "model.embed_dim")),
        ({"model": {"depth": 0}}, (16, 16), ("model.depth",)),
        (
            {"pos_emb": {"kind": "relative", "where": "every_layer"}},
            (16, 16),
            ("pos_emb.where", "pos_emb.kind"),
        ),
        ({"pos_emb": {"offsets": "2d"}}, (16, 16), ("pos_emb.offsets", "pos_emb.kind")),
        (
            {"model": {"embed_dim": 30}, "pos_emb": {"kind": "sincos_2d"}},
            (16, 16),
            ("model.embed_dim", "pos_emb.kind"),
        ),
        (
            {"model": {"embed_dim": 33, "num_heads": 3}, "pos_emb": {"kind": "learned_2d"}},
            (16, 16),
            ("model.embed_dim", "pos_emb.kind"),
        ),
    ],
)
def test_wrong_combinations_name_their_keys(
    run: dict[str, dict[str, object]], img_size: tuple[int, int], keys: tuple[str, ...]
) -> None:
    model = ModelConfig(**(NANO | run.get("model", {})))
    with pytest.raises(ValueError, match=".*".join(keys)):
        build_model(
            RunConfig(model=model, pos_emb=PosEmbConfig(**run.get("pos_emb", {}))), img_size, 5
        )


def test_a_model_without_hybrid_or_options_has_timms_names_only() -> None:
    theirs = TimmViT(img_size=16, patch_size=4, embed_dim=32, depth=2, num_heads=2, num_classes=5)
    model = nano()
    assert isinstance(model, VisionTransformer)
    assert list(model.state_dict()) == list(theirs.state_dict())
