"""Which run a config is: its name, with a hash of all that the run computes. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from vitcli.config import RunConfig
from vitcli.files import named

# Where and how a run is executed; all else is what it computes, and so its identity.
NOT_IDENTITY = (
    "checkpoint", "compile", "device", "threads", "parallel", "recompute", "tracker", "outputs"
)  # fmt: skip
NOT_IDENTITY_WITHIN = {
    "data": ("root", "download", "workers", "max_bad"),
    "train": ("auto_batch",),
    "finetune": ("source",),  # a place; `weights` stays
}


def run_id(config: RunConfig) -> str:
    """Returns the name of the run's folder: readable, with a hash of all that the run computes.

    Raises ValueError if its parts, model.name, stem.name and data.alias, make no name of a folder.
    """
    computes = {k: v for k, v in identity(config).items() if k not in NOT_IDENTITY}
    for group, keys in NOT_IDENTITY_WITHIN.items():
        computes[group] = {k: v for k, v in computes[group].items() if k not in keys}
    if config.data.alias is not None:
        del computes["data"]["path"]
    digest = hashlib.sha256(json.dumps(computes, sort_keys=True).encode()).hexdigest()[:10]
    model, pos_emb, data = config.model, config.pos_emb, config.data
    parts = [model.name]
    if model.family == "vit":
        parts[0] += f"-p{model.patch_size}"
        parts += [config.stem.name] if config.stem.layers else []
        parts += [pos_emb.kind] + ([] if pos_emb.where == "stem" else [pos_emb.where])
    if (weights := config.finetune.weights) is not None:
        parts += [f"from-{weights.rpartition('-')[2][:6]}"]  # a run's id ends in its hash
    parts += [
        (data.alias or data.name) + (f"-{data.size}" if data.size else ""),
        f"s{config.seed}",
        digest,
    ]
    return named("-".join(parts))


def identity(node: Any) -> dict[str, Any]:
    """Returns a config's fields as plain values, without the later ones that have their default."""
    default, known = type(node)(), {}
    for f in fields(node):
        value = getattr(node, f.name)
        if not (f.metadata.get("later") and value == getattr(default, f.name)):
            known[f.name] = identity(value) if is_dataclass(value) else value
    return known


def flat(held: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the dotted keys of a nested mapping, and their values."""
    for key, value in held.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def is_free(key: str, config: RunConfig) -> bool:
    """Returns whether runs that differ in the dotted key are the same run."""
    group, _, rest = key.partition(".")
    within = rest in NOT_IDENTITY_WITHIN.get(group, ())
    named = key == "data.path" and config.data.alias is not None
    return group in NOT_IDENTITY or within or named
