"""A study's file + overrides -> a plan whose every run is frozen in its own folder. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vitcli.compose import dump, known_keys
from vitcli.config import RunConfig, nearest
from vitcli.files import read_json, write_json, write_text
from vitcli.study.cells import compose_cells, refuse
from vitcli.study.claim import claim_facts
from vitcli.study.file import SCALES, check_seeds, read_study
from vitcli.study.measured import filled

SETTINGS = ("scale", "seeds", "mode")
SPEED = "flops_per_second"  # a setting of `vitcli plan` alone


@dataclass(frozen=True)
class Plan:
    """A study made concrete: `facts` is plan.json, `configs` the runs by id, sources first."""

    folder: Path
    facts: dict[str, Any]
    configs: dict[str, RunConfig]


def make_plan(study: str, overrides: Sequence[str] = (), config_dir: Path | None = None) -> Plan:
    """Returns the plan of `study`; writes nothing.

    Args:
        study: its name, `pos-emb` for conf/study/pos_emb.yaml.
        overrides: `scale=`, `seeds=` (a list or a number), `mode=`, and overrides of every cell's
            config; those of the runs that the cells fine-tune are written `source.KEY=VALUE`.
        config_dir: a user's own configs, `study/*.yaml` among them.
    Raises:
        ValueError: unknown study, mode, scale or key; a key that the study itself sets; a metric
            that its runs do not measure.
    """
    settings = dict(o.split("=", 1) for o in overrides if o.split("=")[0] in SETTINGS)
    rest = [o for o in overrides if o.split("=")[0] not in SETTINGS]
    mode, scale = settings.get("mode"), settings.get("scale", "laptop")
    file = read_study(study, config_dir, mode)
    if scale not in file.scales:
        raise ValueError(
            f"scale={scale}: {study} has {', '.join(file.scales)}{nearest(scale, SCALES)}"
        )
    file = file.at(scale)
    seeds = _seeds(settings["seeds"]) if "seeds" in settings else file.seeds
    _check_keys(rest, config_dir)
    refuse(study, file, rest)
    cells, configs, sources = compose_cells(file, scale, rest, seeds, config_dir)
    firsts = [configs[next(iter(cell["runs"].values()))] for cell in cells]
    file = filled(file, firsts[0], configs[next(iter(sources))] if sources else None)
    changes = [o for o in overrides if not o.startswith(("scale=", "mode="))]
    name = "-".join([study, *([mode] if mode else []), scale]) + _digest(changes)
    facts = {
        "study": study,
        "title": file.title,
        "scale": scale,
        "mode": mode,
        "overrides": list(overrides),
        "metric": file.metric,
        "metric_label": file.metric_label,
        "tables": file.tables,
        "figure": file.figure,
        "x": file.x and asdict(file.x),
        "setting": describe(firsts, [configs[run] for run in sources]),
        "differences": file.differences,
        "seeds": seeds,
        "rows": [{"id": k, "label": v.label, "value": v.value} for k, v in file.rows.items()],
        "columns": [{"id": k, "label": v.label, "value": v.value} for k, v in file.columns.items()],
        "cells": cells,
        "sources": sources,
        "paper": asdict(file.paper),
        "claims": [claim_facts(claim, scale) for claim in file.claims],
    }
    return Plan(Path(firsts[0].outputs) / "studies" / name, facts, configs)


def freeze(plan: Plan) -> None:
    """Writes plan.json and the config of each run that has no result yet.

    A config that is there already has the same run id, so it can differ only in what is no part of
    a run's identity (workers, device, checkpoints, ...): that is as the latest command says.
    """
    for name, config in plan.configs.items():
        folder, text = Path(config.outputs) / "runs" / name, dump(config)
        path = folder / "config.yaml"
        if not (folder / "result.json").exists() and not _holds(path, text):
            write_text(path, text)
    path = plan.folder / "plan.json"
    if not path.exists() or read_json(path) != plan.facts:
        write_json(path, plan.facts)


def _holds(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


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


def describe(cells: Sequence[RunConfig], sources: Sequence[RunConfig]) -> str:
    """Returns one sentence on the data and the budget of the runs of cells and of their sources.

    Where cells differ, it says those of the first "and others".
    """
    upstream = sources or cells
    parts = [
        [f"model {config.model.name}" for config in upstream],
        [f"upstream {_data(config)}" for config in upstream],
        [_length(config) for config in upstream],
    ]
    if sources:
        parts += [[f"fine-tuned on {_data(c)}" for c in cells], [_length(c) for c in cells]]
    if any(config.evals.downstream for config in cells):
        parts.append([f"few-shot: {c.evals.draws} draws, l2 = {c.evals.l2:g}" for c in cells])
    return "; ".join(part[0] + " and others" * (len(set(part)) > 1) for part in parts)


def _data(config: RunConfig) -> str:
    data = config.data
    every = "unlimited" if data.name == "glyphs" else "all"
    amount = every if data.size is None else f"{data.size:,}"
    kind = f"{data.level}, " if data.name == "glyphs" else ""
    classes = "its own" if data.num_classes is None else f"{data.num_classes:,}"
    pixels = "x".join(str(side) for side in dict.fromkeys(data.height_width))
    return f"{data.name} ({kind}{amount} images of {pixels} pixels, {classes} classes)"


def _length(config: RunConfig) -> str:
    train = config.train
    unit = next(k for k in ("steps", "images", "epochs") if getattr(train, k) is not None)
    return f"{float(getattr(train, unit)):,.12g} {unit} in batches of {train.batch_size}"


def _check_keys(overrides: Sequence[str], config_dir: Path | None) -> None:
    """Raises ValueError for an override of what is no key, naming the nearest that can be set."""
    known = known_keys(config_dir)
    here = [*SETTINGS, SPEED, *(key for key in known if key != "seed")]
    for override in overrides:
        key = override.split("=")[0].lstrip("+~").removeprefix("source.")
        if key == SPEED:
            raise ValueError(f"{override}: only `vitcli plan` has it, it changes no run")
        if key not in known:
            raise ValueError(f"unknown key '{key}'{nearest(key, here)}")


def _seeds(text: str) -> list[int]:
    wrong = ValueError(f"seeds={text}: a number of seeds of at least 1, or a list such as [0,1,2]")
    try:
        value = json.loads(text)
        seeds = list(range(value)) if type(value) is int else value
        check_seeds(seeds)
    except ValueError:
        raise wrong from None
    assert isinstance(seeds, list)
    return seeds


def _digest(overrides: list[str]) -> str:
    """Returns `-` and a hash of the user's overrides, nothing without any; `outputs` is a place."""
    words = sorted(o for o in overrides if not o.startswith("outputs="))
    return f"-{hashlib.sha256(json.dumps(words).encode()).hexdigest()[:8]}" if words else ""
