"""Real files in the formats that the data sets are read from."""

from __future__ import annotations

import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both CIFAR sets, of 10 or 100 images a file; the sums that torchvision checks are theirs."""
    root = tmp_path / "cifar"
    rng = np.random.default_rng(0)

    def write(folder: Path, name: str, content: object) -> list[str]:
        folder.mkdir(parents=True, exist_ok=True)
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return [name, hashlib.md5(data).hexdigest()]

    def images(count: int) -> np.ndarray:
        return rng.integers(0, 256, (count, 3072), dtype=np.uint8)

    ten = root / CIFAR10.base_folder
    labels = list(range(10))
    train = [
        write(ten, f"data_batch_{i}", {"data": images(10), "labels": labels}) for i in range(1, 6)
    ]
    test = [write(ten, "test_batch", {"data": images(10), "labels": labels})]
    name, md5 = write(ten, "batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(CIFAR10, "train_list", train)
    monkeypatch.setattr(CIFAR10, "test_list", test)
    monkeypatch.setattr(CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": md5})

    hundred = root / CIFAR100.base_folder
    fine = {"data": images(200), "fine_labels": [i % 100 for i in range(200)]}
    monkeypatch.setattr(CIFAR100, "train_list", [write(hundred, "train", fine)])
    monkeypatch.setattr(CIFAR100, "test_list", [write(hundred, "test", fine)])
    name, md5 = write(hundred, "meta", {"fine_label_names": [str(i) for i in range(100)]})
    monkeypatch.setattr(CIFAR100, "meta", {"filename": name, "key": "fine_label_names", "md5": md5})
    return root


@pytest.fixture
def idx(tmp_path: Path) -> Path:
    """MNIST and its two kin in their own format: 60 training and 20 test images of 28 pixels."""
    root = tmp_path / "idx"
    rng = np.random.default_rng(0)
    for name in ("MNIST", "FashionMNIST", "KMNIST"):
        raw = root / name / "raw"
        raw.mkdir(parents=True)
        for part, count in (("train", 60), ("t10k", 20)):
            pixels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
            labels = np.arange(count, dtype=np.uint8) % 10
            for kind, array in (("images-idx3", pixels), ("labels-idx1", labels)):
                header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape)
                (raw / f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())
    return root


def picture(seed: int, mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A smooth image, another one for each seed."""
    channels = {"L": 1, "RGB": 3, "CMYK": 4}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 5, channels), dtype=np.uint8)
    small = Image.fromarray(pixels.squeeze(-1) if channels == 1 else pixels, mode)
    return small.resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of 12 JPEGs and 4 PNGs; the class c2 has no validation images."""
    root = tmp_path / "images"
    for part, each in (("train", 12), ("val", 4)):
        for c in range(3 if part == "train" else 2):
            (root / part / f"c{c}").mkdir(parents=True)
            for i in range(each):
                kind = "jpg" if part == "train" else "png"
                picture(100 * c + i).save(root / part / f"c{c}" / f"{i}.{kind}")
    return root
