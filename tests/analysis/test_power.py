"""Power: joint over pairs, averaged over what is not known of the spread, right on average."""

from __future__ import annotations

import functools
import re

import calibrate
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from made_up import claim, results, single

from vitcli.analysis.power import joint_power, lines, needs
from vitcli.analysis.verdicts import judge

PILOT = np.random.default_rng(0).normal(0, 0.02, (6, 1))


def test_with_a_known_spread_it_is_that_of_the_t_test() -> None:
    sd = PILOT.std(ddof=1)
    for seeds in (4, 8, 20):  # few seeds are simulated row by row, many by a triangle
        found = joint_power(PILOT, 0.02, True, seeds, 0.95, sure=1.0)
        critical = scipy.stats.t.ppf(0.975, seeds - 1)
        expected = scipy.stats.nct.sf(critical, seeds - 1, 0.02 / sd * seeds**0.5)
        assert found == pytest.approx(expected, abs=0.03)


def test_several_pairs_are_found_together_less_often_than_one() -> None:
    pilot = 0.02 * scipy.linalg.hadamard(8)[:, 1:7]  # six uncorrelated pairs of one spread
    alone = joint_power(pilot[:, :1], 0.025, False, 10, 0.95, sure=1.0)
    together = joint_power(pilot, 0.025, False, 10, 0.95, sure=1.0)
    assert 0.5 < alone < 0.99
    assert together == pytest.approx(alone**6, abs=0.05)


def test_an_unsure_spread_makes_a_likely_success_less_likely() -> None:
    sure = joint_power(PILOT, 0.01, True, 12, 0.95, sure=1.0)
    assert sure > 0.9
    assert joint_power(PILOT, 0.01, True, 12, 0.95) < sure - 0.05


plans = functools.cache(functools.partial(calibrate.plans, pilots=60))


@pytest.mark.slow
@pytest.mark.parametrize("pairs", calibrate.PAIRS)
def test_seeds_planned_for_80_percent_give_about_that(pairs: str) -> None:
    """On average over pilots; their noise equal or not."""
    for noise in ("equal", "unequal"):
        found = plans(pairs, noise)
        assert found.planned == pytest.approx(0.81, abs=0.02)
        assert 0.68 < found.found < 0.95


@pytest.mark.slow
def test_power_as_planned_within_5_points_on_average() -> None:
    every = [plans(pairs, noise) for pairs in calibrate.PAIRS for noise in ("equal", "unequal")]
    assert abs(np.mean([found.found - found.planned for found in every])) < 0.05


NOISE = np.array([0.01, -0.02, 0.015, -0.005, 0.0])
FLAT = {"A": (0.6 + NOISE).tolist(), "B": (0.6 - NOISE).tolist()}


def test_what_is_undecided_says_how_many_seeds_it_needs() -> None:
    (verdict,) = judge(single(FLAT, claim("difference", ["A-c0", "B-c0"], within=0.02)))
    said = needs(verdict)
    assert said.startswith("if the true difference is 0, 5 seeds reproduce the claim in ")
    assert " seeds in 80 %, if the standard deviation (0.0274 so far) is at most 0.0" in said
    (line,) = lines(single(FLAT, claim("difference", ["A-c0", "B-c0"], at_least=0.02)))
    assert line.startswith("c: if the true effect is 0.040, 5 seeds reproduce the claim in ")
    assert "measured so far" not in line


def test_what_looks_small_but_not_none_says_what_it_would_take() -> None:
    """That no difference would be found by now tells nothing, where the interval is without 0."""
    seeds = {"A": [0.624, 0.612, 0.6176, 0.6136, 0.6178], "B": [0.6] * 5}
    (line,) = lines(single(seeds, claim("difference", ["A-c0", "B-c0"], within=0.02)))
    assert re.search(
        r"^c: if the true difference is 0, 5 seeds reproduce the claim in 9\d % of", line
    )
    (fewer,) = re.findall(
        r"; if the true difference is the one measured so far, 80 % takes (\d+) seeds$", line
    )
    assert int(fewer) > 10


