"""report.md and claims.md: the report's parts in GitHub's markdown."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from vitcli.report import figures, parts, tables
from vitcli.report.claims import Verdict
from vitcli.report.collect import Study
from vitcli.report.methods import methods
from vitcli.report.tables import escape_markdown as esc


def report(study: Study, verdicts: list[Verdict], runs_dir: Path) -> str:
    """Returns report.md; its figure lies beside it, the runs in `../../../runs`."""
    further = [study.measured_by(metric, label) for metric, label in study.tables.items()]
    blocks = [
        f"# {esc(study.title)}",
        esc(parts.subtitle(study)),
        "## Verdicts",
        claims(verdicts),
        "## Table",
        *(tables.markdown(one) for one in (study, *further)),
        "## Figure",
        f"![{esc(figures.describe(study))}](figures/{study.figure}.png)",
        "## Methods",
        "\n".join(f"- {esc(term)}: {esc(text)}" for term, text in methods(study, runs_dir)),
        "How this differs from the paper:",
        "\n".join(f"- {esc(sentence)}" for sentence in study.differences) or "Nothing is known.",
        "## Runs",
        _runs(study, parts.run_lines(study)),
    ]
    if study.sources:
        blocks += [
            "Sources, the runs that these fine-tune:",
            _runs(study, parts.source_lines(study)),
        ]
    return "\n\n".join(block.strip() for block in blocks) + "\n"


def claims(verdicts: list[Verdict]) -> str:
    """Returns claims.md: a sentence on each claim, then the numbers, then how they were judged."""
    if not verdicts:
        return f"{parts.NO_CLAIM}\n"
    reasons = [
        " ".join([f"- **{v.verdict}**: {esc(v.claim.statement)} ({esc(v.claim.where)})",
                  esc(v.reason), *(esc(note) for note in v.notes)])
        for v in verdicts
    ]  # fmt: skip
    heads = ["claim", "verdict", *parts.numbers(verdicts[0])]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for v in verdicts:
        cells = [f"{esc(v.claim.id)}: {esc(parts.compared(v))}", v.verdict]
        cells += [esc(number) for number in parts.numbers(v).values()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n\n".join(["\n".join(reasons), "\n".join(lines), parts.how_judged(verdicts)]) + "\n"


def _runs(study: Study, lines: list[parts.Line]) -> str:
    heads = parts.run_columns(study)
    table = [f"| {' | '.join(esc(head) for head in heads)} |", "| --- " * len(heads) + "|"]
    for line in lines:
        link = f"[{esc(line.run)}](../../../runs/{quote(line.run)}/)"
        cells = [esc(text) for text in (line.cell, line.seed, line.state, *line.values, line.wall)]
        table.append(f"| {' | '.join([*cells, link])} |")
    return "\n".join(table)
