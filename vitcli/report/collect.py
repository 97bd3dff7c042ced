"""Reads a study's plan and its runs' files into plain values; what is missing stays missing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitcli.files import read_json
from vitcli.status import read_status
from vitcli.study.claim import check_numbers, check_pairs


@dataclass(frozen=True)
class Label:
    """A row or a column of the table. `value`: a column's place on a curve's x-axis."""

    id: str
    label: str
    value: float | None = None


@dataclass(frozen=True)
class Run:
    """What the files of one run say. Either `value`, the study's metric, or `error` may be set."""

    id: str
    state: str  # as `read_status` says; "done" wherever there is a result; "unreadable"
    value: float | None = None
    error: str | None = None  # one line
    metrics: Mapping[str, Any] = field(default_factory=dict)
    params: int | None = None
    train_flops: float | None = None
    wall_s: float | None = None
    env: Mapping[str, str] = field(default_factory=dict)


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


@dataclass(frozen=True)
class Axis:
    """A curve's x: what it is `of`, a column's value or a run's training FLOPs, and its name."""

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
class Totals:
    """Sums over the study's runs, each run once even where cells share it."""

    runs: int
    done: int
    wall_s: float
    train_flops: float
    params: tuple[int, int] | None  # smallest and largest model; None: no run has finished
    environments: tuple[tuple[Mapping[str, str], int], ...]  # each with its number of runs


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
    axis: Axis | None = None  # of a curve

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
    def totals(self) -> Totals:
        """Returns the sums over the study's distinct runs."""
        runs = list({run.id: run for cell in self.cells for run in cell.runs.values()}.values())
        params = [run.params for run in runs if run.params is not None]
        environments = Counter(tuple(sorted(run.env.items())) for run in runs if run.env)
        return Totals(
            runs=len(runs),
            done=sum(run.state == "done" for run in runs),
            wall_s=sum(run.wall_s or 0.0 for run in runs),
            train_flops=sum(run.train_flops or 0.0 for run in runs),
            params=(min(params), max(params)) if params else None,
            environments=tuple((dict(env), count) for env, count in environments.most_common()),
        )


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
        tuple(Label(x["id"], x["label"], x.get("value")) for x in plan[key])
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
        paper=Paper(**{k: plan["paper"][k] for k in ("where", "metric", "n")}),
        claims=tuple(_claim(claim) for claim in plan["claims"]),
        axis=Axis(plan["x"]["of"], plan["x"]["label"]) if plan.get("x") else None,
    )


def _cell(plan: Mapping[str, Any], metric: str, runs_dir: Path) -> Cell:
    runs = {int(seed): _run(run_id, metric, runs_dir) for seed, run_id in plan["runs"].items()}
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


def _run(run_id: str, metric: str, runs_dir: Path) -> Run:
    folder = runs_dir / run_id
    try:
        if not (folder / "result.json").exists():
            return _unfinished(run_id, folder)
        result = read_json(folder / "result.json")
        if not isinstance(result, dict) or not isinstance(result.get("metrics"), dict):
            raise ValueError("result.json has no metrics")
    except ValueError as error:
        reason = _one_line(error).replace(f"{folder}/", "")
        return Run(run_id, "unreadable", error=reason)
    value, found = result["metrics"].get(metric), metric in result["metrics"]
    finite = isinstance(value, int | float) and math.isfinite(value)
    problem = f"{metric} is {value}" if found else f"result.json has no metric {metric}"
    return Run(
        run_id,
        "done",
        value=float(value) if finite else None,
        error=None if finite else problem,
        metrics=result["metrics"],
        params=result.get("params"),
        train_flops=result.get("train_flops"),
        wall_s=result.get("wall_s"),
        env={key: str(value) for key, value in result.get("env", {}).items()},
    )


def _unfinished(run_id: str, folder: Path) -> Run:
    try:
        status = read_status(folder)
    except (KeyError, TypeError) as error:
        raise ValueError(f"status.json is not a run's ({_one_line(error)})") from error
    reason = _one_line(status.get("error") or "")
    if status["state"] == "done":
        reason = "status.json says done, but there is no result.json"
    return Run(run_id, status["state"], error=reason or None)


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
