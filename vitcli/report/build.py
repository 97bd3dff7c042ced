"""Writes a study's report from its runs' files: verdicts, table, figure, methods, every run."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vitcli.files import write_bytes, write_json, write_text
from vitcli.report import figures, tables
from vitcli.report.claims import Comparison, Verdict, format_p, judge
from vitcli.report.collect import Run, Study, load
from vitcli.report.tables import escape_markdown as esc

_FILES = (
    "table.md",
    "table.csv",
    "table.tex",
    "claims.json",
    "claims.md",
    "figures/table.png",
    "figures/table.svg",
    "report.md",
)


def write_report(study_dir: Path, runs_dir: Path) -> Path:
    """Writes `report/` into the study's folder from what its runs have found; returns report.md.

    Raises:
        FileNotFoundError: there is no plan.json.
        ValueError: plan.json does not describe a study; names the file and the key.
    """
    seen = _newest_input(study_dir, runs_dir)
    study = load(study_dir, runs_dir)
    verdicts, out = judge(study), study_dir / "report"
    write_text(out / "table.md", tables.markdown(study))
    write_text(out / "table.csv", tables.to_csv(study))
    write_text(out / "table.tex", tables.latex(study))
    write_json(out / "claims.json", _claims_json(study, verdicts))
    write_text(out / "claims.md", _claims_markdown(verdicts))
    for kind in ("png", "svg"):
        write_bytes(out / "figures" / f"table.{kind}", figures.render(study, kind))
    report = out / "report.md"
    write_text(report, _report(study, verdicts))
    # Dated as the newest file that it has read: a run that ended meanwhile is newer than it.
    os.utime(report, ns=(seen, seen))
    return report


def is_current(study_dir: Path, runs_dir: Path) -> bool:
    """Returns whether the report is whole, and has read all that the plan and its runs now say."""
    out = study_dir / "report"
    if not all((out / name).exists() for name in _FILES):
        return False
    return (out / "report.md").stat().st_mtime_ns >= _newest_input(study_dir, runs_dir)


def show(study_dir: Path) -> None:
    """Prints the table, the verdicts and where the report is; the runs lie in `../../runs`."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    study, console = load(study_dir, study_dir.parent.parent / "runs"), Console()
    console.print(tables.terminal(study), "")
    colours = {"reproduced": "green", "contradicted": "red", "undecided": "yellow"}
    for verdict in judge(study):
        word = (f"{verdict.verdict}: ", f"bold {colours[verdict.verdict]}")
        console.print(Text.assemble(word, verdict.claim.statement))
        console.print(Padding(Text(verdict.reason, "dim"), (0, 0, 1, 2)))
    console.print(Text(str(study_dir / "report" / "report.md")), soft_wrap=True)


def _newest_input(study_dir: Path, runs_dir: Path) -> int:
    """Returns the newest modification time among the files that the report is made from, in ns."""
    plan = study_dir / "plan.json"
    runs = {run.id for cell in load(study_dir, runs_dir).cells for run in cell.runs.values()}
    files = [runs_dir / run / name for run in runs for name in ("status.json", "result.json")]
    return max(file.stat().st_mtime_ns for file in [plan, *files] if file.exists())


def _claims_json(study: Study, verdicts: list[Verdict]) -> dict[str, Any]:
    return {
        "study": study.study,
        "scale": study.scale,
        "metric": study.metric,
        "correction": f"Holm over {len(verdicts)} claims",
        "claims": [asdict(verdict) for verdict in verdicts],
    }


def _claims_markdown(verdicts: list[Verdict]) -> str:
    if not verdicts:
        return "This study tests no claim.\n"
    lines = ["| claim | verdict | effect | interval | p | n | margin | detectable | paper |"]
    lines.append("| --- " * 9 + "|")
    lines += [_claims_row(verdict) for verdict in verdicts]
    reasons = [
        f"- **{v.verdict}**: {esc(v.claim.statement)} ({esc(v.claim.where)}) {esc(v.reason)}"
        for v in verdicts
    ]
    alphas = sorted({v.claim.alpha for v in verdicts})
    method = (
        "Effects are means over paired seeds: differences in units of the metric, slopes in those "
        "per doubling of x, log-ratios in doublings; of a claim about several pairs, the pair that "
        "its verdict hangs on. *reproduced*: every pair "
        "passes a one-sided paired t test (above 0) or two of them (within the margin); "
        "*contradicted*: a pair is below 0, or beyond the margin (Holm over pairs); *undecided*: "
        "neither. "
        f"p is Holm-adjusted over {len(verdicts)} claim{'s'[: len(verdicts) - 1]}, "
        f"alpha = {', '.join(f'{a:g}' for a in alphas)}; intervals are of level 1 - 2 alpha, "
        "unadjusted. detectable: the difference, or the margin around equal cells, that this n and "
        "spread find in at least 80 % of repeats. paper: the same difference of the paper's values."
    )
    return "\n\n".join(["\n".join(reasons), "\n".join(lines), method]) + "\n"


