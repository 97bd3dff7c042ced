"""conf/study/*.yaml + overrides -> a plan whose every run is frozen in its own folder. No torch."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitcli.compose import compose, conf_dir, dump
from vitcli.config import RunConfig, nearest, run_id
from vitcli.files import read_json, write_json, write_text
from vitcli.study.claim import ClaimFile, check_claims, claim_facts

SCALES = ("laptop", "gpu", "paper")


@dataclass
class CellFile:
    """One entry of a study's table."""

    row: str
    column: str
    overrides: list[str]
    paper: float | None = None


@dataclass
class PaperFile:
    """Where the paper has the table, what it measured, and the runs behind each of its numbers."""

    where: str
    metric: str
    n: int = 1


@dataclass
class StudyFile:
    """The schema of conf/study/*.yaml."""

    title: str
    metric: str
    metric_label: str
    rows: dict[str, str]
    columns: dict[str, str]
    cells: list[CellFile]
    paper: PaperFile
    scales: dict[str, list[str]]
    claims: list[ClaimFile] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])


@dataclass(frozen=True)
class Plan:
    """A study made concrete: `facts` is plan.json, `configs` the runs by id, in order."""

    folder: Path
    facts: dict[str, Any]
    configs: dict[str, RunConfig]


def make_plan(study: str, overrides: Sequence[str] = (), config_dir: Path | None = None) -> Plan:
    """Returns the plan of `study`; writes nothing.

    Args:
        study: its name, `pos-emb` for conf/study/pos_emb.yaml.
        overrides: `scale=`, `seeds=` (a list or a number), and overrides of every cell's config.
        config_dir: a user's own configs, `study/*.yaml` among them.
    Raises:
        ValueError: unknown study, scale or key; a key that the study itself sets.
    """
    file = read_study(study, config_dir)
    settings = dict(o.split("=", 1) for o in overrides if o.startswith(("scale=", "seeds=")))
    rest = [o for o in overrides if not o.startswith(("scale=", "seeds="))]
    scale = settings.get("scale", "laptop")
    if scale not in file.scales:
        raise ValueError(
            f"scale={scale}: {study} has {', '.join(file.scales)}{nearest(scale, SCALES)}"
        )
    seeds = _seeds(settings["seeds"]) if "seeds" in settings else file.seeds
    _refuse_varied(study, file, rest)
    common = [f"scale={scale}", *file.scales[scale], *rest]
    configs: dict[str, RunConfig] = {}
    cells = []
    for cell in file.cells:
        base = compose([*common, *cell.overrides], config_dir)
        runs = {}
        for seed in seeds:
            config = copy.deepcopy(base)
            config.seed = seed
            runs[str(seed)] = run_id(config)
            configs[run_id(config)] = config
        cells.append({"id": f"{cell.row}-{cell.column}", **_cell(cell), "runs": runs})
    first = next(iter(configs.values()))
    name = f"{study}-{scale}" + _digest(
        [*rest, *(f"{k}={v}" for k, v in settings.items() if k != "scale")]
    )
    facts = {
        "study": study,
        "title": file.title,
        "scale": scale,
        "mode": None,
        "figure": "bars",
        "x": None,
        "tables": {},
        "sources": {},
        "overrides": list(overrides),
        "metric": file.metric,
        "metric_label": file.metric_label,
        "setting": describe(first),
        "differences": list(file.differences),
        "seeds": seeds,
        "rows": [{"id": k, "label": v, "value": None} for k, v in file.rows.items()],
        "columns": [{"id": k, "label": v, "value": None} for k, v in file.columns.items()],
        "cells": cells,
        "paper": vars(file.paper) | {"curve": None},
        "claims": [claim_facts(claim, scale) for claim in file.claims],
    }
    return Plan(Path(first.outputs) / "studies" / name, facts, configs)


def freeze(plan: Plan) -> None:
    """Writes plan.json and each run's config; what a run folder holds already stays."""
    for name, config in plan.configs.items():
        path = Path(config.outputs) / "runs" / name / "config.yaml"
        if not path.exists():
            write_text(path, dump(config))
    path = plan.folder / "plan.json"
    if not path.exists() or read_json(path) != plan.facts:
        write_json(path, plan.facts)


