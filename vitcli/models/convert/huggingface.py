"""Hugging Face's `ViTModel` and `ViTForImageClassification`: a folder with a config.json.

Their pooler, dense and tanh, is the hidden layer of our head. Query, key and value are apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from vitcli.models.convert.checkpoint import Checkpoint, Found, only_plain, refuse_parts
from vitcli.models.convert.processor import read_processor, write_processor

_ENCODER = re.compile(r"embeddings\.(?!mask_token)|encoder\.|layernorm\.")
_GELU = {"gelu": "erf", "gelu_pytorch_tanh": "tanh", "gelu_new": "tanh"}
_BLOCK = {  # ours -> theirs, on disk
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
_QKV = {"q": "query", "k": "key", "v": "value"}
_IN_MEMORY: tuple[
    tuple[str, Any], ...
] = (  # transformers 5 renames its modules, and the files it writes keep the old names
    (r"(^|\.)layers\.(\d+)\.", r"\1encoder.layer.\2."),
    (r"\.attention\.([qkv])_proj\.", lambda m: f".attention.attention.{_QKV[m[1]]}."),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)


def read_huggingface(
    tensors: dict[str, Tensor], config: dict[str, Any] | None, processor: dict[str, Any] | None
) -> Found:
    """Returns what a checkpoint with Hugging Face's names holds.

    Args:
        config, processor: config.json and preprocessor_config.json, where there are any.
    Raises:
        ValueError: another model than ViT, or a ViT that ours cannot be.
    """
    facts, img_size, assumed = _facts(config)
    named = {_on_disk(name): tensor for name, tensor in tensors.items()}
    anchor = "embeddings.patch_embeddings.projection.weight"
    prefix = next(n for n in named if n.endswith(anchor)).removesuffix(anchor)
    inside = {n.removeprefix(prefix): t for n, t in named.items()}
    depth = len({m[1] for n in inside if (m := re.match(r"encoder\.layer\.(\d+)\.", n))})
    state = {}
    for ours, theirs in _pairs(depth):
        if all(name in inside for name in theirs):
            state[ours] = torch.cat([inside.pop(name) for name in theirs])
    if "head.weight" in state:  # their classifier sits on the class token, whatever lies beside it
        for part in ("weight", "bias"):
            if f"pre_logits.fc.{part}" in state:
                inside[f"pooler.dense.{part}"] = state.pop(f"pre_logits.fc.{part}")
    refuse_parts([name for name in inside if _ENCODER.match(name)])
    _check_sizes(config or {}, depth, state)
    if config is not None and config.get("qkv_bias") is False:
        for name in [n for n in state if n.endswith(".attn.qkv.weight")]:
            state.setdefault(name.replace("weight", "bias"), torch.zeros(len(state[name])))
        assumed.append("qkv_bias=false: biases of 0")
    preprocess: dict[str, Any] = {}
    said = ["pixels in [-1, 1], bilinear (no preprocessor_config.json)"]
    if processor is not None:
        preprocess, said = read_processor(processor, img_size)
    assumed += said
    classes = _classes(config or {})
    return Found("huggingface", state, list(inside), facts, img_size, preprocess, assumed, classes)


def _classes(config: dict[str, Any]) -> Any:
    """Returns the names of id2label, in order, or what it is where it is of another kind.

    None where there are none but LABEL_0 and so on.
    """
    named = config.get("id2label")
    if not isinstance(named, dict) or set(named) != {str(i) for i in range(len(named))}:
        return named
    names = [named[str(i)] for i in range(len(named))]
    names = [str(name) if type(name) is int else name for name in names]
    return None if names == [f"LABEL_{i}" for i in range(len(names))] else names


def write_huggingface(
    checkpoint: Checkpoint,
) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any], list[str]]:
    """Returns the weights under Hugging Face's names, its two config files, and what they lose.

    Raises:
        ValueError: the model is none that this code can express.
    """
    only_plain(checkpoint)
    model, size = checkpoint.config.model, checkpoint.img_size
    if model.pool != "token":
        raise ValueError(f"model.pool={model.pool}: Hugging Face's ViT has a class token")
    if checkpoint.config.stem.layers:
        raise ValueError(f"stem={checkpoint.config.stem.name}: Hugging Face's ViT is no hybrid")
    if model.head_hidden and checkpoint.num_classes:
        raise ValueError(
            "model.head_hidden=true with a head: ViTForImageClassification has no hidden layer"
        )
    if model.head_hidden_dim not in (0, model.embed_dim):
        raise ValueError(
            f"model.head_hidden_dim={model.head_hidden_dim}: Hugging Face's hidden layer is as "
            f"wide as the model, {model.embed_dim}"
        )
    prefix = "vit." if checkpoint.num_classes else ""
    state, tensors = dict(checkpoint.state), dict[str, Tensor]()
    for ours, theirs in _pairs(model.depth):
        if ours in state:
            outside = ours.startswith("head.")
            names = [name if outside else prefix + name for name in theirs]
            tensors.update(zip(names, state.pop(ours).chunk(len(names)), strict=True))
    assert not state, f"no name for {list(state)}"
    labels = checkpoint.classes or [f"LABEL_{i}" for i in range(checkpoint.num_classes)]
    config: dict[str, Any] = {
        "architectures": ["ViTForImageClassification" if labels else "ViTModel"],
        "model_type": "vit",
        "hidden_size": model.embed_dim,
        "num_hidden_layers": model.depth,
        "num_attention_heads": model.num_heads,
        "intermediate_size": model.mlp_dim,
        "hidden_act": {"erf": "gelu", "tanh": "gelu_pytorch_tanh"}[model.gelu],
        "layer_norm_eps": model.norm_eps,
        "image_size": size[0] if size[0] == size[1] else list(size),
        "patch_size": model.patch_size,
        "qkv_bias": True,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    if labels:
        config["id2label"] = dict(enumerate(labels))
        config["label2id"] = {label: i for i, label in enumerate(labels)}
    return tensors, config, *write_processor(checkpoint.preprocess)


def _facts(
    config: dict[str, Any] | None,
) -> tuple[dict[str, Any], tuple[int, int] | None, list[str]]:
    """Returns what config.json says by our keys, the image size, and what is assumed without."""
    if config is None:
        habits = {"model.gelu": "erf", "model.norm_eps": 1e-12}
        return habits, None, ["GELU erf, norm eps 1e-12 (no config.json)"]
    if config.get("model_type") != "vit":
        raise ValueError(f"model_type={config.get('model_type')} in config.json: must be vit")
    act = config.get("hidden_act", "gelu")
    if act not in _GELU:
        raise ValueError(f"hidden_act={act} in config.json: choose from {', '.join(_GELU)}")
    if config.get("pooler_act", "tanh") != "tanh":
        raise ValueError(f"pooler_act={config['pooler_act']} in config.json: must be tanh")
    facts = {
        "model.gelu": _GELU[act],
        "model.norm_eps": config.get("layer_norm_eps", 1e-12),
        "model.num_heads": config.get("num_attention_heads", 12),
    }
    return facts, _pair(config.get("image_size", 224)), []


def _pair(size: Any) -> tuple[int, int]:
    sides = size if isinstance(size, list) else [size, size]
    if [type(side) for side in sides] != [int, int]:
        raise ValueError(f"image_size={size!r} in config.json: must be a side or two")
    return sides[0], sides[1]


def _check_sizes(config: dict[str, Any], depth: int, state: dict[str, Tensor]) -> None:
    """Raises ValueError where config.json describes other weights than there are."""
    projection, dense = state.get("patch_embed.proj.weight"), state.get("blocks.0.mlp.fc1.weight")
    there = {"num_hidden_layers": depth}
    if projection is not None:
        there |= {"hidden_size": len(projection), "patch_size": projection.shape[-1]}
    if dense is not None:
        there |= {"intermediate_size": len(dense)}
    for key, value in there.items():
        if (said := config.get(key, value)) not in (value, [value, value]):
            raise ValueError(f"{key}={said!r} in config.json: the weights have {value}")


def _on_disk(name: str) -> str:
    if "encoder.layer." not in name:
        for pattern, replacement in _IN_MEMORY:
            name = re.sub(pattern, replacement, name)
    return name


def _pairs(depth: int) -> Iterator[tuple[str, list[str]]]:
    """Yields each name of ours, and its name in their files, or the three that make it up."""
    yield "cls_token", ["embeddings.cls_token"]
    yield "pos_embed", ["embeddings.position_embeddings"]
    layers = [
        ("patch_embed.proj", "embeddings.patch_embeddings.projection"),
        ("norm", "layernorm"),
        ("pre_logits.fc", "pooler.dense"),
        ("head", "classifier"),
    ]
    for i in range(depth):
        layers += [(f"blocks.{i}.{k}", f"encoder.layer.{i}.{v}") for k, v in _BLOCK.items()]
    for ours, theirs in layers:
        for part in ("weight", "bias"):
            yield f"{ours}.{part}", [f"{theirs}.{part}"]
    for i in range(depth):
        for part in ("weight", "bias"):
            attention = f"encoder.layer.{i}.attention.attention"
            names = [f"{attention}.{which}.{part}" for which in _QKV.values()]
            yield f"blocks.{i}.attn.qkv.{part}", names
