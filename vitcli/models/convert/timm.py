"""timm's names, which are ours, and what its models do that names do not say."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from vitcli.models.convert.checkpoint import Found, listing, own_groups, refuse_parts

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
# Of timm's `create_model`: what would fetch weights or read other files.
_ELSEWHERE = re.compile(r"pretrained|checkpoint_path|cache_dir")
# Parts that one file of a model may have and another not.
_CHOICES = ("head.", "norm.", "fc_norm.")


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
        ValueError: it has parts of a network that ours has not, or the config is of another.
    """
    if config is None:
        return _by_names(tensors) if arguments is None else _by_arguments(tensors, arguments)
    try:
        model = _timms(config, config.get("num_classes", 0))
    except Exception as error:  # timm asserts, and raises all kinds, where arguments make no model
        why = str(error).split("\n")[0]
        raise ValueError(f"config.json: timm makes no model of it: {why}") from None
    pretrained = config.get("pretrained_cfg") or {}
    found = of_model(model, tensors, pretrained)
    _check_there(model, tensors, "config.json")
    for name, tensor in model.state_dict().items():
        if name.startswith(("blocks.", "stages.")) and tensors[name].shape != tensor.shape:
            there, said = (list(t.shape) for t in (tensors[name], tensor))
            raise ValueError(f"config.json: {name} would be {said}, and is {there}")
    return replace(found, classes=config.get("label_names", pretrained.get("label_names")))


def _timms(config: dict[str, Any], num_classes: int) -> Any:
    """Returns the model that timm makes of a config, without memory for its weights.

    Nothing is fetched, and no other file read.
    """
    from timm.models import create_model

    name, options = config["architecture"], config.get("model_args") or {}
    if ":" in name:
        raise ValueError(f"architecture {name}: must be the name of one of timm's own models")
    options = {key: value for key, value in options.items() if not _ELSEWHERE.match(key)}
    with torch.device("meta"):
        return create_model(name, **{"num_classes": num_classes, **options})


def _check_there(model: Any, tensors: dict[str, Tensor], who: str) -> None:
    """Raises ValueError, naming some, for weights of timm's model that the file has not."""
    absent = [n for n in model.state_dict() if n not in tensors and not n.startswith(_CHOICES)]
    if absent:
        raise ValueError(f"{who}: not in the file, of what timm makes of it: {listing(absent)}")


def _by_arguments(tensors: dict[str, Tensor], arguments: dict[str, Any]) -> Found:
    """Returns what a file of train.py holds; by its names alone, if its model does not fit them."""
    head = tensors.get("head.weight", tensors.get("head.fc.weight"))
    arch, said = arguments["architecture"], arguments["pretrained_cfg"]
    model = None
    try:
        model = _timms(arguments, 0 if head is None else len(head))
        why = "of other weights"
    except Exception as error:  # as above
        why = str(error).split("\n")[0]
    if model is not None:
        if arguments["whole"]:
            _check_there(model, tensors, f"arch {arch} with its model_kwargs")
        theirs, there = (
            {name: tensor.shape for name, tensor in held.items()}
            for held in (model.state_dict(), tensors)
        )
        other = {name for name, shape in theirs.items() if there.get(name) != shape}
        if other <= {"pos_embed"} & there.keys():
            found = of_model(model, tensors, model.pretrained_cfg | said)
            return replace(found, img_size=None) if other else found
    found = _by_names(tensors)
    found.assumed.append(f"arch {arch} of the file is not used: {why}")
    found.preprocess.update(_images(said))
    if "pos_embed" in tensors or "input_size" not in said:
        return found
    return replace(found, img_size=tuple(said["input_size"][1:]))


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
    except (RuntimeError, OSError) as error:
        raise ValueError(f"timm:{name}: {' '.join(str(error).split())}") from None
    try:
        return of_model(model, model.state_dict(), model.pretrained_cfg)
    except AttributeError as error:  # of another family, that has not what a ViT has
        raise ValueError(
            f"timm's {type(model).__name__} is no ViT or BiT of ours: {error}"
        ) from None


def of_model(model: Any, tensors: dict[str, Tensor], pretrained: dict[str, Any]) -> Found:
    """Returns what a timm model with these weights does.

    Args:
        pretrained: timm's `pretrained_cfg`, of which what it says of images counts.
    Raises:
        ValueError: it is none that ours can be.
    """
    if type(model).__name__ == "ResNetV2":
        _check_bit(model)
        size = tuple(pretrained.get("input_size", (3, 224, 224))[1:])
        found = _found(tensors, {"model.groups": own_groups(model.stem.conv.weight)}, size)
    else:
        found = _found(tensors, _facts(model), tuple(model.patch_embed.img_size))
        found.preprocess["interpolation"] = "bicubic"
        root = tensors.get("patch_embed.backbone.stem.conv.weight")
        found.facts.update({} if root is None else {"stem.groups": own_groups(root)})
    found.preprocess.update(_images(pretrained))
    return found


def _images(pretrained: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of `Preprocess` that timm's `pretrained_cfg` says."""
    keys = ("interpolation", "mean", "std", "crop_pct", "crop_mode")
    said = {key: pretrained[key] for key in keys if pretrained.get(key) is not None}
    said |= {key: tuple(said[key]) for key in ("mean", "std") if key in said}
    return ({"crop_mode": "center"} if "crop_pct" in said else {}) | said  # timm's default


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
    if has_class and model.global_pool == "avg" and model.pool_include_prefix:
        raise ValueError(
            "pool_include_prefix=true of the timm model: ours has the mean of the patch tokens "
            "without the class token"
        )
    act = type(model.blocks[0].mlp.act).__name__
    if act not in _GELU:
        raise ValueError(f"activation {act} of the timm model: ours has GELU, tanh or erf")
    return {
        "model.gelu": _GELU[act],
        "model.norm_eps": model.blocks[0].norm1.eps,
        "model.num_heads": model.blocks[0].attn.num_heads,
        "model.pool": pools[model.global_pool],
    } | ({"pos_emb.kind": "none"} if model.pos_embed is None else {})


def _check_bit(model: Any) -> None:
    """Raises ValueError for a ResNet of timm's that is no BiT."""
    from timm.layers.norm_act import GroupNormAct
    from timm.layers.std_conv import StdConv2d

    unit, first = model.stages[0].blocks[0], getattr(model.stem, "conv", None)
    kinds = (type(first), type(unit).__name__, type(model.norm))
    if kinds != (StdConv2d, "PreActBottleneck", GroupNormAct) or not hasattr(model.stem, "pad"):
        raise ValueError("a ResNetV2 of timm's with other parts than BiT's")
    stride = 4 * 2 ** (len(model.stages) - 1)
    for what, value, bits in (
        ("pooling", model.head.global_pool.pool_type, "avg"),
        ("activation", type(model.norm.act), nn.ReLU),
        ("stride", model.feature_info[-1]["reduction"], stride),
        ("downsampling", type(unit.downsample).__name__, "DownsampleConv"),
        ("groups", model.norm.num_groups, 32),
    ):
        if value != bits:
            there, wanted = (getattr(v, "__name__", v) for v in (value, bits))
            raise ValueError(f"{what} {there} of the timm model: a BiT has {wanted}")


def _found(
    tensors: dict[str, Tensor], facts: dict[str, Any], img_size: tuple[int, int] | None = None
) -> Found:
    state = {name: t for name, t in tensors.items() if _OURS.fullmatch(name)}
    unused = [name for name in tensors if name not in state]
    refuse_parts([name for name in unused if _ENCODER.match(name)])
    return Found("timm", state, unused, facts, img_size)
