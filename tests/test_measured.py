"""What a study's runs are said to measure is what they report; names of data are filled in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vitcli.compose import compose
from vitcli.evals import metrics_of
from vitcli.runner import run
from vitcli.study.plan import make_plan


def test_a_run_reports_what_it_is_said_to_measure(tiny: list[str]) -> None:
    sets = ["evals.downstream=[digits,letters]", "evals.shifts=[1,2]", "train.keep=best"]
    config = compose([*tiny, *sets])
    found = run(config, quiet=True).result["metrics"]
    known = metrics_of(config)
    assert set(found) == set(known)
    for metric in known.values():
        assert set(metric.nulls.values()) <= set(known)


def test_names_of_data_are_filled_in() -> None:
    """By the run's config: ImageNet at the paper's scale, sets of the user's own choice."""
    assert make_plan("pos-emb", ["scale=paper"]).study.metric == "fewshot/imagenet/5shot"
    study = make_plan("pos-emb", ["evals.downstream=letters"]).study
    assert study.metric == "fewshot/letters/5shot"
    assert study.of_metric(study.metric).label == (
        "5-shot linear top-1 on letters not used in pre-training"
    )
    tuned = make_plan("resolution", ["scale=paper"]).study
    assert tuned.of_metric(tuned.metric).label == "top-1 on imagenet after fine-tuning"
    assert "untrained/imagenet/5shot" in tuned.tables


def test_each_stands_for_every_downstream_set() -> None:
    study = make_plan("optimizer").study
    assert study.claims[0].metric == ["fewshot/digits/5shot", "fewshot/letters/5shot"]
    assert [name for name in study.tables if name.startswith("fewshot/")] == [
        *("fewshot/digits/10shot", "fewshot/letters/10shot"),
        "fewshot/letters/5shot",  # that of digits is the study's own table
    ]
    one = make_plan("optimizer", ["scale=paper"]).study
    assert one.claims[0].metric == ["fewshot/imagenet/5shot"]
    assert one.tables == ["fewshot/imagenet/10shot", "val/top1"]


def test_without_a_downstream_set_the_upstream_metric_stands_for_it() -> None:
    study = make_plan("pos-emb", ["evals=upstream"]).study
    assert study.metric == "val/top1"
    assert not study.of_metric("val/top1").transferred  # no raw pixels to be better than


def test_a_metric_that_no_run_measures_is_refused() -> None:
    with pytest.raises(ValueError, match=r"metric=fewshot/digits/5shot: no run measures it"):
        make_plan("pos-emb", ["evals.shots=[1]"])
    with pytest.raises(ValueError, match=r"metric=shift/1/consistency.*evals.shifts=\[2\]"):
        make_plan("equivariance", ["evals.shifts=[2]"])
    config = compose([])
    real = replace(config, data=replace(config.data, real_labels="real.json"))
    assert "val/real" in metrics_of(real)
    assert "val/real" not in metrics_of(config)
