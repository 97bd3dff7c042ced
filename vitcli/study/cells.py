"""A study's cells and their sources, composed: scale, file, user, row, column, cell. No torch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vitcli.compose import compose
from vitcli.config import NOT_IDENTITY, RunConfig, run_id, under_new_head
from vitcli.rules import validate
from vitcli.study.file import OF_SOURCE, AxisFile, CellFile, StudyFile, key_of

_SOURCE = "source."  # before a key: the user's override of the runs that are fine-tuned


def compose_cells(
    file: StudyFile,
    scale: str,
    overrides: Sequence[str],
    seeds: Sequence[int],
    config_dir: Path | None = None,
) -> tuple[list[dict[str, Any]], dict[str, RunConfig], dict[str, list[str]]]:
    """Returns the cells as facts, all runs' configs by id, and what the sources are called, by id.

    A source is called by the labels of its row and column, those of them that set something of it.

    Args:
        file: at its scale.
        overrides: the user's; none that `refuse` refuses.
    """
    composed: dict[tuple[str, ...], RunConfig] = {}
    below, below_source = _layers(file, scale, overrides)

    def run_of(seed: int, *layers: Sequence[str]) -> RunConfig:
        words = _laid(*layers)
        if words not in composed:
            composed[words] = compose(words, config_dir)
        config = copy.deepcopy(composed[words])
        config.seed = seed
        return config

    cells, names = [], dict[str, list[str]]()
    sources, configs = dict[str, RunConfig](), dict[str, RunConfig]()
    for cell in file.cells:
        axes = (file.rows[cell.row], file.columns[cell.column])
        runs = {}
        for seed in seeds:
            config = run_of(seed, *below, *(axis.overrides for axis in axes), cell.overrides)
            if file.source is not None:
                source = run_of(seed, *below_source, *(axis.source for axis in axes))
                sources[run_id(source)] = source
                names.setdefault(run_id(source), [axis.label for axis in axes if axis.source])
                config = _tuned(config, source)
            runs[str(seed)] = run_id(config)
            configs[run_id(config)] = config
        place = {"id": f"{cell.row}-{cell.column}", "row": cell.row, "column": cell.column}
        cells.append({**place, "paper": cell.paper, "runs": runs})
    return cells, sources | configs, names


def refuse(study: str, file: StudyFile, overrides: Sequence[str]) -> None:
    """Raises ValueError for the first override that is not the user's to set in this study."""
    axes = [*file.rows.values(), *file.columns.values()]
    entries: list[AxisFile | CellFile] = [*axes, *file.cells]
    varied = {key_of(o) for entry in entries for o in entry.overrides}
    varied |= {f"{_SOURCE}{key_of(o)}" for axis in axes for o in axis.source}
    for override in overrides:
        prefix = _SOURCE if override.startswith(_SOURCE) else ""
        key = key_of(override.removeprefix(prefix))
        if prefix and file.source is None:
            raise ValueError(f"{override}: {study} fine-tunes no runs of its own")
        if prefix + key in varied or key == "seed":
            given = override.split("=")[0].lstrip("+~")
            raise ValueError(f"{override}: {given} is what {study} varies, so it can't be fixed")
        if key in ("finetune.source", "finetune.weights"):
            raise ValueError(f"{override}: a study fine-tunes the runs of its own `source` alone")
        if not prefix and file.source is not None and key.split(".")[0] in OF_SOURCE:
            raise ValueError(
                f"{override}: the model is that of the source, write {_SOURCE}{override}"
            )


def _layers(
    file: StudyFile, scale: str, overrides: Sequence[str]
) -> tuple[list[list[str]], list[list[str]]]:
    """Returns the overrides of all cells, and those of all sources, the strongest last."""
    its, first = file.scales[scale], [f"scale={scale}"]
    own = [o for o in overrides if not o.startswith(_SOURCE)]
    if file.source is None:
        return [first, its.overrides, own], []
    upstream = [o.removeprefix(_SOURCE) for o in overrides if o.startswith(_SOURCE)]
    places = [o for o in own if key_of(o).split(".")[0] in NOT_IDENTITY]
    tuned = [*first, "finetune.source=source"]  # a name until the seed, and so the run, is known
    return [tuned, its.overrides, own], [first, file.source, its.source, places, upstream]


def _laid(*layers: Sequence[str]) -> tuple[str, ...]:
    """Returns the overrides of all layers; a later one's takes the place of an earlier one's."""
    found: list[str] = []
    for layer in layers:
        keys = {key_of(override) for override in layer}
        found = [o for o in found if key_of(o) not in keys] + list(layer)
    return tuple(found)


def _tuned(config: RunConfig, source: RunConfig) -> RunConfig:
    """Returns the config of a run that fine-tunes `source`, which need not be trained yet."""
    found = under_new_head(config, source, run_id(source))
    found.finetune.source = str(Path(source.outputs) / "runs" / run_id(source))
    validate(found)
    return found
