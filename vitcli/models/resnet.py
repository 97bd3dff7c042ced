"""The ResNet (BiT) baselines and the hybrid's ResNet: timm's ResNetV2, and a root for small images.

Both are bottleneck ResNets with group norm and standardised convolutions (paper, section 4.1). BiT
is pre-activation with fixed padding, as in `big_transfer`; the hybrid's is post-activation with
TensorFlow's "same" padding, as in the official ViT code.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Any

from timm.layers.norm_act import GroupNormAct
from timm.layers.std_conv import StdConv2d, StdConv2dSame
from timm.models.resnetv2 import ResNetV2
from torch import nn


def build_bit(layers: list[int], width: int, root: str, groups: int, num_classes: int) -> ResNetV2:
    """Returns a BiT ResNet, (B, 3, H, W) to (B, K), with a head of zeros and timm's names.

    Args:
        layers: bottleneck units in each stage.
        width: channels after the first convolution; 64 times the width factor of BiT.
        root: "imagenet": 7x7 at stride 2 and max pool; "small": 3x3 at stride 1.
        groups: of its group norms; 0: as `group_norm` has them.

    Source: paper, section 4.1; Kolesnikov et al., "Big Transfer", 2020.
    """
    conv = partial(StdConv2d, eps=1e-8)
    options = {"stem_type": "fixed", "num_classes": num_classes}
    model = _resnet(layers, width, root, groups, conv, preact=True, **options)
    if num_classes:
        nn.init.zeros_(model.head.fc.weight)
        nn.init.zeros_(model.head.fc.bias)
    return model


def build_backbone(layers: list[int], width: int, root: str, groups: int) -> ResNetV2:
    """Returns a hybrid's ResNet, (B, 3, H, W) to (B, C, H/s, W/s), s = `config.backbone_stride`.

    Each unit's last norm starts at zero, as in the official code. Source: paper, section 3.1.
    """
    conv = partial(StdConv2dSame, eps=1e-8)
    options = {"stem_type": "same", "num_classes": 0, "global_pool": "", "zero_init_last": True}
    return _resnet(layers, width, root, groups, conv, preact=False, **options)


def _resnet(
    layers: list[int],
    width: int,
    root: str,
    groups: int,
    conv: Any,
    *,
    preact: bool,
    **options: Any,
) -> ResNetV2:
    norm_layer = partial(group_norm, groups=groups)
    channels = tuple(4 * width * 2**stage for stage in range(len(layers)))
    layer_kinds = {"preact": preact, "conv_layer": conv, "norm_layer": norm_layer}
    model = ResNetV2(layers, channels, stem_chs=width, **layer_kinds, **options)
    if root == "small":
        first = conv(3, width, 3)
        nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")  # as the others
        norm = OrderedDict() if preact else OrderedDict(norm=norm_layer(width))
        model.stem = nn.Sequential(OrderedDict(conv=first) | norm)
    return model


def group_norm(channels: int, groups: int = 0, **options: Any) -> GroupNormAct:
    """Returns group norm and ReLU over so many groups.

    0 is 32 groups, or as many as leave two channels or more in each. That is BiT's 32 from 64
    channels on. Groups of one channel would be an instance norm, which forgets how strong a channel
    is.
    """
    groups = groups or max(g for g in range(1, 33) if channels % g == 0 and channels >= 2 * g)
    return GroupNormAct(channels, num_groups=groups, **options)
