"""Every position embedding against loops over tokens that share no code with it."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vitcli.config import ModelConfig, PosEmbConfig, RunConfig
from vitcli.models import build_model
from vitcli.models.vit import VisionTransformer

DIM, HEADS, DEPTH, GRID, PATCH = 16, 2, 3, (2, 3), 2
IMG_SIZE = (GRID[0] * PATCH, GRID[1] * PATCH)
SIMPLE = [("none", "stem", "1d"), ("sincos_2d", "stem", "1d")]
RELATIVE = [("relative", "stem", "1d"), ("relative", "stem", "2d")]
LEARNED = [
    (kind, where, "1d")
    for kind in ("learned_1d", "learned_2d")
    for where in ("stem", "every_layer", "shared")
]
every_kind = pytest.mark.parametrize(("kind", "where", "offsets"), SIMPLE + RELATIVE + LEARNED)
every_pool = pytest.mark.parametrize("pool", ["token", "gap"])


def build(kind: str, where: str, offsets: str, pool: str, seed: int = 0) -> VisionTransformer:
    """Returns a small model in float64 whose head, class token and tables matter."""
    torch.manual_seed(seed)
    model_config = ModelConfig(
        depth=DEPTH, embed_dim=DIM, mlp_dim=24, num_heads=HEADS, patch_size=PATCH, pool=pool
    )
    pos_emb = PosEmbConfig(kind=kind, where=where, offsets=offsets)
    model = build_model(RunConfig(model=model_config, pos_emb=pos_emb), IMG_SIZE, 5).double()
    for name, p in model.named_parameters():
        if "pos" in name or name in ("cls_token", "head.weight"):
            p.data.normal_()
    return model


def images(count: int = 2) -> Tensor:
    return torch.randn(
        count, 3, *IMG_SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(7)
    )


def patch_of(token: int, pool: str) -> tuple[int, int] | None:
    """Returns row and column of a token's patch; None for the class token."""
    token -= pool == "token"
    return None if token < 0 else divmod(token, GRID[1])


def naive_vector(model: VisionTransformer, kind: str, layer: int, token: int, pool: str) -> Tensor:
    """Returns what the token is given by an absolute table's layer."""
    if kind == "learned_1d":
        return model.pos_embed[layer, token]
    place = patch_of(token, pool)
    if kind == "learned_2d":
        if place is None:
            return model.pos_embed_cls[layer, 0]
        return torch.cat([model.pos_embed_x[layer, place[1]], model.pos_embed_y[layer, place[0]]])
    if place is None:
        return torch.zeros(DIM)
    quarter = DIM // 4
    rates = [10000 ** -(i / (quarter - 1)) for i in range(quarter)]
    return torch.tensor(
        [f(at * rate) for at in reversed(place) for f in (math.sin, math.cos) for rate in rates]
    )


def naive_relative_key(
    model: VisionTransformer, layer: int, query: int, key: int, offsets: str, pool: str
) -> Tensor:
    h, w = GRID
    q, k = patch_of(query, pool), patch_of(key, pool)
    if q is None or k is None:
        return model.rel_pos_cls[layer, 0 if q == k else 1 if q is None else 2]
    if offsets == "1d":
        return model.rel_pos_embed[layer, (q[0] * w + q[1]) - (k[0] * w + k[1]) + h * w - 1]
    offset = (q[0] - k[0] + h - 1, q[1] - k[1] + w - 1)
    return model.rel_pos_embed[layer].unflatten(0, (2 * h - 1, 2 * w - 1))[offset]


def naive_features(
    model: VisionTransformer, x: Tensor, kind: str, where: str, offsets: str, pool: str
) -> Tensor:
    """Returns forward_features written with loops over images, tokens, heads and pairs."""
    d, results = DIM // HEADS, []
    for image in x:
        tokens = [] if pool == "gap" else [model.cls_token[0, 0]]
        for row, column in itertools.product(*map(range, GRID)):
            patch = image[:, row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH]
            weight = model.patch_embed.proj.weight
            tokens.append((weight * patch).sum((1, 2, 3)) + model.patch_embed.proj.bias)
        for layer, block in enumerate(model.blocks):
            if kind not in ("none", "relative") and (layer == 0 or where != "stem"):
                row = layer if where == "every_layer" else 0
                tokens = [t + naive_vector(model, kind, row, i, pool) for i, t in enumerate(tokens)]
            qkv = [block.attn.qkv(block.norm1(t)).view(3, HEADS, d) for t in tokens]
            for i in range(len(tokens)):
                heads = []
                for head in range(HEADS):
                    logits = []
                    for j in range(len(tokens)):
                        compared = qkv[j][1, head]
                        if kind == "relative":
                            compared = compared + naive_relative_key(
                                model, layer, i, j, offsets, pool
                            )
                        logits.append(qkv[i][0, head] @ compared / math.sqrt(d))
                    shares = torch.stack(logits).softmax(0)
                    heads.append(sum(s * qkv[j][2, head] for j, s in enumerate(shares)))
                tokens[i] = tokens[i] + block.attn.proj(torch.cat(heads))
            tokens = [t + block.mlp(block.norm2(t)) for t in tokens]
        results.append(torch.stack([model.norm(t) for t in tokens]))
    return torch.stack(results)


