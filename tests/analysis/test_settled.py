"""Whether trainings were long enough, by what their last tenth moved."""

from __future__ import annotations

import pytest
from made_up import claim, results

from vitcli.analysis.results import Results
from vitcli.analysis.settled import MOVED, settled
from vitcli.analysis.verdicts import judge

VALUES = {"A": [[0.7, 0.8], [0.71, 0.79]], "B": [[0.6, 0.6], [0.61, 0.59]]}


def moving(**by_row: list[list[float]]) -> Results:
    return results(VALUES, claim("difference", ["A-c0", "B-c0"]), metrics={MOVED: by_row})


def test_a_study_is_flat_if_each_cell_is() -> None:
    found = moving(A=[[0.001, 0.02], [0.003, -0.004]], B=[[0.0, 0.001], [-0.004, 0.001]])
    assert settled(found) == (
        "moves validation top-1 most in A (3000), by +0.0080, the mean over its seeds; less than "
        "0.01 in every cell. The rate falls to zero there: a longer training may be better all "
        "the same"
    )
    (verdict,) = judge(found)
    assert not any("moved" in note for note in verdict.notes)


def test_cells_that_still_move_are_named_where_they_are_claimed_about() -> None:
    found = moving(A=[[0.02, 0.0], [0.04, 0.0]], B=[[0.0, -0.05], [0.0, -0.05]])
    assert settled(found) == (
        "moves validation top-1 most in B (3000), by -0.0500, the mean over its seeds; 0.01 or "
        "more, so still moving, in 2 of 4 cells: A (1000), B (3000)"
    )
    (verdict,) = judge(found)
    assert verdict.notes == (
        "Still moving: the last tenth of training moved validation top-1 of A (1000) by +0.0300.",
    )


def test_nothing_is_said_of_runs_that_were_not_looked_at() -> None:
    found = results(VALUES, claim("difference", ["A-c0", "B-c0"]))
    assert settled(found) == ""
    assert not judge(found)[0].notes


def test_what_is_just_flat_does_not_look_like_the_bound() -> None:
    same = [[0.0098, 0.0098], [0.0098, 0.0098]]
    assert "by +0.0098, the mean over its seeds; less than 0.01" in settled(moving(A=same, B=same))


@pytest.mark.parametrize(("value", "flat"), [(0.0099, True), (0.0101, False), (-0.0101, False)])
def test_a_hundredth_is_not_flat(value: float, flat: bool) -> None:
    same = [[value, value], [value, value]]
    assert ("in every cell" in settled(moving(A=same, B=same))) == flat
