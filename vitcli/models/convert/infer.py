"""A run's config from the names and shapes of its weights, and what stays to be said."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vitcli.compose import override
from vitcli.config import RunConfig, StemConfig, backbone_stride
from vitcli.models.convert.checkpoint import (
    Checkpoint,
    Found,
    Preprocess,
    check_shapes,
    listing,
    num_classes,
)

_H_WIDTH, _H_HEADS = 1280, 16  # ViT-H: heads of 80, where the paper's others have 64
_WIDEST = 1024  # of the ViTs whose heads are known to be 64 wide


def infer(
    found: Found, overrides: Sequence[str] = (), img_size: tuple[int, int] | None = None
) -> Checkpoint:
    """Returns the checkpoint that a reader has found, its config inferred.

    Args:
        overrides: single keys that the file does not tell, as `model.num_heads=8`.
        img_size: (height, width) wanted; tells the grid where the table is no square.
    Raises:
        ValueError: what cannot be inferred, with the override that says it; weights that do not
            fit together.
    """
    state, assumed = dict(found.state), list(found.assumed)
    values = _model(state) | _pos_emb(state) | _stem(state) | found.facts
    heads, width = values.get("model.num_heads"), values["model.embed_dim"]
    if heads is None and (heads := _usual_heads(width)):
        values["model.num_heads"] = heads
        if not any(o.startswith("model.num_heads=") for o in overrides):
            assumed.append(f"{heads} heads (usual for width {width})")
    config = RunConfig()
    for key, value in values.items():
        group, name = key.split(".")
        setattr(getattr(config, group), name, value)
    config = override(config, overrides) if overrides else config
    _must_be_known(config, values, overrides)
    size = found.img_size or _img_size(state, config.model.patch_size, img_size)
    if size is None:
        size = img_size or (224, 224)
        assumed.append(f"images of {size[0]}x{size[1]} (no table)")
    missing = [name for name in ("head.weight", "head.bias") if name not in state]
    for i in range(config.model.depth):
        if (name := f"blocks.{i}.attn.qkv.bias") not in state:
            state[name] = torch.zeros(3 * width)  # as without
            missing.append(name)
    preprocess = Preprocess(size, **found.preprocess)
    checkpoint = Checkpoint(
        found.code_base,
        config,
        state,
        num_classes(state),
        preprocess,
        found.unused,
        missing,
        assumed,
        found.classes,
    )
    check_shapes(checkpoint)
    return checkpoint


def _model(state: dict[str, Tensor]) -> dict[str, Any]:
    """Returns what names and shapes say of `model`."""
    needed = ("patch_embed.proj.weight", "blocks.0.mlp.fc1.weight")
    if absent := [name for name in needed if name not in state]:
        raise ValueError(f"not in the file: {listing(absent)}")
    projection, dense = (state[name] for name in needed)
    if projection.ndim != 4 or dense.ndim != 2:
        raise ValueError(f"{needed[0]} is {tuple(projection.shape)}: not (out, in, height, width)")
    if projection.shape[2] != projection.shape[3]:
        raise ValueError(f"patches of {tuple(projection.shape[2:])}: must be squares")
    layers = {m[1] for name in state if (m := re.match(r"blocks\.(\d+)\.", name))}
    return {
        "model.name": "vit",
        "model.family": "vit",
        "model.depth": len(layers),
        "model.embed_dim": projection.shape[0],
        "model.mlp_dim": dense.shape[0],
        "model.patch_size": projection.shape[2],
        "model.pool": "token" if "cls_token" in state else "gap",
        "model.head_hidden": "pre_logits.fc.weight" in state,
    }


def _pos_emb(state: dict[str, Tensor]) -> dict[str, Any]:
    if "rel_pos_embed" in state:
        raise ValueError("rel_pos_embed: a relative embedding needs the config it was trained with")
    if "pos_embed_x" in state:
        return {"pos_emb.kind": "learned_2d"}
    return {"pos_emb.kind": "learned_1d"} if "pos_embed" in state else {}


def _stem(state: dict[str, Tensor]) -> dict[str, Any]:
    """Returns the hybrid's ResNet, and its stride times the patch on its map."""
    stages: dict[int, set[int]] = {}
    for name in state:
        if m := re.match(r"patch_embed\.backbone\.stages\.(\d+)\.blocks\.(\d+)\.", name):
            stages.setdefault(int(m[1]), set()).add(int(m[2]))
    if not stages:
        return {}
    first = state.get("patch_embed.backbone.stem.conv.weight")
    if first is None:
        raise ValueError("not in the file: patch_embed.backbone.stem.conv.weight")
    units = [len(stages[stage]) for stage in sorted(stages)]
    root = "imagenet" if first.shape[-1] == 7 else "small"
    stride = backbone_stride(StemConfig(layers={"0": units}, root=root), 0)
    patch = stride * state["patch_embed.proj.weight"].shape[-1]
    return {
        "stem.name": "resnet",
        "stem.root": root,
        "stem.width": first.shape[0],
        "stem.layers": {str(patch): units},
        "model.patch_size": patch,
    }


def _usual_heads(width: int) -> int | None:
    if width == _H_WIDTH:
        return _H_HEADS
    return width // 64 if width % 64 == 0 and width <= _WIDEST else None


def _must_be_known(config: RunConfig, values: dict[str, Any], overrides: Sequence[str]) -> None:
    if not config.model.num_heads:
        raise ValueError(
            f"width {config.model.embed_dim} does not tell how many heads there are: "
            "give model.num_heads=..."
        )
    if "pos_emb.kind" not in values and not any(o.startswith("pos_emb.kind=") for o in overrides):
        raise ValueError(
            "the file has no position table: give pos_emb.kind=none or pos_emb.kind=sincos_2d"
        )


def _img_size(
    state: dict[str, Tensor], patch: int, wanted: tuple[int, int] | None
) -> tuple[int, int] | None:
    """Returns the size in pixels that the table is for; None: there is no table."""
    if "pos_embed_x" in state and "pos_embed_y" in state:
        return state["pos_embed_y"].shape[1] * patch, state["pos_embed_x"].shape[1] * patch
    if "pos_embed" not in state:
        return None
    places = state["pos_embed"].shape[1] - int("cls_token" in state)
    side = math.isqrt(places)
    if side * side == places:
        return side * patch, side * patch
    if wanted is not None and (wanted[0] // patch) * (wanted[1] // patch) == places:
        return wanted
    raise ValueError(
        f"pos_embed is for {places} patches, which is no square: "
        f"give img_size=(height, width) of that many patches of {patch} pixels"
    )
