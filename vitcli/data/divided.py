"""A data set that has one part only, divided by data.val_share into training and validation.

By the hash of data.seed and each image's name, so that neither the machine nor the order in which
files are listed counts, and a file more or less moves at most one other of its class.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from vitcli.config import DataConfig
from vitcli.data.names import same_form, some
from vitcli.data.source import Part, Reader

HINT = "where there is only one part, data.val_share=0.1 divides it"


class SecondPart(ValueError):
    """data.val_share is set, and the data set has a part for validation."""


def divide(whole: Reader, config: DataConfig) -> dict[Part, Reader]:
    """Returns the parts: data.val_share of each class, rounded, is for validation.

    Of a class of two or more images each part has at least one.

    Raises:
        ValueError: every class has one image only.
    """
    assert config.val_share is not None
    key, names = f"data.val_share={config.val_share:g}", whole.classes.names
    found = [whole.name(row) for row in range(len(whole.labels))]
    rows, single = held_out(whole.labels, found, config.val_share, config.seed)
    if not rows:
        raise ValueError(f"{key}: no class at data.path={config.path} has two images to divide")
    classes = len({whole.labels[row] for row in rows})
    notes = [
        f"{config.path}: {key} holds {len(rows):,} of {len(found):,} images, of {classes:,} "
        f"classes, out for validation, by their names and data.seed={config.seed}"
    ]
    if single:
        alone = some([names[label] for label in single])
        notes.append(f"{config.path}: classes of one image, which is for training: {alone}")
    taken = set(rows)
    rest = [row for row in range(len(found)) if row not in taken]
    return {
        "train": _Portion(whole, rest, [*whole.notes, *notes]),
        "val": _Portion(whole, rows, []),
    }


def held_out(
    labels: Sequence[int], names: Sequence[str], share: float, seed: int
) -> tuple[list[int], list[int]]:
    """Returns the rows that are for validation, in order, and the labels that one image has."""
    by_class: dict[int, list[int]] = defaultdict(list)
    for row, label in enumerate(labels):
        by_class[label].append(row)
    drawn: list[int] = []
    for of_class in by_class.values():
        many = min(max(1, int(share * len(of_class) + 0.5)), len(of_class) - 1)
        drawn += sorted(of_class, key=lambda row: _hash(seed, names[row]))[:many]
    return sorted(drawn), sorted(label for label, rows in by_class.items() if len(rows) == 1)


def seconds(config: DataConfig) -> list[str]:
    """Returns what a part for validation may be called: as data.splits says, or any usual name."""
    name = config.splits[1]
    return [name] if name != "validation" else [name, "val", "valid"]


def refuse_second(config: DataConfig, name: str) -> None:
    """Raises SecondPart, naming the part that there is."""
    raise SecondPart(
        f"data.val_share={config.val_share:g}: data.path={config.path} has {name} for validation "
        "already: data.val_share=null takes that"
    )


def _hash(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed} {same_form(name)}".encode()).digest()


class _Portion:
    """Some of a reader's images."""

    def __init__(self, whole: Reader, rows: list[int], notes: list[str]) -> None:
        self._whole, self._rows, self.notes = whole, rows, notes
        self.classes, self.labels = whole.classes, [whole.labels[row] for row in rows]

    def read(self, row: int) -> bytes:
        return self._whole.read(self._rows[row])

    def name(self, row: int) -> str:
        return self._whole.name(self._rows[row])
