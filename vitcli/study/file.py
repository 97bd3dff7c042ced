"""conf/study/*.yaml: the schema, its modes and scales, and what must hold. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vitcli import paper
from vitcli.compose import conf_dir, one_line_errors, prepare
from vitcli.config import nearest
from vitcli.study.claim import ClaimFile, check_claims

SCALES = ("laptop", "gpu", "paper")
_FIGURES = ("bars", "curve")
_X_OF = ("column", "train_flops")
OF_SOURCE = ("model", "pos_emb", "stem")  # what a fine-tuned run has from its source


@dataclass
class AxisFile:
    """A row or a column: its name in print, its place on a curve's x-axis, what it sets."""

    label: str
    value: float | None = None
    overrides: list[str] = field(default_factory=list)
    source: list[str] = field(default_factory=list)  # overrides of the run that is fine-tuned


@dataclass
class CellFile:
    """One entry of a study's table."""

    row: str
    column: str
    overrides: list[str] = field(default_factory=list)  # besides those of its row and column
    paper: float | None = None


@dataclass
class XFile:
    """The logarithmic x-axis of a curve: the columns' values, or each run's training FLOPs."""

    of: str
    label: str


@dataclass
class CurveFile:
    """Points of the paper: two columns of a table in vitcli/paper."""

    table: str
    x: str
    y: str
    test: str | None = None  # of table5: the test set


@dataclass
class PaperFile:
    """Where the paper has the table, what it measured, and the runs behind each of its numbers."""

    where: str
    metric: str
    n: int = 1
    curve: CurveFile | None = None


@dataclass
class ScaleFile:
    """What is a scale's own: overrides of cells and of sources; rows, columns, cells, seeds."""

    overrides: list[str] = field(default_factory=list)
    source: list[str] = field(default_factory=list)
    seeds: list[int] | None = None
    rows: dict[str, AxisFile] | None = None
    columns: dict[str, AxisFile] | None = None
    cells: list[CellFile] | None = None


@dataclass
class StudyFile:
    """The schema of conf/study/*.yaml."""

    title: str
    metric: str
    metric_label: str
    rows: dict[str, AxisFile]
    columns: dict[str, AxisFile]
    paper: PaperFile
    scales: dict[str, ScaleFile]
    cells: list[CellFile] = field(default_factory=list)  # empty: each row x each column
    source: list[str] | None = None  # of the runs that every cell fine-tunes; null: there are none
    tables: dict[str, str] = field(default_factory=dict)  # further metrics, and their labels
    figure: str = "bars"
    x: XFile | None = None
    claims: list[ClaimFile] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    like: str | None = None  # another study, of which this one has all keys that it does not give
    modes: dict[str, dict[str, Any]] = field(default_factory=dict)  # keys in place of those above

    def at(self, scale: str) -> StudyFile:
        """Returns the study with that scale's rows, columns, cells and seeds, its cells listed."""
        keys = ("rows", "columns", "cells", "seeds")
        its = {key: getattr(self.scales[scale], key) for key in keys}
        found = replace(self, **{key: value for key, value in its.items() if value is not None})
        product = [CellFile(row, column) for row in found.rows for column in found.columns]
        return replace(found, cells=found.cells or product)


def read_study(study: str, config_dir: Path | None = None, mode: str | None = None) -> StudyFile:
    """Returns the study's file, in that mode; all its modes and scales are checked.

    Raises:
        ValueError: naming the studies or modes there are, or the file and its mistake.
    """
    folders = [folder / "study" for folder in (config_dir, conf_dir()) if folder is not None]
    paths = {
        p.stem.replace("_", "-"): p for folder in folders for p in sorted(folder.glob("*.yaml"))
    }
    if study not in paths:
        hint = nearest(study, paths)
        raise ValueError(f"no study '{study}': choose from {', '.join(paths)}{hint}")
    name = paths[study].name
    written = _laid_over(_load(paths[study]), paths, name)
    found: dict[str | None, StudyFile] = {None: _parse(written, name, config_dir)}
    modes = written.get("modes", {})
    for key, changes in modes.items():
        place = f"{name}: modes.{key}"
        _typed(changes, place)
        found[key] = _parse(_in_mode(written, changes), place, config_dir)
    if mode not in found:
        there = f"{study} has {', '.join(modes) or 'no modes'}"
        raise ValueError(f"mode={mode}: {there}{nearest(str(mode), modes)}")
    return found[mode]


def check_seeds(seeds: object) -> None:
    """Raises ValueError unless it is a list of different seeds, at least one."""
    if not isinstance(seeds, list) or not seeds or len(set(map(str, seeds))) < len(seeds):
        raise ValueError(f"seeds={seeds}: a list of different seeds, at least one")
    if any(type(seed) is not int or seed < 0 for seed in seeds):
        raise ValueError(f"seeds={seeds}: whole numbers of at least 0")


def key_of(override: str) -> str:
    """Returns the key that an override sets; one key for all durations, as they exclude another."""
    key = override.split("=")[0].lstrip("+~")
    return "train.steps" if key in ("train.images", "train.epochs") else key


def _load(path: Path) -> dict[str, Any]:
    """Returns the YAML, an axis entry that is a label alone written out."""
    import yaml
    from omegaconf import OmegaConf

    try:
        with one_line_errors():
            loaded = OmegaConf.to_container(OmegaConf.load(path))
    except (ValueError, yaml.YAMLError) as error:
        line = " ".join(str(error).split())
        raise ValueError(f"{path.name}: {line}") from error
    if not isinstance(loaded, dict):
        raise ValueError(f"{path.name}: a study is a mapping, with title, metric, rows, ...")
    found: dict[str, Any] = _written_out(loaded)
    return found


