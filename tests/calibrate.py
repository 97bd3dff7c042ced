"""How often verdicts are wrong where the truth is known: `make calibrate`.

Made-up runs go through the code that judges real ones. Each kind of contrast is simulated with 3, 4
and 5 seeds, equal noise and noise that differs tenfold between cells, and seeds whose cells vary
alone or together (correlation r). Upstream validation, which picks, varies with what is measured
(0.9). The truth lies on the threshold, or is 0: there every verdict is wrong, and as an
interval that misses the truth gives one, wrong verdicts are to be 5 % and coverage 95 %.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from vitcli.analysis.contrasts import CONTRASTS
from vitcli.analysis.intervals import Array, t_quantile
from vitcli.analysis.pairs import measure
from vitcli.analysis.power import fewest_seeds, joint_power
from vitcli.analysis.results import Results
from vitcli.analysis.verdicts import judge
from vitcli.files import write_text
from vitcli.records import Run
from vitcli.schema import Axis, Cell, Claim, Metric, Paper, Study, XAxis

SEEDS, CORRELATIONS = (3, 4, 5), (0.0, 0.5, 0.9)
NOISE = {"equal": (0.02, 0.02), "tenfold": (0.005, 0.05)}  # sd of every other row's cells
_PICKS_WITH = 0.9  # correlation of what picks with what is measured
_FLOPS = (3e10, 2.2e11, 4.2e11, 2.5e12)


@dataclass(frozen=True)
class Design:
    """Rows of true values, what a claim is of, whether x is compute, and rows of several pairs."""

    of: str
    means: Sequence[Sequence[float]]
    by_flops: bool = False
    pairs: Sequence[Sequence[int]] = ()  # none: one of all rows


_RISING, _LEVEL, _DIP = (0.30, 0.42, 0.47, 0.62), (0.40, 0.52, 0.52, 0.50), (0.30, 0.55, 0.50, 0.60)


def _lower(by: float) -> list[float]:
    return [value - by for value in _RISING]


DESIGNS = {
    "difference": Design("difference", [[0.5], [0.5]]),
    "difference, three pairs": Design(
        "difference", [[0.53], [0.5], [0.53], [0.53]], pairs=[(0, 1), (2, 1), (3, 1)]
    ),
    "interaction": Design("interaction", [[0.5], [0.6], [0.4], [0.5]]),
    "slope": Design("slope", [_RISING, _RISING]),
    "slope, one row": Design("slope", [_RISING]),
    "end_slope": Design("end_slope", [_RISING, _DIP]),
    "low_end": Design("low_end", [_RISING, _DIP]),
    "high_end": Design("high_end", [_RISING, _DIP]),
    "slope by FLOPs": Design("slope", [_DIP, _DIP], by_flops=True),
    "slope by FLOPs, points in doubt": Design("slope", [_LEVEL, _LEVEL], by_flops=True),
    "end_slope by FLOPs": Design("end_slope", [_LEVEL, _LEVEL], by_flops=True),
    "high_end by FLOPs": Design("high_end", [_DIP, _LEVEL], by_flops=True),
    "log_ratio": Design("log_ratio", [_RISING, _lower(0.07)], by_flops=True),
    "log_ratio, rows of one shape": Design("log_ratio", [_RISING, _RISING], by_flops=True),
    "log_ratio, rows that just meet": Design("log_ratio", [_RISING, _lower(0.30)], by_flops=True),
    "log_ratio, rows apart": Design("log_ratio", [_RISING, _lower(0.34)], by_flops=True),
    "best": Design("best", [_LEVEL, _LEVEL]),
    "best, all columns equal": Design("best", [[0.5] * 4] * 2),
    "spread, equal rows": Design("spread", [_RISING] * 3),
    "spread": Design("spread", [_RISING, _lower(-0.05), _lower(0.05)]),
    "spread, growing": Design("spread", [_RISING, [0.31, 0.45, 0.52, 0.7], [0.29, 0.4, 0.4, 0.5]]),
    "tau": Design("tau", [[0.50, 0.52, 0.55, 0.57], [0.53, 0.54, 0.58, 0.60]]),
}


@dataclass(frozen=True)
class Rates:
    """Of repeats: wrong verdicts, intervals that hold the truth, and what was not judged."""

    wrong: float
    covered: float
    not_judged: float


def rates(
    design: Design, n: int, noise: str = "equal", r: float = 0.0, repeats: int = 2000
) -> Rates:
    """Returns how often a claim of this design is judged wrongly, its truth on the size."""
    rng = np.random.default_rng(0)
    truth = true_effect(design, noise, r)
    size = max(abs(truth), 1e-9)
    wrong = covered = silent = 0
    for _ in range(repeats):
        study, values = _study(design, n, size), _draw(design, n, noise, r, rng)
        (verdict,) = judge(_results(study, design, values))
        interval = verdict.pairs[0].interval
        silent += interval is None
        wrong += verdict.word not in ("undecided", "not judged")
        covered += interval is None or interval[0] <= truth <= interval[1]
    return Rates(wrong / repeats, covered / repeats, silent / repeats)


def true_effect(design: Design, noise: str, r: float) -> float:
    """Returns the contrast of the true values; of tau, the mean of very many seeds."""
    many, scale = (4000, 1.0) if design.of == "tau" else (4, 1e-7)
    rng = np.random.default_rng(1)
    values = _draw(design, many, noise, r, rng, scale)
    study = _study(design, many, 1.0)
    found = measure(_results(study, design, values), study.claims[0], study.claims[0].pairs[0])
    effect = 0.0 if found.estimate is None else found.estimate.effect
    return 0.0 if abs(effect) < 1e-6 else effect


def _study(design: Design, n: int, size: float) -> Study:
    rows = [f"r{i}" for i in range(len(design.means))]
    columns = {f"c{j}": Axis(f"c{j}", float(2**j)) for j in range(len(design.means[0]))}
    takes_cells = CONTRASTS[design.of].takes == "cells"
    names = [f"{row}-c0" if takes_cells else row for row in rows]
    pairs = [[names[index] for index in pair] for pair in design.pairs or [range(len(rows))]]
    claim = Claim(
        "c", "", "", pairs,
        of=design.of,
        at_least={"laptop": size},
        pick="val/top1" if CONTRASTS[design.of].needs == "pick" else None,
        against="other" if CONTRASTS[design.of].needs == "against" else None,
    )  # fmt: skip
    cells = [
        Cell(row, column, runs={str(s): f"{row}{column}{s}" for s in range(n)})
        for row in rows
        for column in columns
    ]
    return Study(
        "", "m", {row: Axis(row) for row in rows}, columns, Paper("", ""), cells,
        x=XAxis("train_flops" if design.by_flops else "column", "x"),
        claims=[claim], seeds=list(range(n)), scale="laptop",
        metrics={name: Metric(name) for name in ("m", "val/top1", "other")},
    )  # fmt: skip


def _draw(
    design: Design, n: int, noise: str, r: float, rng: np.random.Generator, scale: float = 1.0
) -> dict[str, Array]:
    """Returns each metric's values (n, rows, columns)."""
    means = np.array(design.means)
    sds = np.array([NOISE[noise][i % 2] for i in range(len(means))])[:, None] * scale
    if len(means) == 1:  # of one row every other column
        sds = np.array([NOISE[noise][j % 2] for j in range(means.shape[1])])[None] * scale
    shared = rng.normal(size=(n, 1, 1))
    own = rng.normal(size=(n, *means.shape))
    error = math.sqrt(r) * shared + math.sqrt(1 - r) * own
    other = rng.normal(size=error.shape)
    with_it = _PICKS_WITH * error + math.sqrt(1 - _PICKS_WITH**2) * other
    errors = {"m": error, "val/top1": with_it, "other": other}
    return {name: means + sds * each for name, each in errors.items()}


