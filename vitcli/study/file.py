"""conf/study/*.yaml: found, laid over the study that it is like, and taken at a scale. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vitcli.analysis.check import check_form
from vitcli.catalog import check_own, studies
from vitcli.choices import SCALES, choose, nearest
from vitcli.compose import prepare, refuse_hydra
from vitcli.schema import Axis, Cell, Study
from vitcli.with_hydra import check_config_dir, read_yaml
from vitcli.words import as_typed

_SEEDS = 1 << 63  # how many there are: torch keeps one in a signed number of 64 bits
_OF_ALL = ("outputs", "tracker")  # where a study goes
# What planning writes into a study, and into its cells.
_PLANNED = ("name", "scale", "overrides", "setting", "methods", "metrics", "sources")
_PLANNED_OF_CELL = ("runs", "scratch", "settings")
OF_SOURCE = ("model", "pos_emb", "stem")  # what a fine-tuned run has from its source


def read_study(
    name: str, config_dir: Path | None = None, scale: str = "laptop"
) -> tuple[Study, Study]:
    """Returns the study as its file has it, and at the scale, checked but for its claims.

    Raises:
        ValueError: naming the studies or scales there are, or the file and its mistake.
    """
    check_config_dir(config_dir)
    check_own(config_dir)
    paths = studies(config_dir)
    if name not in paths:
        raise ValueError(f"no study '{name}': choose from {', '.join(paths)}{nearest(name, paths)}")
    try:
        study = Study.from_file(_laid_over(name, paths))
        _check(study)
    except ValueError as error:
        why = str(error).removeprefix(f"{paths[name]}: ")
        raise ValueError(f"{file_of(name)}: {why}") from None
    if scale not in study.scales:
        there = f"{name} has {', '.join(study.scales)}"
        raise ValueError(f"scale={scale}: {there}{nearest(scale, study.scales)}")
    try:
        at = at_scale(study, name, scale)
        _check_at_scale(at, study, config_dir)
    except ValueError as error:
        raise ValueError(f"{file_of(name)}: at scale={scale}: {error}") from None
    return study, at


def file_of(name: str) -> str:
    """Returns the name of a study's file."""
    return f"{name.replace('-', '_')}.yaml"


def at_scale(study: Study, name: str, scale: str) -> Study:
    """Returns the study with that scale's rows, columns, cells and seeds, its cells listed."""
    its = study.scales[scale]
    own = {key: getattr(its, key) for key in ("rows", "columns", "cells", "seeds")}
    found = replace(
        study, name=name, scale=scale, **{k: v for k, v in own.items() if v is not None}
    )
    product = [Cell(row, column) for row in found.rows for column in found.columns]
    return replace(found, cells=found.cells or product, scales={})


def check_seeds(seeds: object) -> None:
    """Raises ValueError unless it is a list of different seeds, at least one."""
    if not isinstance(seeds, list) or not seeds or len(set(map(str, seeds))) < len(seeds):
        raise ValueError(f"seeds={seeds}: a list of different seeds, at least one")
    if any(type(seed) is not int or not 0 <= seed < _SEEDS for seed in seeds):
        raise ValueError(f"seeds={seeds}: whole numbers of at least 0, below 2^63")


def key_of(override: str) -> str:
    """Returns the key that an override sets; one key for all durations, as they exclude another."""
    key = override.split("=")[0].lstrip("+~")
    return "train.steps" if key in ("train.images", "train.epochs") else key


def _load(path: Path) -> dict[str, Any]:
    """Returns what a study's file gives, by key. Raises ValueError."""
    loaded = read_yaml(path)
    if not isinstance(loaded, dict):
        raise ValueError("a study is a mapping, with title, metric, rows, ...")
    for key, text in _texts(loaded, ""):
        if "${" in text:
            raise ValueError(f"{key}={text}: only overrides and sources may refer to other keys")
    _refuse_planned(loaded)
    return {str(key): value for key, value in _named(loaded).items()}


def _refuse_planned(written: dict[str, Any]) -> None:
    """Raises ValueError for the first key of a study's file that planning would write over."""
    scales = written.get("scales")
    every = [written, *(scales.values() if isinstance(scales, dict) else ())]
    listed = [of.get("cells") for of in every if isinstance(of, dict)]
    cells = [cell for each in listed if isinstance(each, list) for cell in each]
    for given, planned in ((written, _PLANNED), *((cell, _PLANNED_OF_CELL) for cell in cells)):
        for key in planned if isinstance(given, dict) else ():
            if given.get(key) is not None:
                other = "; write it under scales.SCALE.overrides" * (key == "overrides")
                raise ValueError(f"{key}={given[key]!r}: planning fills it in, leave it out{other}")