@every_kind
@every_pool
@torch.no_grad()
def test_features_are_those_of_plain_loops(kind: str, where: str, offsets: str, pool: str) -> None:
    model, x = build(kind, where, offsets, pool), images()
    expected = naive_features(model, x, kind, where, offsets, pool)
    # sincos_2d's table is made in float32.
    torch.testing.assert_close(model.forward_features(x), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("kind", "where", "offsets"), RELATIVE)
@every_pool
def test_relative_tables_start_as_none_exactly(
    kind: str, where: str, offsets: str, pool: str
) -> None:
    model_config = ModelConfig(
        depth=DEPTH, embed_dim=DIM, mlp_dim=24, num_heads=HEADS, patch_size=PATCH, pool=pool
    )
    models = []
    for pos_emb in (PosEmbConfig(kind="none"), PosEmbConfig(kind=kind, offsets=offsets)):
        torch.manual_seed(0)
        models.append(build_model(RunConfig(model=model_config, pos_emb=pos_emb), IMG_SIZE, 5))
    x = images().float()
    assert torch.equal(models[0].forward_features(x), models[1].forward_features(x))


@every_kind
@torch.no_grad()
def test_only_none_ignores_the_order_of_patches(kind: str, where: str, offsets: str) -> None:
    model, x = build(kind, where, offsets, "gap"), images()
    patches = F.unfold(x, PATCH, stride=PATCH)
    order = torch.randperm(patches.shape[-1], generator=torch.Generator().manual_seed(3))
    shuffled = F.fold(patches[..., order], IMG_SIZE, PATCH, stride=PATCH)
    change = (model(x) - model(shuffled)).abs().max()
    assert change < 1e-12 if kind == "none" else change > 1e-3


@every_kind
@every_pool
def test_gradients_reach_every_table(kind: str, where: str, offsets: str, pool: str) -> None:
    model = build(kind, where, offsets, pool)
    # Of all tokens: in the last layer the class token's queries alone decide the logits.
    features = model.forward_features(images())
    (features * torch.randn_like(features)).sum().backward()
    tables = [(n, p) for n, p in model.named_parameters() if "pos" in n]
    assert bool(tables) == (kind not in ("none", "sincos_2d"))
    for name, table in tables:
        assert table.grad is not None, name
        assert (table.grad.abs().sum(-1) > 0).all(), name


@every_kind
@every_pool
def test_tables_have_the_sizes_of_the_paper(kind: str, where: str, offsets: str, pool: str) -> None:
    (h, w), cls, d = GRID, int(pool == "token"), DIM // HEADS
    layers = DEPTH if where == "every_layer" else 1
    num_offsets = (2 * h * w - 1) if offsets == "1d" else (2 * h - 1) * (2 * w - 1)
    halves = {"pos_embed_x": (layers, w, DIM // 2), "pos_embed_y": (layers, h, DIM // 2)}
    expected = {
        "learned_1d": {"pos_embed": (layers, cls + h * w, DIM)},
        "learned_2d": halves | ({"pos_embed_cls": (layers, 1, DIM)} if cls else {}),
        "relative": {"rel_pos_embed": (DEPTH, num_offsets, d)}
        | ({"rel_pos_cls": (DEPTH, 3, d)} if cls else {}),
    }
    state = build(kind, where, offsets, pool).state_dict()
    assert {n: tuple(p.shape) for n, p in state.items() if "pos" in n} == expected.get(kind, {})


@pytest.mark.parametrize(("kind", "where", "offsets"), LEARNED)
def test_absolute_tables_start_as_in_the_official_code(kind: str, where: str, offsets: str) -> None:
    torch.manual_seed(0)
    model_config = ModelConfig(depth=2, embed_dim=64, mlp_dim=8, num_heads=2, patch_size=2)
    pos_emb = PosEmbConfig(kind=kind, where=where, offsets=offsets)
    model = build_model(RunConfig(model=model_config, pos_emb=pos_emb), (32, 32), 5)
    values = torch.cat([p.flatten() for n, p in model.named_parameters() if "pos" in n])
    assert values.std().item() == pytest.approx(0.02, rel=0.06)
    assert abs(values.mean()) < 0.002
