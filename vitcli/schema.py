"""A study: its file, its plan.json and what the analysis reads are these classes. No torch.

conf/study/*.yaml gives all but what planning fills in; a plan has its own scale's rows and cells.
`Study.from_file` and `Study.from_plan` are typed and strict: a mistake is one line with its key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from vitcli.choices import SCALES, choose, nearest
from vitcli.earlier import in_words_of_now
from vitcli.files import named, one_line, read_record

REMEDY = " (`vitcli ablate` writes it anew)"  # of a plan that cannot be read
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
Line = Annotated[str, AfterValidator(one_line)]  # text that is shown

RunId = Annotated[str, AfterValidator(named)]  # of a plan that somebody else made


@dataclass(config=_STRICT)
class Metric:
    """What an evaluator says of a number that it yields.

    Attributes:
        label: what a person calls it.
        lower_is_better: as of a loss.
        nulls: what the number is worth without training: other metrics of the same run, by what
            a person calls them.
        scratch: whether the same run without its source's weights is such a null too.
        transferred: whether a claim on it is judged only if its arms are better than the nulls.
    """

    label: Line
    lower_is_better: bool = False
    nulls: dict[str, str] = field(default_factory=dict)
    scratch: bool = False
    transferred: bool = False


@dataclass(config=_STRICT)
class Axis:
    """A row or a column: its name in print, its place on a curve's x-axis, what it sets."""

    label: Line
    value: float | None = None
    overrides: list[str] = field(default_factory=list)
    source: list[str] = field(default_factory=list)  # overrides of the run that is fine-tuned


def _label_alone(entry: Any) -> Any:
    return {"label": entry} if isinstance(entry, str) else entry


Axes = dict[str, Annotated[Axis, BeforeValidator(_label_alone)]]


@dataclass(config=_STRICT)
class Cell:
    """One entry of the table. By planning: its runs by seed, and its settings that vary."""

    row: str
    column: str
    overrides: list[str] = field(default_factory=list)  # besides those of its row and column
    paper: float | None = None
    runs: dict[str, RunId] = field(default_factory=dict)  # by seed
    scratch: dict[str, RunId] = field(default_factory=dict)  # the same runs without their source
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Returns `row-column`."""
        return f"{self.row}-{self.column}"


@dataclass(config=_STRICT)
class XAxis:
    """The logarithmic x-axis of a curve: one of `analysis.axes.AXES`, and its label."""

    of: str
    label: Line


@dataclass(config=_STRICT)
class Curve:
    """Points of the paper: two columns of a table in vitcli/paper."""

    table: str
    x: str
    y: str
    test: str | None = None  # of table5: the test set


@dataclass(config=_STRICT)
class Paper:
    """Where the paper has the table, what it measured, and the runs behind each of its numbers."""

    where: Line
    metric: str
    n: int = 1
    curve: Curve | None = None


@dataclass(config=_STRICT)
class ClaimPaper:
    """What the same contrast is taken of in the paper.

    Along x: models of table5, over pre-training images, or families of table6, over exaFLOPs. Of
    cells: trainings as `vitcli.paper.points` names them.
    """

    table: str
    metric: str  # table5, table7: a test set; table6: a column; table6, table7: `average`
    pairs: list[list[str]]  # as many as the claim's, and as long


def _listed(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


@dataclass(config=_STRICT)
class Claim:
    """A statement of the paper, and the contrast that it is tested by.

    With `at_least`, each pair's contrast is to be above 0 by the threshold (0: by any);
    with `within`, no farther from 0 than that. The sizes are by scale, in units of the contrast.
    """

    id: str
    statement: Line  # the paper's
    where: Line
    pairs: list[list[str]]  # ids of cells or of rows, as the contrast takes them
    of: str = "difference"  # one of `analysis.contrasts.CONTRASTS`
    metric: Annotated[list[str], BeforeValidator(_listed)] = field(default_factory=list)
    at_least: dict[str, float] | None = None
    within: dict[str, float] | None = None
    number: int | None = None  # the same for claims, of any study, about one statement
    pick: str | None = None  # of `best`: the metric that chooses the column
    against: str | None = None  # of `tau`: the metric that `metric` is compared with
    paper: ClaimPaper | None = None


@dataclass(config=_STRICT)
class Scale:
    """What is a scale's own: overrides of cells and of sources; rows, columns, cells, seeds."""

    overrides: list[str] = field(default_factory=list)
    source: list[str] = field(default_factory=list)
    seeds: list[int] | None = None
    rows: Axes | None = None
    columns: Axes | None = None
    cells: list[Cell] | None = None


