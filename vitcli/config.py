"""The schema of every run: one dataclass per config group, the rules between them, and the run's identity.

`conf/` fills these classes, `compose.py` makes them, everything else reads them. No torch, no hydra.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any


def choice(default: str, *others: str) -> Any:
    """Returns a string field that accepts `default` and `others` only."""
    return field(default=default, metadata={"choices": (default, *others)})


def at_least(minimum: float, default: Any) -> Any:
    """Returns a number (or list of numbers) field whose values are `minimum` or more."""
    make = {"default_factory": lambda: list(default)} if isinstance(default, list) else {}
    return field(metadata={"min": minimum}, **(make or {"default": default}))


@dataclass
class ModelConfig:
    """Sizes of a Vision Transformer (paper, Table 1) or of a BiT ResNet."""

    name: str = "nano"
    family: str = choice("vit", "resnet")
    depth: int = at_least(0, 0)
    embed_dim: int = at_least(0, 0)
    mlp_dim: int = at_least(0, 0)
    num_heads: int = at_least(0, 0)
    patch_size: int = at_least(1, 1)  # pixels; of a hybrid: the stem's and the patch's stride together
    pool: str = choice("token", "gap")
    head_hidden: bool = False  # tanh hidden layer in the head, as in the paper's pre-training
    gelu: str = choice("tanh", "erf")  # Google's code: tanh; timm and Hugging Face: erf
    norm_eps: float = at_least(0.0, 1e-6)
    layers: list[int] = at_least(1, [])  # of a ResNet: bottleneck units in each stage
    width: int = at_least(1, 64)  # of a ResNet: channels after the first convolution
    root: str = choice("imagenet", "small")  # of a ResNet: 7x7/2 and max pool, or 3x3/1


@dataclass
class PosEmbConfig:
    """Kind and place of the position embedding (paper, D.4 and Table 8)."""

    kind: str = choice("learned_1d", "none", "learned_2d", "relative", "sincos_2d")
    where: str = choice("stem", "every_layer", "shared")
    offsets: str = choice("1d", "2d")  # of `relative`: raster offsets (the paper's) or grid offsets


@dataclass
class StemConfig:
    """What makes tokens of an image: a linear patch projection, or a ResNet before it (the hybrid)."""

    name: str = choice("patch", "resnet", "resnet26", "resnet_nano")
    # Units in each stage, by the total stride in pixels; empty: no ResNet.
    layers: dict[str, list[int]] = field(default_factory=dict)
    width: int = at_least(1, 64)
    root: str = choice("imagenet", "small")


@dataclass
class DataConfig:
    """A data set and how much of it to train on."""

    name: str = choice("glyphs", "digits")
    size: int | None = at_least(1, None)  # training images: a nested prefix; null: all there are
    val_size: int = at_least(1, 2000)
    img_size: int = at_least(4, 16)  # pixels
    num_classes: int = at_least(2, 10)
    level: str = choice("plain", "colour", "clutter")  # of glyphs
    seed: int = at_least(0, 0)  # which images there are; the run's own seed does not change them


@dataclass
class RecipeConfig:
    """Optimizer, schedule and regularisation (paper, Tables 3 and 4)."""

    optimizer: str = choice("adamw", "sgd")
    lr: float = at_least(0.0, 1e-3)
    betas: list[float] = at_least(0.0, [0.9, 0.999])  # of adamw
    momentum: float = at_least(0.0, 0.9)  # of sgd
    weight_decay: float = at_least(0.0, 0.0)  # decoupled, times the learning rate; matrices only
    schedule: str = choice("cosine", "linear")
    warmup_steps: int | None = at_least(0, None)  # null: a tenth of the steps
    grad_clip: float = at_least(0.0, 1.0)  # global norm; 0: off
    dropout: float = at_least(0.0, 0.0)


@dataclass
class TrainConfig:
    """How long, in which batches and which numbers. One of steps, epochs, images is set."""

    steps: int | None = at_least(1, None)
    epochs: float | None = at_least(0.0, None)
    images: int | None = at_least(1, None)
    batch_size: int = at_least(1, 64)
    accumulate: int = at_least(1, 1)  # micro-batches in a batch
    precision: str = choice("auto", "fp32", "bf16")


@dataclass
class EvalsConfig:
    """What is measured after training, besides upstream validation."""

    downstream: str | None = None  # data set of the few-shot linear evaluation; null: none
    shots: list[int] = at_least(1, [5, 10])
    draws: int = at_least(1, 20)
    l2: float = at_least(0.0, 1024.0)


@dataclass
class CheckpointConfig:
    """How often the training state is saved, in steps."""

    every: int = at_least(1, 500)


@dataclass
class RunConfig:
    """One run, whole."""

    model: ModelConfig = field(default_factory=ModelConfig)
    pos_emb: PosEmbConfig = field(default_factory=PosEmbConfig)
    stem: StemConfig = field(default_factory=StemConfig)
    data: DataConfig = field(default_factory=DataConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evals: EvalsConfig = field(default_factory=EvalsConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    seed: int = at_least(0, 0)
    device: str = choice("auto", "cpu", "cuda")
    threads: int = at_least(0, 0)  # CPU threads; 0: one per core
    outputs: str = "outputs"


# Where and how a run is executed; all else is what it computes, and so its identity.
_NOT_IDENTITY = ("checkpoint", "device", "threads", "outputs")


def run_id(config: RunConfig) -> str:
    """Returns the name of the run's folder: what a reader wants to see, and a hash of what it computes."""
    identity = {k: v for k, v in asdict(config).items() if k not in _NOT_IDENTITY}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:10]
    model, pos_emb, data = config.model, config.pos_emb, config.data
    parts = [model.name]
    if model.family == "vit":
        parts[0] += f"-p{model.patch_size}"
        parts += [] if config.stem.name == "patch" else [config.stem.name]
        parts += [pos_emb.kind] + ([] if pos_emb.where == "stem" else [pos_emb.where])
    parts += [data.name + (f"-{data.size}" if data.size else ""), f"s{config.seed}", digest]
    return "-".join(parts)


