"""Which images a training step sees."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vitcli.data.order import batch_index

CPU = torch.device("cpu")


def order(seed: int, size: int, epochs: int = 1, batch: int = 64) -> Tensor:
    """The images of whole epochs, (epochs, size)."""
    steps = -(-size * epochs // batch)
    seen = [batch_index(seed, size, step, batch, CPU) for step in range(steps)]
    return torch.cat(seen)[: size * epochs].view(epochs, size)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**63), st.integers(1, 700), st.integers(16, 900))
def test_every_image_once_in_every_epoch(seed: int, size: int, batch: int) -> None:
    assert torch.equal(order(seed, size, 3, batch).sort(1).values, torch.arange(size).expand(3, -1))


@pytest.mark.parametrize("size", [6007, 65_536, 65_537])
def test_every_image_once_in_large_sets(size: int) -> None:
    assert torch.equal(order(1, size, batch=4096).sort().values[0], torch.arange(size))


def test_order_differs_between_epochs_and_seeds() -> None:
    first, second = order(0, 1001, epochs=2)
    other = order(1, 1001)[0]
    fixed = torch.arange(1001)
    for a, b in [(first, second), (first, other), (second, other), (first, fixed)]:
        assert (a == b).sum() < 8  # of two random orders, one is expected


def test_batches_do_not_change_the_order() -> None:
    whole = order(3, 101, epochs=4, batch=1)
    for batch in (2, 7, 64, 250):  # 250: more than two epochs in a batch
        assert torch.equal(order(3, 101, epochs=4, batch=batch), whole)


def test_first_image_is_uniform_even_in_a_tiny_set() -> None:
    counts = torch.stack([order(seed, 5, epochs=40)[:, 0] for seed in range(50)]).flatten()
    assert (counts.bincount(minlength=5) - 400).abs().max() < 90  # 5 standard deviations


def test_all_orders_of_four_images_occur_evenly() -> None:
    orders = torch.cat([order(seed, 4, epochs=100) for seed in range(24)])
    codes, counts = (orders * torch.tensor([64, 16, 4, 1])).sum(1).unique(return_counts=True)
    assert len(codes) == 24
    assert ((counts - 100.0) ** 2 / 100).sum() < 60  # chi-squared, 23 degrees: p = 4e-5


def test_neighbours_do_not_stay_neighbours() -> None:
    images = order(0, 10_007)[0].double()
    steps = torch.stack([images[:-1], images[1:]])
    assert torch.corrcoef(steps)[0, 1].abs() < 0.05
    assert (images.diff().abs() == 1).sum() < 15  # two are expected


@pytest.mark.parametrize("size", [10**9, 2**40])
def test_sets_too_large_to_store(size: int) -> None:
    images = torch.cat([batch_index(0, size, step, 512, CPU) for step in range(8)])
    assert images.unique().numel() == 4096
    assert images.min() >= 0
    assert images.max() < size
    assert abs(images.double().mean() / size - 0.5) < 0.03
    late = batch_index(0, size, 5 * size // 512, 512, CPU)  # in the sixth epoch
    assert late.max() < size
