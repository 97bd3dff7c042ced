"""The report's words and numbers, as plain text: report.md and report.html are made of them.

Nothing here is escaped: markdown.py and the page's template do that, each for its own format.
"""

from __future__ import annotations

from dataclasses import dataclass

from vitcli.report.claims import Comparison, Verdict, format_p
from vitcli.report.collect import Study
from vitcli.report.effects import said
from vitcli.report.methods import duration
from vitcli.report.runs import Run
from vitcli.report.tables import EMPTY

NO_CLAIM = "This study tests no claim."
SYMBOLS = {"reproduced": "✓", "contradicted": "✗", "undecided": "?"}


@dataclass(frozen=True)
class Line:
    """One run in the list of runs. `values`: the study's metric, then those of its tables."""

    cell: str
    seed: str
    state: str  # with the error, if there is one
    values: tuple[str, ...]
    wall: str
    run: str
    done: bool


def subtitle(study: Study) -> str:
    """Returns which study this is, at which scale, and what it measures."""
    mode = f", mode {study.mode}" if study.mode else ""
    return f"Study {study.study}{mode}, scale {study.scale}: {study.metric_label}."


def progress(study: Study) -> str:
    """Returns how many of the study's runs have finished."""
    done = sum(run.state == "done" for run in study.runs)
    return f"{done} of {len(study.runs)} runs finished."


def compared(verdict: Verdict) -> str:
    """Returns what the claim's decisive effect is a difference of."""
    return verdict.decisive.name


def numbers(verdict: Verdict) -> dict[str, str]:
    """Returns the claim's decisive effect, how sure it is, and the paper's own."""
    claim, pair = verdict.claim, verdict.decisive
    p = verdict.p_against if verdict.verdict == "contradicted" else verdict.p_for
    return {
        "effect": _said(claim.of, pair.effect),
        "interval": _interval(claim.of, pair),
        "p": EMPTY if p is None else format_p(p),
        "n": str(pair.n),
        "margin": EMPTY if claim.margin is None else f"±{claim.margin:g}",
        "detectable": _said(claim.of, pair.detectable).removeprefix("+"),
        "paper": _said(claim.of, pair.paper_effect),
    }


def each_pair(verdict: Verdict) -> list[tuple[str, str, str, str]]:
    """Returns every pair of the claim: what is compared, effect, interval, n or the problem."""
    of = verdict.claim.of
    return [
        (pair.name, _said(of, pair.effect), _interval(of, pair), pair.problem or str(pair.n))
        for pair in verdict.comparisons
    ]


def how_judged(verdicts: list[Verdict]) -> str:
    """Returns how verdicts are reached and what their numbers are."""
    alphas = sorted({v.claim.alpha for v in verdicts})
    return (
        "Effects are means over paired seeds: differences in units of the metric, slopes in those "
        "per doubling of x, log-ratios in doublings and as a factor; of a claim about several "
        "pairs, the pair that its verdict hangs on. Reproduced: every pair passes a one-sided "
        "paired t test (above 0) or two of them (within the margin); "
        "contradicted: a pair is below 0, or beyond the margin (Holm over pairs); undecided: "
        "neither. "
        f"p is Holm-adjusted over {len(verdicts)} claim{'s'[: len(verdicts) - 1]}, "
        f"alpha = {', '.join(f'{a:g}' for a in alphas)}; intervals are of level 1 - 2 alpha, "
        "unadjusted. detectable: the difference, or the margin around equal cells, that this n and "
        "spread find in at least 80 % of repeats. paper: the same difference of the paper's values."
    )


def run_columns(study: Study) -> list[str]:
    """Returns the heads of the list of runs."""
    return ["cell", "seed", "state", study.metric, *study.tables, "wall time", "run"]


def run_lines(study: Study) -> list[Line]:
    """Returns every run of every cell."""
    return [
        _line(study, study.name(cell), str(seed), run)
        for cell in study.cells
        for seed, run in cell.runs.items()
    ]


def source_lines(study: Study) -> list[Line]:
    """Returns the runs that were fine-tuned from, each with the cells that use it."""
    return [_line(study, ", ".join(cells), EMPTY, run) for run, cells in study.sources]


def _line(study: Study, cell: str, seed: str, run: Run) -> Line:
    state = run.state + (f": {run.error}" if run.error else "")
    values = tuple(_number(run.metrics.get(name)) for name in (study.metric, *study.tables))
    wall = EMPTY if run.wall_s is None else duration(run.wall_s)
    return Line(cell, seed, state, values, wall, run.id, run.state == "done")


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else EMPTY


def _interval(of: str, pair: Comparison) -> str:
    if pair.interval is None:
        return EMPTY
    low, high = pair.interval
    return f"{said(of, low)} to {said(of, high)}"


def _said(of: str, number: float | None) -> str:
    return EMPTY if number is None else said(of, number)
