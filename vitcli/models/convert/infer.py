"""A run's config from the names and shapes of its weights, and what stays to be said."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vitcli.compose import override
from vitcli.config import RunConfig, StemConfig, backbone_stride
from vitcli.models.convert.checkpoint import (
    Checkpoint,
    Found,
    check_shapes,
    listing,
    num_classes,
    units_per_stage,
)
from vitcli.models.convert.preprocess import Preprocess
from vitcli.rules import validate_fields

# By width: one of the usual 64, and Ti, S, B, L and H (paper, Table 1); others do not tell.
_HEADS = {64: 1, 192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16}
_GROUP_KEYS = ("model.groups", "stem.groups")
_GROUPS = 32  # of group norms in Google's and timm's code, however wide


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
    is_bit = "stem.conv.weight" in state
    values = _bit(state) if is_bit else _model(state) | _pos_emb(state) | _stem(state)
    values |= found.facts
    given = {word.partition("=")[0] for word in overrides}
    assumed += _habits(values, given)
    config = RunConfig()
    for key, value in values.items():
        _set(config, key, value)
    validate_fields(config)
    config = override(config, overrides) if overrides else config
    if not is_bit:
        _must_be_known(config, values, given)
        assumed += _settle_names(state, config, found.img_size or img_size)
    size = found.img_size or _img_size(state, config.model.patch_size, img_size)
    if size is None:
        size = img_size or (224, 224)
        assumed.append(f"images of {size[0]}x{size[1]} (no table)")
    head = "head.fc" if is_bit else "head"
    missing = [n for n in (f"{head}.weight", f"{head}.bias") if n not in state]
    for i in range(config.model.depth):
        if (name := f"blocks.{i}.attn.qkv.bias") not in state:
            state[name] = torch.zeros(3 * config.model.embed_dim)  # as without
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


def _habits(values: dict[str, Any], given: set[str]) -> list[str]:
    """Adds the heads that go with the width; returns what of the values is a habit, and not given.

    Args:
        values: what the file says, by key.
        given: keys of overrides.
    """
    said = dict.fromkeys(_GROUP_KEYS, f"group norms of {_GROUPS} groups (Google's and timm's)")
    if (heads := _HEADS.get(values.get("model.embed_dim", 0))) and "model.num_heads" not in values:
        values["model.num_heads"] = heads
        said["model.num_heads"] = f"{heads} heads (usual at width {values['model.embed_dim']})"
    return [line for key, line in said.items() if key in values and key not in given]


def _set(config: RunConfig, key: str, value: Any) -> None:
    """Sets what a file says. Raises ValueError for another type than the key's."""
    group, name = key.split(".")
    section = getattr(config, group)
    wanted = type(getattr(section, name))
    if type(value) is not wanted and not (wanted is float and type(value) is int):
        raise ValueError(f"{key}={value!r}, as its config says, is no {wanted.__name__}")
    setattr(section, name, value)


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
        **_head(state, projection.shape[0]),
    }


def _head(state: dict[str, Tensor], width: int) -> dict[str, Any]:
    """Returns how tokens become what the head is given."""
    values: dict[str, Any] = {"model.fc_norm": "fc_norm.weight" in state}
    if "cls_token" not in state:
        values["model.pool"] = "gap"
    elif not values["model.fc_norm"]:  # with it, both are possible
        values["model.pool"] = "token"
    hidden = state.get("pre_logits.fc.weight")
    values["model.head_hidden"] = hidden is not None
    if hidden is not None and len(hidden) != width:
        values["model.head_hidden_dim"] = len(hidden)
    return values


def _bit(state: dict[str, Tensor]) -> dict[str, Any]:
    """Returns what names and shapes say of a BiT ResNet."""
    first = state["stem.conv.weight"]
    return {
        "model.name": "bit",
        "model.family": "resnet",
        "model.layers": units_per_stage(state, r"stages\.(\d+)\.blocks\.(\d+)\."),
        "model.root": _root(first),
        **_width("model", first),
        "pos_emb.kind": "none",
    }


def _pos_emb(state: dict[str, Tensor]) -> dict[str, Any]:
    if "rel_pos_embed" in state:
        raise ValueError("rel_pos_embed: a relative embedding needs the config it was trained with")
    if "pos_embed_x" in state:
        return {"pos_emb.kind": "learned_2d"}
    return {"pos_emb.kind": "learned_1d"} if "pos_embed" in state else {}


def _stem(state: dict[str, Tensor]) -> dict[str, Any]:
    """Returns the hybrid's ResNet, and its stride times the patch on its map."""
    stages = units_per_stage(state, r"patch_embed\.backbone\.stages\.(\d+)\.blocks\.(\d+)\.")
    if not stages:
        return {}
    first = state.get("patch_embed.backbone.stem.conv.weight")
    if first is None:
        raise ValueError("not in the file: patch_embed.backbone.stem.conv.weight")
    root = _root(first)
    stride = backbone_stride(StemConfig(layers={"0": stages}, root=root), 0)
    patch = stride * state["patch_embed.proj.weight"].shape[-1]
    return {
        "stem.name": "resnet",
        "stem.root": root,
        **_width("stem", first),
        "stem.layers": {str(patch): stages},
        "model.patch_size": patch,
    }


def _root(first: Tensor) -> str:
    return "imagenet" if first.shape[-1] == 7 else "small"


def _width(group: str, first: Tensor) -> dict[str, int]:
    """Returns a ResNet's width, and its groups where our own number would be another."""
    width = len(first)
    return {f"{group}.width": width, **({f"{group}.groups": _GROUPS} if width < 64 else {})}


def _settle_names(
    state: dict[str, Tensor], config: RunConfig, wanted: tuple[int, int] | None
) -> list[str]:
    """Changes the state to what our model computes the same with; returns what that assumes.

    A norm of the pooled class token is the norm of all tokens. A table without a row for the class
    token is one with zeros there.
    """
    if config.model.pool == "token" and config.model.fc_norm:
        config.model.fc_norm = False
        for part in ("weight", "bias"):
            state[f"norm.{part}"] = state.pop(f"fc_norm.{part}")
    table = state.get("pos_embed")
    if table is None or "cls_token" not in state:
        return []
    patch = config.model.patch_size
    grid = (wanted[0] // patch) * (wanted[1] // patch) if wanted else 0

    def fits(places: int) -> bool:
        return places == grid or math.isqrt(places) ** 2 == places

    if fits(table.shape[1] - 1) or not fits(table.shape[1]):
        return []
    state["pos_embed"] = F.pad(table, (0, 0, 1, 0))
    return [f"no place for the class token in a table of {table.shape[1]} rows"]


def _must_be_known(config: RunConfig, values: dict[str, Any], given: set[str]) -> None:
    if "model.pool" not in values and "model.pool" not in given:
        raise ValueError(
            "a class token, and a norm after pooling (fc_norm): give model.pool=gap_class, the "
            "mean of the patch tokens, or model.pool=token"
        )
    if not config.model.num_heads:
        raise ValueError(
            f"width {config.model.embed_dim} does not tell how many heads there are: "
            "give model.num_heads=..."
        )
    if "pos_emb.kind" not in values and "pos_emb.kind" not in given:
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
