"""The claims of a study's file: what is refused, and what reaches plan.json."""

from __future__ import annotations

import json
from typing import Any

import pytest
from omegaconf import OmegaConf

from vitcli.study.claim import ClaimFile, ClaimPaperFile, check_claims, claim_facts

CELLS, ROWS, SCALES = ("vit-c1", "bit-c1"), ("vit", "bit"), ("laptop", "gpu")
FIGURE = ClaimPaperFile("table6", "average", [["vit", "resnet"]])


def claim(**changes: Any) -> ClaimFile:
    facts = {"id": "c", "statement": "s", "where": "w", "test": "greater"}
    return ClaimFile(**(facts | {"pairs": [["vit", "bit"]], "of": "slope"} | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"of": "difference", "pairs": [["vit-c1", "bit-c1"]]},
        {"of": "interaction", "pairs": [["vit-c1", "bit-c1", "vit-c1", "bit-c1"]]},
        {"pairs": [["vit"]]},
        {"of": "tau", "against": "val/top1", "pairs": [["vit", "bit", "vit"]]},
        {"of": "best", "pick": "val/top1"},
        {"metric": ["a", "b"]},
        {"paper": FIGURE},
        {"paper": ClaimPaperFile("table5", "ImageNet", [["ViT-L/16", "ViT-B/16"]])},
        {
            "of": "difference",
            "pairs": [["vit-c1", "bit-c1"]],
            "paper": ClaimPaperFile("table7", "average", [["R50 adam", "R50 sgd"]]),
        },
        {"test": "equivalent", "margin": {"laptop": 0.1, "gpu": 0.01}},
    ],
)
def test_what_a_claim_may_be(changes: dict[str, Any]) -> None:
    check_claims([claim(**changes)], CELLS, ROWS, SCALES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": "less"}, "test=less: choose from greater, equivalent"),
        ({"of": "slop"}, "of=slop: choose from difference, .*; did you mean 'slope'"),
        ({"alpha": 0.5}, r"alpha=0.5: must be in \(0, 0.5\)"),
        ({"pairs": []}, r"pairs=\[\]: give at least one"),
        ({"pairs": [["vit", "bti"]]}, "no row bti; did you mean 'bit'"),
        ({"of": "difference"}, "no cell vit; did you mean 'vit-c1'"),
        (
            {"pairs": [["vit", "bit", "vit"]]},
            r"pairs: \[vit, bit, vit\]: of=slope takes 1 to 2 rows",
        ),
        ({"of": "log_ratio", "pairs": [["vit"]]}, "of=log_ratio takes 2 rows"),
        (
            {"of": "interaction", "pairs": [["vit-c1", "bit-c1"]]},
            r"pairs: \[vit-c1, bit-c1\]: of=interaction takes 4 cells",
        ),
        ({"of": "spread", "pairs": [["vit"]]}, "of=spread takes 2 to all rows"),
        ({"metric": []}, r"metric=\[\]: a metric's name, or a list of names"),
        ({"metric": 3}, "metric=3: a metric's name"),
        ({"of": "best"}, "pick=None with of=best: best takes pick"),
        ({"pick": "val/top1"}, "pick=val/top1 with of=slope: best takes pick"),
        ({"of": "tau"}, "against=None with of=tau: tau takes against"),
        ({"margin": {"laptop": 0.1}}, "margin=0.1: above 0 if equivalent, none if greater"),
        ({"test": "equivalent", "margin": {"laptop": 0.0, "gpu": 1.0}}, "margin=0.0: above 0"),
        ({"test": "equivalent", "margin": {"laptop": 0.1}}, "for each of laptop, gpu"),
        (
            {"of": "best", "pick": "a", "paper": FIGURE},
            "paper with of=best: the paper has no such values",
        ),
        ({"pairs": [["vit"], ["bit"]], "paper": FIGURE}, "paper: 1 pairs: give 2"),
        ({"pairs": [["vit"]], "paper": FIGURE}, r"paper.pairs: \[vit, resnet\]: give 1"),
        (
            {"paper": ClaimPaperFile("table7", "average", [["vit", "bit"]])},
            "paper.table=table7: choose from table5, table6",
        ),
        (
            {"paper": ClaimPaperFile("table6", "ImageNet", [["vit", "bit"]])},
            "paper.metric=ImageNet: choose from average, real, imagenet",
        ),
        (
            {"paper": ClaimPaperFile("table6", "real", [["vit", "bit"]])},
            "paper.pairs=bit: choose from vit, resnet, hybrid",
        ),
    ],
)
def test_a_mistake_is_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^claim c: .*{message}") as error:
        check_claims([claim(**changes)], CELLS, ROWS, SCALES)
    assert "\n" not in str(error.value)


def test_two_claims_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="claim c: another claim has the same id"):
        check_claims([claim(), claim()], CELLS, ROWS, SCALES)


def test_a_claim_of_yaml_becomes_the_facts_of_its_scale() -> None:
    text = """
    {id: c, number: 13, statement: s, where: Fig. 5, test: equivalent, of: log_ratio,
     pairs: [[vit, bit]], metric: [a, b], margin: {laptop: 0.5, gpu: 0.2},
     paper: {table: table6, metric: average, pairs: [[vit, resnet]]}}
    """
    read: Any = OmegaConf.to_object(
        OmegaConf.merge(OmegaConf.structured(ClaimFile), OmegaConf.create(text))
    )
    check_claims([read], CELLS, ROWS, SCALES)
    facts = claim_facts(read, "gpu")
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["margin"], facts["metric"], facts["number"]) == (0.2, ["a", "b"], 13)
    assert facts["paper"]["pairs"] == [["vit", "resnet"]]
