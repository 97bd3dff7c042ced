"""Real files in the formats that the data sets are read from."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
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
