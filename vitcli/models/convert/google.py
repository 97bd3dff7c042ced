"""Google's names: `vision_transformer` (the paper's own code) and `big_vision`, in npz files.

Both keep matrices as (in, out) and kernels as (height, width, in, out), and query, key and value
apart, with an axis of heads.

Shapes: D width, H heads, d = D/H.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vitcli.models.convert.checkpoint import (
    Checkpoint,
    Found,
    listing,
    only_plain,
    refuse_parts,
    units_per_stage,
)

# Where training code keeps the weights among an optimizer's moments: the one to take first.
_PLACES = ("", "params/", "opt/target/", "params/img/")
ANCHOR = "embedding/kernel"
_TABLE = "Transformer/posembed_input/pos_embedding"
_BIG_VISION = {  # its names of a block's modules -> the older ones
    "MultiHeadDotProductAttention_0": "MultiHeadDotProductAttention_1",
    "MlpBlock_0": "MlpBlock_3",
    "LayerNorm_1": "LayerNorm_2",
}
_ENCODER = re.compile(r"Transformer/|MAPHead|block\d|conv_root|gn_root")


@dataclass(frozen=True)
class Layout:
    """How a tensor of ours lies in theirs: (theirs) -> ours and (ours, heads) -> theirs."""

    read: Callable[[list[Tensor]], Tensor]
    write: Callable[[Tensor, int], list[Tensor]]


def _split_heads(weight_3DxD: Tensor, heads: int) -> list[Tensor]:
    return [w_DD.T.reshape(len(w_DD), heads, -1) for w_DD in weight_3DxD.chunk(3)]


_SAME = Layout(lambda t: t[0], lambda t, _: [t])
VECTOR = Layout(lambda t: t[0].flatten(), lambda t, _: [t])  # norms of a ResNet: (1, 1, 1, C) too
_DENSE = Layout(lambda t: t[0].T, lambda t, _: [t.T])
CONV = Layout(lambda t: t[0].permute(3, 2, 0, 1), lambda t, _: [t.permute(2, 3, 1, 0)])
_QKV = Layout(lambda t: torch.cat([kernel.flatten(1).T for kernel in t]), _split_heads)
_QKV_BIAS = Layout(
    lambda t: torch.cat([bias.flatten() for bias in t]),
    lambda t, heads: [bias.view(heads, -1) for bias in t.chunk(3)],
)
_OUT = Layout(lambda t: t[0].flatten(0, 1).T, lambda t, heads: [t.T.reshape(heads, -1, len(t))])


def read_google(tensors: dict[str, Tensor]) -> Found:
    """Returns what a file with Google's names holds.

    Raises:
        ValueError: it has parts of a network that ours has not.
    """
    prefix, assumed = place_of(tensors, ANCHOR)
    inside = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    named = _old_names(inside)
    state, used = dict[str, Tensor](), set[str]()
    for ours, theirs, layout in _pairs(*_sizes(named)):
        if all(name in named for name in theirs):
            state[ours] = layout.read([named[name] for name in theirs])
            used.update(theirs)
    left = [name for name in named if name not in used]
    refuse_parts([name for name in left if _ENCODER.match(name)])
    facts: dict[str, object] = {"model.gelu": "tanh", "model.norm_eps": 1e-6}
    query = named.get("Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel")
    if query is not None and query.ndim == 3:
        facts["model.num_heads"] = query.shape[1]
    if _TABLE not in named and named is not inside:
        facts["pos_emb.kind"] = "sincos_2d"  # big_vision's only one without a table
    outside = [n for n in tensors if not n.startswith(prefix)]
    return Found(
        "google", state, left + outside, facts,
        assumed=[
            *assumed, "GELU tanh, norm eps 1e-6, pixels in [-1, 1], bilinear (Google's code)"
        ],
    )  # fmt: skip


def places(tensors: Iterable[str], anchor: str) -> list[str]:
    """Returns what is before the names of each network that has this weight."""
    return [n.removesuffix(anchor) for n in tensors if n == anchor or n.endswith(f"/{anchor}")]


def place_of(tensors: Iterable[str], anchor: str, own: str = "") -> tuple[str, list[str]]:
    """Returns what is before the names of the network with this weight, and what that assumes.

    Args:
        own: what the code base itself puts there.
    Raises:
        ValueError: there are several, and none at a usual place.
    """
    found = places(tensors, anchor)
    usual = [place + part for place in _PLACES for part in (own, "") if place + part in found]
    if not usual and len(found) > 1:
        raise ValueError(f"several networks, {listing(found)}: save the weights of one alone")
    place = [*usual, *found][0]
    said = place.removesuffix(own)
    return place, [f"{said!r} taken off the names"] if said else []


def write_google(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Returns the weights under the names of `vision_transformer`.

    Raises:
        ValueError: the model is none that this code can express.
    """
    only_plain(checkpoint)
    model = checkpoint.config.model
    if model.pool == "gap_class" or model.fc_norm:
        raise ValueError(
            f"model.pool={model.pool}, model.fc_norm={str(model.fc_norm).lower()}: Google's code "
            "has the class token, or the mean of normed tokens without one"
        )
    state = dict(checkpoint.state)
    stages = units_per_stage(state, r"patch_embed\.backbone\.stages\.(\d+)\.blocks\.(\d+)\.")
    heads, tensors = model.num_heads, dict[str, Tensor]()
    for ours, theirs, layout in _pairs(model.depth, stages):
        if ours in state:
            tensors.update(zip(theirs, layout.write(state.pop(ours), heads), strict=True))
    assert not state, f"no name for {list(state)}"
    return tensors


