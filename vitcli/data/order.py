"""The order in which training images are seen: a pure function of (seed, step), nothing is stored.

So a resumed run needs no loader state, and splitting a batch over processes does not change it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vitcli.data.counter import bits, integers

_STREAM, _DRAW = 0x0DE2, 0xD4A3  # of this module's random numbers
# 4 rounds pass for a random permutation of large sets; 8 keep pairs uniform down to 5 images.
_ROUNDS = 8


def batch_index(
    seed: int, train_size: int, step: int, batch_size: int, device: torch.device
) -> Tensor:
    """Returns the training images of a step, (B,) int64 in [0, train_size), on `device`.

    Every image comes exactly once in an epoch, each epoch has its own order, a batch may cross from
    one epoch to the next. O(B) work and memory for any train_size.
    """
    # On the CPU whatever the device: the walk below ends on a condition, a stall of a GPU's queue.
    position = step * batch_size + torch.arange(batch_size)
    epoch = position // train_size
    return _permute(position % train_size, train_size, bits(seed, _STREAM, epoch)).to(device)


def batch_draw(seed: int, train_size: int, step: int, index: Tensor) -> Tensor:
    """Returns what the images `index` (B,) of a step are augmented by, int64 random bits (B,).

    A function of (seed, epoch, index).
    """
    position = step * len(index) + torch.arange(len(index))
    epoch = (position // train_size).to(index.device)
    return bits(seed, _DRAW, epoch * train_size + index)


def stream_order(
    seed: int, train_size: int, step: int, batch_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns a step's positions in an endless stream, draws and keys of epochs, each (B,) int64.

    Every `train_size` positions are an epoch, and its key is what it is shuffled by.
    """
    position = step * batch_size + torch.arange(batch_size)
    return position, bits(seed, _DRAW, position), bits(seed, _STREAM, position // train_size)


def _permute(position: Tensor, size: int, key: Tensor) -> Tensor:
    """Returns where a permutation of range(size), one for each key, sends `position`.

    A Feistel network on pairs (left, right) of range(a) x range(b), with addition modulo a and b
    (Black and Rogaway 2002); results past `size` are permuted again until they fall inside.
    a = b = sqrt(size), rounded up, so that only about one position in sqrt(size) walks.
    """
    a = math.isqrt(size - 1) + 1
    b = -(-size // a)
    left, right = position // b, position % b
    for r in range(0, _ROUNDS, 2):
        left = (left + integers(bits(r, _STREAM, key ^ right), a)) % a
        right = (right + integers(bits(r + 1, _STREAM, key ^ left), b)) % b
    image = left * b + right
    outside = image >= size
    if outside.any():
        image[outside] = _permute(image[outside], size, key[outside])
    return image
