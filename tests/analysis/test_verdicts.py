"""Verdicts: where an interval lies, over pairs and claims; what failed, lacks, has not learned."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_up import X, claim, results, single, with_run

from vitcli.analysis.contrasts import CONTRASTS
from vitcli.analysis.verdict import Verdict
from vitcli.analysis.verdicts import judge
from vitcli.schema import ClaimPaper, Metric

NOISE = np.array([0.001, -0.001, 0.0005, -0.0005, 0.0])
SMALL = np.random.default_rng(3).normal(0, 0.004, (4, 4, 5))
LOG_X = np.log2(np.array(X) / X[0])
VIT = 0.30 + 0.06 * LOG_X + SMALL[0]
RESNET = 0.50 + 0.03 * LOG_X + SMALL[1]


def only(values: Mapping[str, Any], tested: Any, **options: Any) -> Verdict:
    (verdict,) = judge(single(values, tested, **options))
    return verdict


def apart(gap: float) -> dict[str, Sequence[float]]:
    return {"A": (0.6 + gap + NOISE).tolist(), "B": (0.6 - NOISE[::-1]).tolist()}


@pytest.mark.parametrize(
    ("gap", "size", "word"),
    [
        (0.05, {"at_least": 0.02}, "reproduced"),
        (0.05, {"at_least": 0.05}, "undecided"),  # on the size itself
        (0.005, {"at_least": 0.02}, "negligible"),
        (-0.005, {"at_least": 0.02}, "negligible"),
        (-0.05, {"at_least": 0.02}, "contradicted"),
        (-0.02, {"at_least": 0.02}, "undecided"),
        (0.005, {"within": 0.02}, "reproduced"),
        (0.05, {"within": 0.02}, "contradicted"),
        (-0.05, {"within": 0.02}, "contradicted"),
        (0.02, {"within": 0.02}, "undecided"),
    ],
)
def test_the_word_is_where_the_interval_lies(gap: float, size: dict[str, float], word: str) -> None:
    verdict = only(apart(gap), claim("difference", ["A-c0", "B-c0"], **size))
    assert verdict.word == word
    assert verdict.decisive.effect == pytest.approx(gap, abs=1e-3)
    assert (verdict.p_for < 0.05) == (word == "reproduced")
    assert (verdict.p_against < 0.05) == (word in ("contradicted", "negligible"))


def test_the_sentence_names_effect_interval_seeds_and_what_matters() -> None:
    values = {"A": [0.70, 0.72, 0.71], "B": [0.60, 0.61, 0.62]}
    paper = {"A-c0": 0.64206, "B-c0": 0.61382}
    verdict = only(values, claim("difference", ["A-c0", "B-c0"], at_least=0.02), paper=paper)
    # differences 0.10, 0.11, 0.09: se = 0.01 / sqrt(3), t(0.975, 2) = 4.302653
    assert verdict.decisive.interval == pytest.approx((0.1 - 0.024842, 0.1 + 0.024842), abs=1e-6)
    assert verdict.reason == (
        "A is 0.100 above B: 95 % interval +0.075 to +0.125 over 3 seeds, above 0.020."
    )
    assert verdict.tested == "m: A is at least 0.020 above B."
    assert verdict.decisive.paper == pytest.approx(0.02824)


def test_intervals_are_simultaneous_over_the_study_s_claims() -> None:
    values = {"A": [0.70, 0.72, 0.71], "B": [0.60, 0.61, 0.62]}
    tested = claim("difference", ["A-c0", "B-c0"], at_least=0.02)
    gone = claim("difference", ["A-c0", "Z-c0"], id="gone", at_least=0.02)
    (alone,) = judge(single(values, tested))
    beside, unjudged = judge(single(values, tested, gone))
    assert (alone.level, beside.level) == (0.95, 0.975)
    assert beside.p_for == pytest.approx(2 * alone.p_for)
    assert (beside.decisive.interval or (0,))[0] < (alone.decisive.interval or (0,))[0]
    assert unjudged.word == "not judged"  # and has its place all the same
    assert unjudged.reason == "A − Z-c0: the study has no cell Z-c0."


def test_a_claim_hangs_on_its_weakest_pair() -> None:
    values = {"A": [0.6] * 5, "B": (0.605 + NOISE).tolist(), "C": (0.61 + NOISE).tolist()}
    verdict = only(values, claim("difference", ["A-c0", "B-c0"], ["A-c0", "C-c0"], within=0.02))
    assert verdict.word == "reproduced"
    assert verdict.decisive.arms == ("A", "C")
    assert "(of 2 pairs, the verdict rests on this one)" in verdict.reason
    assert verdict.tested == (
        "m: the first and the second differ by at most 0.020, in each of 2 pairs."
    )


def test_what_speaks_against_is_looked_for_among_all_pairs() -> None:
    values = {"A": [0.6] * 5, "B": (0.6 + NOISE).tolist(), "C": (0.5 + NOISE).tolist()}
    verdict = only(values, claim("difference", ["A-c0", "B-c0"], ["A-c0", "C-c0"], within=0.02))
    assert (verdict.word, verdict.decisive.arms) == ("contradicted", ("A", "C"))
    narrow, wide = verdict.decisive.interval, verdict.decisive.wide
    assert narrow is not None
    assert wide is not None
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert "97.5 % interval" in verdict.reason  # 1 - 0.05 / 1 claim / 2 pairs


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"A": [0.7, np.nan, 0.7], "B": [np.nan, 0.6, 0.6]},
            "only one seed has finished in both cells",
        ),
        ({"A": [0.7, np.nan], "B": [np.nan, 0.6]}, "no seed has finished in both cells"),
        ({"A": [0.7, 0.71]}, "the study has no cell B-c0"),
        (
            {"A": [0.7, 0.8], "B": [0.6, 0.7]},
            "all 2 seeds give 0.1, which leaves no spread",
        ),
    ],
)
def test_what_cannot_be_tested_is_not_judged(values: dict[str, list[float]], said: str) -> None:
    verdict = only(values, claim("difference", ["A-c0", "B-c0"]))
    assert verdict.word == "not judged"
    assert said in verdict.reason
    assert (verdict.p_for, verdict.p_against) == (1, 1)


def test_a_study_of_one_seed_leaves_its_claims_open() -> None:
    verdict = only({"A": [0.7], "B": [0.6]}, claim("difference", ["A-c0", "B-c0"]))
    assert verdict.word == "undecided"
    assert "only one seed has finished in both cells, and a test needs two" in verdict.reason
    assert (verdict.p_for, verdict.p_against) == (1, 1)


def test_one_pair_that_cannot_be_judged_leaves_a_claim_about_several_unjudged() -> None:
    values = {"A": [0.6, 0.61, 0.6], "C": [0.6, 0.6, 0.61]}
    verdict = only(values, claim("difference", ["A-c0", "C-c0"], ["A-c0", "B-c0"], within=0.1))
    assert verdict.word == "not judged"


def test_seeds_are_paired() -> None:
    values = {"A": [0.7, np.nan, 0.9, 0.5], "B": [0.6, 0.1, 0.79, np.nan]}
    verdict = only(values, claim("difference", ["A-c0", "B-c0"]))
    assert verdict.decisive.n == 2
    assert verdict.decisive.effect == pytest.approx((0.1 + 0.11) / 2)


def test_a_failed_seed_is_named_and_blocks_reproduced() -> None:
    """Two of five diverged: the three that did not are not all there is to know."""
    values = apart(0.1)
    failed = {"A": [*values["A"][:3], np.nan, np.nan], "B": values["B"]}
    tested = claim("difference", ["A-c0", "B-c0"], at_least=0.02)
    assert only(values, tested).word == "reproduced"
    verdict = only(failed, tested)
    assert verdict.word == "undecided"
    assert verdict.touched == "seeds 3, 4 of A"
    assert verdict.reason.endswith("Not called reproduced, since seeds 3, 4 of A failed.")
    assert only(failed, claim("difference", ["A-c0", "B-c0"], within=0.02)).word == "contradicted"


def test_a_number_that_is_not_finite_is_a_failure() -> None:
    found = single(apart(0.1), claim("difference", ["A-c0", "B-c0"], at_least=0.02))
    broken = with_run(found, "A-c0-2", metrics={"m": float("nan")})
    (verdict,) = judge(broken)
    assert (verdict.word, verdict.touched, verdict.decisive.n) == ("undecided", "seed 2 of A", 4)


def test_a_run_that_has_not_ended_blocks_nothing() -> None:
    found = single(apart(0.1), claim("difference", ["A-c0", "B-c0"], at_least=0.02))
    (verdict,) = judge(with_run(found, "A-c0-2", state="running", metrics={}))
    assert (verdict.word, verdict.touched, verdict.decisive.n) == ("reproduced", "", 4)


NULLS = {"m": Metric("top-1", nulls={"raw pixels": "pixels"}, transferred=True)}


def test_arms_that_have_not_learned_are_not_judged() -> None:
    tested = claim("difference", ["A-c0", "B-c0"], at_least=0.02)

    def with_pixels(level: float, **options: Any) -> Verdict:
        pixels = {"A": [[level]] * 5, "B": [[level]] * 5}
        return only(apart(0.1), tested, metrics={"pixels": pixels}, declared=NULLS, **options)

    assert with_pixels(0.65).word == "reproduced"  # the better arm has 0.7
    below = with_pixels(0.769)
    assert below.word == "not judged"
    assert below.decisive.problem == "below raw pixels (0.769): 0.700 at best"
    assert below.nulls == "raw pixels 0.769"
    assert below.decisive.effect == pytest.approx(0.1, abs=1e-3)  # is known all the same


@pytest.mark.parametrize(("of", "word"), [("low_end", "not judged"), ("high_end", "reproduced")])
def test_an_end_is_judged_by_what_its_own_cells_have_learned(of: str, word: str) -> None:
    values = {"vit": VIT + 0.1, "resnet": VIT + SMALL[2]}  # 0.4 and 0.3, ..., at last 0.78 and 0.68
    metrics = {"pixels": {row: np.full((4, 5), 0.6) for row in values}}
    tested = claim(of, ["vit", "resnet"])
    (verdict,) = judge(results(values, tested, metrics=metrics, declared=NULLS))
    assert verdict.word == word
    below = f"below raw pixels (0.600): {VIT[:, 0].mean() + 0.1:.3f} at best"
    assert verdict.decisive.problem == (below if of == "low_end" else None)


def test_a_slope_says_where_none_of_its_models_has_learned_enough() -> None:
    values = {"vit": VIT + 0.1, "resnet": VIT + SMALL[2]}  # 0.4 and 0.3, ..., at last 0.78 and 0.68
    metrics = {"pixels": {row: np.full((4, 5), 0.45) for row in values}}
    tested = [claim(of, ["vit", "resnet"]) for of in ("slope", "high_end", "end_slope")]
    slope, *ends = judge(results(values, *tested, metrics=metrics, declared=NULLS))
    (note,) = [n for n in slope.notes if "learned" in n]
    assert note.startswith("None of these models has learned enough at 1000 (below raw pixels (0.4")
    assert "3000" not in note
    assert not any("learned" in n for end in ends for n in end.notes)


def test_an_end_over_compute_is_of_the_cells_that_it_is_read_off_between() -> None:
    """At the smallest x of B, A is between its first two points."""
    values = {"A": VIT, "B": VIT + SMALL[2]}
    pixels = {row: np.full((4, 5), 0.43) for row in values}  # A has 0.30, 0.40, 0.49, ...
    options: dict[str, Any] = {"x": "train_flops", "flops": {"B": 2.0}, "declared": NULLS}
    options["metrics"] = {"val/top1": values, "pixels": pixels}
    (verdict,) = judge(results(values, claim("low_end", ["A", "B"], within=0.9), **options))
    assert verdict.decisive.problem == f"below raw pixels (0.430): {VIT[:, 1].mean():.3f} at best"


def test_a_null_that_was_not_measured_is_no_leave_to_judge() -> None:
    verdict = only(apart(0.1), claim("difference", ["A-c0", "B-c0"]), declared=NULLS)
    assert verdict.decisive.problem == "there is no value of raw pixels to compare with"


def test_nulls_of_a_metric_that_is_not_transferred_are_shown_and_decide_nothing() -> None:
    error = Metric("error", True, nulls={"untrained": "untrained"})
    both = {"untrained": {"A": [[0.1]] * 5, "B": [[0.2]] * 5}}
    tested = claim("difference", ["A-c0", "B-c0"], at_least=0.02)
    verdict = only(apart(0.1), tested, metrics=both, declared={"m": error})
    assert (verdict.word, verdict.nulls) == ("reproduced", "untrained 0.100 to 0.200")


def test_from_scratch_is_the_null_of_fine_tuning() -> None:
    tested = claim("difference", ["A-c0", "B-c0"], at_least=0.02)
    tuned = {"m": Metric("top-1", scratch=True, transferred=True)}
    found = single({**apart(0.1), "Z": [0.9] * 5}, tested, declared=tuned)
    scratch = next(cell for cell in found.study.cells if cell.row == "Z").runs
    for cell in found.study.cells:
        cell.scratch = dict(scratch)
    (verdict,) = judge(found)
    assert verdict.decisive.problem == "below from scratch (0.900): 0.700 at best"


def test_a_slope_of_two_rows_names_its_crossing_and_the_paper_s() -> None:
    paper = ClaimPaper("table6", "average", [["vit", "hybrid"]])
    tested = claim("slope", ["vit", "resnet"], at_least=0.003, paper=paper)
    (verdict,) = judge(results({"vit": VIT, "resnet": RESNET - 0.1}, tested))
    assert verdict.word == "reproduced"
    assert verdict.decisive.effect == pytest.approx(0.03, abs=0.003)
    assert verdict.decisive.paper == pytest.approx(0.00254, abs=1e-5)
    assert verdict.reason.startswith("VIT rises by 0.02") or verdict.reason.startswith(
        "VIT rises by 0.03"
    )
    (note,) = verdict.notes
    assert note.startswith("VIT − RESNET crosses 0 at x = 10,")  # 1e3 * 2 ** (0.1 / 0.03) = 10,079
    assert note.endswith("the paper's own values: crosses 0 at x = 885 exaFLOPs.")


def test_rows_that_share_a_run_have_no_crossing() -> None:
    """Their gap is 0 there whatever they are."""
    tested = claim("slope", ["vit", "resnet"], at_least=0.003)
    found = results({"vit": VIT, "resnet": RESNET - 0.1}, tested)
    assert judge(found)[0].notes
    cells = {cell.id: cell for cell in found.study.cells}
    cells["vit-c2"].runs = dict(cells["resnet-c2"].runs)
    assert judge(found)[0].notes == ()


def test_no_crossing_is_said() -> None:
    tested = claim("slope", ["vit", "resnet"])
    (verdict,) = judge(results({"vit": VIT + 1, "resnet": RESNET}, tested))
    assert verdict.notes == (
        "VIT − RESNET does not cross 0 inside x = 1,000 to 81,000: it is above 0 at both ends "
        "(at 95 %, no crossing inside, 4 seeds).",
    )


def test_a_crossing_that_is_only_possible_is_called_so() -> None:
    gap = np.array([-0.05, -0.03, -0.02, -0.001, -0.03])
    (verdict,) = judge(
        results({"vit": VIT, "resnet": VIT - gap + SMALL[2]}, claim("slope", ["vit", "resnet"]))
    )
    (note,) = verdict.notes
    assert "does not cross 0 inside x = 1,000 to 81,000: it is below 0 at both ends (95 % " in note
    assert re.search(r"interval of a possible crossing: [\d,]+ to [\d,]+, 4 seeds\)\.$", note)


def test_two_crossings_are_two() -> None:
    gap = np.array([0.1, -0.1, -0.1, -0.1, 0.1])
    paper = ClaimPaper("table6", "average", [["resnet", "vit"]])
    tested = claim("slope", ["vit", "resnet"], paper=paper)
    (verdict,) = judge(results({"vit": VIT + gap, "resnet": VIT + SMALL[2]}, tested))
    (note,) = verdict.notes
    assert re.search(r"^VIT − RESNET crosses 0 at x = 1,[78]\d\d and 4\d,\d{3} \(95 % ", note)
    assert "interval of the crossings: " in note
    own = r"values: does not cross 0 inside x = [\d,]+ to [\d,]+ exaFLOPs: it is below 0 at both"
    assert re.search(own, note)


def test_compute_is_said_as_a_factor_on_the_side_that_needs_more() -> None:
    options: dict[str, Any] = {"x": "train_flops", "flops": {"slow": 8.0}}
    values = {"vit": VIT, "slow": VIT + 0.1 * SMALL[2]}
    options["metrics"] = {"val/top1": values}
    (verdict,) = judge(
        results(values, claim("log_ratio", ["vit", "slow"], at_least=1.0), **options)
    )
    assert verdict.word == "reproduced"
    assert verdict.reason.startswith("For equal values SLOW needs 8")
    assert "times the images of VIT: 95 % interval 7." in verdict.reason
    assert "above a factor of 2." in verdict.reason
    (turned,) = judge(results(values, claim("log_ratio", ["slow", "vit"], at_least=1.0), **options))
    assert turned.word == "contradicted"
    assert turned.reason.startswith("For equal values SLOW needs 8")
    assert "on the other side, beyond a factor of 2." in turned.reason


@pytest.mark.parametrize(
    ("times", "noise", "size", "said"),
    [
        (1.2, 12, 0.3, "for equal values B needs more than 1.23 times the images of A"),
        (2.0, 3, 1.0, "it is within a factor of 2"),
    ],
)
def test_a_factor_and_its_interval_are_of_the_same_arm(
    times: float, noise: int, size: float, said: str
) -> None:
    """A needs so many times those of B; the claim is that B needs more."""
    values = {"A": VIT, "B": VIT + noise * SMALL[2][:, :1]}
    picks = {"val/top1": {"A": VIT, "B": VIT}}
    options: dict[str, Any] = {"x": "train_flops", "flops": {"A": times}, "metrics": picks}
    (verdict,) = judge(results(values, claim("log_ratio", ["A", "B"], at_least=size), **options))
    effect = verdict.decisive.effect or 0.0
    low, high = verdict.decisive.interval or (0.0, 0.0)
    assert low < effect < 0
    assert verdict.word == "undecided"
    least = f"×1/{2**high:.3g} to ×" if high > 0 else f"{2**-high:.3g} to "
    assert verdict.reason == (
        f"For equal values A needs {2**-effect:.3g} times the images of B: 95 % interval "
        f"{least}{2**-low:.3g} over 4 seeds, which leaves open whether {said}."
    )


@pytest.mark.parametrize(
    ("gap", "where"),
    [
        (0.0205, "which leaves open whether it is above 0.020."),
        (-0.0205, "which leaves open whether it is within 0.020."),  # that it is above is refuted
    ],
)
def test_what_is_left_open_is_what_the_interval_crosses(gap: float, where: str) -> None:
    verdict = only(apart(gap), claim("difference", ["A-c0", "B-c0"], at_least=0.02))
    assert verdict.word == "undecided"
    assert verdict.reason.endswith(where)


def test_a_failed_seed_leaves_nothing_else_open() -> None:
    found = single(apart(0.1), claim("difference", ["A-c0", "B-c0"], at_least=0.02))
    (verdict,) = judge(with_run(found, "A-c0-2", state="failed", metrics={}))
    assert verdict.word == "undecided"
    where = " over 4 seeds, above 0.020. Not called reproduced, since seed 2 of A failed."
    assert verdict.reason.endswith(where)


def test_a_bound_is_on_the_side_that_is_known() -> None:
    """The better row begins where the other ends: it may need up to so many times as much."""
    values = {"vit": VIT + 0.6, "resnet": VIT}
    options: dict[str, Any] = {"x": "train_flops", "metrics": {"val/top1": values}}
    tested = claim("log_ratio", ["vit", "resnet"], at_least=1.0)
    (verdict,) = judge(results(values, tested, flops={"vit": 162.0}, **options))
    assert verdict.reason.startswith(
        "For equal values VIT needs at most 2 times the images of RESNET: 95 % interval below ×2 "
    )


def test_of_a_loss_the_row_that_needs_more_is_the_one_that_is_higher() -> None:
    lower = {"val/loss": Metric("loss", lower_is_better=True), "m": Metric("m")}
    values = {"vit": VIT, "slow": VIT + 0.1 * SMALL[2]}
    losses = {row: 2 - of for row, of in values.items()}
    options: dict[str, Any] = {"x": "train_flops", "flops": {"slow": 8.0}, "declared": lower}
    options["metrics"] = {"val/top1": values, "val/loss": losses}
    tested = claim("log_ratio", ["vit", "slow"], at_least=1.0, metric=["val/loss"])
    (verdict,) = judge(results(values, tested, **options))
    (same,) = judge(results(values, replace(tested, metric=[]), **options))
    assert verdict.word == "reproduced"
    assert verdict.decisive.interval == pytest.approx(same.decisive.interval)


def test_an_end_beyond_any_factor_is_no_end() -> None:
    ratio = CONTRASTS["log_ratio"]
    assert ratio.between(-1302.0, 1297.0) == "unbounded"
    assert ratio.between(-1302.0, 3.0) == "below ×8"
    assert ratio.between(-1.0, 3.0) == "×1/2 to ×8"


def test_rows_without_a_common_value_are_a_bound() -> None:
    """The strongest evidence there is, not a missing value."""
    values = {"vit": VIT + 0.6, "resnet": VIT}
    options: dict[str, Any] = {"x": "train_flops", "metrics": {"val/top1": values}}
    tested = claim("log_ratio", ["vit", "resnet"], at_least=1.0)
    (verdict,) = judge(results(values, tested, **options))
    assert verdict.decisive.interval == (pytest.approx(LOG_X[-1]), np.inf)
    assert verdict.word == "reproduced"
    assert verdict.reason.startswith(
        "For equal values RESNET needs over 81 times the images of VIT"
    )


def test_best_is_picked_on_other_seeds_among_columns_that_all_finished() -> None:
    rng = np.random.default_rng(5)
    means = np.array([0.4, 0.6, 0.5])
    values = {k: means + rng.normal(0, 0.005, (5, 3)) for k in ("gap", "token")}
    values["gap"][0, 2], values["gap"][1:, 2] = 0.9, np.nan  # one lucky survivor of five
    picks = {"val/top1": {k: np.nan_to_num(v) for k, v in values.items()}}
    tested = claim("best", ["gap", "token"], within=0.05, pick="val/top1")
    (verdict,) = judge(results(values, tested, metrics=picks))
    assert verdict.word == "undecided"
    failed = "seeds 1, 2, 3, 4 of GAP (9000)"
    assert verdict.reason.endswith(f"Not called reproduced, since {failed} failed.")
    assert verdict.decisive.effect == pytest.approx(
        np.mean(values["gap"][:, 1] - values["token"][:, 1])
    )
    assert verdict.touched == failed
    (note,) = verdict.notes
    assert "GAP at 3000, of those 2 that finished in all seeds; TOKEN at 3000" in note


def test_a_best_column_in_doubt_widens_the_interval() -> None:
    rng = np.random.default_rng(6)
    means = np.array([0.5, 0.5, 0.3])
    values = {k: means + rng.normal(0, 0.01, (5, 3)) for k in ("gap", "token")}
    tested = claim("best", ["gap", "token"], within=0.05, pick="val/top1")
    (verdict,) = judge(results(values, tested, metrics={"val/top1": values}))
    interval = verdict.decisive.interval or (0.0, 0.0)
    for a in (0, 1):
        for b in (0, 1):
            gaps = values["gap"][:, a] - values["token"][:, b]
            assert interval[0] < gaps.mean() < interval[1]


def test_the_spread_of_rows_says_how_far_apart_they_are() -> None:
    rows = {name: VIT + k * 0.02 * LOG_X for k, name in enumerate("abc")}
    noisy = {name: of + SMALL[k] for k, (name, of) in enumerate(rows.items())}
    tested = claim("spread", ["a", "b", "c"], at_least=0.0005)
    (verdict,) = judge(results(noisy, tested))
    expected = np.polyfit(LOG_X, (0.02 * LOG_X) ** 2, 1)[0]
    assert verdict.decisive.effect == pytest.approx(expected, rel=0.1)
    (note,) = verdict.notes
    assert note.startswith(
        "Standard deviation between the rows, without the part that noise makes: 0.00"
    )
    assert " at 81,000." in note


def test_tau_compares_two_metrics_over_cells() -> None:
    other = {"a": VIT[:, ::-1] + 9 * SMALL[2], "b": VIT + 9 * SMALL[3]}
    tested = claim("tau", ["a", "b"], against="tuned", at_least=0.5)
    (verdict,) = judge(results({"a": VIT[:, ::-1], "b": VIT}, tested, metrics={"tuned": other}))
    assert 0.5 < (verdict.decisive.effect or 0) < 1
    assert verdict.tested == "m against tuned: Kendall's tau over A, B is at least 0.500 above 0."


def test_a_claim_about_several_rows_alone_says_each() -> None:
    tested = claim("slope", ["vit"], ["resnet"])
    (verdict,) = judge(results({"vit": VIT, "resnet": RESNET}, tested))
    assert verdict.tested == (
        "m: each of 2 rows rises by at least 0.0100 with each doubling of the images."
    )


def test_what_is_tested_is_what_is_said_whatever_the_pairs() -> None:
    rows = {name: VIT + k * SMALL[2] for k, name in enumerate("abcde")}
    (level,) = judge(results(rows, claim("slope", ["a"], within=0.003)))
    assert level.tested == (
        "m: A rises or falls by at most 0.0030 with each doubling of the images."
    )
    (each,) = judge(results(rows, claim("slope", ["a"], ["b"], within=0.003)))
    assert each.tested.startswith("m: each of 2 rows rises or falls by at most 0.0030 with")
    (spread,) = judge(results(rows, claim("spread", [*rows], ["a", "b"])))
    assert spread.tested.startswith("m: the variance between the rows grows by at least 0.01")
    assert spread.tested.endswith(" of the images, in each of 2 pairs.")


def test_a_small_number_is_not_shown_as_none() -> None:
    spread, difference = CONTRASTS["spread"], CONTRASTS["difference"]
    assert (spread.size(0.00003), spread.number(0.000004)) == ("0.00003", "+0.000004")
    assert (difference.size(0.0002), difference.number(-0.0001)) == ("0.0002", "-0.0001")
    assert (difference.number(-1e-17), difference.number(0.01)) == ("+0.000", "+0.010")


def test_several_metrics_are_averaged() -> None:
    rows = {
        name: {"vit": VIT + up, "resnet": VIT + SMALL[2]}
        for name, up in (("one", 0.1), ("two", 0.1), ("three", -0.02))
    }
    tested = claim("difference", ["vit-c1", "resnet-c1"], metric=list(rows))
    (verdict,) = judge(results({"vit": VIT, "resnet": RESNET}, tested, metrics=rows))
    assert verdict.decisive.effect == pytest.approx(0.06 - SMALL[2][:, 1].mean())
    assert verdict.tested.startswith("Mean of one and two and three: VIT (3000) is at least")


def test_a_metric_that_runs_lack_is_named() -> None:
    tested = claim("tau", ["vit", "resnet"], metric=["m", "gap"], against="tuned")
    (verdict,) = judge(results({"vit": VIT, "resnet": RESNET}, tested))
    assert verdict.reason.endswith("no run has gap, tuned.")


def test_the_interaction_of_four_cells_is_what_a_linear_model_has() -> None:
    values = np.random.default_rng(0).normal(size=(3, 4))
    # Coded 0 and 1, the coefficient of the product of both factors.
    design = np.array([[1, 0, 0, 0], [1, 0, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]])
    expected = [np.linalg.solve(design, row)[3] for row in values]
    arms = {name: values[:, k].tolist() for k, name in enumerate("abcd")}
    paper = {"a-c0": 0.64206, "b-c0": 0.63964, "c-c0": 0.64001, "d-c0": 0.64046}
    tested = claim("interaction", ["a-c0", "b-c0", "c-c0", "d-c0"], within=0.1)
    verdict = only(arms, tested, paper=paper)
    assert verdict.decisive.effect == pytest.approx(np.mean(expected))
    assert verdict.decisive.paper == pytest.approx(0.00242 + 0.00045)
    assert verdict.decisive.name == "(A − B) − (C − D)"


def test_an_undecided_claim_rests_on_the_pair_farthest_from_it() -> None:
    wide = np.array([0.1, -0.1, 0.05, -0.05, 0.0])
    values = {"A": 0.62 + wide, "B": 0.60 - wide, "C": 0.62 + 0.1 * wide, "D": 0.52 + wide}
    tested = claim("difference", ["A-c0", "B-c0"], ["D-c0", "C-c0"], at_least=0.1)
    verdict = only({name: of.tolist() for name, of in values.items()}, tested)
    assert verdict.word == "undecided"
    assert [pair.p_for for pair in verdict.pairs] == [1.0, 1.0]  # adjusted, they do not differ
    assert verdict.decisive.arms == ("D", "C")


def test_a_contradicted_claim_says_how_many_pairs_are_as_claimed() -> None:
    values = {**apart(0.2), "C": (0.3 + NOISE).tolist()}
    pairs = ["A-c0", "B-c0"], ["C-c0", "B-c0"]
    verdict = only(values, claim("difference", *pairs, at_least=0.02))
    assert verdict.word == "contradicted"
    assert verdict.reason.endswith(
        "(of 2 pairs, the verdict rests on this one; 1 of them lies where the claim says)."
    )


def test_a_metric_that_cannot_rise_any_more_is_no_level_row() -> None:
    full, picks = np.ones_like(VIT), {"A": VIT, "B": RESNET}
    options: Any = {"x": "train_flops", "metrics": {"val/top1": picks}}
    for of in ("slope", "end_slope", "high_end"):
        found = results({"A": full, "B": full}, claim(of, ["A", "B"], within=0.02), **options)
        (verdict,) = judge(found)
        assert verdict.word == "not judged"
        assert "all 4 seeds give 0, which leaves no spread to test by" in verdict.reason


def test_a_factor_says_which_values_it_is_of() -> None:
    later = {"A": 0.30 + 0.06 * LOG_X + SMALL[0], "B": 0.36 + 0.06 * LOG_X + SMALL[1]}
    (verdict,) = judge(results(later, claim("log_ratio", ["A", "B"], at_least=1.0)))
    low, high = later["B"].mean(axis=0)[0], later["A"].mean(axis=0)[-1]
    means = np.concatenate([of.mean(axis=0) for of in later.values()])
    count = int(((means >= low) & (means <= high)).sum())
    assert verdict.notes == (
        f"Compared where both have values, {low:.3f} to {high:.3f}, at the {count} of their points "
        "that lie there.",
    )
