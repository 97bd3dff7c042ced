"""The study's table, laid out as the paper's: markdown, LaTeX, csv and for the terminal.

Every cell is `mean ± half-width of the 95 % t-interval (n) [the paper's value]`; n counts the seeds
that have a value. Places that the paper's table leaves empty are `--`. Text from files is escaped.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vitcli.report import stats
from vitcli.report.collect import Cell, Label, Study

if TYPE_CHECKING:
    from rich.console import RenderableType

EMPTY = "--"
_CSV = [
    "study",
    "scale",
    "metric",
    "row",
    "column",
    "cell",
    "seed",
    "run",
    "state",
    "value",
    "error",
    "mean",
    "half_width",
    "n",
    "paper",
]


@dataclass(frozen=True)
class Entry:
    """What the table says of one cell. `note`: which runs have no value and why; "" if all have."""

    cell: Cell
    mean: float | None  # None: no run has a value
    half_width: float | None  # None: n < 2
    n: int
    note: str

    @property
    def text(self) -> str:
        """Returns `0.689 ± 0.012 (3)`, `0.689 (1)`, or `no result`."""
        if self.mean is None:
            return "no result"
        half = "" if self.half_width is None else f" ± {self.half_width:.3f}"
        return f"{self.mean:.3f}{half} ({self.n})"

    @property
    def paper(self) -> str:
        """Returns the paper's value as it was printed, or nothing."""
        return "" if self.cell.paper is None else f"{self.cell.paper:g}"


def entry(cell: Cell) -> Entry:
    """Returns the mean, interval and n of a cell over the seeds that have a value."""
    values = [run.value for run in cell.runs.values() if run.value is not None]
    mean, half = stats.mean_interval(values) if values else (None, None)
    lost: dict[str, list[str]] = {}
    for seed, run in cell.runs.items():
        if run.value is None:
            said = run.state + (f": {run.error}" if run.error else "")
            lost.setdefault(said, []).append(str(seed))
    note = [f"seed{'s'[: len(s) - 1]} {', '.join(s)} {said}" for said, s in lost.items()]
    return Entry(cell, mean, half, len(values), "; ".join(note))


def layout(study: Study) -> list[tuple[Label, list[Entry | None]]]:
    """Returns the table row by row, an entry for each column; None where there is no cell."""
    places = {(cell.row, cell.column): entry(cell) for cell in study.cells}
    return [(row, [places.get((row.id, col.id)) for col in study.columns]) for row in study.rows]


def notes(study: Study) -> list[str]:
    """Returns a footnote for each cell that lacks runs, in the order of the table."""
    found = [e for _, entries in layout(study) for e in entries if e and e.note]
    return [f"{study.name(e.cell)}: {e.note}" for e in found]


def footnoted(study: Study) -> dict[str, int]:
    """Returns the footnote's number of each cell that has one."""
    found = [e for _, entries in layout(study) for e in entries if e and e.note]
    return {e.cell.id: i for i, e in enumerate(found, 1)}


def caption(study: Study) -> str:
    """Returns what the numbers are, on which data, at which scale, over how many seeds."""
    counts = sorted({entry(cell).n for cell in study.cells})
    ns = " to ".join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))
    seeds = f"n = {ns} of {len(study.seeds)} seeds"
    text = (
        f"{study.title}. {study.metric_label}, scale {study.scale}, {seeds}; {study.setting}. "
        "Mean ± half-width of the 95 % t-interval (number of seeds; one seed has no interval)"
    )
    if any(cell.paper is not None for cell in study.cells):
        paper = study.paper
        text += f" [the paper's value, {paper.where}: {paper.metric}, n = {paper.n}]"
    return text + "."