def _sizes(named: Iterable[str]) -> tuple[int, list[int]]:
    """Returns the depth and the ResNet's units in each stage."""
    layers = {m[1] for n in named if (m := re.match(r"Transformer/encoderblock_(\d+)/", n))}
    return len(layers), units_per_stage(named, r"block(\d+)/unit(\d+)/")


def _old_names(inside: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors under the older names; the very dict if they have them already."""
    is_big_vision = any("MlpBlock_0" in name or name == "pos_embedding" for name in inside)
    if not is_big_vision:
        return inside
    named = {}
    for name, tensor in inside.items():
        block = re.match(r"Transformer/(encoderblock(?:_\d+)?)/(\w+)/(.+)", name)
        if name == "pos_embedding":
            named[_TABLE] = tensor
        elif not block:
            named[name] = tensor
        else:
            module, rest = _BIG_VISION.get(block[2], block[2]), block[3]
            if block[1] == "encoderblock":  # all layers in one array, as a scan leaves them
                for i, layer in enumerate(tensor):
                    named[f"Transformer/encoderblock_{i}/{module}/{rest}"] = layer
            else:
                named[f"Transformer/{block[1]}/{module}/{rest}"] = tensor
    return named


def _pairs(depth: int, stages: list[int]) -> Iterator[tuple[str, tuple[str, ...], Layout]]:
    """Yields each name of ours, its name or names in Google's code, and the layout there."""
    yield "cls_token", ("cls",), _SAME
    yield "pos_embed", (_TABLE,), _SAME
    yield from _layer("patch_embed.proj", "embedding", CONV)
    yield from _norm("norm", "Transformer/encoder_norm")
    yield from _layer("pre_logits.fc", "pre_logits", _DENSE)
    yield from _layer("head", "head", _DENSE)
    for i in range(depth):
        ours, theirs = f"blocks.{i}", f"Transformer/encoderblock_{i}"
        attention = f"{theirs}/MultiHeadDotProductAttention_1"
        parts = [f"{attention}/{part}" for part in ("query", "key", "value")]
        yield f"{ours}.attn.qkv.weight", tuple(f"{part}/kernel" for part in parts), _QKV
        yield f"{ours}.attn.qkv.bias", tuple(f"{part}/bias" for part in parts), _QKV_BIAS
        yield from _layer(f"{ours}.attn.proj", f"{attention}/out", _OUT)
        yield from _norm(f"{ours}.norm1", f"{theirs}/LayerNorm_0")
        yield from _norm(f"{ours}.norm2", f"{theirs}/LayerNorm_2")
        yield from _layer(f"{ours}.mlp.fc1", f"{theirs}/MlpBlock_3/Dense_0", _DENSE)
        yield from _layer(f"{ours}.mlp.fc2", f"{theirs}/MlpBlock_3/Dense_1", _DENSE)
    stem = "patch_embed.backbone.stem"
    yield f"{stem}.conv.weight", ("conv_root/kernel",), CONV
    yield from _norm(f"{stem}.norm", "gn_root")
    for stage, units in enumerate(stages):
        for unit in range(units):
            ours = f"patch_embed.backbone.stages.{stage}.blocks.{unit}"
            theirs = f"block{stage + 1}/unit{unit + 1}"
            convs = [(f"conv{n}", f"norm{n}", f"conv{n}", f"gn{n}") for n in (1, 2, 3)]
            convs += [("downsample.conv", "downsample.norm", "conv_proj", "gn_proj")]
            for conv, norm, their_conv, their_norm in convs:
                yield f"{ours}.{conv}.weight", (f"{theirs}/{their_conv}/kernel",), CONV
                yield from _norm(f"{ours}.{norm}", f"{theirs}/{their_norm}")


def _layer(ours: str, theirs: str, layout: Layout) -> Iterator[tuple[str, tuple[str, ...], Layout]]:
    yield f"{ours}.weight", (f"{theirs}/kernel",), layout
    yield f"{ours}.bias", (f"{theirs}/bias",), VECTOR


def _norm(ours: str, theirs: str) -> Iterator[tuple[str, tuple[str, ...], Layout]]:
    yield f"{ours}.weight", (f"{theirs}/scale",), VECTOR
    yield f"{ours}.bias", (f"{theirs}/bias",), VECTOR
