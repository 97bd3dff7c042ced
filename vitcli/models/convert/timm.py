"""timm's names, which are ours: what its models do that names do not say, and how to make them."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitcli.models.convert.checkpoint import Checkpoint, Found, only_plain

_ENCODER = re.compile(r"patch_embed\.|blocks\.|norm|fc_norm|(reg|dist)_token|attn_pool|head_dist")
_OURS = re.compile(
    r"(cls_token|pos_embed(_x|_y|_cls)?|rel_pos_embed|rel_pos_cls"
    r"|(patch_embed\.(proj|backbone\.(stem\.(conv|norm)|stages\.\d+\.blocks\.\d+\.(conv\d|norm\d"
    r"|downsample\.(conv|norm))))|blocks\.\d+\.(norm[12]|attn\.(qkv|proj)|mlp\.fc[12])"
    r"|norm|pre_logits\.fc|head)\.(weight|bias))"
)
_GELU = {"GELU": "erf", "GELUTanh": "tanh"}
_SIZES = {  # depth, width, heads, patch -> of timm's models with an MLP of four times the width
    "vit_tiny_patch16_224": (12, 192, 3, 16),
    "vit_small_patch16_224": (12, 384, 6, 16),
    "vit_base_patch16_224": (12, 768, 12, 16),
    "vit_large_patch16_224": (24, 1024, 16, 16),
    "vit_huge_patch14_224": (32, 1280, 16, 14),
}
_HYBRIDS = {  # units in each stage, and the sizes
    "vit_small_r26_s32_224": ([2, 2, 2, 2], (12, 384, 6, 32)),
    "vit_base_r50_s16_224": ([3, 4, 9], (12, 768, 12, 16)),
    "vit_large_r50_s32_224": ([3, 4, 6, 3], (24, 1024, 16, 32)),
}


def read_timm(tensors: dict[str, Tensor], config: dict[str, Any] | None) -> Found:
    """Returns what a checkpoint with timm's names holds.

    Args:
        config: the config.json that timm's folders have, if there is one.
    Raises:
        ValueError: it has parts of a network that ours has not.
    """
    if config is None:
        found = _found(tensors, {"model.gelu": "erf", "model.norm_eps": 1e-6})
        found.assumed.append("GELU erf, norm eps 1e-6, pixels in [-1, 1], bicubic (timm's ViTs)")
        found.preprocess["interpolation"] = "bicubic"
        return found
    from timm.models import create_model

    options = {"num_classes": config.get("num_classes", 0)} | config.get("model_args", {})
    with torch.device("meta"):
        model = create_model(config["architecture"], **options)
    return of_model(model, tensors, config.get("pretrained_cfg", {}))


def download_timm(name: str) -> Found:
    """Returns what timm's pretrained model `name` holds; fetched from the Hub unless cached."""
    from timm.models import create_model

    try:
        model: Any = create_model(name, pretrained=True)
    except RuntimeError as error:
        raise ValueError(f"timm:{name}: {error}") from None
    return of_model(model, model.state_dict(), model.pretrained_cfg)


def of_model(model: Any, tensors: dict[str, Tensor], pretrained: dict[str, Any]) -> Found:
    """Returns what a timm model with these weights does.

    Args:
        pretrained: timm's `pretrained_cfg`, of which mean, std and interpolation count.
    Raises:
        ValueError: it is none that ours can be.
    """
    if not hasattr(model, "blocks") or not hasattr(model.blocks[0], "attn"):
        raise ValueError(f"timm's {type(model).__name__} is no ViT of the paper")
    has_class = model.cls_token is not None
    if model.global_pool != ("token" if has_class else "avg"):
        raise ValueError(
            f"global_pool={model.global_pool} of the timm model: ours pools a class token if there "
            "is one, and else the mean of the normed tokens"
        )
    act = type(model.blocks[0].mlp.act).__name__
    if act not in _GELU:
        raise ValueError(f"activation {act} of the timm model: ours has GELU, tanh or erf")
    facts = {
        "model.gelu": _GELU[act],
        "model.norm_eps": model.norm.eps,
        "model.num_heads": model.blocks[0].attn.num_heads,
    }
    tensors = dict(tensors)
    if has_class and model.no_embed_class:
        tensors["pos_embed"] = F.pad(tensors["pos_embed"], (0, 0, 1, 0))
    found = _found(tensors, facts, tuple(model.patch_embed.img_size))
    found.preprocess["interpolation"] = pretrained.get("interpolation", "bicubic")
    for key in ("mean", "std"):
        if key in pretrained:
            found.preprocess[key] = tuple(pretrained[key])
    return found


def timm_call(checkpoint: Checkpoint, path: Path) -> str:
    """Returns the call with which timm makes this model of the file at `path`.

    Raises:
        ValueError: the model is none that timm's can be.
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
        ValueError: the model is none that timm's can be.
    """
    config, model = checkpoint.config, checkpoint.config.model
    only_plain(checkpoint)
    if model.head_hidden:
        raise ValueError("model.head_hidden=true: timm has no hidden layer in the head")
    sizes = (model.depth, model.embed_dim, model.num_heads, model.patch_size)
    if config.stem.layers:
        stages = config.stem.layers[str(model.patch_size)]
        known = [n for n, (units, s) in _HYBRIDS.items() if units == stages and s[3] == sizes[3]]
        if not known or config.stem.width != 64 or config.stem.root != "imagenet":
            raise ValueError(f"stem={config.stem.name} with {stages}: timm has no such hybrid")
        name, default = known[0], _HYBRIDS[known[0]][1]
    else:
        name = next((n for n, s in _SIZES.items() if s[1] == sizes[1]), "vit_base_patch16_224")
        default = _SIZES[name]
    keys = ("depth", "embed_dim", "num_heads", "patch_size")
    options: dict[str, Any] = {
        key: value for key, value, usual in zip(keys, sizes, default, strict=True) if value != usual
    }
    if model.mlp_dim != 4 * model.embed_dim:
        options["mlp_ratio"] = model.mlp_dim / model.embed_dim
    if model.pool == "gap":
        options |= {"global_pool": "avg", "class_token": False, "fc_norm": False}
    if model.gelu == "tanh":
        options["act_layer"] = "gelu_tanh"
    if model.norm_eps != 1e-6:
        options["norm_layer"] = partial(nn.LayerNorm, eps=model.norm_eps)
    options |= {"img_size": checkpoint.img_size, "num_classes": checkpoint.num_classes}
    return name, options


def _found(
    tensors: dict[str, Tensor], facts: dict[str, Any], img_size: tuple[int, int] | None = None
) -> Found:
    state = {name: t for name, t in tensors.items() if _OURS.fullmatch(name)}
    unused = [name for name in tensors if name not in state]
    parts = [name for name in unused if _ENCODER.match(name)]
    if parts:
        raise ValueError(f"no place in a ViT of the paper for: {', '.join(parts[:8])}")
    return Found("timm", state, unused, facts, img_size)
