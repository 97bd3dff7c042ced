"""Labels as people write them, made numbers of classes: the one page for every kind of data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

Label = int | str  # the number of a class, or its name


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
        self.is_named = names is not None
        if names is None:
            _check((i for i, label in enumerate(labels) if not _may_be(label)), labels, where)
            named = sorted({str(label) for label in labels if not _is_number(label)})
            numbers = [label for label in labels if _is_number(label)]
            if named and numbers:
                raise ValueError(
                    f"{where(0)}: labels are names and numbers, {named[0]}, {numbers[0]}"
                )
            self.is_named = bool(named)
            names = named or [str(i) for i in range(max(numbers, default=-1) + 1)]
        self.names = list(names)
        self._number = {name: i for i, name in enumerate(self.names)}

    def numbers(self, labels: Sequence[Any], where: Callable[[int], str]) -> list[int]:
        """Returns the labels' classes. Raises ValueError as the constructor does."""
        found = [self._found(label) for label in labels]
        _check((i for i, number in enumerate(found) if number is None), labels, where)
        return [number for number in found if number is not None]

    def _found(self, label: Any) -> int | None:
        if isinstance(label, str | bool):
            return self._number.get(str(label))
        return label if _is_number(label) and label < len(self.names) else None


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
        raise ValueError(f"{where} {_not_a_class(label)}")
    return int(label)


def _is_number(label: Any) -> bool:
    return isinstance(label, int) and not isinstance(label, bool) and label >= 0


def _may_be(label: Any) -> bool:
    """Returns whether the label can stand for a class at all."""
    return isinstance(label, str | bool) or _is_number(label)


def _check(wrong: Iterable[int], labels: Sequence[Any], where: Callable[[int], str]) -> None:
    if rows := list(wrong):
        first = rows[0]
        many = f" ({len(rows)} of {len(labels)} labels are not)" if len(labels) > 1 else ""
        raise ValueError(f"{where(first)} {_not_a_class(labels[first])}{many}")


def _not_a_class(label: Any) -> str:
    hidden = ", which means that it is hidden" if label == -1 else ""
    return f"is {label!r}{hidden}, not the number or the name of a class"