def test_a_failed_seed_is_what_lacks() -> None:
    noise = np.array([0.01, -0.02, 0.015, np.nan])
    (line,) = lines(
        single({"A": 0.9 + noise, "B": [0.6] * 4}, claim("difference", ["A-c0", "B-c0"]))
    )
    assert line == "c: seed 3 of A failed: `vitcli ablate` trains again what failed"


def test_what_looks_large_says_what_it_would_take_if_it_is() -> None:
    noise = np.array([0.08, -0.07, 0.0])
    large = {"A": (0.9 + noise).tolist(), "B": (0.6 - noise).tolist()}
    (line,) = lines(single(large, claim("difference", ["A-c0", "B-c0"], at_least=0.02)))
    assert "if the true effect is 0.040, 3 seeds reproduce the claim in" in line
    assert line.endswith("if the true effect is the one measured so far, 80 % takes 8 seeds")


def test_pairs_are_taken_of_the_seeds_that_all_of_them_have() -> None:
    noise = [0.0, 0.03, -0.02, 0.05, -0.04]
    values = {"A": [0.6 + z for z in noise], "B": [0.6] * 5, "C": [0.6] * 5}
    tested = claim("difference", ["A-c0", "B-c0"], ["A-c0", "C-c0"], at_least=0.02)
    whole = single({name: of[1:] for name, of in values.items()}, tested)
    values["B"][0] = np.nan  # its pair has the other four seeds, the second pair all five
    (line,) = lines(single(values, tested))
    assert line == lines(whole)[0]
    values["C"] = [0.6, 0.6, np.nan, np.nan, np.nan]
    (line,) = lines(single(values, tested))
    assert (
        line == "c: the number of seeds cannot be computed: its pairs have fewer than two in common"
    )


def test_what_cannot_be_reproduced_any_more_is_told_no_seeds() -> None:
    values = {"A": (0.51 + NOISE).tolist(), "B": (0.6 - NOISE).tolist()}
    tested = claim("difference", ["A-c0", "B-c0"], at_least=0.1)
    (verdict,) = judge(single(values, tested))
    assert verdict.decisive.interval is not None
    assert verdict.word == "undecided"
    assert verdict.decisive.interval[1] < 0.1
    assert lines(single(values, tested)) == [
        "c: its interval lies below the threshold: more seeds can only tell whether it is "
        "negligible or contradicted"
    ]


def test_a_choice_in_doubt_is_said() -> None:
    rng = np.random.default_rng(6)
    options = {"within": 0.02, "pick": "val/top1"}
    for best, said in ((0.9, False), (0.5, True)):
        means = np.array([best, 0.5, 0.3])
        values = {k: means + rng.normal(0, 0.02, (5, 3)) for k in ("gap", "token")}
        tested = claim("best", ["gap", "token"], **options)
        (line,) = lines(results(values, tested, metrics={"val/top1": values}))
        assert "5 seeds reproduce the claim in" in line
        assert line.endswith("that it is clear by then which cells are the best") == said


def test_what_is_decided_needs_no_more() -> None:
    apart = {"A": (0.9 + NOISE).tolist(), "B": (0.6 - NOISE).tolist()}
    assert lines(single(apart, claim("difference", ["A-c0", "B-c0"], at_least=0.02))) == [
        "c: reproduced already, with 5 seeds"
    ]
    assert lines(single(apart, claim("difference", ["A-c0", "B-c0"], within=0.02))) == [
        "c: contradicted already, with 5 seeds"
    ]


def test_without_finished_runs_there_is_no_line() -> None:
    nothing = {"A": [np.nan] * 3, "B": [np.nan] * 3}
    assert lines(single(nothing, claim("difference", ["A-c0", "B-c0"]))) == []


def test_a_hopeless_claim_is_said_to_be() -> None:
    noisy = {"A": [0.1, 0.9, 0.4], "B": [0.8, 0.2, 0.5]}
    (line,) = lines(single(noisy, claim("difference", ["A-c0", "B-c0"], within=0.001)))
    assert line.endswith(" % of repeated studies, and 80 % takes more than 200 seeds")
