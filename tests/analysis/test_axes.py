"""What is best at each compute: the frontier, picked by upstream validation, and its doubts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from made_up import claim, results

from vitcli.analysis.axes import best_at, clearly_below
from vitcli.analysis.pairs import best_line
from vitcli.analysis.verdicts import judge

FLOPS = (2.8e10, 2.25e11, 4.25e11, 2.55e12)
X = np.log2(np.array(FLOPS))
DIP = np.array([0.230, 0.685, 0.550, 0.826])  # a larger model, hardly trained, in third place
NOISE = np.random.default_rng(0).normal(0, 0.004, (5, 4))


def test_a_point_that_validates_worse_than_a_cheaper_one_is_left_out() -> None:
    doubtful, likeliest = best_at(X, DIP + NOISE)
    assert len(doubtful) == 1
    assert doubtful[0] == pytest.approx(likeliest)
    best = likeliest @ DIP
    assert best[[0, 1, 3]] == pytest.approx(DIP[[0, 1, 3]])
    share = (X[2] - X[1]) / (X[3] - X[1])
    assert best[2] == pytest.approx(DIP[1] + share * (DIP[3] - DIP[1]))


def test_after_the_last_best_point_a_row_is_level() -> None:
    picks = np.array([0.2, 0.6, 0.5, 0.55]) + NOISE
    _, likeliest = best_at(X, picks)
    assert likeliest @ DIP == pytest.approx([0.230, 0.685, 0.685, 0.685])


def test_a_point_in_doubt_gives_both_frontiers() -> None:
    picks = np.array([0.2, 0.6, 0.6, 0.8]) + NOISE
    doubtful, _ = best_at(X, picks)
    kept = sorted(tuple(np.flatnonzero(np.isclose(np.diag(w), 1))) for w in doubtful)
    assert kept == [(0, 1, 2, 3), (0, 1, 3)]


def test_clearly_below_is_a_paired_test() -> None:
    shared = np.random.default_rng(1).normal(0, 1, (5, 1))
    apart = clearly_below(np.array([0.5, 0.6]) + shared + NOISE[:, :2])
    assert apart.tolist() == [[False, True], [False, False]]
    assert not clearly_below(np.array([0.5, 0.501]) + NOISE[:, :2]).any()
    assert clearly_below(np.array([[0.5, 0.6]])).tolist() == [[False, True], [False, False]]


def test_contrasts_over_flops_are_of_the_frontier() -> None:
    """Its last slope is a third of that of the points as they come."""
    values = {"vit": DIP + NOISE}
    more = {"metrics": {"val/top1": {"vit": DIP + NOISE[:, ::-1]}}, "places": FLOPS}
    tested = claim("end_slope", ["vit"], at_least=0.003)
    (by_flops,) = judge(results(values, tested, x="train_flops", **more))
    (by_column,) = judge(results(values, tested, **more))
    mean = (DIP + NOISE).mean(axis=0)
    assert by_column.decisive.effect == pytest.approx((mean[3] - mean[2]) / (X[3] - X[2]))
    assert by_flops.decisive.effect == pytest.approx((mean[3] - mean[1]) / (X[3] - X[1]))


@pytest.mark.parametrize(
    ("picks", "left"),
    [(DIP, "4.25e+11"), (DIP[::-1], "2.25e+11, 4.25e+11, 2.55e+12"), (np.sort(DIP), None)],
)
def test_what_is_not_the_best_at_its_compute_is_said(picks: np.ndarray, left: str | None) -> None:
    more = {"metrics": {"val/top1": {"vit": picks + NOISE}}, "places": FLOPS}
    tested = claim("slope", ["vit"], at_least=0.003)
    (verdict,) = judge(results({"vit": DIP + NOISE}, tested, x="train_flops", **more))
    said = f"Left out of VIT: {left}, as a cheaper model has a better upstream validation."
    assert [n for n in verdict.notes if "Left out" in n] == ([] if left is None else [said])


def test_a_row_that_ends_level_has_a_last_slope_of_0() -> None:
    falling = np.array([0.3, 0.6, 0.58, 0.5]) + NOISE
    (verdict,) = judge(
        results(
            {"vit": falling},
            claim("end_slope", ["vit"], at_least=0.003),
            x="train_flops",
            metrics={"val/top1": {"vit": falling}},
            places=FLOPS,
        )
    )
    assert verdict.decisive.effect == 0
    assert verdict.word == "negligible"
    assert verdict.reason == (
        "Last slope of VIT is 0, as no model that costs more has a better upstream validation: "
        "whatever the compute, the same model is the best."
    )


def test_the_figure_s_line_is_the_same_frontier() -> None:
    more = {"metrics": {"val/top1": {"vit": DIP + NOISE}}, "places": FLOPS}
    found = best_line(results({"vit": DIP + NOISE}, x="train_flops", **more), "vit", "m")
    assert found is not None
    assert [x for x, _ in found] == pytest.approx(FLOPS)
    assert found[2][1] > 0.68
    assert best_line(results({"vit": DIP + NOISE}, **more), "vit", "m") is None


def test_frontiers_in_doubt_are_those_that_no_clear_difference_forbids() -> None:
    """Against all subsets of the points, tried one by one."""
    random = np.random.default_rng(0)
    for _ in range(20):
        picks = np.cumsum(random.random(6)) + random.normal(0, 0.7, (5, 6))
        below = clearly_below(picks)
        expected = []
        for bits in itertools.product((False, True), repeat=5):
            last, fits = 0, True
            for point, keep in enumerate(bits, 1):
                fits = fits and not (below[point, last] if keep else below[last, point])
                last = point if keep else last
            if fits:
                expected.append([0, *(p for p, keep in enumerate(bits, 1) if keep)])
        found, _ = best_at(np.arange(6.0), picks)
        kept = [[p for p in range(6) if weights[p, p] == 1] for weights in found]
        assert sorted(kept) == sorted(expected)


def test_too_many_frontiers_in_doubt_are_not_gone_through() -> None:
    values = np.random.default_rng(0).random((4, 20))
    found = results(
        {"a": values, "b": values[:, ::-1]},
        claim("slope", ["a", "b"]),
        x="train_flops",
        places=[float(k) for k in range(1, 21)],
        metrics={"val/top1": {"a": values, "b": values}},
    )
    (verdict,) = judge(found)
    assert verdict.word == "not judged"
    assert "more seeds are needed" in verdict.reason
