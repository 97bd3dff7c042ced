"""Claims about whole rows: what verdicts say of slopes, ratios, ranks, and of what is missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from vitcli.report import parts
from vitcli.report.claims import Verdict, judge
from vitcli.report.collect import Axis, Cell, Claim, ClaimPaper, Label, Paper, Study, load
from vitcli.report.notes import laws
from vitcli.report.runs import Run

X = np.array([1e3, 3e3, 9e3, 27e3, 81e3])
NOISE = np.random.default_rng(3).normal(0, 0.004, (4, 3, 5))
VIT = 0.30 + 0.06 * np.log2(X / 1e3) + NOISE[0]
RESNET = 0.50 + 0.03 * np.log2(X / 1e3) + NOISE[1]  # crosses at 1e3 * 2 ** (0.2 / 0.03) = 101,594
Values = Mapping[str, Any]


def claim(of: str, *pairs: tuple[str, ...], test: str = "greater", **options: Any) -> Claim:
    margin = options.pop("margin", None)
    return Claim("c", "A statement.", "Fig. 4", test, pairs, 0.05, margin, of=of, **options)


def study(values: Values, *claims: Claim, x: str = "column", **metrics: Values) -> Study:
    """Returns a curve study of rows of values (S, 5), NaN for a failed run, and other metrics."""
    cells = []
    for name, row in values.items():
        for j, place in enumerate(X):
            runs = {}
            for seed, value in enumerate(np.asarray(row)[:, j].tolist()):
                if np.isnan(value):
                    runs[seed] = Run(f"{name}{j}{seed}", "failed", error="RuntimeError: no")
                    continue
                found = {key: rows[name][seed][j] for key, rows in metrics.items()}
                flops = (1 + (name == "resnet")) * place * (1 + 0.01 * seed)
                runs[seed] = Run(
                    f"{name}{j}{seed}", "done", value, metrics=found, train_flops=flops
                )
            cells.append(Cell(f"{name}-c{j}", name, f"c{j}", None, runs))
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
        rows=tuple(Label(name, name.upper()) for name in values),
        columns=tuple(Label(f"c{j}", f"{x:g}", x) for j, x in enumerate(X)),
        cells=tuple(cells),
        paper=Paper("Fig. 4", "m", 1),
        claims=claims,
        axis=Axis(x, "Images"),
    )


def only(*arguments: Any, **options: Any) -> Verdict:
    (verdict,) = judge(study(*arguments, **options))
    return verdict


def test_a_slope_of_two_rows_names_its_crossing_and_the_paper_s() -> None:
    tested = claim(
        "slope", ("vit", "resnet"), paper=ClaimPaper("table6", "average", (("vit", "hybrid"),))
    )
    verdict = only({"vit": VIT, "resnet": RESNET - 0.1}, tested)
    pair = verdict.decisive
    assert verdict.verdict == "reproduced"
    assert pair.effect == pytest.approx(0.03, abs=0.003)
    assert pair.n == 3
    assert pair.paper_effect == pytest.approx(0.00254, abs=1e-5)
    assert "The slope is above 0: slope of VIT − RESNET = +0.03" in verdict.reason
    assert "per doubling, 90 % interval" in verdict.reason
    assert "3 paired seeds" in verdict.reason
    (note,) = verdict.notes
    assert note.startswith("VIT − RESNET crosses 0 at x = 10,")  # 1e3 * 2 ** (0.1 / 0.03) = 10,079
    assert "(95 % interval " in note
    assert note.endswith("the paper's own values: crosses 0 at x = 885.")


def test_no_crossing_is_said() -> None:
    verdict = only({"vit": VIT + 1, "resnet": RESNET}, claim("slope", ("vit", "resnet")))
    assert verdict.notes == (
        "VIT − RESNET has no crossing inside x = 1,000 to 81,000: it is above 0 at both ends "
        "(95 % interval: none inside either, 3 seeds).",
    )


def test_rows_with_flops_of_their_own_are_interpolated() -> None:
    """RESNET's x is twice VIT's: 9 of 10 x lie inside the overlap, less VIT's first."""
    verdict = only(
        {"vit": VIT, "resnet": RESNET}, claim("slope", ("vit", "resnet")), x="train_flops"
    )
    assert verdict.decisive.effect == pytest.approx(0.03, abs=0.005)
    factor = only(
        {"vit": VIT, "resnet": VIT}, claim("log_ratio", ("vit", "resnet")), x="train_flops"
    )
    assert factor.decisive.effect == pytest.approx(1.0)
    assert "all equal" in factor.reason


