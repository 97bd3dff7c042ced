"""CIFAR and MNIST from files in their own formats: pixels, subsets, augmentation by the draw."""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from helpers import Ended
from torch import Tensor
from torch.nn import functional as F
from torchvision.datasets import CIFAR10

from vitcli.config import AugmentConfig, DataConfig
from vitcli.data import DataSource, build_data

CPU = torch.device("cpu")
ALL = torch.arange(50)


def cifar10(root: Path, **options: Any) -> DataSource:
    settings = {"name": "cifar10", "img_size": 32, "val_size": None, **options}
    return build_data(DataConfig(root=str(root), **settings), CPU)


def as_bytes(images: Tensor) -> set[bytes]:
    return {i.numpy().tobytes() for i in ((images + 1) * 127.5).round().to(torch.uint8).flatten(1)}


def test_pixels_are_those_of_the_files(cifar: Path) -> None:
    data = cifar10(cifar)
    assert (data.num_classes, data.train_size, data.val_size) == (10, 50, 10)
    images, labels = data.train_batch(ALL)
    assert images.shape == (50, 3, 32, 32)
    files = [CIFAR10.base_folder + "/" + name for name, _ in CIFAR10.train_list]
    theirs = [pickle.loads((cifar / f).read_bytes())["data"] for f in files]
    assert as_bytes(images) == {row.tobytes() for rows in theirs for row in rows}
    assert labels.bincount().tolist() == [5] * 10
    assert data.labels("val", torch.arange(10)).sort().values.tolist() == list(range(10))


def test_other_numbers_of_images_than_published_are_said(cifar: Path) -> None:
    assert cifar10(cifar).notes() == [
        f"cifar10 in data.root={cifar} has {ours} {part} images, not the {theirs} of the published "
        "set"
        for part, ours, theirs in (("training", 50, "50,000"), ("validation", 10, "10,000"))
    ]


def test_a_hundred_classes(cifar: Path) -> None:
    data = build_data(DataConfig(name="cifar100", root=str(cifar), img_size=32), CPU)
    assert (data.num_classes, data.train_size) == (100, 200)


def test_subsets_are_nested_and_balanced(cifar: Path) -> None:
    whole, part = cifar10(cifar), cifar10(cifar, size=23)
    index = torch.arange(23)
    assert torch.equal(part.train_batch(index)[0], whole.train_batch(index)[0])
    counts = part.train_batch(index)[1].bincount(minlength=10)
    assert counts.max() - counts.min() == 1
    with pytest.raises(ValueError, match=r"data\.size=51: cifar10 has 50"):
        cifar10(cifar, size=51)


@pytest.mark.parametrize("size", [32, 48])
def test_augmentation_depends_on_the_draw_alone(cifar: Path, size: int) -> None:
    data = cifar10(cifar, img_size=size, augment=AugmentConfig(crop="pad", flip=True))
    draw = torch.arange(50) * 7919
    whole = data.train_batch(ALL, draw)[0]
    assert whole.shape == (50, 3, size, size)
    for i in (0, 17, 49):
        assert torch.equal(data.train_batch(ALL[i : i + 1], draw[i : i + 1])[0][0], whole[i])
    assert not torch.equal(data.train_batch(ALL, draw + 1)[0], whole)
    assert torch.equal(data.train_batch(ALL)[0], data.train_batch(ALL)[0])


@pytest.mark.parametrize(("size", "pad", "reach"), [(32, 1, 1), (16, 1, 1), (16, 4, 2)])
def test_every_shift_and_both_sides_occur(cifar: Path, size: int, pad: int, reach: int) -> None:
    data = cifar10(cifar, img_size=size, augment=AugmentConfig(crop="pad", pad=pad, flip=True))
    plain = data.train_batch(ALL[:1])[0][0]
    seen, windows = set(), 2 * reach + 1
    padded = F.pad(plain, (reach,) * 4, value=-1.0)
    for draw in range(500):
        image = data.train_batch(ALL[:1], torch.tensor([draw]))[0][0]
        # The image is flipped first and then shifted: so are the windows of its padding.
        for flip in (False, True):
            source = padded.flip(2) if flip else padded
            for y in range(windows):
                for x in range(windows):
                    if torch.equal(image, source[:, y : y + size, x : x + size]):
                        seen.add((flip, y, x))
    assert len(seen) == 2 * windows**2