@dataclass(config=_STRICT)
class Study:
    """A study; what stands below `scales` is filled in by planning."""

    title: Line
    metric: str
    rows: Axes
    columns: Axes
    paper: Paper
    cells: list[Cell] = field(default_factory=list)  # empty: each row x each column
    source: list[str] | None = None  # of the runs that every cell fine-tunes; null: there are none
    tables: list[str] = field(default_factory=list)  # further metrics
    metric_label: Line = ""  # what the metric is called here, instead of by its evaluator
    x: XAxis | None = None  # the figure is of curves, else of bars
    claims: list[Claim] = field(default_factory=list)
    differences: list[Line] = field(default_factory=list)  # from what the paper did
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    scales: dict[str, Scale] = field(default_factory=dict)
    # By planning:
    name: str = ""
    scale: str = ""
    overrides: list[str] = field(default_factory=list)  # the user's
    setting: str = ""  # data and budget, in a sentence
    methods: dict[str, str] = field(default_factory=dict)  # what was done, by what it is about
    metrics: dict[str, Metric] = field(default_factory=dict)  # all that the runs measure
    sources: dict[RunId, list[str]] = field(default_factory=dict)  # and what they are called

    @classmethod
    def from_file(cls, written: Any) -> Study:
        """Returns the study of a YAML file's content. Raises ValueError, naming the key."""
        return _typed(in_words_of_now(written) if isinstance(written, Mapping) else written)

    @classmethod
    def from_plan(cls, path: Path, *checks: Callable[[Study], None]) -> Study:
        """Returns the study of a plan.json. Raises ValueError, of `checks` too, naming the file."""
        try:
            found = _typed(read_record(path))
            for check in (_check_planned, *checks):
                check(found)
            return found
        except ValueError as error:
            why = " ".join(str(error).split()).removeprefix(f"{path}: ")
            raise ValueError(f"{path}: {why}{REMEDY}") from None

    def to_plan(self) -> dict[str, Any]:
        """Returns the study as JSON values, what is at its default left out."""
        found: Any = _ADAPTER.dump_python(self, mode="json", exclude_defaults=True)
        assert isinstance(found, dict)
        return found

    @property
    def run_ids(self) -> list[str]:
        """Returns the ids of all runs, each once: those of sources, of cells, from scratch."""
        each = (run for c in self.cells for run in (*c.runs.values(), *c.scratch.values()))
        return list(dict.fromkeys([*self.sources, *each]))

    def cell(self, cell_id: str) -> Cell | None:
        """Returns the cell of that id, or None."""
        return next((cell for cell in self.cells if cell.id == cell_id), None)

    def label(self, cell: Cell) -> str:
        """Returns the cell's labels, less those that all cells share: `1-D (every layer)`."""
        row, column = self.rows[cell.row].label, self.columns[cell.column].label
        if len(self.columns) == 1:
            return row
        return column if len(self.rows) == 1 else f"{row} ({column})"

    def of_metric(self, name: str) -> Metric:
        """Returns what is known of a metric; of one that no evaluator declares, its name."""
        return self.metrics.get(name) or Metric(name)

    def size(self, claim: Claim) -> float:
        """Returns the threshold of the claim, at the study's scale."""
        sizes = claim.within if claim.at_least is None else claim.at_least
        assert sizes is not None  # checked when planning
        return sizes[self.scale]


_ADAPTER = TypeAdapter(Study)
_WORDS = {  # pydantic's kinds of errors that have better words
    "unexpected_keyword_argument": "unknown key",
    "missing": "is missing",
    "dataclass_type": "must be a mapping",
    "dict_type": "must be a mapping",
}


def _check_planned(study: Study) -> None:
    """Raises ValueError for what in a plan leads to nothing: a scale, a row, a column."""
    choose("scale", study.scale, SCALES)
    if not study.cells or not study.seeds:
        raise ValueError(f"{'seeds' if study.cells else 'cells'}=[]: give at least one")
    for cell in study.cells:
        choose("cells.row", cell.row, study.rows)
        choose("cells.column", cell.column, study.columns)
    for claim in study.claims:
        if study.scale not in (claim.at_least or claim.within or {}):
            raise ValueError(f"scale={study.scale}: claim {claim.id} has no size for it")


def _typed(written: Any) -> Study:
    if not isinstance(written, Mapping):
        raise ValueError("a study is a mapping, with title, metric, rows, ...")
    try:
        return _ADAPTER.validate_json(json.dumps(written, default=str))
    except ValidationError as error:
        raise ValueError(_one_line(error)) from None


def _one_line(error: ValidationError) -> str:
    """Returns the first mistake: where, what is wrong, and the nearest key if one is unknown."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if not str(part).startswith("function-"))
    if first["type"] == "unexpected_keyword_argument":
        known = [key for key in _keys(first["loc"]) if key != first["loc"][-1]]
        return f"{where}: unknown key{nearest(str(first['loc'][-1]), known)}"
    said = first["msg"].removeprefix("Value error, ")
    what = _WORDS.get(first["type"]) or said[0].lower() + said[1:]
    given = first["input"]
    shown = "" if first["type"] == "missing" or isinstance(given, dict) else f"={given!r}"
    return f"{where}{shown}: {what}"


# The class of what stands under a key; a claim's own `paper` is another than the study's.
_UNDER = {
    "rows": Axis, "columns": Axis, "cells": Cell, "x": XAxis, "paper": Paper, "curve": Curve,
    "claims": Claim, "scales": Scale,
}  # fmt: skip


def _keys(where: Sequence[int | str]) -> list[str]:
    """Returns the keys there are beside the one at that place."""
    names = [part for part in where[:-1] if part in _UNDER]
    kind = _UNDER[str(names[-1])] if names else Study
    kind = ClaimPaper if names[:1] == ["claims"] and kind is Paper else kind
    return [each.name for each in fields(kind)]
