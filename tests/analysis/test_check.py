"""The claims of a study's file: what is refused when it is planned, and what is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_up import claim, results

from vitcli.analysis.check import check_claims, check_form
from vitcli.schema import Claim, ClaimPaper, Metric, Study, XAxis

FIGURE = ClaimPaper("table6", "average", [["vit", "resnet"]])
KINDS: list[tuple[str, dict[str, Any]]] = [
    ("slope", {}),
    ("slope", {"pairs": [["vit"]]}),
    ("end_slope", {}),
    ("low_end", {}),
    ("high_end", {"within": {"laptop": 0.1}, "at_least": None}),
    ("difference", {"pairs": [["vit-c1", "bit-c1"]]}),
    ("interaction", {"pairs": [["vit-c1", "bit-c1", "vit-c0", "bit-c0"]]}),
    ("log_ratio", {"paper": FIGURE}),
    ("spread", {"pairs": [["vit", "bit", "hybrid"]]}),
    ("tau", {"against": "val/top1", "pairs": [["vit", "bit"]]}),
    ("best", {"pick": "val/top1"}),
    ("slope", {"metric": ["m", "val/top1"]}),
    ("slope", {"paper": ClaimPaper("table5", "ImageNet", [["ViT-L/16", "ViT-B/16"]])}),
    (
        "difference",
        {
            "pairs": [["vit-c1", "bit-c1"]],
            "paper": ClaimPaper("table7", "average", [["R50 adam", "R50 sgd"]]),
        },
    ),
]


def study(*claims: Claim) -> Study:
    values = {row: np.zeros((2, 3)) for row in ("vit", "bit", "hybrid")}
    return results(values, *claims, metrics={"val/top1": values}).study


def check(found: Study) -> None:
    check_form(found)
    check_claims(found, {cell.id: float(k + 1) for k, cell in enumerate(found.cells)})


def made(of: str = "slope", **changes: Any) -> Claim:
    return replace(claim(of, ["vit", "bit"]), **changes)


@pytest.mark.parametrize(("of", "changes"), KINDS)
def test_what_a_claim_may_be(of: str, changes: dict[str, Any]) -> None:
    check(study(made(of, **changes)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"of": "slop"}, "of=slop: choose from difference, .*; did you mean 'slope'"),
        ({"at_least": None}, "give one of at_least and within: the threshold, by scale"),
        ({"within": {"laptop": 0.1}}, "give one of at_least and within"),
        ({"at_least": {"gpu": 0.1}}, "at_least={'gpu': 0.1}: no size for scale=laptop"),
        (
            {"at_least": {"laptop": 0.1, "gpuu": 0.5}},
            "at_least=gpuu: choose from laptop, gpu, paper; did you mean 'gpu'",
        ),
        (
            {"at_least": {"laptop": -0.1}},
            "at_least.laptop=-0.1: the threshold must",
        ),
        (
            {"at_least": None, "within": {"laptop": 0.0}},
            "within.laptop=0: the threshold must be above 0",
        ),
        ({"pairs": []}, r"pairs=\[\]: give at least one"),
        ({"pairs": [["vit", "bti"]]}, "no row bti; did you mean 'bit'"),
        ({"of": "difference"}, "no cell vit; did you mean 'vit-c"),
        (
            {"pairs": [["vit", "bit", "vit"]]},
            r"pairs: \[vit, bit, vit\]: of=slope takes 1 to 2 rows",
        ),
        ({"pairs": [["vit"], ["vit", "bit"]]}, "pairs: some are longer than others"),
        ({"of": "log_ratio", "pairs": [["vit"]]}, "of=log_ratio takes 2 rows"),
        ({"of": "spread", "pairs": [["vit"]]}, "of=spread takes 2 to all rows"),
        ({"of": "best"}, "of=best needs `pick`, a second metric"),
        ({"pick": "val/top1"}, "pick=val/top1: of=slope takes none"),
        ({"of": "tau"}, "of=tau needs `against`, a second metric"),
        ({"of": "best", "pick": "val/top1", "paper": FIGURE}, "the paper has no such values"),
        ({"paper": ClaimPaper("table9", "average", [["vit", "resnet"]])}, "paper.table=table9"),
        ({"paper": ClaimPaper("table6", "avrage", [["vit", "resnet"]])}, "paper.metric=avrage"),
        (
            {"paper": ClaimPaper("table6", "average", [["vit"]])},
            "as many entries as pairs has",
        ),
        (
            {"paper": ClaimPaper("table6", "average", [["vit", "resnets"]])},
            "paper.pairs=resnets: choose from .*did you mean 'resnet'",
        ),
    ],
)
def test_a_claim_with_a_mistake_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^claim c: .*{message}") as raised:
        check(study(made(**changes)))
    assert "\n" not in str(raised.value)


def test_a_contrast_that_cannot_be_formed_is_refused() -> None:
    """It is rehearsed on made-up numbers: what fails there would fail after the training."""
    alone = replace(study(made()), x=None)
    with pytest.raises(ValueError, match="has no place on the x-axis: the study has no x-axis"):
        check(alone)
    both = study(made())
    apart = [c for c in both.cells if (c.row == "vit") == (c.column == "c0")]
    with pytest.raises(ValueError, match="no x is common to its rows"):
        check(replace(both, cells=apart))
    equal = replace(both, x=XAxis("train_flops", "FLOPs"))
    with pytest.raises(ValueError, match="two cells of VIT have the same x"):
        check_claims(equal, {cell.id: 1.0 for cell in equal.cells})


@pytest.mark.parametrize(
    ("of", "pair"), [("difference", ["vit-c1", "bit-c1"]), ("slope", ["vit", "bit"])]
)
def test_a_contrast_of_the_same_runs_is_refused(of: str, pair: list[str]) -> None:
    found = study(made(of, pairs=[pair]))
    cells = {cell.id: cell for cell in found.cells}
    for column in ("c0", "c1", "c2"):
        cells[f"bit-{column}"].runs = dict(cells[f"vit-{column}"].runs)
    with pytest.raises(ValueError, match=r"\]: vit-c\d and bit-c\d are the same runs$"):
        check(found)


def test_rows_that_share_a_run_can_be_compared() -> None:
    found = study(made())
    cells = {cell.id: cell for cell in found.cells}
    cells["bit-c1"].runs = dict(cells["vit-c1"].runs)
    check(found)


@pytest.mark.parametrize("more", range(60))
def test_a_sound_claim_is_not_refused_by_the_chance_of_its_rehearsal(more: int) -> None:
    values = {row: np.zeros((2, 1)) for row in ("vit", "bit")}
    others = {"val/top1": values} | {f"m{k}": values for k in range(more)}
    tested = claim("tau", ["vit", "bit"], against="val/top1")
    check(results(values, tested, metrics=others, x=None).study)


def test_two_claims_with_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="claim c: another claim has the same id"):
        check(study(made(), made()))


def test_metrics_of_which_one_is_better_lower_are_not_averaged() -> None:
    found = study(made(metric=["m", "val/top1"]))
    found = replace(found, metrics={**found.metrics, "m": Metric("m", lower_is_better=True)})
    with pytest.raises(ValueError, match="higher is better in one, lower in another"):
        check(found)
