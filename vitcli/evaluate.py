"""Any checkpoint, measured: the evaluators of a run without its training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vitcli.compose import compose, override
from vitcli.config import DataConfig, RunConfig
from vitcli.data import DataSource, build_data
from vitcli.data.names import same_form, some
from vitcli.environment import environment
from vitcli.evals import Evaluator, build_evals, measure, said_by
from vitcli.files import write_record
from vitcli.frozen import read_config
from vitcli.identity import identity
from vitcli.models.convert import Checkpoint, read
from vitcli.models.convert import notes as unsaid
from vitcli.rules import validate_data, validate_evals, validate_fields, validate_shifts
from vitcli.trainer import find_device, use_threads
from vitcli.transfer import digest

# What of a command line says what a checkpoint does not: keys of these, and whose weights.
_OF_MODEL = ("model", "pos_emb", "stem", "which")
# What only training reads.
_OF_TRAINING = (
    "recipe", "train", "finetune", "checkpoint", "compile", "parallel", "recompute", "tracker",
    "seed",
)  # fmt: skip
_PREPROCESSING = {"data.interpolation", "data.crop_pct", "data.crop_mode"}


def evaluate(source: str, overrides: Sequence[str]) -> tuple[Path, dict[str, Any]]:
    """Measures the checkpoint and writes a result; returns the result's folder and the result.

    A run's folder is measured on the run's own data and with its evaluators, unless `overrides`
    name others. Images are resized and cropped as the checkpoint says, unless they say how. A head
    with other classes than the data is not used, and the result says so.

    Raises:
        ValueError: a source that can't be read, data that do not fit it, or a setting of training.
    """
    for word in overrides:
        if _key(word).split(".")[0] in _OF_TRAINING:
            raise ValueError(f"{word}: `vitcli eval` trains nothing, it does not read this setting")
    of_model = [word for word in overrides if _key(word).split(".")[0] in _OF_MODEL]
    overrides = [word for word in overrides if word not in of_model]
    own = Path(source) / "config.yaml"
    run = read_config(own) if own.exists() else None
    config = _config(run, overrides)
    validate_data(config)
    validate_evals(config)
    if run is not None:
        _check_letters(config, run)
    device = find_device(config)
    use_threads(config)
    img_size = config.data.height_width
    checkpoint = read(source, of_model, img_size)
    weights = digest(checkpoint)
    checkpoint, line = checkpoint.resize(img_size)
    if not {_key(word) for word in overrides} & _PREPROCESSING:
        config.data = checkpoint.preprocess.applied(config.data)
    validate_shifts(config.evals.shifts, checkpoint.config, img_size)
    data = build_data(config.data, device)
    evaluators = build_evals(config, data, device)
    notes = [line, *checkpoint.preprocess.differences(config.data), *unsaid(checkpoint)]
    preprocess = checkpoint.preprocess
    checkpoint, folded = checkpoint.for_our_pixels()
    checkpoint, evaluators, said = _fit_head(checkpoint, evaluators, data, config.data, run)
    if not evaluators:
        raise ValueError(f"{source}: {said[-1]}; evals.downstream=null: nothing to measure")
    model = checkpoint.build().to(device)
    metrics = measure(evaluators, lambda evaluator: evaluator.run(model), source)
    measured: dict[str, Any] = {"data": identity(config.data), "evals": identity(config.evals)}
    measured |= {"overrides": of_model} if of_model else {}
    computes = [identity(getattr(checkpoint.config, part)) for part in ("model", "pos_emb", "stem")]
    known = {**measured, "model": computes, "pixels": [preprocess.mean, preprocess.std]}
    how = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:10]
    result = {
        **measured,
        "source": source,
        "weights": weights,
        "metrics": metrics,
        "evals": [evaluator.protocol() for evaluator in evaluators],
        "notes": [*notes, *folded, *said, *data.said(), *said_by(evaluators)],
        "env": environment(replace(config, model=checkpoint.config.model), device),
    }
    name = f"{checkpoint.config.model.name}-{weights}-{how}"
    folder = Path(config.outputs) / "evals" / name
    write_record(folder / "result.json", result)
    return folder, result


def _check_letters(config: RunConfig, run: RunConfig) -> None:
    """Raises ValueError if the run may have seen the classes that few-shot on `letters` takes."""
    if "letters" not in config.evals.sets or run.data.name != "glyphs":
        return
    seen = run.data.num_classes
    if run.finetune.source is not None or seen != config.data.num_classes:
        source = ", and its source others" if run.finetune.source is not None else ""
        raise ValueError(
            f"evals.downstream={config.evals.downstream} with data.num_classes="
            f"{config.data.num_classes}: letters are the classes after those; this run has seen "
            f"{seen}{source}"
        )


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def _fit_head(
    checkpoint: Checkpoint,
    evaluators: list[Evaluator],
    data: DataSource,
    config: DataConfig,
    run: RunConfig | None,
) -> tuple[Checkpoint, list[Evaluator], list[str]]:
    """Returns the checkpoint with the data's order of classes, who can measure it, what to say.

    Args:
        run: whose folder the checkpoint is; None: of no run.
    Raises:
        ValueError: the head has as many classes as the data, but others.
    """
    heads, name = checkpoint.num_classes, config.alias or config.name
    if heads == data.num_classes:
        known = run is not None and _same_classes(run.data, config)
        checkpoint, said = _by_name(checkpoint, data.class_names(), config, known)
        return checkpoint, evaluators, said
    why = f"the head has {heads} classes, {name} has {data.num_classes}"
    left_out = some([e.protocol()["name"] for e in evaluators if e.uses_head])
    said = [f"{why if heads else 'the file has no head'}; not measured: {left_out}"]
    return checkpoint, [e for e in evaluators if not e.uses_head], said


def _same_classes(one: DataConfig, other: DataConfig) -> bool:
    """Returns whether two sets of as many classes number them alike: they are the same set."""
    return all(
        getattr(one, key) == getattr(other, key)
        for key in ("name", "alias", "columns", "config_name", "class_order")
    ) and (one.alias is not None or one.path == other.path)


def _by_name(
    checkpoint: Checkpoint, classes: list[str] | None, data: DataConfig, known: bool = False
) -> tuple[Checkpoint, list[str]]:
    """Returns the checkpoint with the data's order of classes, and what is to be said of it.

    Args:
        known: its head is of the data's classes, in their order, wherever nothing names them.
    Raises:
        ValueError: the head's classes are not the data's.
    """
    if data.class_map is not None:
        checkpoint = replace(checkpoint, classes=_read_map(data.class_map, checkpoint.num_classes))
    own = checkpoint.classes
    if own is None and classes is None and known:
        return checkpoint, []
    if own is None:
        order = (
            "the order of their numbers"
            if classes is None
            else f"the data's order, {some(classes)}"
        )
        return checkpoint, [
            f"the checkpoint does not name its classes: taken in {order} "
            "(data.class_map=FILE names them)"
        ]
    if classes is None:  # numbers: they are the names
        classes = [str(number) for number in range(len(own))]
        if sorted(own) != sorted(classes):
            return checkpoint, [
                "the data have numbers of classes, no names: taken in the head's order, "
                f"{some(own)} (data.class_map=FILE gives, a line for each class of the head, its "
                "number in the data)"
            ]
    if own == classes:
        return checkpoint, []
    if sorted(own) == sorted(classes):
        return checkpoint.in_order(classes), ["the head's classes are matched by name"]
    if data.name == "imagenet" and not set(own) & set(classes):
        return checkpoint, ["the head's classes have names of their own: taken in ImageNet's order"]
    raise ValueError(
        f"the head's classes are not those of {data.alias or data.name}: "
        f"{some(sorted(set(own) - set(classes)))} in the head alone, "
        f"{some(sorted(set(classes) - set(own)))} in the data alone; data.class_map=FILE names the "
        "head's as the data does, a line each"
    )


def _read_map(path: str, num_classes: int) -> list[str]:
    """Returns the names in the file, a line each. Raises ValueError: they are not a head's."""
    try:
        lines = map(str.strip, Path(path).read_text("utf-8-sig").splitlines())
        names = [same_form(line) for line in lines if line]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"data.class_map={path}: {error}") from None
    if len(names) != num_classes or len(set(names)) != num_classes:
        raise ValueError(
            f"data.class_map={path}: {len(set(names))} names for a head of {num_classes} classes"
        )
    return names


def _config(run: RunConfig | None, overrides: Sequence[str]) -> RunConfig:
    """Returns the config; of a run's folder, data and evals are the run's, single keys replaced."""
    config = compose(overrides, check=validate_fields)
    if run is not None:
        keys = {_key(word): word.lstrip("+~") for word in overrides}
        for key in keys.keys() & {"scale", "experiment"}:
            raise ValueError(f"{keys[key]}: a run has its own data and evals; give data=, evals=")
        for section in {"data", "evals"} - set(keys):  # `data=digits` replaces all of it
            single = [word for key, word in keys.items() if key.startswith(f"{section}.")]
            setattr(config, section, getattr(override(run, single), section))
    return config
