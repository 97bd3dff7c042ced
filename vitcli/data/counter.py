"""Counter-based random numbers: pure functions of (seed, stream, index).

No state, and integer tensor operations alone: an entry can be drawn by itself, in any order and any
batch, on any device, and is the same. The mixer is SplitMix64's (Steele, Lea, Flood 2014).
"""

from __future__ import annotations

import torch
from torch import Tensor


def _signed(x: int) -> int:
    """Returns x modulo 2^64 as a two's complement int64, the type that tensors have."""
    return (x + 2**63) % 2**64 - 2**63


_GOLDEN = _signed(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, SplitMix64's odd step
_SEED_STEP = 0xD1B54A32D192ED03  # odd; moves seed s by a multiple of _GOLDEN far above 2^41 indices
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def _shift_right(x: Tensor, by: int) -> Tensor:
    """Returns the logical shift: >> of int64 copies the sign bit, which the mask removes."""
    return (x >> by) & ((1 << (64 - by)) - 1)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift_right(x, 30)) * _FIRST
    x = (x ^ _shift_right(x, 27)) * _SECOND
    return x ^ _shift_right(x, 31)


def bits(seed: int, stream: int | Tensor, index: Tensor) -> Tensor:
    """Returns 64 random bits (int64) for each entry of `index` (int64), broadcast against `stream`.

    Streams are independent sequences of one seed: one for each thing that is drawn at an index.
    """
    step = stream * _GOLDEN if isinstance(stream, Tensor) else _signed(stream * _GOLDEN)
    return _mix(_mix(index * _GOLDEN + _signed(seed * _SEED_STEP)) + step)


def uniform(random: Tensor) -> Tensor:
    """Returns float32 numbers in [0, 1), multiples of 2^-24, from random bits."""
    return _shift_right(random, 40).to(torch.float32) * 2.0**-24


def integers(random: Tensor, high: int | Tensor) -> Tensor:
    """Returns int64 numbers in [0, high) from random bits; high up to 2^32, bias high / 2^31."""
    return (_shift_right(random, 33) * high) >> 31
