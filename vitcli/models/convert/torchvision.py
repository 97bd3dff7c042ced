"""torchvision's names of its `VisionTransformer`: read, not written."""

from __future__ import annotations

import re

from torch import Tensor

from vitcli.models.convert.checkpoint import Found, refuse_parts

ANCHOR = "conv_proj.weight"  # the patch projection
_ONCE = {
    "class_token": "cls_token",
    "encoder.pos_embedding": "pos_embed",
    "conv_proj": "patch_embed.proj",
    "encoder.ln": "norm",
    "heads.pre_logits": "pre_logits.fc",
    "heads.head": "head",
}
_BLOCK = {
    "ln_1": "norm1",
    "ln_2": "norm2",
    "self_attention.in_proj": "attn.qkv",
    "self_attention.out_proj": "attn.proj",
    "mlp.0": "mlp.fc1",
    "mlp.3": "mlp.fc2",
    "mlp.linear_1": "mlp.fc1",  # of older versions
    "mlp.linear_2": "mlp.fc2",
}
_ENCODER = re.compile(r"encoder\.|conv_proj\.|class_token")
_LAYER = re.compile(r"encoder\.layers\.encoder_layer_(\d+)\.(.+)")


def read_torchvision(tensors: dict[str, Tensor]) -> Found:
    """Returns what a checkpoint with torchvision's names holds.

    Raises:
        ValueError: it has parts of a network that ours has not.
    """
    named = {name: _ours(name) for name in tensors}
    unused = [name for name, ours in named.items() if ours is None]
    refuse_parts([name for name in unused if _ENCODER.match(name)])
    state = {ours: tensors[name] for name, ours in named.items() if ours is not None}
    preprocess = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    assumed = [
        "GELU erf, norm eps 1e-6, mean and std of ImageNet, bilinear; how images are cropped is "
        "not in the file (torchvision's ViTs)"
    ]
    facts = {"model.gelu": "erf", "model.norm_eps": 1e-6}
    return Found("torchvision", state, unused, facts, None, dict(preprocess), assumed)


def _ours(name: str) -> str | None:
    """Returns our name of a weight; None: it is no part of the network."""
    if name in _ONCE:
        return _ONCE[name]
    layer = _LAYER.fullmatch(name)
    module, _, kind = (layer[2] if layer else name).rpartition(".")
    if module == "self_attention":  # in_proj_weight
        module, _, kind = f"self_attention.{kind}".rpartition("_")
    ours = (_BLOCK if layer else _ONCE).get(module)
    if ours is None or kind not in ("weight", "bias"):
        return None
    return f"blocks.{layer[1]}.{ours}.{kind}" if layer else f"{ours}.{kind}"
