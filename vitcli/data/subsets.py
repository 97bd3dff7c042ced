"""Nested, class-balanced subsets of labelled data."""

from __future__ import annotations

import torch
from torch import Tensor

from vitcli.data.counter import bits

_STREAM = 0x5B5E  # of this module's random numbers


def balanced_order(labels: Tensor, seed: int) -> Tensor:
    """Returns a permutation (N,) of the images with these labels (N,), to take prefixes of.

    Every prefix is as balanced as the classes' sizes allow: class counts differ by at most one
    until a class runs out. Prefixes are nested by construction.
    """
    images = torch.arange(len(labels), device=labels.device)
    shuffled = bits(seed, _STREAM, images).argsort()
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    counts = labels.bincount()
    rank = torch.empty_like(images)  # how many images of its own class come before each image
    rank[by_class] = images - (counts.cumsum(0) - counts)[labels[by_class]]
    return shuffled[rank[shuffled].argsort(stable=True)]