def _results(study: Study, design: Design, values: dict[str, Array]) -> Results:
    runs = {}
    for index, cell in enumerate(study.cells):
        row, column = divmod(index, len(study.columns))
        flops = _FLOPS[column] * (1.3 if row % 2 and design.of == "log_ratio" else 1.0)
        for seed, run in cell.runs.items():
            of = {name: float(v[int(seed), row, column]) for name, v in values.items()}
            runs[run] = Run(run, "done", metrics=of, train_flops=flops)
    return Results(study, runs)


@dataclass(frozen=True)
class Plans:
    """Seeds planned from pilots for a power of 0.8: what was planned, and what came of it."""

    planned: float
    found: float
    seeds: float  # the median


PAIRS: dict[str, tuple[list[tuple[int, int]], bool]] = {
    "one pair, at least": ([(0, 1)], True),
    "one pair, within": ([(0, 1)], False),
    "two pairs, at least": ([(0, 1), (2, 3)], True),
    "all pairs of three, within": ([(0, 1), (0, 2), (1, 2)], False),
    "all pairs of two threes, within": (
        [(0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5)],
        False,
    ),
}
_CELLS = {"equal": [0.02] * 6, "unequal": [0.004, 0.03, 0.01, 0.004, 0.02, 0.004]}


def plans(pairs: str, noise: str, n: int = 5, pilots: int = 300) -> Plans:
    """Returns the power planned from pilots of n seeds, and the true one with the seeds planned."""
    of, greater = PAIRS[pairs]
    level, size, rng = 1 - 0.05 / 4, 0.03, np.random.default_rng(2)
    contrast = np.zeros((6, len(of)))
    for k, (one, other) in enumerate(of):
        contrast[one, k], contrast[other, k] = 1, -1
    contrast *= np.array(_CELLS[noise])[:, None]

    @cache
    def true_power(seeds: int) -> float:
        """Written out once more, not by the code that plans."""
        numbers = rng.normal(size=(2000, seeds, 6)) @ contrast + (2 * size if greater else 0)
        half = numbers.std(axis=1, ddof=1) / math.sqrt(seeds)
        half *= t_quantile(seeds - 1, (1 + level) / 2)
        mean = numbers.mean(axis=1)
        found = mean - half > size if greater else abs(mean) + half < size
        return float(found.all(axis=1).mean())

    said, true, seeds = list[float](), list[float](), list[int]()
    for _ in range(pilots):
        pilot = rng.normal(size=(n, 6)) @ contrast
        number = fewest_seeds(pilot, size, greater, level)
        if number is not None:
            said.append(joint_power(pilot, size, greater, number, level))
            true.append(true_power(number))
            seeds.append(number)
    return Plans(float(np.mean(said)), float(np.mean(true)), float(np.median(seeds)))