def num_steps(config: RunConfig, train_size: int) -> int:
    """Returns the run's length in optimizer steps, from whichever of steps, epochs, images is set."""
    train = config.train
    if train.steps is not None:
        return train.steps
    images = train.images if train.images is not None else (train.epochs or 0) * train_size
    return max(1, round(images / train.batch_size))


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns `"; did you mean 'x'?"` for the known word closest to `word`, or nothing."""
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{match[0]}'?" if match else ""


def validate(config: RunConfig) -> None:
    """Raises ValueError, naming the keys, for the first value or combination that makes no sense."""
    validate_fields(config)
    given = [k for k in ("steps", "epochs", "images") if getattr(config.train, k) is not None]
    if len(given) != 1:
        keys = " and ".join(f"train.{k}" for k in given) or "none of train.steps, epochs, images"
        raise ValueError(f"{keys} set: give exactly one of train.steps, train.epochs, train.images")
    if config.train.batch_size % config.train.accumulate:
        raise ValueError(
            f"train.accumulate={config.train.accumulate} does not divide "
            f"train.batch_size={config.train.batch_size}"
        )
    if config.data.size is not None and config.data.size < config.data.num_classes:
        raise ValueError(
            f"data.size={config.data.size} is below data.num_classes={config.data.num_classes}: "
            "a subset holds at least one image of each class"
        )
    if len(config.recipe.betas) != 2 or max(config.recipe.betas) >= 1:
        raise ValueError(f"recipe.betas={config.recipe.betas}: two numbers in [0, 1)")
    if config.recipe.dropout >= 1:
        raise ValueError(f"recipe.dropout={config.recipe.dropout}: a number in [0, 1)")
    if config.data.name == "digits" and config.data.num_classes != 10:
        raise ValueError(f"data.num_classes={config.data.num_classes}: data.name=digits has 10")
    if config.train.epochs is not None and config.data.size is None and config.data.name == "glyphs":
        raise ValueError(
            f"train.epochs={config.train.epochs:g} with data.size=null: glyphs has no end, "
            "set data.size, train.steps or train.images"
        )
    if config.evals.l2 <= 0:
        raise ValueError(f"evals.l2={config.evals.l2}: must be above 0")
    if config.evals.downstream not in (None, "digits"):
        raise ValueError(f"evals.downstream={config.evals.downstream}: choose from digits, null")
    validate_model(config, (config.data.img_size, config.data.img_size))


def validate_model(config: RunConfig, img_size: tuple[int, int]) -> None:
    """Raises ValueError if the model's own settings, or they and the image's (H, W), do not fit together."""
    if config.model.family == "resnet":
        _validate_resnet(config)
    else:
        _validate_vit(config, img_size)


def backbone_stride(stem: StemConfig, patch_size: int) -> int:
    """Returns the stride in pixels of a hybrid's feature map: its root's, doubled by later stages."""
    root = 4 if stem.root == "imagenet" else 1
    return int(root * 2 ** (len(stem.layers[str(patch_size)]) - 1))


def validate_fields(node: Any, prefix: str = "") -> None:
    """Raises ValueError, naming the key, for the first value outside its choices or below its minimum."""
    for f in fields(node):
        key, value = prefix + f.name, getattr(node, f.name)
        if is_dataclass(value):
            validate_fields(value, key + ".")
        choices = f.metadata.get("choices")
        if choices and value not in choices:
            hint = nearest(str(value), choices)
            raise ValueError(f"{key}={value}: choose from {', '.join(choices)}{hint}")
        if "min" in f.metadata and value is not None:
            for number in value if isinstance(value, list) else [value]:
                if not math.isfinite(number) or number < f.metadata["min"]:
                    raise ValueError(f"{key}={value}: must be at least {f.metadata['min']}")


def _validate_resnet(config: RunConfig) -> None:
    if not config.model.layers:
        raise ValueError("model.layers=[]: a ResNet (model.family=resnet) needs at least one stage")
    if config.model.width % 8:
        raise ValueError(f"model.width={config.model.width}: must be a multiple of 8")
    if config.recipe.dropout:
        raise ValueError(
            f"recipe.dropout={config.recipe.dropout} with model.family=resnet: "
            "BiT has no dropout, use recipe.dropout=0"
        )
    if config.model.head_hidden:
        raise ValueError(
            "model.head_hidden=true with model.family=resnet: only a ViT's head has a hidden layer"
        )
    if config.pos_emb.kind != "none":
        raise ValueError(
            f"pos_emb.kind={config.pos_emb.kind} with model.family=resnet: "
            "a ResNet has no position embedding, use pos_emb=none"
        )
    if config.stem.name != "patch":
        raise ValueError(
            f"stem={config.stem.name} with model.family=resnet: "
            "a hybrid needs a ViT behind its stem, use stem=patch or another model"
        )


def _validate_vit(config: RunConfig, img_size: tuple[int, int]) -> None:
    model, pos_emb, stem = config.model, config.pos_emb, config.stem
    for key in ("depth", "embed_dim", "mlp_dim", "num_heads"):
        if getattr(model, key) < 1:
            raise ValueError(f"model.{key}={getattr(model, key)}: a ViT needs at least 1")
    if model.embed_dim % model.num_heads:
        raise ValueError(
            f"model.num_heads={model.num_heads} does not divide model.embed_dim={model.embed_dim}"
        )
    if any(side % model.patch_size for side in img_size):
        raise ValueError(
            f"model.patch_size={model.patch_size} does not divide data.img_size="
            + "x".join(str(side) for side in dict.fromkeys(img_size))
        )
    learned = pos_emb.kind in ("learned_1d", "learned_2d")
    if pos_emb.where != "stem" and not learned:
        raise ValueError(
            f"pos_emb.where={pos_emb.where} with pos_emb.kind={pos_emb.kind}: "
            "only learned_1d and learned_2d can be added anywhere but at the stem"
        )
    if pos_emb.offsets != "1d" and pos_emb.kind != "relative":
        raise ValueError(
            f"pos_emb.offsets={pos_emb.offsets} with pos_emb.kind={pos_emb.kind}: "
            "offsets belong to pos_emb.kind=relative"
        )
    divisor = {"learned_2d": 2, "sincos_2d": 4}.get(pos_emb.kind, 1)
    if model.embed_dim % divisor:
        raise ValueError(
            f"model.embed_dim={model.embed_dim} with pos_emb.kind={pos_emb.kind}: "
            f"must be a multiple of {divisor}"
        )
    if stem.layers and str(model.patch_size) not in stem.layers:
        raise ValueError(
            f"model.patch_size={model.patch_size} with stem={stem.name}: this ResNet's total stride "
            f"is one of {', '.join(stem.layers)} pixels (stem.layers)"
        )
    if stem.layers and model.patch_size % backbone_stride(stem, model.patch_size):
        raise ValueError(
            f"stem.layers.{model.patch_size}={stem.layers[str(model.patch_size)]} with "
            f"stem.root={stem.root} has a stride of {backbone_stride(stem, model.patch_size)}, "
            f"which does not divide model.patch_size={model.patch_size}"
        )
    if stem.layers and stem.width % 8:
        raise ValueError(f"stem.width={stem.width}: must be a multiple of 8")
