"""Which images are there twice: hashes against scipy, pairs against all of them, the words said."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy.fft import dctn
from sklearn.datasets import load_sample_images

from vitcli.data.duplicates import close, duplicates
from vitcli.data.facts import Fact, of_files, perceptual

MANY = 10**9


def png(image: Image.Image) -> bytes:
    place = io.BytesIO()
    image.save(place, "PNG")
    return place.getvalue()


def facts(images: dict[str, Image.Image], label: int = 0) -> list[Fact]:
    return of_files([(name, label, lambda i=i: png(i)) for name, i in images.items()], MANY)


def photos(count: int) -> list[Image.Image]:
    """Squares of two photographs, each a part of its own."""
    rng, found = np.random.default_rng(0), []
    wholes = [Image.fromarray(image) for image in load_sample_images().images]
    for number in range(count):
        whole, side = wholes[number % 2], int(rng.integers(100, 200))
        left, top = 97 * (number // 2) % 440, 53 * (number // 2) % 220
        found.append(whole.crop((left, top, left + side, top + side)))
    return found


def test_the_perceptual_hash_is_of_the_lowest_frequencies() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (50, 32, 32), dtype=np.uint8)
    found = perceptual(grey)
    for image, number in zip(grey, found, strict=True):
        low = dctn(image.astype(float), type=2)[:8, :8].ravel()  # scipy's, as ImageHash's
        bits = low > np.median(low)
        assert np.array_equal(np.unpackbits(number.reshape(1).view(np.uint8)), bits)


def test_close_hashes_are_those_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, 60, dtype=np.uint64)
    hashes = np.concatenate([hashes, *([hashes] * 8)])
    for _ in range(5):  # copies of which up to 5 bits are changed
        flips = np.uint64(1) << rng.integers(0, 64, len(hashes), dtype=np.uint64)
        hashes[60:] ^= np.where(rng.random(len(hashes)) < 0.6, flips, np.uint64(0))[60:]
    distance = np.bitwise_count(hashes[:, None] ^ hashes)
    expected = {(i, j) for i, j in np.argwhere(distance <= 4).tolist() if i < j}
    found = np.concatenate([np.sort(np.stack(pair, axis=1)) for pair in close(hashes)])
    assert set(map(tuple, found.tolist())) == expected
    assert len(expected) > 300


def test_the_frames_of_a_video_take_no_square_of_their_number() -> None:
    hashes = np.zeros(4_000, dtype=np.uint64)
    compared = sum(len(a) for a, _ in close(hashes))
    assert compared < 5 * 1000 * len(hashes)
    assert {i for a, b in close(hashes[:100]) for i in [*a.tolist(), *b.tolist()]} == {*range(100)}


def jpeg(image: Image.Image) -> Image.Image:
    place = io.BytesIO()
    image.save(place, "JPEG", quality=60)
    return Image.open(io.BytesIO(place.getvalue()))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "saved as JPEG": jpeg,
    "half": lambda image: image.resize((image.width // 2, image.height // 2)),
    "twice": lambda image: image.resize((image.width * 2, image.height * 2)),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.9),
    "grey": lambda image: image.convert("L"),
}


@pytest.mark.parametrize("how", CHANGES)
def test_changed_copies_are_found_and_other_photos_are_not(how: str) -> None:
    train = facts({f"train/{i}": image for i, image in enumerate(photos(20))})
    copies = {f"val/{i}": CHANGES[how](image) for i, image in enumerate(photos(20))}
    assert duplicates(train, [], ["a"]) == []
    (line,) = duplicates(train, facts(copies), ["a"])
    pairs = "val/0 ~ train/0, val/1 ~ train/1, val/2 ~ train/2"
    assert line == f"images of val that look like one of train: 20 ({pairs} and 17 more)"


def test_equal_pixels_are_said_with_their_labels_whatever_the_file() -> None:
    one, two, three = photos(3)
    train = facts({"train/a/1": one, "train/a/2": two}) + facts({"train/b/1": one}, 1)
    turned = Image.Exif()
    turned[0x0112] = 6
    place = io.BytesIO()
    one.transpose(Image.Transpose.ROTATE_90).save(place, "PNG", exif=turned)
    val = of_files([("val/a/9", 0, place.getvalue)], MANY)
    val += facts({"val/a/3": three, "val/a/4": three})
    lines = duplicates(train, val, ["a", "b"])
    assert lines == [
        "images of val that are in train too: 1 (val/a/9 = train/a/1)",
        "images that have another label elsewhere: 1 (train/b/1 (b) = train/a/1 (a))",
        "images of train that are copies of others: 1 (train/b/1 = train/a/1)",
        "images of val that are copies of others: 1 (val/a/4 = val/a/3)",
    ]


def test_images_that_look_the_same_with_two_labels_are_said() -> None:
    (one,) = photos(1)
    train = facts({"train/a/1": one}) + facts({"train/b/1": jpeg(one)}, 1)
    lines = duplicates(train, [], ["a", "b"])
    assert lines == [
        "images that look like one of another label: 2 "
        "(train/a/1 (a) ~ train/b/1 (b), train/b/1 (b) ~ train/a/1 (a))",
        "images of train that look like others: 2 (train/a/1 ~ train/b/1, train/b/1 ~ train/a/1)",
    ]


def test_images_of_one_colour_look_like_nothing() -> None:
    plain = {f"train/{i}": Image.new("RGB", (20, 20), (i, 9, 9)) for i in range(4)}
    again = {"train/x": Image.new("RGB", (20, 20), (0, 9, 9))}
    other = {"train/y": Image.new("RGB", (10, 40), (0, 9, 9))}  # as many pixels, of another shape
    assert duplicates(facts(plain | again | other), [], ["a"]) == [
        "images of train that are copies of others: 1 (train/x = train/0)",
        "images of one colour, compared by their pixels alone: 5",
    ]


def test_bad_images_are_none_of_them(tmp_path: Path) -> None:
    bad = of_files([("train/0", 0, lambda: b"no image"), ("train/1", 0, lambda: b"")], MANY)
    assert [fact.bad for fact in bad] == ["not an image"] * 2
    assert duplicates(bad, bad, ["a"]) == []


def test_how_an_image_is_stored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    place = io.BytesIO()
    Image.new("LA", (40, 20), (9, 9)).save(place, "PNG", exif=exif)
    (fact,) = of_files([("x", 3, place.getvalue)], MANY)
    assert fact.small == bytes([9]) * 64
    assert (fact.mode, fact.size, fact.orientation) == ("LA", (40, 20), 6)
    assert (fact.name, fact.label, fact.bad) == ("x", 3, None)
