"""A study's cells and their sources, composed: scale, file, user, row, column, cell. No torch."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from vitcli.compose import compose, linked
from vitcli.config import FinetuneConfig, RunConfig, under_new_head
from vitcli.identity import NOT_IDENTITY, flat, is_free, run_id
from vitcli.rules import validate
from vitcli.schema import Axis, Cell, Scale, Study
from vitcli.study.file import OF_SOURCE, key_of

_SOURCE = "source."  # before a key: the user's override of the runs that are fine-tuned


@dataclass
class Composed:
    """All runs of a study.

    Attributes:
        cells: with the ids of their runs.
        sources: configs of the runs that cells fine-tune, by id; `names`: what they are called, by
            the labels of row and column, those that set something of it.
        configs: of the cells' own runs and of those from scratch, by id.
    """

    cells: list[Cell] = field(default_factory=list)
    sources: dict[str, RunConfig] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    configs: dict[str, RunConfig] = field(default_factory=dict)

    def first(self, cell: Cell) -> RunConfig:
        """Returns the config of the cell's first seed."""
        return self.configs[next(iter(cell.runs.values()))]


def compose_cells(
    study: Study, scale: Scale, overrides: Sequence[str], config_dir: Path | None = None
) -> Composed:
    """Returns the runs of every cell and seed. A seed draws other data too, for every cell alike.

    A cell that fine-tunes has, as its null, the same run without its source's weights.

    Args:
        study: at its scale, with its seeds.
        scale: the file's.
        overrides: the user's; none that `refuse` refuses.
    Raises:
        ValueError: in one line that names the cell.
    """
    below, below_source = _layers(study, scale, overrides)
    made: dict[tuple[str, ...], RunConfig] = {}
    refers = linked(config_dir)

    def run_of(seed: int, *layers: Sequence[str]) -> RunConfig:
        words = _laid(*layers)
        if refers or any("${" in word for word in words):  # maybe to the seed
            words += (f"seed={seed}", f"data.seed={seed}")
        if words not in made:
            made[words] = compose(words, config_dir)
        config = made[words]
        return replace(config, seed=seed, data=replace(config.data, seed=seed))

    def add(cell: Cell) -> None:
        axes = (study.rows[cell.row], study.columns[cell.column])
        planned = replace(cell, runs={}, scratch={})
        for seed in study.seeds:
            config = run_of(seed, *below, *(axis.overrides for axis in axes), cell.overrides)
            if study.source is not None:
                source = run_of(seed, *below_source, *(axis.source for axis in axes))
                found.sources[run_id(source)] = source
                found.names.setdefault(run_id(source), [a.label for a in axes if a.source])
                config = _tuned(config, source)
                scratch = _scratch(config)
                planned.scratch[str(seed)] = run_id(scratch)
                found.configs[run_id(scratch)] = scratch
            planned.runs[str(seed)] = run_id(config)
            found.configs[run_id(config)] = config
        found.cells.append(planned)

    found = Composed()
    for cell in study.cells:
        try:
            add(cell)
        except ValueError as error:
            raise ValueError(f"cell {cell.id}: {error}") from None
    return found


def refuse(study: Study, overrides: Sequence[str]) -> None:
    """Raises ValueError for the first override that is not the user's to set in this study."""
    varied, of_source = (keys | {"seed", "data.seed"} for keys in _varied(study))
    for override in overrides:
        prefix = _SOURCE if override.startswith(_SOURCE) else ""
        key = key_of(override.removeprefix(prefix))
        if prefix and study.source is None:
            raise ValueError(f"{override}: {study.name} fine-tunes no runs of its own")
        if key in (of_source if prefix else varied):
            given = override.split("=")[0].lstrip("+~")
            instead = " (seeds=5, or seeds=[7,8], chooses the seeds)" if key == "seed" else ""
            raise ValueError(
                f"{override}: {given} is what {study.name} varies, it can't be fixed{instead}"
            )
        if key in ("finetune.source", "finetune.weights"):
            raise ValueError(f"{override}: a study fine-tunes only the runs of its own `source`")
        if not prefix and study.source is not None and key.split(".")[0] in OF_SOURCE:
            raise ValueError(
                f"{override}: the model is that of the source, write {_SOURCE}{override}"
            )


