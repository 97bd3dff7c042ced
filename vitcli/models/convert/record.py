"""Our own record of a model, beside the weights in a file: read, and checked as a config is."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from vitcli.config import ModelConfig, PosEmbConfig, RunConfig, StemConfig, weights_record
from vitcli.models.convert.checkpoint import RESIZE, Checkpoint, misnamed
from vitcli.models.convert.infer import set_field
from vitcli.models.convert.preprocess import Preprocess
from vitcli.rules import validate_fields

_SECTIONS = {"model": ModelConfig, "pos_emb": PosEmbConfig, "stem": StemConfig}


def record_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns what is written beside the weights, as names and shapes do not say it."""
    preprocess = asdict(checkpoint.preprocess)
    return weights_record(checkpoint.config, checkpoint.code_base, preprocess, checkpoint.classes)


def recorded(
    record: dict[str, Any], heads: int
) -> tuple[str, RunConfig, Preprocess, list[str] | None]:
    """Returns code base, config, preprocessing and classes of a record.

    Args:
        heads: classes of the head beside it.
    Raises:
        ValueError: it is of another version, was changed, or is of other weights.
    """
    config, code_base, classes = RunConfig(), record.get("code_base"), record.get("classes")
    if code_base not in [*RESIZE]:
        raise ValueError(f"its record: code_base={code_base!r}: choose from {', '.join(RESIZE)}")
    for group, section in _SECTIONS.items():
        known = {field.name for field in fields(section)}
        for name, value in _keys(record, group).items():
            if name not in known:
                raise ValueError(f"its record is of another version of vitcli ({group}.{name})")
            if name == "options":  # of another package, which knows what it may be
                config.model.options = value
            else:
                set_field(config, f"{group}.{name}", value)
    units = [config.model.layers, *config.stem.layers.values()]
    if not all(isinstance(p, list) and all(type(unit) is int for unit in p) for p in units):
        raise ValueError(f"its record: {units} are no numbers of units, layers of a ResNet")
    validate_fields(config)
    said = _keys(record, "preprocess")
    if more := said.keys() - {field.name for field in fields(Preprocess)}:
        raise ValueError(f"its record is of another version of vitcli (preprocess.{min(more)})")
    said = {key: tuple(v) if isinstance(v, list) else v for key, v in said.items()}
    if "size" not in said:
        raise ValueError("its record is of another version of vitcli (no preprocess.size)")
    if classes is not None and (wrong := misnamed(classes, heads)):
        raise ValueError(f"its record: {wrong}")
    return code_base, config, Preprocess(**said), classes


def _keys(record: dict[str, Any], group: str) -> dict[str, Any]:
    found = record.get(group)
    if not isinstance(found, dict):
        raise ValueError(f"its record is of another version of vitcli ({group}={found!r:.60})")
    return found
