"""Reads a study's plan and its runs' files into plain values; what is missing stays missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vitcli.files import read_json
from vitcli.paper import curve
from vitcli.report.runs import Run, measured, read_run
from vitcli.study.claim import check_numbers, check_pairs

FIGURES = ("bars", "curve")
X = ("column", "train_flops")


@dataclass(frozen=True)
class Label:
    """A row or a column of the table. `value`: a column's place on a curve's x-axis."""

    id: str
    label: str
    value: float | None = None


@dataclass(frozen=True)
class Cell:
    """One entry of the table: the paper's value, if it has one, and a run for each seed."""

    id: str
    row: str
    column: str
    paper: float | None
    runs: Mapping[int, Run]


@dataclass(frozen=True)
class Paper:
    """Where the paper's values stand, what they measure, and over how many trainings (n)."""

    where: str
    metric: str
    n: int
    x: str | None = None  # what the points' x is; None: the paper has no curve
    points: Mapping[str, list[tuple[float, float]]] = field(default_factory=dict)  # by series


@dataclass(frozen=True)
class Axis:
    """A curve's x: what it is `of`, a column's value or a run's own training FLOPs; its label."""

    of: str
    label: str


@dataclass(frozen=True)
class ClaimPaper:
    """Rows of one of the paper's tables, of which a claim's contrast is taken too."""

    table: str
    metric: str
    pairs: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, and the test that judges it; see `study.claim.ClaimFile`."""

    id: str
    statement: str
    where: str
    test: str
    pairs: tuple[tuple[str, ...], ...]  # ids of cells, or of rows; `greater`: first above second
    alpha: float
    margin: float | None  # in units of the contrast; of `equivalent` only
    of: str = "difference"
    metric: tuple[str, ...] = ()  # () is the study's; of several, their mean
    pick: str | None = None
    against: str | None = None
    number: int | None = None
    paper: ClaimPaper | None = None


@dataclass(frozen=True)
class Study:
    """A study's plan, and what its runs have found so far."""

    study: str
    title: str
    scale: str
    overrides: tuple[str, ...]
    metric: str
    metric_label: str
    setting: str
    differences: tuple[str, ...]
    seeds: tuple[int, ...]
    rows: tuple[Label, ...]
    columns: tuple[Label, ...]
    cells: tuple[Cell, ...]
    paper: Paper
    claims: tuple[Claim, ...]
    mode: str | None = None
    figure: str = "bars"
    axis: Axis | None = None  # of a curve
    tables: Mapping[str, str] = field(default_factory=dict)  # further metrics and their labels
    sources: tuple[tuple[Run, tuple[str, ...]], ...] = ()  # runs fine-tuned from; of which cells

    @property
    def values(self) -> dict[str, dict[int, float | None]]:
        """Returns the metric by cell id and seed; None where the run has no usable value."""
        return {c.id: {seed: run.value for seed, run in c.runs.items()} for c in self.cells}

    def cell(self, cell_id: str) -> Cell | None:
        """Returns the cell of that id, or None if the plan has none."""
        return next((cell for cell in self.cells if cell.id == cell_id), None)

    def name(self, cell: Cell) -> str:
        """Returns the cell's labels, less those that all cells share: `1-D (every layer)`."""
        row = next(x.label for x in self.rows if x.id == cell.row)
        column = next(x.label for x in self.columns if x.id == cell.column)
        if len(self.columns) == 1:
            return row
        return column if len(self.rows) == 1 else f"{row} ({column})"

    def x(self, cell: Cell) -> float | None:
        """Returns the cell's place on the x-axis; None if that takes a run and none has finished.

        Of training FLOPs: the mean over the seeds that have a value.
        """
        if self.axis is None or self.axis.of == "column":
            return next(x.value for x in self.columns if x.id == cell.column)
        done = [r.train_flops for r in cell.runs.values() if r.value is not None and r.train_flops]
        return sum(done) / len(done) if done else None

    @property
    def runs(self) -> list[Run]:
        """Returns the cells' runs, each once even where cells share it."""
        return list({run.id: run for cell in self.cells for run in cell.runs.values()}.values())

    def measured_by(self, metric: str, label: str) -> Study:
        """Returns the same study with another of its runs' metrics; the paper's values are gone."""
        cells = tuple(
            replace(
                cell,
                paper=None,
                runs={seed: measured(run, metric) for seed, run in cell.runs.items()},
            )
            for cell in self.cells
        )
        return replace(self, metric=metric, metric_label=label, cells=cells, tables={})


