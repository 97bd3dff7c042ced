"""What is known of a data set without opening it: its name, its sizes, what a seed draws of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vitcli.config import DataConfig

UNKNOWN_CLASSES = 1000  # assumed of a set that is not read before its first run

_WORDS = {
    "glyphs": "generated images of printed letters",
    "digits": "handwritten digits",
    "letters": "letters not used in pre-training",
}
# Training and validation images of sets that have a number of their own.
_SIZES = {
    "digits": (1297, 500),
    "cifar10": (50_000, 10_000),
    "cifar100": (50_000, 10_000),
    "mnist": (60_000, 10_000),
    "fashion_mnist": (60_000, 10_000),
    "kmnist": (60_000, 10_000),
    "imagenet": (1_281_167, 50_000),
}
# Where a download of torchvision's readers is, in data.root.
_FOLDERS = {
    "cifar10": "cifar-10-batches-py",
    "cifar100": "cifar-100-python",
    "mnist": "MNIST/raw",
    "fashion_mnist": "FashionMNIST/raw",
    "kmnist": "KMNIST/raw",
}
HELD = tuple(_FOLDERS)  # small sets that torchvision reads: on the device


def place(data: DataConfig) -> Path | None:
    """Returns where a set's files lie, None of one without any or whose place is not said."""
    if data.name in _FOLDERS:
        return Path(data.root) / _FOLDERS[data.name]
    return None if data.path is None else Path(data.path)


def named(data: DataConfig) -> str:
    """Returns the name of a run's data set: the user's own, if there is one."""
    return data.alias or data.name


def words(name: str) -> str:
    """Returns the data set in words."""
    return _WORDS.get(name, name)


def published(name: str) -> tuple[int | None, int | None]:
    """Returns how many images for training and validation a set has; None: only its files tell."""
    return _SIZES.get(name, (None, None))


def sizes(data: DataConfig) -> tuple[int | None, int | None]:
    """Returns the numbers of training and validation images, None where only the files tell."""
    train, val = _SIZES.get(data.name, (None, None))
    if val is not None and data.val_size is not None:
        return data.size or train, min(val, data.val_size)
    return data.size or train, data.val_size or val


def drawn(data: DataConfig) -> tuple[list[str], list[str]]:
    """Returns what of the set another data.seed draws anew, and what stays as it is."""
    name = named(data)
    if data.name == "glyphs":
        return [f"training and validation images of {name}"], []
    if data.name == "digits":
        size = "" if data.size is None else f", and which {data.size:,} are trained on"
        return [f"the split of {name} into training and test images{size}"], []
    if data.stream:
        return [], [f"the images of {name}: the first ones of the stream"]
    own = data.name not in _SIZES or data.name == "imagenet"
    if data.val_share is not None and own:
        return [f"which {data.val_share:.0%} of {name} are for validation"], []
    train, val = sizes(replace(data, size=None, val_size=None))
    anew, fixed = list[str](), list[str]()
    for part, wanted, there in (("training", data.size, train), ("test", data.val_size, val)):
        if wanted is not None and (there is None or wanted < there):
            anew.append(f"which {wanted:,} {part} images of {name}")
        else:
            fixed.append(f"the {part} images of {name}: all there are")
    return anew, fixed


def describe(data: DataConfig) -> str:
    """Returns the set, how much of it, and its images, in words."""
    every = "unlimited" if data.name == "glyphs" else "all"
    amount = every if data.size is None else f"{data.size:,}"
    kind = f"{data.level}, " if data.name == "glyphs" else ""
    classes = "its own" if data.num_classes is None else f"{data.num_classes:,}"
    pixels = "x".join(str(side) for side in dict.fromkeys(data.height_width))
    return f"{named(data)} ({kind}{amount} images of {pixels} pixels, {classes} classes)"
