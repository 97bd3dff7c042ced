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
from vitcli.data import build_data
from vitcli.data.names import same_form, some
from vitcli.environment import environment
from vitcli.evals import build_evals, measure
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
    "recipe", "train", "finetune", "checkpoint", "compile", "parallel", "recompute", "tracker"
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
    config = _config(source, overrides)
    validate_data(config)
    validate_evals(config)
    device = find_device(config)
    use_threads(config)
    img_size = config.data.height_width
    checkpoint, line = read(source, of_model, img_size).resize(img_size)
    if not {_key(word) for word in overrides} & _PREPROCESSING:
        config.data = checkpoint.preprocess.applied(config.data)
    validate_shifts(config.evals.shifts, checkpoint.config, img_size)
    data = build_data(config.data, device)
    evaluators = build_evals(config, data, device)
    weights = digest(checkpoint)
    notes = [line, *checkpoint.preprocess.differences(config.data), *unsaid(checkpoint)]
    checkpoint, folded = checkpoint.for_our_pixels()
    notes += folded
    if checkpoint.num_classes != data.num_classes:
        left_out = some([e.protocol()["name"] for e in evaluators if e.uses_head])
        notes.append(
            f"head of {checkpoint.num_classes} classes, {config.data.name} has {data.num_classes}: "
            f"without what needs it ({left_out})"
        )
        evaluators = [e for e in evaluators if not e.uses_head]
    else:
        checkpoint, said = _by_name(checkpoint, data.class_names(), config.data)
        notes += said
    if not evaluators:
        raise ValueError(f"{source}: {notes[-1]}, and evals.downstream=null: nothing to measure")
    model = checkpoint.build().to(device)
    metrics = measure(evaluators, lambda evaluator: evaluator.run(model), source)
    measured: dict[str, Any] = {"data": identity(config.data), "evals": identity(config.evals)}
    measured |= {"overrides": of_model} if of_model else {}
    how = hashlib.sha256(json.dumps(measured, sort_keys=True).encode()).hexdigest()[:10]
    result = {
        "source": source,
        "weights": weights,
        "metrics": metrics,
        "evals": [evaluator.protocol() for evaluator in evaluators],
        "notes": [*notes, *data.said()],
        **measured,
        "env": environment(config, device),
    }
    name = f"{checkpoint.config.model.name}-{weights}-{how}"
    folder = Path(config.outputs) / "evals" / name
    write_record(folder / "result.json", result)
    return folder, result


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def _by_name(
    checkpoint: Checkpoint, classes: list[str] | None, data: DataConfig
) -> tuple[Checkpoint, list[str]]:
    """Returns the checkpoint with the data's order of classes, and what is to be said of it.

    Raises:
        ValueError: the head's classes are not the data's.
    """
    if data.class_map is not None:
        checkpoint = replace(checkpoint, classes=_read_map(data.class_map, checkpoint.num_classes))
    own = checkpoint.classes
    if own is None and classes is None and checkpoint.code_base == "vitcli":
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
                f"the data number their classes: taken in the head's order, {some(own)} "
                "(data.class_map=FILE has the data's number of each class of the head, a line each)"
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
        names = [same_form(line) for line in Path(path).read_text("utf-8").splitlines() if line]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"data.class_map={path}: {error}") from None
    if len(names) != num_classes or len(set(names)) != num_classes:
        raise ValueError(
            f"data.class_map={path}: {len(set(names))} names for a head of {num_classes} classes"
        )
    return names


def _config(source: str, overrides: Sequence[str]) -> RunConfig:
    """Returns the config; of a run's folder, data and evals are the run's, single keys replaced."""
    config = compose(overrides, check=validate_fields)
    if (own := Path(source) / "config.yaml").exists():
        run = read_config(own)
        keys = {_key(word): word.lstrip("+~") for word in overrides}
        for section in {"data", "evals"} - set(keys):  # `data=digits` replaces all of it
            single = [word for key, word in keys.items() if key.startswith(f"{section}.")]
            setattr(config, section, getattr(override(run, single), section))
    return config