def load(study_dir: Path, runs_dir: Path) -> Study:
    """Returns the study planned in `study_dir`, with what its runs in `runs_dir` have found so far.

    A run that failed, has not finished or has no finite value of the metric is kept as that.

    Raises:
        FileNotFoundError: there is no plan.json.
        ValueError: plan.json lacks a key or contradicts itself; names the file and the key.
    """
    path = study_dir / "plan.json"
    plan = read_json(path)
    try:
        return study_of(plan, runs_dir)
    except KeyError as error:
        raise ValueError(f"{path}: no key {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def study_of(plan: Mapping[str, Any], runs_dir: Path) -> Study:
    """Returns the study of a plan's facts, written to a file or not; raises as `load`, less names.

    A missing key is a KeyError.
    """
    rows, columns = (
        tuple(Label(x["id"], x["label"], x["value"]) for x in plan[key])
        for key in ("rows", "columns")
    )
    places = Counter((cell["row"], cell["column"]) for cell in plan["cells"])
    for cell in plan["cells"]:
        for key, axis in (("row", rows), ("column", columns)):
            if cell[key] not in [x.id for x in axis]:
                raise ValueError(f"cells: {cell['id']}: {key}={cell[key]} is not in {key}s")
        if places[cell["row"], cell["column"]] > 1:
            raise ValueError(f"cells: {cell['id']}: another cell has the same row and column")
    return Study(
        **{k: plan[k] for k in ("study", "title", "scale", "metric", "metric_label", "setting")},
        overrides=tuple(plan["overrides"]),
        differences=tuple(plan["differences"]),
        seeds=tuple(plan["seeds"]),
        rows=rows,
        columns=columns,
        cells=tuple(_cell(cell, plan["metric"], runs_dir) for cell in plan["cells"]),
        paper=_paper(plan["paper"]),
        claims=tuple(_claim(claim) for claim in plan["claims"]),
        mode=plan["mode"],
        figure=plan["figure"],
        axis=_axis(plan, columns),
        tables=dict(plan["tables"]),
        sources=tuple(
            (read_run(run, plan["metric"], runs_dir), tuple(of))
            for run, of in plan["sources"].items()
        ),
    )


def _paper(plan: Mapping[str, Any]) -> Paper:
    paper = Paper(plan["where"], plan["metric"], plan["n"])
    if plan["curve"] is None:
        return paper
    only = {key: value for key, value in plan["curve"].items() if value is not None}
    table, x, y = (only.pop(key) for key in ("table", "x", "y"))
    return replace(paper, x=x, points=curve(table, x, y, **only))


def _axis(plan: Mapping[str, Any], columns: tuple[Label, ...]) -> Axis | None:
    if plan["figure"] not in FIGURES:
        raise ValueError(f"figure={plan['figure']}: choose from {', '.join(FIGURES)}")
    x = plan["x"]
    if x is None:
        if plan["figure"] == "curve":
            raise ValueError("x=None: a curve needs x: {of, label}")
        return None
    if x["of"] not in X:
        raise ValueError(f"x: of={x['of']}: choose from {', '.join(X)}")
    for column in columns:
        if x["of"] == "column" and not (column.value and column.value > 0):
            raise ValueError(f"columns: {column.id}: value={column.value}: above 0 on a log axis")
    return Axis(x["of"], x["label"])


def _cell(plan: Mapping[str, Any], metric: str, runs_dir: Path) -> Cell:
    runs = {int(seed): read_run(run_id, metric, runs_dir) for seed, run_id in plan["runs"].items()}
    return Cell(plan["id"], plan["row"], plan["column"], plan["paper"], dict(sorted(runs.items())))


def _claim(plan: Mapping[str, Any]) -> Claim:
    name, of, margin = plan["id"], plan.get("of", "difference"), plan.get("margin")
    try:
        check_numbers(plan["test"], of, plan["alpha"], [] if margin is None else [margin])
        if plan["test"] == "equivalent" and margin is None:
            raise ValueError("margin=None: above 0 if equivalent, none if greater")
        check_pairs(of, plan["pairs"])
    except ValueError as error:
        raise ValueError(f"claims: {name}: {error}") from None
    metric, paper = plan.get("metric") or (), plan.get("paper")
    return Claim(
        name,
        plan["statement"],
        plan["where"],
        plan["test"],
        _pairs(plan["pairs"]),
        plan["alpha"],
        margin,
        of=of,
        metric=(metric,) if isinstance(metric, str) else tuple(metric),
        **{key: plan.get(key) for key in ("pick", "against", "number")},
        paper=paper and ClaimPaper(paper["table"], paper["metric"], _pairs(paper["pairs"])),
    )


def _pairs(pairs: list[list[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(pair) for pair in pairs)
