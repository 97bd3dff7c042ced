"""The handwritten digits, and nested subsets of labelled images."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from vitcli.config import DataConfig
from vitcli.data import DataSource, build_data
from vitcli.data.subsets import balanced_order

CPU = torch.device("cpu")


def digits(**options: Any) -> DataSource:
    return build_data(DataConfig(name="digits", **{"img_size": 8, **options}), CPU)


def whole(data: DataSource) -> tuple[Tensor, Tensor]:
    train = data.train_batch(torch.arange(data.train_size))
    val = data.val_batch(torch.arange(data.val_size))
    return torch.cat([train[0], val[0]]), torch.cat([train[1], val[1]])


def test_every_digit_is_in_one_part() -> None:
    data = digits()
    assert (data.num_classes, data.train_size, data.val_size) == (10, 1297, 500)
    images, labels = whole(data)
    pixels, answers = load_digits(return_X_y=True)
    mine = [
        (*((row + 1) * 8).tolist(), label)
        for row, label in zip(images[:, 0].flatten(1), labels.tolist(), strict=True)
    ]
    theirs = [(*row, label) for row, label in zip(pixels.tolist(), answers.tolist(), strict=True)]
    assert sorted(mine) == sorted(theirs)


def test_parts_do_not_depend_on_sizes() -> None:
    full, small = digits(), digits(size=33, val_size=20)
    assert (small.train_size, small.val_size) == (33, 20)
    for part in ("train_batch", "val_batch"):
        index = torch.arange(20)
        assert torch.equal(getattr(full, part)(index)[0], getattr(small, part)(index)[0])


def test_split_depends_on_the_seed_alone() -> None:
    index = torch.arange(100)
    first, again, other = (digits(seed=seed).val_batch(index)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("size", [8, 16, 31])
def test_images(size: int) -> None:
    images, labels = whole(digits(img_size=size))
    assert images.shape == (1797, 3, size, size)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert images.min() >= -1
    assert images.max() <= 1
    assert images.std() > 0.5
    assert torch.equal(images[:, 0], images[:, 2])


@pytest.mark.parametrize("size", [(16, 25), (40, 16)])
def test_a_rectangle_has_the_digit_in_its_middle(size: tuple[int, int]) -> None:
    images, labels = whole(digits(img_size=list(size)))
    square, of_square = whole(digits(img_size=16))
    assert images.shape == (1797, 3, *size)
    assert torch.equal(labels, of_square)
    top, left = (size[0] - 16) // 2, (size[1] - 16) // 2
    middle = images[:, :, top : top + 16, left : left + 16]
    assert torch.equal(middle, square)
    assert (images + 1).sum() == pytest.approx((square + 1).sum())  # and nothing around it


def test_prefixes_are_balanced() -> None:
    data = digits()
    _, labels = data.train_batch(torch.arange(1297))
    for size in (10, 57, 100, 1000):
        counts = labels[:size].bincount(minlength=10)
        assert counts.max() - counts.min() <= 1
    _, labels = data.val_batch(torch.arange(500))
    assert labels.bincount().tolist() == [50] * 10


def test_too_many() -> None:
    with pytest.raises(ValueError, match=r"data\.size=1298: digits has 1297"):
        digits(size=1298)


def test_balanced_order_of_uneven_classes() -> None:
    labels = torch.tensor([0] * 50 + [1] * 7 + [2] * 20)
    order = balanced_order(labels, seed=0)
    assert torch.equal(order.sort().values, torch.arange(77))
    for size in range(1, 78):
        counts = labels[order[:size]].bincount(minlength=3)
        # As even as can be: no class has two more than another that has images left.
        for c, total in enumerate([50, 7, 20]):
            assert counts[c] == total or counts[c] >= counts.max() - 1


def test_balanced_order_is_random_within_and_between_classes() -> None:
    labels = torch.arange(5).repeat_interleave(40)
    orders = torch.stack([balanced_order(labels, seed) for seed in range(40)])
    assert len(orders[:, 0].unique()) > 25
    assert len(labels[orders[:, 0]].unique()) == 5
