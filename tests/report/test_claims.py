"""Verdicts: how often they are wrong where the truth is known, and what they do when runs lack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from vitcli.report.claims import Verdict, judge
from vitcli.report.collect import Cell, Claim, Label, Paper, Study, load
from vitcli.report.runs import Run

TRIALS = 2000
# Three standard errors of a rate of 0.05 over the trials.
SLACK = 3 * (0.05 * 0.95 / TRIALS) ** 0.5

GREATER = Claim("above", "A is above B.", "Table 8", "greater", (("A", "B"),), 0.05, None)
EQUAL = Claim(
    "same", "All are the same.", "Table 8", "equivalent", (("A", "B"), ("A", "C")), 0.05, 0.04
)


def study(claims: tuple[Claim, ...], values: Mapping[str, Any], **paper: float) -> Study:
    """Returns a study of one column with these values of each cell, seed by seed."""
    cells = tuple(
        Cell(
            name,
            name,
            "all",
            paper.get(name),
            {seed: Run(f"{name}{seed}", "done", value=v) for seed, v in enumerate(row)},
        )
        for name, row in values.items()
    )
    return Study(
        study="s",
        title="S",
        scale="laptop",
        overrides=(),
        metric="m",
        metric_label="m",
        setting="",
        differences=(),
        seeds=(0, 1, 2),
        rows=tuple(Label(name, name) for name in values),
        columns=(Label("all", "all"),),
        cells=cells,
        paper=Paper("Table 8", "m", 1),
        claims=claims,
    )


def rates(claims: tuple[Claim, ...], truth: Mapping[str, float], n: int, **noise: float) -> Any:
    """Returns, for each claim, how often each verdict falls over simulated studies of n seeds."""
    rng = np.random.default_rng(7)
    counts = [Counter[str]() for _ in claims]
    for _ in range(TRIALS):
        seed_effect = rng.normal(0, 0.03, n)  # shared by the cells: what pairing takes out
        values = {
            name: (mean + seed_effect + rng.normal(0, noise.get("sd", 0.01), n)).tolist()
            for name, mean in truth.items()
        }
        for count, verdict in zip(counts, judge(study(claims, values)), strict=True):
            count[verdict.verdict] += 1
    return [{word: count[word] / TRIALS for word in count} for count in counts]


@pytest.mark.parametrize("n", [2, 3, 5])
def test_no_difference_is_rarely_called_one(n: int) -> None:
    (rate,) = rates((GREATER,), {"A": 0.6, "B": 0.6}, n)
    assert rate.get("reproduced", 0) < 0.05 + SLACK
    assert rate.get("contradicted", 0) < 0.05 + SLACK


@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_difference_of_one_margin_is_rarely_called_equal_or_larger(n: int) -> None:
    (rate,) = rates((EQUAL,), {"A": 0.64, "B": 0.6, "C": 0.6}, n)
    assert rate.get("reproduced", 0) < 0.05 + SLACK
    assert rate.get("contradicted", 0) < 0.05 + SLACK


def test_any_false_reproduction_in_a_study_is_rare() -> None:
    claims = (GREATER, Claim("above-c", "A > C", "", "greater", (("A", "C"),), 0.05, None))
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(TRIALS):
        values = {name: rng.normal(0.6, 0.01, 4).tolist() for name in "ABC"}
        wrong += any(v.verdict == "reproduced" for v in judge(study(claims, values)))
    assert wrong / TRIALS < 0.05 + SLACK


def test_strong_truths_are_found() -> None:
    (greater,) = rates((GREATER,), {"A": 0.7, "B": 0.6}, 3)
    (less,) = rates((GREATER,), {"A": 0.6, "B": 0.7}, 3)
    (same,) = rates((EQUAL,), {"A": 0.6, "B": 0.6, "C": 0.6}, 5, sd=0.005)
    (apart,) = rates((EQUAL,), {"A": 0.6, "B": 0.6, "C": 0.75}, 5)
    assert greater["reproduced"] > 0.95
    assert less["contradicted"] > 0.95
    assert same["reproduced"] > 0.95
    assert apart["contradicted"] > 0.95


def only(claims: tuple[Claim, ...], values: Mapping[str, Any], **paper: float) -> Verdict:
    return judge(study(claims, values, **paper))[0]


def test_the_verdict_names_effect_interval_n_and_the_paper_s_effect() -> None:
    values = {"A": [0.70, 0.72, 0.71], "B": [0.60, 0.61, 0.62]}
    verdict = only((GREATER,), values, A=0.64206, B=0.61382)
    pair = verdict.decisive
    assert verdict.verdict == "reproduced"
    assert pair.n == 3
    assert pair.effect == pytest.approx(0.1)
    assert pair.paper_effect == pytest.approx(0.02824)
    # differences 0.10, 0.11, 0.09: se = 0.01 / sqrt(3), t(0.95, 2) = 2.919986
    assert pair.interval == pytest.approx((0.1 - 0.016859, 0.1 + 0.016859), abs=1e-6)
    for said in (
        "A − B = +0.100",
        "90 % interval +0.083 to +0.117",
        "3 paired seeds",
        "p = 0.0017",
    ):
        assert said in verdict.reason


def test_an_equivalence_hangs_on_its_worst_pair() -> None:
    noise = np.array([0.001, -0.001, 0.0005, -0.0005])
    values = {"A": [0.6] * 4, "B": (0.605 + noise).tolist(), "C": (0.63 + noise).tolist()}
    verdict = only((EQUAL,), values)
    assert verdict.verdict == "reproduced"
    assert verdict.decisive.second == "C"
    assert verdict.p_for == pytest.approx(max(pair.p_for or 0 for pair in verdict.comparisons))


def test_one_pair_beyond_the_margin_contradicts_an_equivalence() -> None:
    noise = np.array([0.001, -0.001, 0.0005, -0.0005])
    values = {"A": [0.6] * 4, "B": (0.6 + noise).tolist(), "C": (0.5 + noise).tolist()}
    verdict = only((EQUAL,), values)
    assert verdict.verdict == "contradicted"
    assert verdict.decisive.second == "C"
    # Holm over the two pairs: twice the smaller p.
    against = min(pair.p_against or 1 for pair in verdict.comparisons)
    assert verdict.p_against == pytest.approx(2 * against)


def test_p_is_holm_adjusted_over_the_claims_tested_or_not() -> None:
    untestable = Claim("gone", "A > Z", "", "greater", (("A", "Z"),), 0.05, None)
    values = {"A": [0.70, 0.72, 0.71], "B": [0.60, 0.61, 0.62]}
    alone = judge(study((GREATER,), values))[0]
    beside, gone = judge(study((GREATER, untestable), values))
    assert alone.p_for is not None
    assert beside.p_for == pytest.approx(2 * alone.p_for)
    assert (gone.verdict, gone.p_for) == ("undecided", None)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"A": [0.7], "B": [0.6]}, "only one seed has finished in both cells"),
        ({"A": [0.7, None, 0.7], "B": [None, 0.6, 0.6]}, "only one seed has finished"),
        ({"A": [0.7, None], "B": [None, 0.6]}, "no seed has finished in both cells"),
        ({"A": [0.7, 0.71]}, "the study has no cell B"),
        ({"A": [0.7, 0.8], "B": [0.6, 0.7]}, "differences are all equal"),
    ],
)
def test_what_cannot_be_tested_is_undecided_and_says_why(
    values: dict[str, list[float | None]], said: str
) -> None:
    verdict = only((GREATER,), values)
    assert verdict.verdict == "undecided"
    assert verdict.p_for is None
    assert verdict.p_against is None
    assert said in verdict.reason


def test_one_missing_cell_leaves_a_claim_about_several_undecided() -> None:
    verdict = only((EQUAL,), {"A": [0.6, 0.61, 0.6], "C": [0.6, 0.6, 0.61]})
    assert verdict.verdict == "undecided"
    assert "no cell B" in verdict.reason


def test_pairs_are_of_the_same_seed() -> None:
    verdict = only((GREATER,), {"A": [0.7, None, 0.9, 0.5], "B": [0.6, 0.1, 0.79, None]})
    assert verdict.decisive.n == 2
    assert verdict.decisive.effect == pytest.approx((0.1 + 0.11) / 2)


def test_the_paper_s_own_effects(make: Callable[..., Any], whole: dict[str, Any]) -> None:
    position, kind = judge(load(*make(whole)))
    assert (position.verdict, kind.verdict) == ("reproduced", "reproduced")
    assert position.decisive.paper_effect == pytest.approx(0.02824)
    paper = [pair.paper_effect for pair in kind.comparisons]
    assert paper == pytest.approx([0.00205, 0.00174])


def test_the_paper_s_interaction_is_taken_of_its_four_cells() -> None:
    four = ("a", "b", "c", "d")
    claim = Claim("i", "I.", "", "equivalent", (four,), 0.05, 0.01, of="interaction")
    values = {name: [0.1 * k, 0.1 * k + 0.01 * k**2, 0.1 * k] for k, name in enumerate(four)}
    table_8 = {"a": 0.64206, "b": 0.63964, "c": 0.64001, "d": 0.64046}
    (verdict,) = judge(study((claim,), values, **table_8))
    assert verdict.decisive.paper_effect == pytest.approx(0.00242 + 0.00045)
    (verdict,) = judge(study((claim,), values, a=0.64206, b=0.63964, c=0.64001))
    assert verdict.decisive.paper_effect is None
