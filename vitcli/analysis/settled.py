"""How far the last tenth of a training still moves validation.

Little does not show that the training was long enough: a schedule lets the rate fall to zero there.
"""

from __future__ import annotations

from collections.abc import Sequence

from vitcli.analysis.results import Results
from vitcli.schema import Cell

MOVED = "moved/val/top1"  # over the last tenth of the training; above 0: it still rose
FLAT = 0.01  # of top-1; less is called flat


def moved(results: Results, cells: Sequence[Cell]) -> dict[str, float]:
    """Returns the mean over seeds of what the last tenth moved, by the cell's label."""
    found = {results.study.label(cell): results.mean(cell, MOVED) for cell in cells}
    return {label: value for label, value in found.items() if value is not None}


def settled(results: Results) -> str:
    """Returns a sentence on all cells, "" if no run was looked at."""
    found = moved(results, results.study.cells)
    if not found:
        return ""
    most = max(found, key=lambda label: abs(found[label]))
    text = f"moves validation top-1 most in {most}, by {found[most]:+.4f}, the mean over its seeds"
    moving = [label for label in found if abs(found[label]) >= FLAT]
    if not moving:
        return (
            f"{text}; less than {FLAT:g} in every cell. The rate falls to zero there: a longer "
            "training may be better all the same"
        )
    count = f"{len(moving)} of {len(found)} cells"
    return f"{text}; {FLAT:g} or more, so still moving, in {count}: {', '.join(moving)}"


def unsettled(results: Results, cells: Sequence[Cell]) -> str:
    """Returns a sentence on those of a claim's cells that still moved, "" if none did."""
    moving = {k: v for k, v in moved(results, cells).items() if abs(v) >= FLAT}
    if not moving:
        return ""
    each = ", ".join(f"{label} by {value:+.4f}" for label, value in moving.items())
    return f"Still moving: the last tenth of training moved validation top-1 of {each}."
