"""What a model costs: parameters, and multiply-adds by the paper's rule."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count(model: nn.Module, img_size: tuple[int, int]) -> tuple[int, int]:
    """Returns (parameters, multiply-adds of one image's forward pass) of the model.

    A training's exaFLOPs are 6 x multiply-adds x images (the paper's Table 6, within 4 %).
    """
    parameters = sum(p.numel() for p in model.parameters())
    with torch.device("meta"), torch.inference_mode():
        abstract = copy.deepcopy(model).to("meta").eval()
        with FlopCounterMode(display=False) as counter:
            abstract(torch.zeros(1, 3, *img_size))
    return parameters, counter.get_total_flops() // 2