def read_study(study: str, config_dir: Path | None = None) -> StudyFile:
    """Returns the study's file. Raises ValueError, naming the studies there are or the mistake."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    folders = [folder / "study" for folder in (config_dir, conf_dir()) if folder is not None]
    paths = {
        p.stem.replace("_", "-"): p for folder in folders for p in sorted(folder.glob("*.yaml"))
    }
    if study not in paths:
        hint = nearest(study, paths)
        raise ValueError(f"no study '{study}': choose from {', '.join(paths)}{hint}")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(StudyFile), OmegaConf.load(paths[study]))
        file: Any = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ValueError(f"{paths[study].name}: {str(error).splitlines()[0]}") from error
    _check(file, paths[study].name)
    assert isinstance(file, StudyFile)
    return file


def newest(study: str, outputs: Path) -> Path:
    """Returns the folder named `study`, else the newest plan's of that study. Raises ValueError."""
    root = outputs / "studies"
    if (root / study / "plan.json").exists():
        return root / study
    plans = sorted(root.glob("*/plan.json"), key=lambda path: path.stat().st_mtime)
    for path in reversed(plans):
        if read_json(path)["study"] == study:
            return path.parent
    known = [path.parent.name for path in plans]
    there = f"there are {', '.join(known)}" if known else f"nothing is planned in {root}"
    raise ValueError(f"no plan of '{study}': {there}{nearest(study, known)}")


def describe(config: RunConfig) -> str:
    """Returns one sentence on the data and the budget of a study's runs."""
    data, train = config.data, config.train
    every = "unlimited" if data.name == "glyphs" else "all"
    amount = every if data.size is None else f"{data.size:,}"
    kind = f"{data.level}, " if data.name == "glyphs" else ""
    classes = "its own" if data.num_classes is None else f"{data.num_classes:,}"
    pixels = "x".join(str(side) for side in dict.fromkeys(data.height_width))
    unit = next(k for k in ("steps", "images", "epochs") if getattr(train, k) is not None)
    length = f"{float(getattr(train, unit)):,.12g} {unit}"
    return (
        f"model {config.model.name}; upstream {data.name} ({kind}{amount} images of "
        f"{pixels} pixels, {classes} classes); {length} in batches of "
        f"{train.batch_size}; few-shot: {config.evals.draws} draws, l2 = {config.evals.l2:g}"
    )


def _check(file: StudyFile, name: str) -> None:
    ids = [f"{cell.row}-{cell.column}" for cell in file.cells]
    for cell in file.cells:
        for key, known in (("row", file.rows), ("column", file.columns)):
            if getattr(cell, key) not in known:
                value = getattr(cell, key)
                raise ValueError(f"{name}: cell with {key}={value}: {key}s are {', '.join(known)}")
    if len(set(ids)) < len(ids):
        raise ValueError(f"{name}: two cells with the same row and column")
    try:
        check_claims(file.claims, ids, file.rows, file.scales)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _refuse_varied(study: str, file: StudyFile, overrides: Sequence[str]) -> None:
    varied = {o.split("=")[0] for cell in file.cells for o in cell.overrides} | {"seed"}
    for override in overrides:
        key = override.split("=")[0].lstrip("+~")
        if key in varied:
            raise ValueError(f"{override}: {key} is what {study} varies, so it can't be fixed")


def _seeds(text: str) -> list[int]:
    wrong = ValueError(f"seeds={text}: a number of seeds of at least 1, or a list such as [0,1,2]")
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        raise wrong from None
    seeds = list(range(value)) if type(value) is int else value
    if not isinstance(seeds, list) or not seeds or len(set(map(str, seeds))) < len(seeds):
        raise wrong
    if any(type(seed) is not int or seed < 0 for seed in seeds):
        raise wrong
    return seeds


def _cell(cell: CellFile) -> dict[str, Any]:
    return {"row": cell.row, "column": cell.column, "paper": cell.paper}


def _digest(overrides: list[str]) -> str:
    """Returns `-` and a hash of the user's overrides, nothing without any; `outputs` is a place."""
    words = sorted(o for o in overrides if not o.startswith("outputs="))
    return f"-{hashlib.sha256(json.dumps(words).encode()).hexdigest()[:8]}" if words else ""