def refuse_alike(
    study: Study, scale: Scale, overrides: Sequence[str], found: Composed, config_dir: Path | None
) -> None:
    """Raises ValueError if the user's overrides make cells alike that the study has differ.

    That is a key below a group that the study varies, to which its options give different values,
    and whatever makes one run of two cells.

    Args:
        found: the study's runs with the overrides, which `refuse` does not refuse.
    """
    changes = [o for o in overrides if key_of(o).split(".")[0] not in NOT_IDENTITY]
    below = [o for o in changes if _below(o, *_varied(study))]
    pairs = itertools.combinations(found.cells, 2)
    same = [(a.id, b.id) for a, b in pairs if {*a.runs.values()} & {*b.runs.values()}]
    if not below and not (same and changes):
        return
    try:
        own = compose_cells(study, scale, [], config_dir)
    except ValueError:  # it lacks what only the user has said
        return
    for override in below:
        _refuse_fixed(study, override, own)
    runs = {cell.id: {*cell.runs.values()} for cell in own.cells}
    for a, b in same:
        if not runs[a] & runs[b]:
            given = ", ".join(changes)
            raise ValueError(f"{given}: {a} and {b} of {study.name} would be the same runs")


def _varied(study: Study) -> tuple[set[str], set[str]]:
    """Returns the keys and groups that the study's cells set, and those that their sources do."""
    axes = [*study.rows.values(), *study.columns.values()]
    entries: list[Axis | Cell] = [*axes, *study.cells]
    return (
        {key_of(o) for entry in entries for o in entry.overrides},
        {key_of(o) for axis in axes for o in axis.source},
    )


def _below(override: str, varied: set[str], of_source: set[str]) -> bool:
    """Returns whether it sets a key below a group that the study varies."""
    its = of_source if override.startswith(_SOURCE) else varied
    group, dot, _ = key_of(override.removeprefix(_SOURCE)).partition(".")
    return bool(dot) and group in its


def _refuse_fixed(study: Study, override: str, own: Composed) -> None:
    """Raises ValueError if two cells of one family of models differ in the override's key."""
    key = override.removeprefix(_SOURCE).split("=")[0].lstrip("+")
    first: dict[str, tuple[str, object]] = {}
    for cell in own.cells:
        config = own.first(cell)
        if override.startswith(_SOURCE):
            config = own.sources[config.finetune.weights or ""]
        value = dict(flat(asdict(config))).get(key)
        other, its = first.setdefault(config.model.family, (cell.id, value))
        if its != value and not is_free(key, config):
            raise ValueError(
                f"{override}: {study.name} varies {key.partition('.')[0]}, so this can't be fixed: "
                f"it is {its} in {other}, {value} in {cell.id}"
            )


def _layers(
    study: Study, scale: Scale, overrides: Sequence[str]
) -> tuple[list[list[str]], list[list[str]]]:
    """Returns the overrides of all cells, and those of all sources, the strongest last."""
    first = [f"scale={study.scale}"]
    own = [o for o in overrides if not o.startswith(_SOURCE)]
    if study.source is None:
        return [first, scale.overrides, own], []
    upstream = [o.removeprefix(_SOURCE) for o in overrides if o.startswith(_SOURCE)]
    places = [o for o in own if key_of(o).split(".")[0] in NOT_IDENTITY]
    tuned = [*first, "finetune.source=source"]  # a name until the seed, and so the run, is known
    return [tuned, scale.overrides, own], [first, study.source, scale.source, places, upstream]


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


def _scratch(config: RunConfig) -> RunConfig:
    """Returns the same run without its source: its steps and recipe, from new weights."""
    evals = replace(config.evals, zero_shot=False)
    found = replace(config, finetune=FinetuneConfig(), evals=evals)
    validate(found)
    return found