@pytest.mark.parametrize("size", [8, 16, 31])
def test_smaller_images_are_resized_before_any_batch(
    cifar: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = cifar10(cifar).train_batch(ALL)[0]
    data = cifar10(cifar, img_size=size, augment=AugmentConfig(crop="pad"))
    expected = F.interpolate(whole, (size, size), mode="bilinear", antialias=True)
    monkeypatch.setattr(F, "interpolate", None)
    images = data.train_batch(ALL)[0]
    assert (images - expected).abs().max() <= 1 / 255 + 1e-5  # half a byte, of a range of 2
    assert data.train_batch(ALL, ALL)[0].shape == (50, 3, size, size)


@pytest.mark.parametrize("size", [(16, 24), (32, 8), (24, 48)])
def test_a_rectangle_is_the_middle_of_a_square(cifar: Path, size: tuple[int, int]) -> None:
    augment, longer = AugmentConfig(crop="pad", flip=True), max(size)
    data = cifar10(cifar, img_size=list(size), augment=augment)
    square = cifar10(cifar, img_size=longer, augment=augment)
    top, left = (longer - size[0]) // 2, (longer - size[1]) // 2
    for order in ((ALL,), (ALL, ALL * 7919)):
        images, labels = data.train_batch(*order)
        theirs, of_theirs = square.train_batch(*order)
        assert images.shape == (50, 3, *size)
        assert images.is_contiguous()
        assert torch.equal(images, theirs[:, :, top : longer - top, left : longer - left])
        assert torch.equal(labels, of_theirs)
    assert data.val_batch(ALL[:10])[0].shape == (10, 3, *size)


def test_files_that_are_not_there_or_not_as_published(cifar: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.root=.*data\.download=true fetches it"):
        cifar10(tmp_path / "nowhere")
    (cifar / CIFAR10.base_folder / "data_batch_3").write_bytes(b"cut off")
    with pytest.raises(ValueError, match="not as published"):
        cifar10(cifar)


def test_a_run_end_to_end_with_itself_downstream(
    vitcli: Callable[..., Ended], tiny: list[str], cifar: Path, tmp_path: Path
) -> None:
    few = [o for o in tiny if not o.startswith("data.")]
    settings = [
        "data=cifar10",
        f"data.root={cifar}",
        "evals.downstream=cifar100",
        "evals.shots=[1]",
    ]
    ended = vitcli("train", *settings, *few)
    assert ended.code == 0, ended.err
    assert "fewshot/cifar100/1shot" in ended.out
    moved = cifar.rename(tmp_path / "elsewhere")  # where the files are is not part of the identity
    again = vitcli("train", *settings, *few, f"data.root={moved}")
    assert "is trained already" in again.out


@pytest.mark.parametrize(
    ("name", "folder"),
    [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST"), ("kmnist", "KMNIST")],
)
def test_images_without_colours_have_three_equal_channels(
    idx: Path, name: str, folder: str
) -> None:
    data = build_data(DataConfig(name=name, root=str(idx), img_size=28, val_size=None), CPU)
    assert (data.num_classes, data.train_size, data.val_size) == (10, 60, 20)
    images, labels = data.train_batch(torch.arange(60))
    assert images.shape == (60, 3, 28, 28)
    assert torch.equal(images[:, :1].expand(-1, 3, -1, -1), images)
    file = (idx / folder / "raw" / "train-images-idx3-ubyte").read_bytes()[16:]
    theirs = {file[start : start + 784] for start in range(0, len(file), 784)}
    assert as_bytes(images[:, :1]) == theirs
    assert labels.bincount().tolist() == [6] * 10
    larger = build_data(DataConfig(name=name, root=str(idx), img_size=32), CPU)
    assert larger.val_batch(torch.arange(4))[0].shape == (4, 3, 32, 32)


def test_idx_files_that_are_broken_or_of_another_kind(idx: Path) -> None:
    def read() -> DataSource:
        return build_data(DataConfig(name="mnist", root=str(idx), img_size=28), CPU)

    raw = idx / "MNIST" / "raw"
    images, labels = raw / "train-images-idx3-ubyte", raw / "train-labels-idx1-ubyte"
    whole = {path: path.read_bytes() for path in (images, labels)}
    cases = {
        images: [b"", b"cut", whole[images][:-9], whole[labels], whole[images] + b"more"],
        labels: [whole[images], whole[labels][:-1], whole[labels][:-1] + bytes([10])],
    }
    for path, contents in cases.items():
        for content in contents:
            path.write_bytes(content)
            with pytest.raises(ValueError, match="MNIST/raw is not there, or not as published"):
                read()
            path.write_bytes(whole[path])
    header = bytearray(whole[images])
    header[8:16] = (14).to_bytes(4, "big") + (56).to_bytes(4, "big")  # as many pixels
    images.write_bytes(bytes(header))
    with pytest.raises(ValueError, match="not as published"):
        read()
    images.unlink()
    with pytest.raises(ValueError, match=r"data\.download=true fetches it"):
        read()
    images.write_bytes(whole[images])
    read()
    (idx / "MNIST" / "processed").mkdir()  # torchvision would load pickled tensors from there
    with pytest.raises(ValueError, match="MNIST/processed is of old versions of torchvision"):
        read()


@pytest.mark.slow
@pytest.mark.fashion
def test_the_real_fashion_mnist(tmp_path: Path) -> None:
    files = Path("/usr/share/datasets/fashion-mnist")
    assert files.exists(), "no Fashion-MNIST here: apt-get install dataset-fashion-mnist"
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for path in files.glob("*.gz"):
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    settings = DataConfig(name="fashion_mnist", root=str(tmp_path), img_size=28, val_size=None)
    data = build_data(settings, CPU)
    assert (data.train_size, data.val_size) == (60_000, 10_000)
    assert data.labels("train", torch.arange(60_000)).bincount().tolist() == [6_000] * 10
    # Logistic regression has 0.84 by the benchmark of its authors; classes' means 0.68.
    images, labels = data.train_batch(torch.arange(60_000))
    means = torch.stack([images[labels == k].mean(0).flatten() for k in range(10)])
    shown, truth = data.val_batch(torch.arange(10_000))
    nearest = torch.cdist(shown.flatten(1), means).argmin(1)
    assert (nearest == truth).float().mean() == pytest.approx(0.68, abs=0.02)


def test_a_download_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: object, **options: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", unreachable)
    with pytest.raises(ValueError, match=r"^data\.download=true: mnist: .*no route to host"):
        build_data(DataConfig(name="mnist", root=str(tmp_path), download=True), CPU)
