"""A checkpoint of any code base, read: config, weights under timm's names, preprocessing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vitcli.config import RunConfig
from vitcli.model_rules import FAMILIES, validate_model
from vitcli.models import build_model
from vitcli.models.convert.preprocess import OURS, Preprocess
from vitcli.models.resize import resize_pos_emb

GROUPS = 32  # of group norms in Google's and timm's code, however wide
# How each code base resizes its table.
RESIZE = {
    "google": "bilinear_corners",
    "timm": "bicubic",
    "huggingface": "bicubic_plain",
    "torchvision": "bicubic_corners",
    "vitcli": "bilinear_corners",
}


@dataclass(frozen=True)
class Found:
    """What a format's reader makes of a file, before anything is inferred.

    Args:
        state: weights under timm's names.
        unused: names in the file that no weight was made of.
        facts: what the file or its code base says of the config, by key: "model.gelu".
        img_size: (height, width), if the file says so.
        preprocess: fields of `Preprocess`.
        assumed: what is the code base's habit and not in the file, in words.
        classes: names of the head's classes, in order, as the file says them, which may be
            anything; None: it does not.
    """

    code_base: str
    state: dict[str, Tensor]
    unused: list[str]
    facts: dict[str, Any]
    img_size: tuple[int, int] | None = None
    preprocess: dict[str, Any] = field(default_factory=dict)
    assumed: list[str] = field(default_factory=list)
    classes: Any = None


@dataclass(frozen=True)
class Checkpoint:
    """A model on disk, read whole; `config.model`, `pos_emb` and `stem` describe it.

    Args:
        code_base: whose weights these are: a key of `RESIZE`.
        state: the model's whole state dict, float32.
        num_classes: 0: there is no head.
        unused: names in the file that were not used.
        missing: names of the model that the file lacks: a head, or biases, which are zeros.
        assumed: what was inferred and not read, in words.
        classes: names of the head's classes, in order; None: nothing says them.
    """

    code_base: str
    config: RunConfig
    state: dict[str, Tensor]
    num_classes: int
    preprocess: Preprocess
    unused: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)
    classes: list[str] | None = None

    @property
    def img_size(self) -> tuple[int, int]:
        """Returns height and width (pixels) of the images that the tables are for."""
        return self.preprocess.size

    def resize(
        self, img_size: tuple[int, int], method: str | None = None
    ) -> tuple[Checkpoint, str]:
        """Returns the checkpoint for images of another (height, width), and a line that says so.

        The weights of another package's model stay as they are, if they fit.

        Args:
            method: as in `resize_pos_emb`; None: the code base's own.
        Raises:
            ValueError: an unknown method, or patches that do not fit the images.
        """
        if min(img_size) < 1:
            raise ValueError(f"img_size={img_size}: must be at least 1")
        validate_model(self.config, img_size)
        preprocess = replace(self.preprocess, size=img_size)
        if (family := self.config.model.family) not in FAMILIES:
            resized = replace(self, preprocess=preprocess)
            check_shapes(resized)
            return resized, f"model.family={family}: nothing resized"
        method = method or RESIZE[self.code_base]
        patch = self.config.model.patch_size
        old, new = ((size[0] // patch, size[1] // patch) for size in (self.img_size, img_size))
        state, line = resize_pos_emb(self.state, self.config.pos_emb, old, new, method)
        return replace(self, state=state, preprocess=preprocess), line

    def for_our_pixels(self) -> tuple[Checkpoint, list[str]]:
        """Returns the checkpoint that takes pixels in [-1, 1], and a line if that changed it.

        Its mean and std go into the patch projection E, exactly but for rounding: with pixels p,
        E (p - mean) / std is a projection of 2 p - 1 with other weights.

        Raises:
            ValueError: a ResNet sees the pixels first; its convolutions are standardised.
        """
        if self.preprocess.is_ours:
            return self, []
        mean, std = (list(values) for values in (self.preprocess.mean, self.preprocess.std))
        name = "patch_embed.proj"
        if self.config.model.family != "vit" or self.config.stem.layers:
            raise ValueError(
                f"mean {mean}, std {std}: a ResNet that sees the pixels first needs mean 0.5, std "
                "0.5, as its convolutions are standardised"
            )
        weight = self.state[f"{name}.weight"].double()
        m, s = (torch.tensor(values).double().view(1, 3, 1, 1) for values in (mean, std))
        bias = self.state[f"{name}.bias"].double() + (weight * (OURS - m) / s).sum((1, 2, 3))
        state = dict(self.state)
        state |= {f"{name}.weight": (weight * OURS / s).float(), f"{name}.bias": bias.float()}
        ours = replace(self.preprocess, mean=(OURS,) * 3, std=(OURS,) * 3)
        line = f"mean {mean}, std {std} of the source are folded into its patch projection"
        return replace(self, state=state, preprocess=ours), [line]

    def with_new_head(self, num_classes: int) -> Checkpoint:
        """Returns the checkpoint with a head of zeros, its hidden layer dropped (paper, 3.2)."""
        assert num_classes > 0
        state = {k: v for k, v in self.state.items() if not k.startswith(("head.", "pre_logits."))}
        model = replace(self.config.model, head_hidden=False, head_hidden_dim=0)
        config = replace(self.config, model=model)
        fresh = replace(self, config=config, state=state, num_classes=num_classes, classes=None)
        for name, shape in expected_shapes(fresh).items():
            if name.startswith("head."):
                state[name] = torch.zeros(shape)
        return fresh

    def in_order(self, classes: list[str]) -> Checkpoint:
        """Returns the checkpoint whose head has its classes in this order."""
        assert self.classes is not None
        rows = [self.classes.index(name) for name in classes]
        state = dict(self.state)
        for name in ("head.weight", "head.bias", "head.fc.weight", "head.fc.bias"):
            if name in state:
                state[name] = state[name][rows]
        return replace(self, state=state, classes=classes)

    def build(self) -> nn.Module:
        """Returns the model in eval mode, its `preprocess` and `classes` beside its weights."""
        model: Any = build_model(self.config, self.img_size, self.num_classes)
        model.load_state_dict(self.state)
        model.preprocess, model.classes = self.preprocess, self.classes
        built: nn.Module = model.eval()
        return built


class _NoInit(TorchFunctionMode):
    """Leaves out torch.nn.init: on the meta device its normal_ imports the compiler, for 4 s."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def expected_shapes(checkpoint: Checkpoint) -> dict[str, torch.Size]:
    """Returns the shape of each weight of the checkpoint's config, by name.

    Raises:
        ValueError: the config's values do not fit together, or not the images.
    """
    with torch.device("meta"), _NoInit():
        model = build_model(checkpoint.config, checkpoint.img_size, checkpoint.num_classes)
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def check_shapes(checkpoint: Checkpoint) -> None:
    """Raises ValueError, naming some, for weights that do not fit the config, or no numbers."""
    _check_size(checkpoint)
    state = checkpoint.state
    shapes = expected_shapes(checkpoint)
    left = f"; unused: {listing(checkpoint.unused)}" if checkpoint.unused else ""
    absent = [name for name in shapes if name not in state]
    if absent:
        raise ValueError(f"not in the file: {listing(absent)}{left}")
    extra = [name for name in state if name not in shapes]
    if extra:
        raise ValueError(f"no place in the model for: {listing(extra)}{left}")
    wrong = [
        f"{name} is {tuple(state[name].shape)} in the file, {tuple(shape)} in the model"
        for name, shape in shapes.items()
        if state[name].shape != shape
    ]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if wrong[1:] else ""
        raise ValueError(f"{wrong[0]}{more}")
    if whole := [name for name, t in state.items() if not t.is_floating_point()]:
        raise ValueError(f"{state[whole[0]].dtype} and not floats: {listing(whole)}")
    if broken := [name for name, t in state.items() if not t.isfinite().all()]:
        raise ValueError(f"numbers that are not finite (nan, inf) in {listing(broken)}")