def _claims_row(verdict: Verdict) -> str:
    claim, pair = verdict.claim, verdict.decisive
    p = verdict.p_against if verdict.verdict == "contradicted" else verdict.p_for
    low_high = pair.interval and f"{pair.interval[0]:+.3f} to {pair.interval[1]:+.3f}"
    cells = (
        f"`{claim.id}`: {_pair(pair)}",
        verdict.verdict,
        _signed(pair.effect),
        low_high or tables.EMPTY,
        tables.EMPTY if p is None else esc(format_p(p)),
        str(pair.n),
        tables.EMPTY if claim.margin is None else f"±{claim.margin:g}",
        tables.EMPTY if pair.detectable is None else f"{pair.detectable:.3f}",
        _signed(pair.paper_effect),
    )
    return f"| {' | '.join(cells)} |"


def _pair(pair: Comparison) -> str:
    return esc(pair.name)


def _signed(number: float | None) -> str:
    return tables.EMPTY if number is None else f"{number:+.3f}"


def _report(study: Study, verdicts: list[Verdict]) -> str:
    parts = [
        f"# {esc(study.title)}",
        f"Study `{study.study}`, scale `{study.scale}`: {esc(study.metric_label)}.",
        "## Verdicts",
        _claims_markdown(verdicts),
        "## Table",
        tables.markdown(study),
        "## Figure",
        f"![{esc(study.title)}: {esc(study.metric_label)}](figures/table.png)",
        "## Methods",
        _methods(study),
        "## Runs",
        _runs(study),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _methods(study: Study) -> str:
    totals = study.totals
    lines = [
        f"Setting: {esc(study.setting)}",
        f"Scale: {esc(study.scale)}; overrides: {esc(', '.join(study.overrides) or 'none')}",
        f"Metric: `{study.metric}` ({esc(study.metric_label)})",
        f"Seeds: {', '.join(str(seed) for seed in study.seeds)}; one training each, the same seeds "
        "in every cell, so that differences are taken seed by seed",
        f"Runs: {totals.done} of {totals.runs} finished",
        f"Cost of the finished runs: {_duration(totals.wall_s)} of wall time added up, "
        f"{totals.train_flops:.3g} training FLOPs",
    ]
    if totals.params:
        smallest, largest = (f"{count:,}" for count in totals.params)
        lines.append(f"Parameters: {smallest}" + (f" to {largest}" * (smallest != largest)))
    for env, count in totals.environments:
        machine = ", ".join(f"{key} {value}" for key, value in env.items())
        lines.append(f"Machine and versions ({count} run{'s'[: count - 1]}): {esc(machine)}")
    differs = [f"- {esc(sentence)}" for sentence in study.differences]
    items = [f"- {line}" for line in lines]
    return "\n".join([*items, "", "How this differs from the paper:", "", *differs])


def _runs(study: Study) -> str:
    lines = ["| cell | seed | state | metrics | wall time | run |", "| --- " * 6 + "|"]
    for cell in study.cells:
        for seed, run in cell.runs.items():
            wall = tables.EMPTY if run.wall_s is None else _duration(run.wall_s)
            state = run.state + (f": {run.error}" if run.error else "")
            cells = (study.name(cell), str(seed), state, _metrics(run), wall, run.id)
            lines.append(f"| {' | '.join(esc(text) for text in cells)} |")
    return "\n".join(lines)


def _metrics(run: Run) -> str:
    numbers = {k: v for k, v in run.metrics.items() if isinstance(v, int | float)}
    return ", ".join(f"{key} {value:.4g}" for key, value in numbers.items()) or tables.EMPTY


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
