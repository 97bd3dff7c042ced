"""The forest plot: all pairs in thresholds, with verdict, interval and the paper's own."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import claim, single
from matplotlib.figure import Figure

from vitcli.analysis.results import Results
from vitcli.analysis.verdicts import judge
from vitcli.report import forest
from vitcli.report.style import OF_WORD

NOISE = np.array([0.01, -0.02, 0.015, -0.005, 0.0])
APART = {"A": (0.9 + NOISE).tolist(), "B": (0.6 - NOISE).tolist(), "C": [0.7] * 5}
PAIRS = claim("difference", ["A-c0", "B-c0"], ["C-c0", "B-c0"], at_least=0.1)


def intervals(figure: Figure) -> list[tuple[float, float]]:
    lines = [line for line in figure.axes[0].lines if line.get_linewidth() == 2]
    return [(float(line.get_xydata()[0][0]), float(line.get_xydata()[1][0])) for line in lines]


def drawn(found: Results) -> Figure:
    return forest.draw(judge(found))


def test_a_line_a_pair_in_sizes_that_matter() -> None:
    found = single(APART, PAIRS)
    (verdict,) = judge(found)
    figure = drawn(found)
    expected = [pair.interval for pair in verdict.pairs if pair.interval]
    assert len(expected) == 2
    assert np.allclose(intervals(figure), np.array(expected) / 0.1)
    names = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert names == ["A − B", "C − B"]
    said = [t.get_text() for t in figure.axes[0].texts]
    assert "A statement." in said
    assert verdict.word in said


def test_the_paper_s_own_effect_is_a_diamond() -> None:
    papers = {"A-c0": 0.85, "B-c0": 0.75, "C-c0": 0.8}
    figure = drawn(single(APART, PAIRS, paper=papers))
    places = [float(x.get_xydata()[0][0]) for x in figure.axes[0].lines if x.get_marker() == "D"]
    assert places == pytest.approx([1.0, 0.5])


def test_what_is_not_judged_has_no_interval() -> None:
    nothing = {**APART, "B": [float("nan")] * 5}
    figure = drawn(single(nothing, PAIRS))
    assert intervals(figure) == []
    assert "not judged" in [t.get_text() for t in figure.axes[0].texts]


def test_what_is_far_ends_at_the_edge() -> None:
    wild = {"A": [1e3, 2e3, 5e2, 3e3, 1e3], "B": [0.0] * 5, "C": [0.0] * 5}
    figure = drawn(single(wild, PAIRS))
    low, high = figure.axes[0].get_xlim()
    assert (low, high) == (-600, 600)
    assert all(low <= a <= b <= high for a, b in intervals(figure))


def test_a_pair_has_the_colour_of_what_it_says_alone() -> None:
    far = {**APART, "C": (0.3 + NOISE).tolist()}
    (verdict,) = judge(single(far, PAIRS))
    assert verdict.word == "contradicted"
    lines = [line for line in drawn(single(far, PAIRS)).axes[0].lines if line.get_linewidth() == 2]
    assert [line.get_color() for line in lines] == [OF_WORD["reproduced"], OF_WORD["contradicted"]]
