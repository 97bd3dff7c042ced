"""timm's names, which are ours: what its models do that names do not say, and how to make them."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitcli.config import RunConfig
from vitcli.models.convert.checkpoint import Checkpoint, Found, only_plain, refuse_parts

_ENCODER = re.compile(
    r"patch_embed\.|blocks\.|norm|fc_norm|(reg|dist)_token|attn_pool|head_dist|stem\.|stages\."
)
_OURS = re.compile(
    r"(cls_token|pos_embed(_x|_y|_cls)?|rel_pos_embed|rel_pos_cls"
    r"|(patch_embed\.(proj|backbone\.(stem\.(conv|norm)|stages\.\d+\.blocks\.\d+\.(conv\d|norm\d"
    r"|downsample\.(conv|norm))))|blocks\.\d+\.(norm[12]|attn\.(qkv|proj)|mlp\.fc[12])"
    r"|norm|fc_norm|pre_logits\.fc|head)\.(weight|bias)"
    # BiT's
    r"|stem\.conv\.weight|head\.fc\.(weight|bias)"
    r"|stages\.\d+\.blocks\.\d+\.(conv\d\.weight|norm\d\.(weight|bias)|downsample\.conv\.weight))"
)
_GELU = {"GELU": "erf", "GELUTanh": "tanh"}
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


def read_timm(
    tensors: dict[str, Tensor],
    config: dict[str, Any] | None,
    arguments: dict[str, Any] | None = None,
) -> Found:
    """Returns what a checkpoint with timm's names holds.

    Args:
        config: the config.json that timm's folders have, if there is one.
        arguments: the like of a file of timm's train.py.
    Raises:
        ValueError: it has parts of a network that ours has not.
    """
    if config is None:
        return _by_names(tensors) if arguments is None else _by_arguments(tensors, arguments)
    try:
        model = _timms(config, config.get("num_classes", 0))
    except Exception as error:  # timm asserts, and raises all kinds, where arguments make no model
        why = str(error).split("\n")[0]
        raise ValueError(f"config.json: timm makes no model of it: {why}") from None
    for name, tensor in model.state_dict().items():
        if (
            name.startswith(("blocks.", "stages."))
            and tensors.get(name, tensor).shape != tensor.shape
        ):
            there, said = (list(t.shape) for t in (tensors[name], tensor))
            raise ValueError(f"config.json: {name} would be {said}, and is {there}")
    found = of_model(model, tensors, config.get("pretrained_cfg", {}))
    names = config.get("label_names")
    return replace(found, classes=names) if isinstance(names, list) else found


def _timms(config: dict[str, Any], num_classes: int) -> Any:
    """Returns the model that timm makes of a config, without memory for its weights."""
    from timm.models import create_model

    with torch.device("meta"):
        options = {"num_classes": num_classes} | config.get("model_args", {})
        return create_model(config["architecture"], **options)


def _by_arguments(tensors: dict[str, Tensor], arguments: dict[str, Any]) -> Found:
    """Returns what a file of train.py holds; by its names alone, if its model does not fit them."""
    head = tensors.get("head.weight", tensors.get("head.fc.weight"))
    try:
        model = _timms(arguments, 0 if head is None else len(head))
        shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    except Exception as error:  # as above
        shapes, why = {}, str(error).split("\n")[0]
    else:
        why = "of other weights"
    if shapes == {name: tensor.shape for name, tensor in tensors.items()}:
        return of_model(model, tensors, model.pretrained_cfg | arguments["pretrained_cfg"])
    found = _by_names(tensors)
    found.assumed.append(f"arch {arguments['architecture']} of the file is not used: {why}")
    return found


def _by_names(tensors: dict[str, Tensor]) -> Found:
    """Returns what a file of timm's names alone holds, and what timm's models do by habit."""
    if "patch_embed.proj.weight" not in tensors:
        found = _found(tensors, {})
        found.assumed.append(
            "BiT's standardised convolutions, units normed before each, pixels in [-1, 1], bilinear"
        )
        return found
    found = _found(tensors, {"model.gelu": "erf", "model.norm_eps": 1e-6})
    pooled = "the class token" if "cls_token" in tensors else "the mean of the patch tokens"
    found.assumed.append(
        f"GELU erf, norm eps 1e-6, blocks with a norm before attention and MLP, {pooled} as "
        "representation, pixels in [-1, 1], bicubic (timm's ViTs)"
    )
    found.preprocess["interpolation"] = "bicubic"
    return found


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
        pretrained: timm's `pretrained_cfg`, of which what it says of images counts.
    Raises:
        ValueError: it is none that ours can be.
    """
    if type(model).__name__ == "ResNetV2":
        _check_bit(model)
        found = _found(tensors, {}, tuple(pretrained.get("input_size", (3, 224, 224))[1:]))
    else:
        found = _found(tensors, _facts(model), tuple(model.patch_embed.img_size))
        found.preprocess["interpolation"] = "bicubic"
    for key in ("interpolation", "mean", "std", "crop_pct", "crop_mode"):
        if (value := pretrained.get(key)) is not None:
            found.preprocess[key] = tuple(value) if key in ("mean", "std") else value
    return found


def _facts(model: Any) -> dict[str, Any]:
    """Returns what a timm ViT computes, by our keys. Raises ValueError for what ours cannot be."""
    if not hasattr(model, "blocks") or type(model.blocks[0]).__name__ != "Block":
        block = type(model.blocks[0]).__name__ if hasattr(model, "blocks") else "none"
        raise ValueError(f"timm's {type(model).__name__}, blocks {block}: no ViT of the paper")
    has_class = model.cls_token is not None
    pools = {"token": "token", "avg": "gap_class" if has_class else "gap"}
    if model.global_pool not in pools:
        raise ValueError(
            f"global_pool={model.global_pool} of the timm model: ours has the class token or the "
            "mean of the patch tokens"
        )
    act = type(model.blocks[0].mlp.act).__name__
    if act not in _GELU:
        raise ValueError(f"activation {act} of the timm model: ours has GELU, tanh or erf")
    return {
        "model.gelu": _GELU[act],
        "model.norm_eps": model.blocks[0].norm1.eps,
        "model.num_heads": model.blocks[0].attn.num_heads,
        "model.pool": pools[model.global_pool],
    }


def _check_bit(model: Any) -> None:
    """Raises ValueError for a ResNet of timm's that is no BiT."""
    from timm.layers.norm_act import GroupNormAct
    from timm.layers.std_conv import StdConv2d

    unit, first = model.stages[0].blocks[0], getattr(model.stem, "conv", None)
    kinds = (type(first), type(unit).__name__, type(model.norm))
    if kinds != (StdConv2d, "PreActBottleneck", GroupNormAct) or not hasattr(model.stem, "pad"):
        raise ValueError("a ResNetV2 of timm's with other parts than BiT's")


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
    if model.family == "resnet":
        return _bit_name(config), {"num_classes": checkpoint.num_classes}
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


def _found(
    tensors: dict[str, Tensor], facts: dict[str, Any], img_size: tuple[int, int] | None = None
) -> Found:
    state = {name: t for name, t in tensors.items() if _OURS.fullmatch(name)}
    unused = [name for name in tensors if name not in state]
    refuse_parts([name for name in unused if _ENCODER.match(name)])
    return Found("timm", state, unused, facts, img_size)