def _entry(name: str, noise: str, n: int, repeats: int) -> str:
    """Returns `wrong / covered` in %, the worst of all correlations."""
    found = [rates(DESIGNS[name], n, noise, r, repeats) for r in CORRELATIONS]
    worst, covered = max(rate.wrong for rate in found), min(rate.covered for rate in found)
    return f"{100 * worst:.1f} / {100 * covered:.1f}"


def report(repeats: int, pilots: int) -> str:
    """Returns the tables in markdown: wrong verdicts and coverage, then power."""
    lines = [
        "# How often verdicts are wrong, by simulation",
        "",
        f"Made by `make calibrate` ({repeats:,} repeats of each entry, so "
        f"one standard error of 5 % is {100 * math.sqrt(0.05 * 0.95 / repeats):.1f} %). Made-up "
        "runs go through the code that judges real ones; the truth lies on the threshold, "
        "or is 0, where every verdict is wrong. Noise is normal, claims are of an effect "
        "(`at_least`). Nominal: 5 % wrong, 95 % covered. Entries: wrong / "
        "covered in %, the worst of r = 0, 0.5, 0.9 (correlation of a seed's cells).",
        "",
        "| contrast | noise | " + " | ".join(f"n = {n}" for n in SEEDS) + " |",
        "| --- | --- |" + " --- |" * len(SEEDS),
    ]
    every = list(itertools.product(DESIGNS, NOISE))
    jobs = [(name, noise, n) for name, noise in every for n in SEEDS]
    found = Parallel(n_jobs=-1, return_as="generator")(
        delayed(_entry)(*job, repeats) for job in jobs
    )
    for name, noise in every:
        entries = [next(found) for _ in SEEDS]
        print(f"{name}, {noise} noise", file=sys.stderr, flush=True)
        lines.append(f"| {name} | {noise} | {' | '.join(entries)} |")
    lines += [
        "",
        f"Power: seeds planned for 80 % from {pilots:,} pilots of 5 seeds, at alpha = 0.05 / 4. "
        "Planned and found are means over the pilots; noise of the six cells is equal, or up to "
        "7.5 times as large in one as in another.",
        "",
        "| claim | noise | seeds (median) | planned | found |",
        "| --- | --- | --- | --- | --- |",
    ]
    for pairs in PAIRS:
        for noise in _CELLS:
            print(f"power of {pairs}, {noise} noise", file=sys.stderr, flush=True)
            of = plans(pairs, noise, pilots=pilots)
            row = f"{of.seeds:.0f} | {100 * of.planned:.0f} % | {100 * of.found:.0f} %"
            lines.append(f"| {pairs} | {noise} | {row} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Prints the tables; `calibrate REPEATS FILE` simulates so often, and writes them too."""
    repeats = int(arguments[0]) if arguments else 2000
    text = report(repeats, pilots=max(20, repeats // 5))
    print(text)
    if len(arguments) > 1:
        write_text(Path(arguments[1]), text)


if __name__ == "__main__":
    main(sys.argv[1:])
