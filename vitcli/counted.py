"""What a model of another package costs, counted on it: its code is all that is known of it."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vitcli.config import RunConfig
from vitcli.plugins import MODELS, load


def counted(config: RunConfig, img_size: tuple[int, int], num_classes: int) -> tuple[int, int]:
    """Returns (parameters, multiply-adds of one image's forward pass), without computing any.

    As perf.count: those of matrix products and convolutions, of an image (3, H, W).
    """
    with torch.random.fork_rng(), torch.device("meta"):
        model: nn.Module = load(MODELS, config.model.family)(config, img_size, num_classes)
        image = torch.empty(1, 3, *img_size)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model.eval()(image)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return parameters, counter.get_total_flops() // 2