def _laid_over(written: dict[str, Any], paths: Mapping[str, Path], name: str) -> dict[str, Any]:
    """Returns the file with what it does not give taken from the study it is like, less claims."""
    if (like := written.get("like")) is None:
        return written
    _choose(f"{name}: like", str(like), list(paths))
    return {**_load(paths[like]), "claims": [], "tables": {}, "modes": {}, **written}


def _written_out(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    found = {key: _written_out(value) for key, value in node.items()}
    for axis in ("rows", "columns"):
        if isinstance(entries := found.get(axis), dict):
            found[axis] = {
                key: {"label": entry} if isinstance(entry, str) else entry
                for key, entry in entries.items()
            }
    return found


def _in_mode(written: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the file with a mode's keys in place of its own; of `scales`, of each scale's."""
    there = {
        scale: {key: value for key, value in its.items() if key not in changes}
        for scale, its in written["scales"].items()
    }
    own = changes.get("scales", {})
    scales = {scale: there.get(scale, {}) | own.get(scale, {}) for scale in {**there, **own}}
    return {**written, **changes, "scales": scales, "modes": {}}


def _typed(written: Mapping[str, Any], name: str) -> Any:
    """Returns an OmegaConf node of StudyFile's types. Raises ValueError, naming the key."""
    from omegaconf import OmegaConf

    typed: Any = OmegaConf.structured(StudyFile)
    for key, value in written.items():
        try:
            with one_line_errors():
                typed = OmegaConf.merge(typed, {key: value})
        except ValueError as error:
            # A list where there should be a mapping, and the like, is not told by its key.
            line = str(error) if str(error).startswith(str(key)) else f"{key}: {error}"
            raise ValueError(f"{name}: {line}") from error
    return typed


def _parse(written: Mapping[str, Any], name: str, config_dir: Path | None) -> StudyFile:
    from omegaconf import OmegaConf

    typed = _typed(written, name)
    try:
        with one_line_errors():
            file: Any = OmegaConf.to_object(typed)
        assert isinstance(file, StudyFile)
        _check(file)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    for scale in file.scales:
        try:
            _check_at_scale(file.at(scale), file.scales[scale], config_dir)
        except ValueError as error:
            raise ValueError(f"{name}: at scale={scale}: {error}") from error
    return file


def _check(file: StudyFile) -> None:
    _choose("figure", file.figure, _FIGURES)
    if file.x is not None:
        _choose("x.of", file.x.of, _X_OF)
    if file.figure == "curve" and file.x is None:
        raise ValueError("figure=curve without x: give x.of and x.label")
    if not all(isinstance(sentence, str) for sentence in file.differences):
        raise ValueError("differences: sentences; put one with a colon in quotes")
    if not file.scales:
        raise ValueError(f"scales={{}}: give at least one of {', '.join(SCALES)}")
    for scale in file.scales:
        _choose("scales", scale, SCALES)
    if file.paper.n < 1:
        raise ValueError(f"paper.n={file.paper.n}: must be at least 1")
    if (curve := file.paper.curve) is not None:
        only = {} if curve.test is None else {"test": curve.test}
        try:
            paper.curve(curve.table, curve.x, curve.y, **only)
        except ValueError as error:
            raise ValueError(f"paper.curve: {error}") from None


def _check_at_scale(file: StudyFile, scale: ScaleFile, config_dir: Path | None) -> None:
    """Raises ValueError for what is wrong with `file`, the study at that scale."""
    check_seeds(file.seeds)
    for cell in file.cells:
        for key, known in (("row", file.rows), ("column", file.columns)):
            if (value := getattr(cell, key)) not in known:
                raise ValueError(f"cell with {key}={value}: {key}s are {', '.join(known)}")
    ids = [f"{cell.row}-{cell.column}" for cell in file.cells]
    if not ids:
        raise ValueError("gives no cells: there must be a row and a column")
    if len(set(ids)) < len(ids):
        raise ValueError("two cells with the same row and column")
    if file.x is not None and file.x.of == "column":
        for key, column in file.columns.items():
            if column.value is None or column.value <= 0:
                raise ValueError(
                    f"columns.{key}.value={column.value}: x.of=column has it on a log axis, "
                    "give a number above 0"
                )
    _check_overrides(file, scale, config_dir)
    check_claims(file.claims, ids, file.rows, file.scales)


def _check_overrides(file: StudyFile, scale: ScaleFile, config_dir: Path | None) -> None:
    axes = [*file.rows.values(), *file.columns.values()]
    entries: list[AxisFile | CellFile] = [*axes, *file.cells]
    cells = [*scale.overrides, *(o for entry in entries for o in entry.overrides)]
    sources = [*scale.source, *(o for entry in axes for o in entry.source)]
    if file.source is None and sources:
        raise ValueError(f"source={sources}: only in a study with a `source` of its own")
    prepare(list(dict.fromkeys([*cells, *sources, *(file.source or [])])), config_dir)
    for override in [*cells, *sources]:
        if key_of(override) in ("finetune.source", "finetune.weights"):
            raise ValueError(f"{override}: a study fine-tunes the runs of its own `source` alone")
    for override in cells if file.source is not None else []:
        if key_of(override).split(".")[0] in OF_SOURCE:
            raise ValueError(f"{override}: the model is that of the source, set it in `source`")


def _choose(key: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{key}={value}: choose from {', '.join(known)}{nearest(value, known)}")
