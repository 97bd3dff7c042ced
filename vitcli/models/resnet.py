"""The ResNet (BiT) baselines and the hybrid's ResNet: timm's ResNetV2, and a root for small images.

Both are bottleneck ResNets with group norm and standardised convolutions (paper, section 4.1). BiT
is pre-activation with fixed padding, as in `big_transfer`; the hybrid's is post-activation with
TensorFlow's "same" padding, as in the official ViT code.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.norm_act import GroupNormAct
from timm.layers.std_conv import StdConv2d, StdConv2dSame
from timm.models.resnetv2 import ResNetV2
from torch import Tensor, nn


def build_bit(layers: list[int], width: int, root: str, groups: int, num_classes: int) -> ResNetV2:
    """Returns a BiT ResNet, (B, 3, H, W) to (B, K), with a head of zeros and timm's names.

    Args:
        layers: bottleneck units in each stage.
        width: channels after the first convolution; 64 times the width factor of BiT.
        root: "imagenet": 7x7 at stride 2 and max pool; "small": 3x3 at stride 1.
        groups: of its group norms; 0: as `group_norm` has them.

    Source: paper, section 4.1; Kolesnikov et al., "Big Transfer", 2020.
    """
    conv = partial(_conv, StdConv2d)
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
    conv = partial(_conv, StdConv2dSame)
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


class Pointwise(StdConv2d):
    """A standardised 1x1 convolution without bias; on a CPU a matmul for each image."""

    def forward(self, x_BChw: Tensor) -> Tensor:
        """Returns (B, D, h / stride, w / stride), sides rounded up, for (B, C, h, w).

        The matmul is 1.1 to 4.5 times as fast as oneDNN's convolution, forward and backward; not so
        where a map is small against the weights, whose gradient it computes for each image.
        """
        (B, C, h, w), D = x_BChw.shape, self.out_channels
        weight_1DC = F.batch_norm(
            self.weight.flatten(1)[None], None, None, training=True, momentum=0.0, eps=self.eps
        )
        if x_BChw.device.type != "cpu" or self.stride != (1, 1) or 2 * h * w * (C + D) < C * D:
            return F.conv2d(x_BChw, weight_1DC[0, :, :, None, None], stride=self.stride)
        y_BDP = torch.bmm(weight_1DC.expand(B, -1, -1), x_BChw.flatten(2))
        return y_BDP.view(B, D, h, w)


def _conv(spatial: Any, in_channels: int, channels: int, kernel_size: int, **options: Any) -> Any:
    """Returns a standardised convolution, of the kind `spatial` where it is more than 1x1."""
    kind = Pointwise if kernel_size == 1 else spatial
    return kind(in_channels, channels, kernel_size, eps=1e-8, **options)


def group_norm(channels: int, groups: int = 0, **options: Any) -> GroupNormAct:
    """Returns group norm and ReLU over so many groups.

    0 is 32 groups, or as many as leave two channels or more in each. That is BiT's 32 from 64
    channels on. Groups of one channel would be an instance norm, which forgets how strong a channel
    is.
    """
    groups = groups or max(g for g in range(1, 33) if channels % g == 0 and channels >= 2 * g)
    return GroupNormAct(channels, num_groups=groups, **options)