def _check_size(checkpoint: Checkpoint) -> None:
    """Raises ValueError for a config of far more than the weights: to build it may never end."""
    model, stem, state = checkpoint.config.model, checkpoint.config.stem, checkpoint.state
    units = stem.layers.get(str(model.patch_size), [])
    blocks = {"vit": model.depth + sum(units), "resnet": sum(model.layers)}.get(model.family, 0)
    if blocks > len(state):
        raise ValueError(f"{blocks} blocks in the config, {len(state)} weights in the file")
    widest = max(model.embed_dim, model.mlp_dim, model.head_hidden_dim, model.width, stem.width)
    if widest > sum(tensor.numel() for tensor in state.values()):
        raise ValueError(f"a width of {widest} in the config, fewer numbers in the file")


def only_plain(checkpoint: Checkpoint) -> None:
    """Raises ValueError for a model that no other code base's ViT can be."""
    config = checkpoint.config
    for group, key, allowed in (
        ("model", "family", "vit"),
        ("pos_emb", "kind", "learned_1d"),
        ("pos_emb", "where", "stem"),
    ):
        value = getattr(getattr(config, group), key)
        if value != allowed:
            raise ValueError(f"{group}.{key}={value}: only {group}.{key}={allowed} can be exported")


def num_classes(state: dict[str, Tensor]) -> int:
    """Returns the width of the head, a ViT's or a ResNet's; 0 if there is none."""
    heads = [tensor for name, tensor in state.items() if name in ("head.weight", "head.fc.weight")]
    return len(heads[0]) if heads else 0


def misnamed(classes: Any, heads: int) -> str | None:
    """Returns why these are no names of the classes of a head that wide; None: they are."""
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        return f"names of classes that are no list of strings: {str(classes)[:60]}"
    if len(classes) != heads:
        return f"names of {len(classes)} classes for a head of {heads}: {listing(classes)}"
    return None


def own_groups(first: Tensor) -> int:
    """Returns our `groups` of a ResNet of 32: from 64 channels on, ours has 32 by itself (0)."""
    return GROUPS if len(first) < 64 else 0


def units_per_stage(names: Iterable[str], pattern: str) -> list[int]:
    """Returns the units in each stage; the groups of the pattern are the stage and the unit."""
    stages: dict[int, set[int]] = {}
    for name in names:
        if match := re.match(pattern, name):
            stages.setdefault(int(match[1]), set()).add(int(match[2]))
    return [len(stages[stage]) for stage in sorted(stages)]


def refuse_parts(parts: list[str]) -> None:
    """Raises ValueError, naming some, if there are parts of a network that the paper's lack."""
    if parts:
        raise ValueError(f"no model of the paper has: {listing(parts)}")


def listing(names: list[str]) -> str:
    """Returns the names in one line, the first eight and how many more."""
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more
