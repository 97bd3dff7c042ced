"""What was done, in words, from the configs of a study's runs: for its plan and its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from vitcli.config import RunConfig
from vitcli.identity import flat, is_free
from vitcli.schema import Cell
from vitcli.sets import describe, drawn
from vitcli.study.cells import Composed

_RECIPE = ("recipe.", "train.", "finetune.")
_OF_A_SEED = ("seed", "data.seed", "finetune.weights")
_UNSET = ("None", "[]")


def setting(composed: Composed) -> str:
    """Returns one sentence on the data and the budget of the runs of cells and of their sources.

    Where cells differ, it says those of the first "and others".
    """
    cells, sources = _firsts(composed), list(composed.sources.values())
    upstream = sources or cells
    parts = [
        [f"model {config.model.name}" for config in upstream],
        [f"upstream {describe(config.data)}" for config in upstream],
        [_length(config) for config in upstream],
    ]
    if sources:
        parts += [[f"fine-tuned on {describe(c.data)}" for c in cells], [_length(c) for c in cells]]
    if any(config.evals.downstream for config in cells):
        parts.append([f"few-shot: {c.evals.draws} draws, l2 = {c.evals.l2:g}" for c in cells])
    return "; ".join(part[0] + " and others" * (len(set(part)) > 1) for part in parts)


def with_settings(composed: Composed) -> list[Cell]:
    """Returns the cells, each with those settings that differ between them, sources' included."""
    every = []
    for cell in composed.cells:
        config = composed.first(cell)
        found = _settings(config)
        if (weights := config.finetune.weights) is not None:
            source = _settings(composed.sources[weights])
            found |= {f"source.{key}": value for key, value in source.items()}
        every.append(found)
    keys = _varied(every)
    return [
        replace(cell, settings={key: settings[key] for key in keys if key in settings})
        for cell, settings in zip(composed.cells, every, strict=True)
    ]


def methods(composed: Composed, cells: Sequence[Cell], seeds: Sequence[int]) -> dict[str, str]:
    """Returns what was done, sentences by what they are about; `cells` have their settings."""
    configs, sources = _firsts(composed), list(composed.sources.values())
    found = {"Recipe": _recipe(configs)}
    if sources:
        found["Recipe of the sources"] = _recipe(sources)
        found["From scratch"] = (
            "the null of fine-tuning: the same model, data, steps and recipe, from new weights, at "
            "recipe.lr"
        )
    varied = list(dict.fromkeys(key for cell in cells for key in cell.settings))
    by_seed, fixed = _replicated(configs[0], sources[0] if sources else None)
    listed = ", ".join(map(str, seeds))
    found["What differs between cells"] = ", ".join(varied)
    found["Seeds"] = f"{listed}; the same ones in every cell, and differences are of the same seed"
    found["A seed draws"] = "; ".join(by_seed)
    found["The same for all seeds"] = "; ".join(fixed)
    return {term: text for term, text in found.items() if text}


def _firsts(composed: Composed) -> list[RunConfig]:
    return [composed.first(cell) for cell in composed.cells]


def _replicated(cell: RunConfig, source: RunConfig | None) -> tuple[list[str], list[str]]:
    """Returns what another seed draws anew, and what it leaves as it is."""
    by_seed = ["initial weights, the order of images, augmentation and dropout"]
    sets, fixed = [config.data for config in (source, cell) if config is not None], list[str]()
    for name in cell.evals.sets:
        by_seed.append(f"the few-shot supports on {name}")
        of = "glyphs" if name == "letters" else name
        alias = "letters" if name == "letters" else None
        few_shot = replace(cell.data, name=of, alias=alias, size=None, val_size=None, stream=False)
        sets.append(few_shot)
    for data in sets:
        anew, kept = drawn(data)
        by_seed += anew
        fixed += kept
    return list(dict.fromkeys(by_seed)), list(dict.fromkeys(fixed))


def _recipe(configs: Sequence[RunConfig]) -> str:
    """Returns the settings of the recipe that all these configs share."""
    settings = [_settings(config) for config in configs]
    varied = _varied(settings)
    prefixes = _RECIPE if configs[0].finetune.source is not None else _RECIPE[:2]
    shared = [k for k in settings[0] if k.startswith(prefixes) and k not in varied]
    return ", ".join(f"{k} {settings[0][k]}" for k in shared if settings[0][k] not in _UNSET)


def _varied(settings: Sequence[Mapping[str, str]]) -> list[str]:
    keys = dict.fromkeys(key for each in settings for key in each)
    return [key for key in keys if len({each.get(key) for each in settings}) > 1]


def _settings(config: RunConfig) -> dict[str, str]:
    """Returns what the run computes but its seed and source, by dotted key, in order, as text."""
    every = flat(asdict(config))
    return {k: str(v) for k, v in every if not is_free(k, config) and k not in _OF_A_SEED}


def _length(config: RunConfig) -> str:
    train = config.train
    unit = next(k for k in ("steps", "images", "epochs") if getattr(train, k) is not None)
    return f"{float(getattr(train, unit)):,.12g} {unit} in batches of {train.batch_size}"