def markdown(study: Study) -> str:
    """Returns the table in GitHub's markdown, its footnotes and its caption below it."""
    marks = {cell: f"<sup>{i}</sup>" for cell, i in footnoted(study).items()}
    lines = [["", *(escape_markdown(col.label) for col in study.columns)]]
    lines.append(["---"] * len(lines[0]))
    for row, entries in layout(study):
        lines.append([escape_markdown(row.label), *(_plain(e, marks) for e in entries)])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    below = [f"<sup>{i}</sup> {escape_markdown(x)}" for i, x in enumerate(notes(study), 1)]
    return "\n\n".join([table, *below, escape_markdown(caption(study))]) + "\n"


def latex(study: Study) -> str:
    """Returns the table in LaTeX (package booktabs), its caption and footnotes with it."""
    marks = {cell: rf"\textsuperscript{{{i}}}" for cell, i in footnoted(study).items()}
    lines = [" & ".join(["", *(escape_latex(col.label) for col in study.columns)]) + r" \\"]
    lines.append(r"\midrule")
    for row, entries in layout(study):
        texts = (_plain(e, marks).replace("±", r"$\pm$").replace("[", "{[}") for e in entries)
        lines.append(" & ".join([escape_latex(row.label), *texts]) + r" \\")
    below = [
        rf"\par\footnotesize \textsuperscript{{{i}}} {escape_latex(x)}"
        for i, x in enumerate(notes(study), 1)
    ]
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape_latex(caption(study))}}}",
            rf"\begin{{tabular}}{{l{'c' * len(study.columns)}}}",
            r"\toprule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            *below,
            r"\end{table}",
            "",
        ]
    )


def to_csv(study: Study) -> str:
    """Returns one line per cell and seed, with the cell's mean, half-width, n and paper's value."""
    out = io.StringIO()
    writer = csv.DictWriter(out, _CSV, lineterminator="\n")
    writer.writeheader()
    for cell in study.cells:
        e = entry(cell)
        shared = {"study": study.study, "scale": study.scale, "metric": study.metric}
        shared |= {"row": cell.row, "column": cell.column, "cell": cell.id}
        summary = {"mean": e.mean, "half_width": e.half_width, "n": e.n, "paper": cell.paper}
        for seed, run in cell.runs.items():
            one = {"seed": seed, "run": run.id, "state": run.state}
            one |= {"value": run.value, "error": run.error}
            writer.writerow(shared | one | summary)
    return out.getvalue()


def terminal(study: Study) -> RenderableType:
    """Returns the table for a rich console, the paper's values dim beside ours."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    marks = {cell: f" {i}" for cell, i in footnoted(study).items()}
    table = Table(title=Text(study.title), title_justify="left")
    table.add_column()
    for col in study.columns:
        table.add_column(Text(col.label))
    for row, entries in layout(study):
        texts = []
        for e in entries:
            text = Text(EMPTY if e is None else e.text, "" if e and e.n else "dim")
            if e:
                text.append(marks.get(e.cell.id, ""), "yellow")
                text.append(f"\n[{e.paper}]" if e.paper else "", "dim")
            texts.append(text)
        table.add_row(Text(row.label), *texts)
    below = [Text(f"{i} {note}", "yellow") for i, note in enumerate(notes(study), 1)]
    return Group(table, *below, Text(caption(study), "dim"))


def escape_markdown(text: str) -> str:
    """Returns `text` on one line, with what markdown (or its html) would read as markup escaped."""
    return re.sub(r"([\\`*_\[\]<>|~$&])", r"\\\1", " ".join(text.split()))


def escape_latex(text: str) -> str:
    """Returns `text` on one line, with what LaTeX would read as markup escaped."""
    special = {c: rf"\{c}" for c in "&%$#_{}"}
    special |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    special |= {"±": r"$\pm$", "[": "{[}", "]": "{]}"}  # a [ after \\ would be its argument
    return "".join(special.get(c, c) for c in " ".join(text.split()))


def _plain(e: Entry | None, marks: dict[str, str]) -> str:
    if e is None:
        return EMPTY
    return e.text + marks.get(e.cell.id, "") + (f" [{e.paper}]" if e.paper else "")
