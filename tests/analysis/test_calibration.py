"""Verdicts are wrong no more often than they say, by a small `make calibrate`."""

from __future__ import annotations

import calibrate
import numpy as np
import pytest

REPEATS = 250


def most(rate: float, repeats: int = REPEATS) -> float:
    """The rate and three and a half standard errors of it: one in 4,000 is above by chance."""
    return rate + 3.5 * (rate * (1 - rate) / repeats) ** 0.5


@pytest.mark.parametrize("name", calibrate.DESIGNS)
@pytest.mark.parametrize("noise", calibrate.NOISE)
def test_wrong_verdicts_and_coverage(name: str, noise: str) -> None:
    design = calibrate.DESIGNS[name]
    for n, r in ((3, 0.9), (5, 0.0)):
        found = calibrate.rates(design, n, noise, r, REPEATS)
        assert found.wrong <= most(0.05)
        assert 1 - found.covered <= most(0.05)
        assert found.not_judged < 0.05  # taus of few seeds may all be equal


def test_the_simulation_can_fail() -> None:
    """With intervals of half their width, it does."""
    from vitcli.analysis import intervals

    with pytest.MonkeyPatch.context() as patch:
        quantile = intervals.t_quantile
        patch.setattr(intervals, "t_quantile", lambda df, p: 0.5 * quantile(df, p))
        found = calibrate.rates(calibrate.DESIGNS["difference"], 5, "equal", 0.0, REPEATS)
    assert found.wrong > most(0.05)


def test_any_wrong_verdict_in_a_study_is_rare() -> None:
    """Seven claims that are all true nulls: one wrong word among them in 5 % of studies."""
    from made_up import claim, single

    from vitcli.analysis.verdicts import judge

    rng, wrong, repeats = np.random.default_rng(7), 0, 600
    tested = [
        claim("difference", [f"A{k}-c0", f"B{k}-c0"], id=f"c{k}", at_least=1e-9) for k in range(7)
    ]
    for _ in range(repeats):
        values = {f"{x}{k}": rng.normal(0.6, 0.01, 4).tolist() for k in range(7) for x in "AB"}
        wrong += any(v.word not in ("undecided",) for v in judge(single(values, *tested)))
    assert wrong / repeats < most(0.05, repeats)