def test_a_log_ratio_is_said_as_a_factor() -> None:
    slower = VIT - 0.06 + NOISE[2]  # one doubling behind
    tested = claim(
        "log_ratio", ("vit", "slow"), paper=ClaimPaper("table6", "imagenet", (("vit", "resnet"),))
    )
    verdict = only({"vit": VIT, "slow": slower}, tested)
    assert verdict.verdict == "reproduced"
    assert verdict.decisive.effect == pytest.approx(1.0, abs=0.1)
    assert "(×2" in verdict.reason
    assert verdict.decisive.paper_effect == pytest.approx(1.032, abs=0.001)


def test_one_row_is_tested_against_0_and_says_its_law() -> None:
    curve = 0.9 - 10 * X**-0.4 + NOISE[3]
    verdict = only({"vit": curve}, claim("end_slope", ("vit",)))
    assert verdict.verdict == "reproduced"
    assert "last slope of VIT = +0.0" in verdict.reason
    assert ", 3 seeds" in verdict.reason
    (note,) = verdict.notes
    assert note.startswith("VIT: error = ")
    assert "extrapolated one step, to x = 243,000: 0.8" in note
    assert "a floor above 0 " in note
    assert list(laws(study({"vit": curve}))) == ["vit"]


def test_best_against_best_is_picked_on_other_data() -> None:
    pick = {"a": np.tile(np.eye(5)[2], (3, 1)), "b": np.tile(np.eye(5)[4], (3, 1))}
    values = {"a": VIT, "b": VIT[:, ::-1] + NOISE[2]}
    tested = claim("best", ("a", "b"), pick="val/top1")
    verdict = only(values, tested, **{"val/top1": pick})
    expected = VIT[:, 2] - values["b"][:, 4]
    assert verdict.decisive.effect == pytest.approx(expected.mean())
    assert "best of A − best of B" in verdict.reason


def test_the_interaction_of_four_cells() -> None:
    values = {"vit": VIT, "resnet": RESNET + NOISE[2]}
    tested = claim("interaction", ("vit-c4", "vit-c0", "resnet-c4", "resnet-c0"))
    verdict = only(values, tested)
    expected = (VIT[:, 4] - VIT[:, 0]) - (values["resnet"][:, 4] - values["resnet"][:, 0])
    assert verdict.decisive.effect == pytest.approx(expected.mean())
    assert "(VIT (81000) − VIT (1000)) − (RESNET (81000) − RESNET (1000))" in verdict.reason


def test_the_spread_of_rows_along_x() -> None:
    rows = {name: VIT + k * 0.02 * np.log2(X / 1e3) for k, name in enumerate("abc")}
    verdict = only(
        {n: v + NOISE[k] for k, (n, v) in enumerate(rows.items())}, claim("spread", ("a", "b", "c"))
    )
    assert verdict.decisive.effect == pytest.approx(0.04, abs=0.004)
    assert "slope of the spread over A, B, C" in verdict.reason


def test_tau_compares_two_metrics_over_cells() -> None:
    other = {"a": VIT[:, ::-1] + NOISE[2], "b": VIT + NOISE[3]}
    tested = claim("tau", ("a", "b"), against="finetune")
    verdict = only({"a": VIT[:, ::-1], "b": VIT}, tested, finetune=other)
    assert 0.8 < (verdict.decisive.effect or 0) <= 1
    assert "Kendall's tau over A, B" in verdict.decisive.name


