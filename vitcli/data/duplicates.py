"""Which images are there twice: of the same pixels, or looking the same.

Two images look the same if their perceptual hashes differ in 4 of 64 bits at most, and their grey
8 x 8 pixels correlate by 0.995: by the hash alone, half of the garments of Fashion-MNIST would have
such a twin. Of 200 parts of photos, saved as JPEG, halved or made 10 % darker, 95 % are found; the
others are parts of a sky.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vitcli.data.facts import Fact
from vitcli.data.names import natural, shown

_BITS, _CORRELATION = 4, 0.995
_FAR = 1_000
_SHOWN = 3  # pairs of names in a line
# Of 5 disjoint sets of bits, hashes that differ in 4 bits at most agree in one.
_BANDS = [np.uint64(sum(1 << bit for bit in range(first, 64, 5))) for first in range(5)]


@dataclass
class _Twins:
    """Images that have a twin: of each group of equal images one, and one of the twin's group.

    Args:
        said: which images they are, in words.
        own: the row of each group's image that may have a twin; -1: it has none that counts.
        other: the row of each group's image that may be one.
        labels: of the rows; twins are of two labels then.
    """

    said: str
    own: Any
    other: Any
    labels: Any = None
    twin: Any = field(init=False)  # of each group, the row of its twin; -1: none was found

    def __post_init__(self) -> None:
        self.twin = np.full(len(self.own), -1)

    def wanted(self, groups: Any, others: Any) -> Any:
        """Returns of which pairs the first group has no twin yet, and may have the other one."""
        own, other = self.own[groups], self.other[others]
        may = (own >= 0) & (other >= 0) & (self.twin[groups] < 0)
        return may if self.labels is None else may & (self.labels[own] != self.labels[other])

    def add(self, groups: Any, others: Any) -> None:
        """Keeps the pairs that are wanted."""
        wanted = self.wanted(groups, others)
        self.twin[groups[wanted]] = self.other[others[wanted]]


def duplicates(train: Sequence[Fact], val: Sequence[Fact], classes: Sequence[str]) -> list[str]:
    """Returns what to say of images that are there twice, a line each; none of bad images."""
    facts = [fact for fact in (*train, *val) if fact.bad is None]
    if not facts:
        return []
    images = _Images(facts, sum(fact.bad is None for fact in train), classes)
    return [*images.equal(), *images.alike()]


class _Images:
    """Images in groups of equal ones; the first `trained` of them are for training."""

    def __init__(self, facts: Sequence[Fact], trained: int, classes: Sequence[str]) -> None:
        digests = np.array([fact.pixels for fact in facts], dtype=np.uint64)
        _, self._first, self._group = np.unique(digests, return_index=True, return_inverse=True)
        rows = np.arange(len(facts))
        self._facts, self._classes, self._rows = facts, classes, rows
        self._train, self._val = rows[:trained], rows[trained:]
        self._labels = np.array([fact.label for fact in facts])
        self._in_train, self._in_val = map(self._firsts, (self._train, self._val))

    def equal(self) -> list[str]:
        """Returns what to say of images with the pixels of another."""
        lines: list[str] = []
        for said, images, twins in (
            ("of val that are in train too", self._val, self._in_train),
            ("that have another label elsewhere", self._rows, self._first),
            ("of train that are copies of others", self._train, self._in_train),
            ("of val that are copies of others", self._val, self._in_val),
        ):
            twin, labelled = twins[self._group[images]], images is self._rows
            other = self._labels[images] != self._labels[twin] if labelled else twin != images
            counts = (twin >= 0) & other
            lines += self._line(said, images[counts], twin[counts], "=", labelled)
        return lines

    def alike(self) -> list[str]:
        """Returns what to say of images that look like another, of each group one."""
        first, in_train, in_val = self._first, self._in_train, self._in_val
        found = [
            _Twins(
                "of val that look like one of train", np.where(in_train < 0, in_val, -1), in_train
            ),
            _Twins("that look like one of another label", first, first, self._labels),
            _Twins("of train that look like others", in_train, in_train),
            _Twins("of val that look like others", in_val, in_val),
        ]
        facts = [self._facts[row] for row in first.tolist()]
        _look(facts, found)
        lines: list[str] = []
        for twins in found:
            there, labelled = twins.twin >= 0, twins.labels is not None
            lines += self._line(twins.said, twins.own[there], twins.twin[there], "~", labelled)
        if plain := sum(fact.looks is None for fact in facts):
            lines.append(f"images of one colour, compared by their pixels alone: {plain:,}")
        return lines

    def _firsts(self, rows: Any) -> Any:
        """Returns the first of these rows in each group, -1 where none is."""
        found = np.full(len(self._first), -1)
        found[self._group[rows[::-1]]] = rows[::-1]  # of several the one that is written last stays
        return found

    def _line(self, said: str, images: Any, twins: Any, sign: str, labelled: bool) -> list[str]:
        """Returns how many images there are, and the first pairs; nothing of none."""

        def name(row: int) -> str:
            of = f" ({shown(self._classes[self._labels[row]])})" if labelled else ""
            return self._facts[row].name + of

        pairs = list(zip(images.tolist(), twins.tolist(), strict=True))
        pairs.sort(key=lambda pair: natural(self._facts[pair[0]].name))
        first = ", ".join(f"{name(a)} {sign} {name(b)}" for a, b in pairs[:_SHOWN])
        more = f" and {len(pairs) - _SHOWN:,} more" if len(pairs) > _SHOWN else ""
        return [f"images {said}: {len(pairs):,} ({first}{more})"] if pairs else []


def _look(facts: Sequence[Fact], found: Sequence[_Twins]) -> None:
    """Adds to `found` the pairs of these images, one of each group, that look the same."""
    seen = np.array([i for i, fact in enumerate(facts) if fact.looks is not None], dtype=np.int64)
    hashes = np.array([facts[i].looks for i in seen], dtype=np.uint64)
    small = np.zeros((len(facts), 64), np.uint8)
    for i in seen.tolist():
        small[i] = np.frombuffer(facts[i].small, np.uint8)
    for a, b in close(hashes):
        groups, others = seen[np.concatenate([a, b])], seen[np.concatenate([b, a])]
        wanted = np.logical_or.reduce([twins.wanted(groups, others) for twins in found])
        groups, others = groups[wanted], others[wanted]
        same = _correlation(small[groups], small[others]) >= _CORRELATION
        for twins in found:
            twins.add(groups[same], others[same])


def close(hashes: Any) -> Iterator[tuple[Any, Any]]:
    """Yields positions (n,) and (n,) of pairs of hashes that differ in 4 bits at most.

    Each pair comes once or more. In each band the hashes are sorted, and each is compared with
    those after it for as long as they agree in the band, with 1,000 at most: the frames of a video
    are all alike, and one pair for each is enough.
    """
    for band in _BANDS:
        order = np.argsort(hashes & band, kind="stable")
        key, ordered = (hashes & band)[order], hashes[order]
        here = np.arange(len(hashes))
        for step in range(1, min(_FAR, len(hashes))):
            here = here[: np.searchsorted(here, len(hashes) - step)]
            here = here[key[here] == key[here + step]]
            if not len(here):
                break
            near = here[np.bitwise_count(ordered[here] ^ ordered[here + step]) <= _BITS]
            if len(near):
                yield order[near], order[near + step]


def _correlation(a: Any, b: Any) -> Any:
    """Returns the correlation (n,) of rows (n, 64)."""
    a, b = (x - x.mean(1, keepdims=True) for x in (a.astype(np.float32), b.astype(np.float32)))
    norm = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return (a * b).sum(1) / np.maximum(norm, 1e-6)
