"""How timm makes a model of ours: its name there, and the arguments of `create_model`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from vitcli.config import RunConfig
from vitcli.models.convert.checkpoint import Checkpoint, only_plain

_SIZES = {  # depth, width, heads, patch -> of timm's models with an MLP of four times the width
    "vit_tiny_patch16_224": (12, 192, 3, 16),
    "vit_small_patch16_224": (12, 384, 6, 16),
    "vit_base_patch16_224": (12, 768, 12, 16),
    "vit_large_patch16_224": (24, 1024, 16, 16),
    "vit_huge_patch14_224": (32, 1280, 16, 14),
}
_BITS: tuple[tuple[str, tuple[int, ...], int], ...] = (  # name, units in each stage, width factor
    ("50x1", (3, 4, 6, 3), 1),
    ("50x3", (3, 4, 6, 3), 3),
    ("101x1", (3, 4, 23, 3), 1),
    ("101x3", (3, 4, 23, 3), 3),
    ("152x2", (3, 8, 36, 3), 2),
    ("152x4", (3, 8, 36, 3), 4),
)
_HYBRIDS = {  # units in each stage, and the sizes
    "vit_small_r26_s32_224": ([2, 2, 2, 2], (12, 384, 6, 32)),
    "vit_base_r50_s16_224": ([3, 4, 9], (12, 768, 12, 16)),
    "vit_large_r50_s32_224": ([3, 4, 6, 3], (24, 1024, 16, 32)),
}


def timm_call(checkpoint: Checkpoint, path: Path) -> str:
    """Returns the call with which timm makes this model of the file at `path`.

    Raises:
        ValueError: timm has no such model.
    """
    name, options = timm_arguments(checkpoint)
    written = {key: repr(value) for key, value in options.items()}
    if "norm_layer" in options:
        written["norm_layer"] = f"partial(nn.LayerNorm, eps={checkpoint.config.model.norm_eps})"
    listed = "".join(f"{key}={value}, " for key, value in written.items())
    return f"timm.create_model({name!r}, {listed}checkpoint_path={str(path)!r})"


def timm_arguments(checkpoint: Checkpoint) -> tuple[str, dict[str, Any]]:
    """Returns timm's name of this model, and the arguments of `create_model` that it takes.

    Raises:
        ValueError: timm has no such model.
    """
    config, model = checkpoint.config, checkpoint.config.model
    if model.family == "resnet":
        return _bit_name(config), {"num_classes": checkpoint.num_classes}
    only_plain(checkpoint)
    if model.head_hidden:
        raise ValueError("model.head_hidden=true: timm has no hidden layer in the head")
    sizes = (model.depth, model.embed_dim, model.num_heads, model.patch_size)
    if config.stem.layers:
        stages = config.stem.layers[str(model.patch_size)]
        known = [n for n, (units, s) in _HYBRIDS.items() if units == stages and s[3] == sizes[3]]
        stem = config.stem
        if not known or (stem.width, stem.root) != (64, "imagenet") or stem.groups not in (0, 32):
            raise ValueError(f"stem={stem.name} with {stages}: timm has no such hybrid")
        name, default = known[0], _HYBRIDS[known[0]][1]
    else:
        name = next((n for n, s in _SIZES.items() if s[1] == sizes[1]), "vit_base_patch16_224")
        default = _SIZES[name]
    keys = ("depth", "embed_dim", "num_heads", "patch_size")
    options: dict[str, Any] = {
        key: value for key, value, usual in zip(keys, sizes, default, strict=True) if value != usual
    }
    if model.mlp_dim != 4 * model.embed_dim:
        ratio = model.mlp_dim / model.embed_dim
        if int(model.embed_dim * ratio) != model.mlp_dim:  # which timm truncates
            ratio = (model.mlp_dim + 0.5) / model.embed_dim
        options["mlp_ratio"] = ratio
    if model.pool != "token":
        options |= {"global_pool": "avg", "class_token": model.has_class_token}
        options |= {"fc_norm": model.fc_norm}
    if model.gelu == "tanh":
        options["act_layer"] = "gelu_tanh"
    if model.norm_eps != 1e-6:
        options["norm_layer"] = partial(nn.LayerNorm, eps=model.norm_eps)
    options |= {"img_size": checkpoint.img_size, "num_classes": checkpoint.num_classes}
    return name, options


def _bit_name(config: RunConfig) -> str:
    """Returns timm's name of a BiT. Raises ValueError: it has none of these sizes."""
    model = config.model
    known = {(layers, 64 * factor): f"resnetv2_{name}_bit" for name, layers, factor in _BITS}
    name = known.get((tuple(model.layers), model.width))
    if name is None or model.root != "imagenet" or model.groups not in (0, 32):
        raise ValueError(f"model.layers={model.layers}, width {model.width}: timm has no such BiT")
    return name
