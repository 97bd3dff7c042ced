"""The drawn letters."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vitcli.config import DataConfig
from vitcli.data import DataSource, build_data
from vitcli.data.atlas import build_atlas, letters
from vitcli.data.glyphs import Glyphs

CPU = torch.device("cpu")
LEVELS = ("plain", "colour", "clutter")


def glyphs(**options: Any) -> DataSource:
    return build_data(DataConfig(**{"name": "glyphs", "num_classes": 10, **options}), CPU)


@pytest.mark.parametrize("level", LEVELS)
# 15 and 33: no multiple of a vector's width.
@pytest.mark.parametrize("img_size", [15, 16, 33, [15, 33]])
def test_an_image_does_not_depend_on_its_batch(level: str, img_size: int | list[int]) -> None:
    data = glyphs(level=level, img_size=img_size, num_classes=60)
    whole, labels = data.train_batch(torch.arange(300))
    for index in (
        torch.arange(300).flip(0),
        torch.arange(0, 300, 7),
        torch.tensor([5, 5, 299]),
        *(torch.tensor([i]) for i in range(20)),
    ):
        images, of_images = data.train_batch(index)
        assert torch.equal(images, whole[index])
        assert torch.equal(of_images, labels[index])


def test_an_image_does_not_depend_on_threads_or_the_size_of_the_set() -> None:
    index = torch.arange(200)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone, _ = glyphs(size=200).train_batch(index)
    torch.set_num_threads(3)
    many, _ = glyphs(size=10**9).train_batch(index)
    torch.set_num_threads(threads)
    assert torch.equal(alone, many)


@pytest.mark.parametrize("level", LEVELS)
def test_images(level: str) -> None:
    data = glyphs(level=level, img_size=24)
    images, labels = data.train_batch(torch.arange(40))
    assert images.shape == (40, 3, 24, 24)
    assert images.dtype == torch.float32
    assert images.is_contiguous()
    assert labels.tolist() == [i % 10 for i in range(40)]
    assert images.min() >= -1
    assert images.max() <= 1
    assert images.flatten(1).unique(dim=0).shape[0] == 40


@pytest.mark.parametrize("img_size", [[24, 48], [48, 24], [24, 31]])
def test_letters_of_a_rectangle_are_those_of_a_square(img_size: list[int]) -> None:
    index = torch.arange(400)
    square, _ = glyphs(img_size=24).train_batch(index)
    images, labels = glyphs(img_size=img_size).train_batch(index)
    assert images.shape == (400, 3, *img_size)
    assert torch.equal(labels, index % 10)
    assert images.min() >= -1
    assert images.max() <= 1
    # White on black: from its rows and columns with ink, a letter's height, width and middle.
    for axis, side in ((2, img_size[0]), (1, img_size[1])):
        expected, ink = ((x[:, 0] > 0).any(axis).float() for x in (square, images))
        # Stretched it would be 1.3 or 2 times as large, or more.
        assert ink.sum(1).mean().item() == pytest.approx(expected.sum(1).mean().item(), rel=0.03)
        middles = (ink * (torch.arange(side) + 0.5)).sum(1) / ink.sum(1)
        assert middles.mean().item() == pytest.approx(side / 2, abs=0.2)
        shifts = 0.04 * side / 3**0.5  # up to 4 % of the side, either way
        assert 0.9 * shifts < middles.std() < shifts + 0.4


def test_validation_is_disjoint_from_training() -> None:
    data = glyphs(img_size=8, num_classes=2)
    train, _ = data.train_batch(torch.arange(4000))
    val, labels = data.val_batch(torch.arange(1000))
    both = torch.cat([train, val]).flatten(1)
    assert both.unique(dim=0).shape[0] == 5000
    assert labels.bincount().tolist() == [500, 500]


def test_sizes() -> None:
    assert glyphs(size=123, val_size=7).train_size == 123
    assert glyphs(size=123, val_size=7).val_size == 7
    assert glyphs().train_size == 2**40


def test_seed_changes_the_images() -> None:
    index = torch.arange(10)
    assert not torch.equal(glyphs().train_batch(index)[0], glyphs(seed=1).train_batch(index)[0])


def test_plain_is_white_on_black_and_the_others_are_coloured() -> None:
    index = torch.arange(500)
    plain, _ = glyphs(level="plain").train_batch(index)
    assert torch.equal(plain[:, 0], plain[:, 1])
    assert torch.equal(plain[:, 0], plain[:, 2])
    assert (plain[..., 4:-4, 4:-4].mean((1, 2, 3)) > plain.mean((1, 2, 3))).float().mean() > 0.95
    for level in ("colour", "clutter"):
        images, _ = glyphs(level=level).train_batch(index)
        assert (images[:, 0] - images[:, 1]).abs().mean() > 0.2
        corners = images[..., [0, 0, -1, -1], [0, -1, 0, -1]].mean((1, 2))
        assert 0.4 < (corners < 0).float().mean() < 0.6  # dark and bright backgrounds


def test_letters_contrast_with_their_background() -> None:
    images, _ = glyphs(level="colour", img_size=32).train_batch(torch.arange(500))
    ranges = images.flatten(2).quantile(0.98, 2) - images.flatten(2).quantile(0.02, 2)
    assert ranges.min() > 0.4


def test_clutter_covers_the_edges_more_than_the_middle() -> None:
    index = torch.arange(1000)
    colour, clutter = (
        glyphs(level=level, img_size=32).train_batch(index)[0] for level in ("colour", "clutter")
    )
    edge = [x[:, :, 0].std(-1).mean() for x in (colour, clutter)]  # how mixed the top row is
    assert edge[1] > 1.5 * edge[0]
    colour, clutter = (
        glyphs(level=level, img_size=[24, 72]).train_batch(index)[0] for level in LEVELS[1:]
    )
    for row in (0, -1):  # those of a rectangle are its own
        for x in (colour[:, :, row], clutter[:, :, row]), (colour[..., row], clutter[..., row]):
            assert x[1].std(-1).mean() > 1.3 * x[0].std(-1).mean()


def test_all_faces_are_drawn() -> None:
    atlas = build_atlas(26, 32, CPU)
    assert atlas.count.tolist() == [12] * 26  # of DejaVu Sans, Sans Mono and Serif, four each
    assert atlas.first.tolist() == list(range(0, 312, 12))
    assert atlas.cells.shape == (312, 1, 34, 34)
    assert atlas.cells.amax((1, 2, 3)).min() > 0.9  # none is blank
    assert atlas.cells[:, :, [0, -1]].max() == 0  # and none is cut off
    assert atlas.cells[..., [0, -1]].max() == 0
    assert atlas.cells.flatten(1).unique(dim=0).shape[0] == 312


def test_latin_letters_come_first_and_look_alikes_once() -> None:
    known = letters()
    assert known.startswith("ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghjkmnpqrtuy")
    assert len(set(known)) == len(known)
    assert not any(letter.isdigit() for letter in known)
    for first, *others in ("AΑА", "OoОοо", "Cc", "Ili", "Ssѕ", "HНΗ", "Ww", "Xx"):
        assert first in known
        assert not set(others) & set(known)
    assert set("EFBDPRMNhnbdpΓΔЖЯ") <= set(known)


def test_a_thousand_classes() -> None:
    data = glyphs(num_classes=1000)
    images, labels = data.train_batch(torch.arange(1000))
    assert torch.equal(labels, torch.arange(1000))
    assert images.std() > 0.3


@pytest.mark.parametrize("level", LEVELS)
def test_a_margin_is_what_the_image_goes_on_to(level: str) -> None:
    config = DataConfig(name="glyphs", num_classes=10, img_size=24, level=level)
    wide, labels = Glyphs(config, CPU, margin=5).val_batch(torch.arange(200))
    plain, of_plain = Glyphs(config, CPU).val_batch(torch.arange(200))
    assert wide.shape == (200, 3, 34, 34)
    assert torch.equal(labels, of_plain)
    # The noise is another: at most 0.15 of its sd of 1, cut at 3.5.
    assert (wide[..., 5:-5, 5:-5] - plain).abs().max() < 2 * 0.15 * 3.5
    assert (wide[..., 5:-5, 5:-5] - plain).abs().mean() < 0.12
    assert (wide[..., 6:-4, 5:-5] - plain).abs().mean() > 0.14  # a pixel off


def test_letters_from_a_later_one_on() -> None:
    known = letters()
    few, many = build_atlas(3, 16, CPU, first=40), build_atlas(43, 16, CPU)
    assert torch.equal(few.cells, many.cells[many.first[40] :])
    assert torch.equal(few.count, many.count[40:])
    last = DataConfig(name="glyphs", num_classes=20)
    Glyphs(last, CPU, first=len(known) - 20)
    with pytest.raises(ValueError, match=r"data\.num_classes=\d+: .*=letters needs 20 others"):
        Glyphs(last, CPU, first=len(known) - 19)


def test_too_many() -> None:
    most = len(letters())
    assert most >= 1000
    with pytest.raises(ValueError, match=rf"data\.num_classes={most + 1}: .* at most {most}"):
        glyphs(num_classes=most + 1)
    with pytest.raises(ValueError, match=r"data\.size=1099511627777"):
        glyphs(size=2**40 + 1)
