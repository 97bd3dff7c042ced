"""Labels as people write them, made numbers of classes: the one page for every kind of data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from vitcli.data.names import same_form

_MOST_CLASSES = 1_000_000  # a larger number is no class, but somebody's id of an image or a person


class Classes:
    """The classes of a data set: named by it, or as the training labels are.

    Args:
        names: of the classes, in order; None: the data set does not say.
        labels: of the training part; they are the classes where there are no names.
        where: what a person finds a label by: `train[3]`, and which column or file says it.
    Raises:
        ValueError: a label is no class; how many are not, and where the first is.
    """

    def __init__(
        self, names: Sequence[str] | None, labels: Sequence[Any], where: Callable[[int], str]
    ) -> None:
        self._numbered = False  # whether a number stands for a class
        if names is None:
            self._check((i for i, label in enumerate(labels) if not _may_be(label)), labels, where)
            numbers = [label for label in labels if _is_number(label)]
            words = [i for i, label in enumerate(labels) if not _is_number(label)]
            if words and numbers:
                first, many = words[0], f"{len(words)} of {len(labels)}"
                raise ValueError(
                    f"{where(first)} is {labels[first]!r}, a name: {many} labels are names, the "
                    "others numbers"
                )
            named = sorted({_name(labels[i]) for i in words})
            self._numbered = not named
            names = named or [str(i) for i in range(max(numbers, default=-1) + 1)]
        self.names = list(names)
        self._number = {same_form(name): i for i, name in enumerate(self.names)}

    def numbers(self, labels: Sequence[Any], where: Callable[[int], str]) -> list[int]:
        """Returns the labels' classes. Raises ValueError as the constructor does."""
        found = [self._found(label) for label in labels]
        wrong = (i for i, number in enumerate(found) if number is None)
        known = f"{len(self.names)} classes"
        wanted = f"one of the {known}" if self._numbered else f"the name of one of the {known}"
        self._check(wrong, labels, where, wanted)
        return [number for number in found if number is not None]

    def _found(self, label: Any) -> int | None:
        if isinstance(label, str | bool):
            return self._number.get(_name(label))
        known = self._numbered and _is_number(label) and label < len(self.names)
        return label if known else None

    @staticmethod
    def _check(
        wrong: Iterable[int],
        labels: Sequence[Any],
        where: Callable[[int], str],
        wanted: str = "the number or the name of a class",
    ) -> None:
        if rows := list(wrong):
            first = rows[0]
            many = f" ({len(rows)} of {len(labels)} labels are not)" if len(labels) > 1 else ""
            raise ValueError(f"{where(first)} {_not_a_class(labels[first], wanted)}{many}")


def check_number(label: Any, where: str) -> int:
    """Returns the label of a stream, whose classes are known by their number alone.

    Raises:
        ValueError: it is not the number of a class.
    """
    if isinstance(label, str | bool):
        raise ValueError(
            f"{where} is {label!r}: a stream has numbers of classes only (data.stream=false)"
        )
    if not _is_number(label):
        raise ValueError(f"{where} {_not_a_class(label, 'the number of a class')}")
    return int(label)


def _is_number(label: Any) -> bool:
    whole = isinstance(label, int) and not isinstance(label, bool)
    return whole and 0 <= label < _MOST_CLASSES


def _may_be(label: Any) -> bool:
    """Returns whether the label can stand for a class at all."""
    return isinstance(label, bool) or _is_number(label) or (isinstance(label, str) and label != "")


def _name(label: str | bool) -> str:
    return same_form(str(label))


def _not_a_class(label: Any, wanted: str) -> str:
    hidden = ", which means that it is hidden" if label == -1 else ""
    return f"is {label!r}{hidden}, not {wanted}"
