"""A run's config from the names and shapes of its weights, and what stays to be said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vitcli.compose import override
from vitcli.config import RunConfig, StemConfig, backbone_stride
from vitcli.models.convert.checkpoint import (
    GROUPS,
    Checkpoint,
    Found,
    check_shapes,
    listing,
    misnamed,
    num_classes,
    own_groups,
    units_per_stage,
)
from vitcli.models.convert.preprocess import Preprocess
from vitcli.models.convert.table import settle_table
from vitcli.rules import validate_fields

# By width: one of the usual 64, and Ti, S, B, L and H (paper, Table 1); others do not tell.
_HEADS = {64: 1, 192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16}
_AXES = {  # of the weights that sizes are read from
    "pos_embed": 3,
    "pos_embed_x": 3,
    "pos_embed_y": 3,
    "patch_embed.proj.weight": 4,
    "patch_embed.backbone.stem.conv.weight": 4,
    "blocks.0.mlp.fc1.weight": 2,
    "pre_logits.fc.weight": 2,
    "head.weight": 2,
    "head.fc.weight": 4,
    "stem.conv.weight": 4,
}


def infer(
    found: Found, overrides: Sequence[str] = (), img_size: tuple[int, int] | None = None
) -> Checkpoint:
    """Returns the checkpoint that a reader has found, its config inferred.

    Args:
        overrides: single keys that the file does not tell, as `model.num_heads=8`.
        img_size: (height, width) wanted; tells the grid where nothing else does.
    Raises:
        ValueError: what cannot be inferred, with the override that says it; weights that do not
            fit together.
    """
    state, assumed = dict(found.state), list(found.assumed)
    _check_axes(state)
    is_bit = "stem.conv.weight" in state
    values = _bit(state) if is_bit else _model(state) | _pos_emb(state) | _stem(state)
    values |= found.facts
    given = {word.partition("=")[0] for word in overrides}
    assumed += _habits(values, given | set(found.facts))
    config = RunConfig()
    for key, value in values.items():
        set_field(config, key, value)
    validate_fields(config)
    config = override(config, overrides) if overrides else config
    if not is_bit:
        _must_be_known(config, values, given)
        _settle_norm(state, config)
    size = found.img_size
    if "data.img_size" in given:
        size = config.data.height_width
    if not is_bit:
        size, said = settle_table(state, config, size, img_size)
        assumed += said
    if size is None:
        size = img_size or (224, 224)
        assumed.append(f"images of {size[0]}x{size[1]} (no table)")
    missing = _without_head(state, "head.fc" if is_bit else "head")
    if found.code_base == "timm":  # the others' code always has them, or says that it has not
        missing += _filled(state, config)
    heads, classes = num_classes(state), found.classes
    if classes is not None and (wrong := misnamed(classes, heads)):
        assumed.append(f"{wrong}, left out")
        classes = None
    checkpoint = Checkpoint(
        found.code_base,
        config,
        state,
        heads,
        Preprocess(size, **found.preprocess),
        found.unused,
        missing,
        assumed,
        classes,
    )
    check_shapes(checkpoint)
    return checkpoint


def _habits(values: dict[str, Any], known: set[str]) -> list[str]:
    """Adds the heads that go with the width; returns what of the values is a habit, and not known.

    Args:
        values: what the file says, by key.
        known: keys that its config or overrides say.
    """
    said = {
        f"{part}.groups": f"group norms of {GROUPS} groups (Google's and timm's)"
        for part in ("model", "stem")
        if f"{part}.width" in values
    }
    if (heads := _HEADS.get(values.get("model.embed_dim", 0))) and "model.num_heads" not in values:
        values["model.num_heads"] = heads
        said["model.num_heads"] = f"{heads} heads (usual at width {values['model.embed_dim']})"
    return [line for key, line in said.items() if key not in known]


def set_field(config: RunConfig, key: str, value: Any) -> None:
    """Sets what a file says. Raises ValueError for another type than the key's."""
    group, name = key.split(".")
    section = getattr(config, group)
    wanted = type(getattr(section, name))
    if type(value) is not wanted and not (wanted is float and type(value) is int):
        raise ValueError(f"{key}={value!r}, as its config says, is no {wanted.__name__}")
    setattr(section, name, value)


def _check_axes(state: dict[str, Tensor]) -> None:
    """Raises ValueError for weights that tell sizes, and have none."""
    for name, axes in _AXES.items():
        tensor = state.get(name)
        if tensor is not None and (tensor.ndim != axes or not tensor.numel()):
            raise ValueError(f"{name} is {tuple(tensor.shape)}: must have {axes} axes, none empty")


def _model(state: dict[str, Tensor]) -> dict[str, Any]:
    """Returns what names and shapes say of `model`."""
    needed = ("patch_embed.proj.weight", "blocks.0.mlp.fc1.weight")
    if absent := [name for name in needed if name not in state]:
        raise ValueError(f"not in the file: {listing(absent)}")
    projection, dense = (state[name] for name in needed)
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
    return {f"{group}.width": len(first), f"{group}.groups": own_groups(first)}


def _settle_norm(state: dict[str, Tensor], config: RunConfig) -> None:
    """Changes the names to those of our model: a norm of the class token is one of all tokens.

    Raises ValueError: the file has both, one after the other.
    """
    if config.model.pool == "token" and config.model.fc_norm:
        if "norm.weight" in state:
            raise ValueError(
                "model.pool=token: the file has norm and fc_norm, and no model here has both"
            )
        config.model.fc_norm = False
        for part in ("weight", "bias"):
            if f"fc_norm.{part}" in state:
                state[f"norm.{part}"] = state.pop(f"fc_norm.{part}")


def _without_head(state: dict[str, Tensor], head: str) -> list[str]:
    """Returns the names of a head's weights that are not there."""
    return [name for part in ("weight", "bias") if (name := f"{head}.{part}") not in state]


def _filled(state: dict[str, Tensor], config: RunConfig) -> list[str]:
    """Adds zeros for biases of attention, as without; returns their names."""
    missing = list[str]()
    for i in range(config.model.depth):
        if (name := f"blocks.{i}.attn.qkv.bias") not in state:
            state[name] = torch.zeros(3 * config.model.embed_dim)
            missing.append(name)
    return missing


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
