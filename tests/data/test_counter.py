"""Random numbers as functions of (seed, stream, index)."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from vitcli.data.counter import bits, integers, uniform


def reference(seed: int, stream: int, index: int) -> int:
    """The same function in Python's own integers, modulo 2^64."""

    def mix(x: int) -> int:
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        return x ^ (x >> 31)

    golden = 0x9E3779B97F4A7C15
    first = mix((index * golden + seed * 0xD1B54A32D192ED03) % 2**64)
    return mix((first + stream * golden) % 2**64)


@given(st.integers(0, 2**70), st.integers(0, 2**32), st.integers(0, 2**41))
def test_equals_unsigned_arithmetic(seed: int, stream: int, index: int) -> None:
    value = bits(seed, stream, torch.tensor([index]))
    assert value.item() % 2**64 == reference(seed, stream, index)


def test_mixer_is_splitmix64() -> None:
    # The first output of SplitMix64 from state 0, as published with its reference code.
    golden = torch.tensor([1])
    assert bits(0, 0, golden).item() % 2**64 == reference(0, 0, 1)
    inner = 0xE220A8397B1DCDAF
    x = (inner ^ (inner >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    assert bits(0, 0, golden).item() % 2**64 == x ^ (x >> 31)


def test_streams_as_tensor_or_number_and_any_shape() -> None:
    index = torch.arange(12).view(3, 4)
    all_at_once = bits(5, torch.arange(7), index[..., None])
    assert all_at_once.shape == (3, 4, 7)
    for stream in range(7):
        assert torch.equal(all_at_once[..., stream], bits(5, stream, index))


def test_seeds_streams_and_indices_never_repeat() -> None:
    values = [
        bits(seed, torch.arange(20), torch.arange(500)[:, None] + offset).flatten()
        for seed in range(10)
        for offset in (0, 2**40)
    ]
    everything = torch.cat(values)
    assert everything.unique().numel() == everything.numel()


def test_bits_are_fair() -> None:
    random = bits(1, 2, torch.arange(20_000))
    ones = torch.stack([(random >> k) & 1 for k in range(64)]).double().mean(1)
    assert (ones - 0.5).abs().max() < 0.02  # 5.6 standard errors


def test_uniform_moments_range_and_independence() -> None:
    numbers = uniform(bits(0, torch.arange(4)[:, None], torch.arange(50_000)))
    assert numbers.dtype == torch.float32
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert (numbers.mean(1) - 0.5).abs().max() < 0.007
    assert (numbers.var(1) - 1 / 12).abs().max() < 0.002
    correlation = torch.corrcoef(torch.cat([numbers, numbers.roll(1, 1)]))
    assert (correlation - torch.eye(8)).abs().max() < 0.025


def test_uniform_extremes() -> None:
    assert uniform(torch.tensor([-1, 0])).tolist() == [1 - 2**-24, 0.0]


def test_integers_cover_their_range_evenly() -> None:
    counts = integers(bits(0, 0, torch.arange(70_000)), 7).bincount()
    assert len(counts) == 7
    assert (counts - 10_000).abs().max() < 500
    assert integers(torch.tensor([-1, 0]), 2**32).tolist() == [2**32 - 2, 0]


def test_integers_below_a_tensor() -> None:
    high = torch.tensor([1, 2, 1000])
    numbers = integers(bits(0, 0, torch.arange(3000).view(1000, 3)), high)
    assert (numbers.amax(0) < high).all()
    assert numbers[:, 1].unique().tolist() == [0, 1]