def _named(written: dict[str, Any]) -> dict[str, Any]:
    """Returns the keys with rows and columns named by texts: YAML reads `4:` as a number."""
    found = dict(written)
    for key in ("rows", "columns"):
        if isinstance(its := found.get(key), dict):
            found[key] = {str(name): axis for name, axis in its.items()}
        elif isinstance(its, list):
            found[key] = [str(name) for name in its]
    if isinstance(scales := found.get("scales"), dict):
        found["scales"] = {k: _named(v) if isinstance(v, dict) else v for k, v in scales.items()}
    return found


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yields keys and texts of a study's file, but for settings of runs, which Hydra reads."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, list):
        for i, each in enumerate(value):
            yield from _texts(each, f"{key}[{i}]")
    elif isinstance(value, dict):
        for name in value.keys() - {"overrides", "source"}:
            yield from _texts(value[name], f"{key}.{name}" if key else str(name))


def _laid_over(name: str, paths: Mapping[str, Path], above: Sequence[str] = ()) -> dict[str, Any]:
    """Returns the file, with what it does not give taken from the study that it is `like`.

    All but claims and tables. A list of rows picks from the other's, with their cells.

    Args:
        above: those that are like this one.
    """
    written = _load(paths[name])
    like = written.pop("like", None)
    if like is None:
        return written
    choose("like", like := str(like), list(paths))
    if like in (name, *above):
        raise ValueError(f"like={like}: no study is like itself, or like one that is like it")
    base = _laid_over(like, paths, (name, *above))
    try:
        Study.from_file(base)
    except ValueError as error:
        raise ValueError(f"like={like}: {error}") from None
    if isinstance(picked := written.get("rows"), list):
        for row in picked:
            choose("rows", str(row), list(base["rows"]))
        del written["rows"]
        base = _only(base, picked)
        scales = base.get("scales") or {}
        base["scales"] = {scale: _only(its, picked) for scale, its in scales.items()}
    return {**base, "claims": [], "tables": [], **written}


def _only(written: dict[str, Any], rows: list[str]) -> dict[str, Any]:
    """Returns a study's or a scale's keys with these rows and their cells only."""
    found = dict(written)
    if found.get("rows"):
        found["rows"] = {row: found["rows"][row] for row in rows if row in found["rows"]}
    if found.get("cells"):
        found["cells"] = [cell for cell in found["cells"] if cell["row"] in rows]
    return found


def _check(study: Study) -> None:
    if not study.scales:
        raise ValueError(f"scales={{}}: give at least one of {', '.join(SCALES)}")
    for scale in study.scales:
        choose("scales", scale, SCALES)
    if study.paper.n < 1:
        raise ValueError(f"paper.n={study.paper.n}: must be at least 1")
    check_form(study)


def _check_at_scale(study: Study, file: Study, config_dir: Path | None) -> None:
    """Raises ValueError for what is wrong with the study of a file at its scale."""
    check_seeds(study.seeds)
    for cell in study.cells:
        choose("cell with row", cell.row, study.rows)
        choose("cell with column", cell.column, study.columns)
    ids = [cell.id for cell in study.cells]
    if not ids:
        raise ValueError("gives no cells: there must be a row and a column")
    if len(set(ids)) < len(ids):
        raise ValueError("two cells with the same row and column")
    for kind, its in (("rows", study.rows), ("columns", study.columns)):
        labels = [axis.label for axis in its.values()]
        if twice := [label for label in labels if labels.count(label) > 1]:
            raise ValueError(f"{kind}: two have the label {twice[0]}")
    if study.x is not None and study.x.of == "column":
        _check_values(study.columns)
    scale = file.scales[study.scale]
    axes = [*study.rows.values(), *study.columns.values()]
    entries: list[Axis | Cell] = [*axes, *study.cells]
    cells = [*scale.overrides, *(o for entry in entries for o in entry.overrides)]
    sources = [*scale.source, *(o for entry in axes for o in entry.source)]
    if study.source is None and sources:
        raise ValueError(f"source={sources}: only in a study with a `source` of its own")
    every = dict.fromkeys([*cells, *sources, *(study.source or [])])
    refuse_hydra(list(every))
    prepare(as_typed(list(every)), config_dir)
    for override in (o for entry in entries for o in entry.overrides):
        if key_of(override) in _OF_ALL:
            raise ValueError(f"{override}: the same for all runs, give it to `vitcli ablate`")
    for override in [*cells, *sources]:
        if key_of(override) in ("finetune.source", "finetune.weights"):
            raise ValueError(f"{override}: a study fine-tunes only the runs of its own `source`")
        if key_of(override) in ("seed", "data.seed"):
            raise ValueError(f"{override}: a study's seeds set it, write `seeds`")
    for override in cells if study.source is not None else []:
        if key_of(override).split(".")[0] in OF_SOURCE:
            raise ValueError(f"{override}: the model is that of the source, set it in `source`")


def _check_values(columns: Mapping[str, Axis]) -> None:
    values = [column.value for column in columns.values()]
    for key, column in columns.items():
        if column.value is None or column.value <= 0:
            raise ValueError(
                f"columns.{key}.value={column.value}: x.of=column has it on a log axis, "
                "give a number above 0"
            )
        if values.count(column.value) > 1:
            raise ValueError(f"columns.{key}.value={column.value:g}: another column has it too")
