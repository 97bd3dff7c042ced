"""Whatever is missing, tied, NaN, equal or failed: no exception, no verdict on what is unseen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up import claim, results

from vitcli.analysis.contrasts import CONTRASTS
from vitcli.analysis.power import lines
from vitcli.analysis.results import Results
from vitcli.analysis.rows import rows, to_csv
from vitcli.analysis.verdict import WORDS
from vitcli.analysis.verdicts import judge
from vitcli.records import Run
from vitcli.schema import Metric

STATES = ("done", "failed", "lost", "running", "planned", "unreadable")
VALUES = st.sampled_from([0.0, 0.5, 0.5000001, 1.0, float("nan"), float("inf"), 0.7, -0.2, 1e300])
DECLARED = {
    "m": Metric("m", nulls={"pixels": "pixels"}, transferred=True),
    "plain": Metric("plain"),
}


@st.composite
def broken(draw: Callable[..., object]) -> Results:
    """A study of every kind of claim over three rows and columns, any of its runs broken."""
    seeds = draw(st.integers(1, 5))
    claims = []
    for of, kind in CONTRASTS.items():
        names = [f"{r}-c{c}" for r in "abc" for c in range(3)] if kind.takes == "cells" else "abc"
        pair = list(names)[: kind.most or 3]
        claims.append(
            claim(
                of,
                pair,
                id=of,
                metric=[draw(st.sampled_from(["m", "plain", "absent"]))],
                pick="val/top1" if kind.needs == "pick" else None,
                against="plain" if kind.needs == "against" else None,
                **{str(draw(st.sampled_from(["at_least", "within"]))): 0.01},
            )
        )
    rows_ = {row: np.full((seeds, 3), 0.5) for row in "abc"}
    x = draw(st.sampled_from(["column", "train_flops"]))
    found = results(rows_, *claims, x=str(x), declared=DECLARED)
    runs = {}
    for name in found.runs:
        state = str(draw(st.sampled_from(STATES)))
        metrics = {m: draw(VALUES) for m in ("m", "plain", "val/top1", "pixels")}
        if draw(st.booleans()):
            metrics.pop(str(draw(st.sampled_from(sorted(metrics)))))
        flops = draw(st.sampled_from([None, 0.0, 1e9, 2e9, 3e9]))
        runs[name] = Run(name, state, metrics=metrics if state == "done" else {}, train_flops=flops)
    return Results(found.study, runs)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(broken())
def test_judging_never_raises_and_says_nothing_of_what_was_not_measured(found: Results) -> None:
    verdicts = judge(found)
    assert [verdict.claim.id for verdict in verdicts] == list(CONTRASTS)
    for verdict in verdicts:
        assert verdict.word in WORDS
        if verdict.claim.metric == ["absent"]:
            assert verdict.word == "not judged"
        if verdict.word in ("reproduced", "contradicted", "negligible"):
            for pair in verdict.pairs:
                assert pair.problem is None
                assert pair.n >= 2
                assert pair.interval is not None
        if verdict.word == "reproduced":
            assert not any(pair.blocked for pair in verdict.pairs)
        assert "nan" not in verdict.reason
    lines(found)
    assert len(rows(found)) == len(found.runs)
    to_csv(found)


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(5)))
def test_the_order_of_seeds_does_not_matter(order: list[int]) -> None:
    rng = np.random.default_rng(0)
    values = {row: rng.normal(0.5, 0.02, (5, 3)) for row in "abc"}
    tested = [claim("slope", ["a", "b"]), claim("spread", ["a", "b", "c"], id="s")]
    tested.append(claim("log_ratio", ["a", "b"], id="l"))
    one = judge(results(values, *tested))
    other = judge(results({k: v[list(order)] for k, v in values.items()}, *tested))
    for a, b in zip(one, other, strict=True):
        assert a.word == b.word
        assert np.isclose(a.decisive.effect or 0, b.decisive.effect or 0)
        assert np.allclose(a.decisive.interval or 0, b.decisive.interval or 0)


def test_swapping_a_pair_turns_its_sign() -> None:
    rng = np.random.default_rng(1)
    values = {row: np.cumsum(rng.uniform(0.05, 0.1, (4, 4)), axis=1) for row in "ab"}
    options = {"metrics": {"val/top1": values}, "x": "train_flops", "places": (1, 2, 4, 9)}
    for of in ("slope", "end_slope", "low_end", "high_end", "log_ratio"):
        tested = claim(of, ["a", "b"], at_least=1e-3)
        (one,) = judge(results(values, tested, **options))
        (other,) = judge(results(values, replace(tested, pairs=[["b", "a"]]), **options))
        assert np.isclose(one.decisive.effect or 0, -(other.decisive.effect or 0))
        low, high = one.decisive.interval or (0, 0)
        assert np.allclose(other.decisive.interval or 0, (-high, -low))
