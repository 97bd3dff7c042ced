"""The models: Vision Transformers, pure or hybrid, and BiT ResNets, with timm's names and calls."""

from __future__ import annotations

from torch import nn

from vitcli.config import RunConfig
from vitcli.model_rules import FAMILIES, validate_model
from vitcli.models.vit import VisionTransformer
from vitcli.plugins import MODELS, load


def build_model(config: RunConfig, img_size: tuple[int, int], num_classes: int) -> nn.Module:
    """Returns the model of a run, images (B, 3, H, W) to logits (B, K), with its initial weights.

    Its `forward_features` and `forward_head(x, pre_logits=True)` are timm's: the latter returns the
    representation (B, D) that the logits are linear in.

    Args:
        img_size: height and width of the images, in pixels.

    Raises:
        ValueError: the settings do not fit together, or do not fit the images.
    """
    validate_model(config, img_size)
    model = config.model
    if model.family not in FAMILIES:
        built: nn.Module = load(MODELS, model.family)(config, img_size, num_classes)
        return built
    if model.family == "resnet":
        from vitcli.models.resnet import build_bit  # with timm, which takes seconds to import

        net: nn.Module = build_bit(model.layers, model.width, model.root, model.groups, num_classes)
        return net
    return VisionTransformer(
        model,
        config.pos_emb,
        config.stem,
        img_size,
        num_classes,
        config.recipe.dropout,
        config.recompute,
    )
