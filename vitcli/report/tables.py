"""The study's tables, laid out as the paper's, with rows of what there is without training.

Every entry is `mean ± half-width of the 95 % t-interval (n) [the paper's value]`; n counts the
seeds that have a value. Places that the paper's table leaves empty are `--`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vitcli.analysis.intervals import mean_interval
from vitcli.analysis.nulls import nulls
from vitcli.analysis.results import Results
from vitcli.schema import Cell

if TYPE_CHECKING:
    from rich.console import RenderableType

EMPTY = "--"


@dataclass(frozen=True)
class Entry:
    """What the table says of one cell.

    Attributes:
        mean: None: no run has a value; half_width: None: fewer than two have.
        note: which runs have no value and why; "" if all have. mark: its number below the table.
    """

    cell: Cell
    values: list[float]
    mean: float | None
    half_width: float | None
    note: str
    paper: str
    mark: int = 0

    @property
    def n(self) -> int:
        """Returns how many seeds have a value."""
        return len(self.values)

    @property
    def text(self) -> str:
        """Returns `0.689 ± 0.012 (3)`, `0.689 (1)`, or `no result`."""
        if self.mean is None:
            return "no result"
        half = "" if self.half_width is None else f" ± {self.half_width:.3f}"
        return f"{self.mean:.3f}{half} ({self.n})"


@dataclass(frozen=True)
class Table:
    """A metric's table. `rows`: label and entries, None where there is no cell; `nulls` below."""

    label: str
    columns: list[str]
    rows: list[tuple[str, list[Entry | None]]]
    nulls: list[tuple[str, list[str]]]
    notes: list[str]
    caption: str


def entry(results: Results, cell: Cell, metric: str) -> Entry:
    """Returns the mean, interval and n of a cell over the seeds that have a value."""
    values, lost = list[float](), dict[str, list[str]]()
    for seed in results.seeds:
        run = results.run(cell, seed)
        if (why := run.lacks(metric)) is None:
            values.append(run.value(metric))
        else:
            lost.setdefault(why, []).append(seed)
    mean, half = mean_interval(values) if values else (None, None)
    note = [f"seed{'s'[: len(s) - 1]} {', '.join(s)} {why}" for why, s in lost.items()]
    is_main = metric == results.study.metric and cell.paper is not None
    paper = f"{cell.paper:g}" if is_main else ""
    return Entry(cell, values, mean, half, "; ".join(note), paper)


def tables(results: Results) -> list[Table]:
    """Returns the table of the study's metric, then those of its further ones."""
    return [table(results, metric) for metric in (results.study.metric, *results.study.tables)]


def table(results: Results, metric: str) -> Table:
    """Returns the table of one metric."""
    study, notes = results.study, list[str]()
    rows: list[tuple[str, list[Entry | None]]] = []
    for row, axis in study.rows.items():
        entries: list[Entry | None] = []
        for column in study.columns:
            cell = study.cell(f"{row}-{column}")
            found = None if cell is None else entry(results, cell, metric)
            if found is not None and found.note:
                notes.append(f"{study.label(found.cell)}: {found.note}")
                found = replace(found, mark=len(notes))
            entries.append(found)
        rows.append((axis.label, entries))
    columns = [[cell for cell in study.cells if cell.column == key] for key in study.columns]
    below = [
        (null.label, [null.among(cells) or EMPTY for cells in columns])
        for null in nulls(results, metric)
    ]
    every = [e for _, entries in rows for e in entries if e is not None]
    caption = _caption(results, metric, every, [label for label, _ in below])
    heads, label = [axis.label for axis in study.columns.values()], study.of_metric(metric).label
    return Table(label, heads, rows, below, notes, caption)


def _caption(results: Results, metric: str, entries: list[Entry], below: list[str]) -> str:
    """Returns what the numbers are, on which data, at which scale, over how many seeds."""
    study, paper = results.study, results.study.paper
    counts = sorted({e.n for e in entries})
    ns = " to ".join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))
    text = f"{study.of_metric(metric).label}, n = {ns} of {len(study.seeds)} seeds"
    if metric == study.metric:
        text += (
            f"; scale {study.scale}; {study.setting}. Mean ± half-width of the 95 % t-interval "
            "(number of seeds; one seed has no interval)"
        )
    if any(e.paper for e in entries):
        text += f" [the paper's value, {paper.where}: {paper.metric}, n = {paper.n}]"
    if below:
        text += f"; {' and '.join(below)}: means over the seeds, from the lowest to the highest "
        text += "of a column's cells"
    return f"{text[:1].upper()}{text[1:]}."


def terminal(found: Table, title: str) -> RenderableType:
    """Returns a table for a rich console, the paper's values dim beside ours."""
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    made = RichTable(title=Text(title), title_justify="left")
    made.add_column()
    for column in found.columns:
        made.add_column(Text(column))
    for label, entries in found.rows:
        texts = []
        for e in entries:
            text = Text(EMPTY if e is None else e.text, "" if e and e.n else "dim")
            if e and e.mark:
                text.append(f" {e.mark}", "yellow")
            if e and e.paper:
                text.append(f"\n[{e.paper}]", "dim")
            texts.append(text)
        made.add_row(Text(label), *texts)
    for i, (label, levels) in enumerate(found.nulls):
        if i == 0:
            made.add_section()
        made.add_row(Text(label, "dim"), *(Text(level, "dim") for level in levels))
    below = [Text(f"{i} {note}", "yellow") for i, note in enumerate(found.notes, 1)]
    return Group(made, *below, Text(found.caption, "dim"))