def test_several_metrics_are_averaged_and_their_signs_counted() -> None:
    rows = {
        name: {"vit": VIT + up, "resnet": VIT + NOISE[2]}
        for name, up in (("one", 0.1), ("two", 0.1), ("three", -0.02))
    }
    tested = claim("difference", ("vit-c1", "resnet-c1"), metric=tuple(rows))
    verdict = only({"vit": VIT, "resnet": RESNET}, tested, **rows)
    assert verdict.decisive.effect == pytest.approx(0.06 - NOISE[2][:, 1].mean())
    assert "Above 0 on 2 of 3 metrics." in verdict.reason


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        ([True, False, False], "only one seed has finished in all of its cells"),
        ([False, False, False], "no seed has finished in all of its cells"),
    ],
)
@pytest.mark.parametrize("of", ["slope", "end_slope", "log_ratio", "spread"])
def test_a_failed_run_takes_its_seed_from_the_rows(of: str, keep: list[bool], said: str) -> None:
    broken = np.where(np.array(keep)[:, None] | (np.arange(5) != 4), VIT, np.nan)
    verdict = only({"vit": broken, "resnet": RESNET}, claim(of, ("vit", "resnet")))
    assert verdict.verdict == "undecided"
    assert said in verdict.reason
    assert verdict.decisive.n == sum(keep)


def test_a_metric_that_runs_lack_is_named() -> None:
    tested = claim("tau", ("vit", "resnet"), metric=("m", "gap"), against="finetune")
    verdict = only({"vit": VIT, "resnet": RESNET}, tested)
    assert "no run has gap, finetune." in verdict.reason


def test_a_log_ratio_is_a_factor_too() -> None:
    later = 0.30 + 0.06 * np.log2(X / 2e3) + NOISE[1]  # needs twice as much for the same
    verdict = only({"vit": VIT, "resnet": later}, claim("log_ratio", ("vit", "resnet")))
    numbers = parts.numbers(verdict)
    assert re.fullmatch(r"\+(0\.9|1\.0)\d \(×(1\.9|2\.0)\d\)", numbers["effect"])
    assert numbers["interval"].count("(×") == 2
    assert numbers["detectable"][0].isdigit()


def test_what_rows_lack_is_said() -> None:
    values = {"vit": VIT, "resnet": RESNET}
    assert "no cell in a row bit" in only(values, claim("slope", ("vit", "bit"))).reason
    far = only({"vit": VIT + 2, "resnet": RESNET}, claim("log_ratio", ("vit", "resnet")))
    assert "no value is reached by both rows" in far.reason
    gone = np.where(np.arange(5) == 4, np.nan, VIT)
    flops = only({"vit": gone, "resnet": RESNET}, claim("end_slope", ("vit",)), x="train_flops")
    assert "VIT (81000) has no place on the x-axis: no seed has finished in it" in flops.reason


SLOPE = {
    "id": "slope",
    "number": 4,
    "statement": "1-D gains on 2-D from left to right.",
    "where": "Table 8",
    "test": "greater",
    "of": "slope",
    "pairs": [["learned_1d", "learned_2d"]],
    "metric": ["fewshot/digits/5shot"],
    "alpha": 0.05,
    "margin": None,
}


def test_a_claim_about_rows_is_read_from_plan_json(
    make: Callable[..., Any], whole: dict[str, Any]
) -> None:
    places = {"stem": 1.0, "every_layer": 2.0, "shared": 4.0}
    columns = [{"id": key, "label": key, "value": value} for key, value in places.items()]
    x = {"of": "column", "label": "Place"}
    (verdict,) = judge(load(*make(whole, claims=[SLOPE], columns=columns, x=x)))
    ends = [
        np.mean(list(whole[f"{row}-shared"].values()))
        - np.mean(list(whole[f"{row}-stem"].values()))
        for row in ("learned_1d", "learned_2d")
    ]
    assert verdict.claim.number == 4
    assert verdict.decisive.effect == pytest.approx((ends[0] - ends[1]) / 2)  # two doublings
    (verdict,) = judge(load(*make(whole, claims=[SLOPE])))
    assert verdict.verdict == "undecided"
    assert "1-D (stem) has no place on the x-axis: its column has no value" in verdict.reason


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"of": "slop"}, "of=slop"), ({"pairs": [["a", "b", "c"]]}, "of=slope takes 1 to 2 rows")],
)
def test_a_wrong_claim_in_plan_json_is_named(
    make: Callable[..., Any], whole: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=f"plan.json: claims: slope: .*{said}"):
        load(*make(whole, claims=[SLOPE | changes]))
