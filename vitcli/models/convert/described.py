"""What a checkpoint that was read is, in words."""

from __future__ import annotations

from typing import Any

from vitcli.config import RunConfig
from vitcli.models.convert.checkpoint import Checkpoint, listing


def describe(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    """Returns what was read, as pairs of a word and what is to be said: nothing is left out."""
    preprocess, values = checkpoint.preprocess, _settings(checkpoint.config)
    classes = checkpoint.classes
    named = listing(classes) if classes else "their names are not in the file"
    lines = [
        ("code base", checkpoint.code_base),
        ("model", " ".join([*values, f"num_classes={checkpoint.num_classes}"])),
        *([("classes", named)] if checkpoint.num_classes else []),
        (
            "images",
            f"{preprocess.size[0]}x{preprocess.size[1]} {preprocess.interpolation}, "
            f"mean {list(preprocess.mean)}, std {list(preprocess.std)}"
            + (f", crop {preprocess.crop_pct:.4g}" if preprocess.crop_pct else "")
            + (f" {preprocess.crop_mode}" if preprocess.crop_mode else ""),
        ),
    ]
    return lines + _not_read(checkpoint)


def _settings(config: RunConfig) -> list[str]:
    """Returns what a model is made by, `key=value` each; some only where not the default."""
    model, pos_emb, stem = config.model, config.pos_emb, config.stem
    if model.family == "resnet":
        return _written(model, ["layers", "width", "root"], ["groups"])
    if model.family != "vit":
        return _written(model, ["family", "options"], [])
    keys = ["depth", "embed_dim", "mlp_dim", "num_heads", "patch_size", "pool", "head_hidden"]
    found = _written(model, [*keys, "gelu", "norm_eps"], ["fc_norm", "head_hidden_dim"])
    found += [f"pos_emb={pos_emb.kind}"]
    found += [f"pos_emb.{text}" for text in _written(pos_emb, [], ["where", "offsets"])]
    if stem.layers:
        found += [f"stem={stem.layers[str(model.patch_size)]}"]
        found += [f"stem.{text}" for text in _written(stem, [], ["width", "root", "groups"])]
    return found


def _written(section: Any, always: list[str], other: list[str]) -> list[str]:
    """Returns keys of a section with their values; `other` keys only where not the default."""
    default = type(section)()
    changed = [key for key in other if getattr(section, key) != getattr(default, key)]
    return [f"{key}={getattr(section, key)}" for key in (*always, *changed)]


def notes(checkpoint: Checkpoint) -> list[str]:
    """Returns what was assumed, not used or not there, a line each."""
    return [f"checkpoint: {word}: {names}" for word, names in _not_read(checkpoint)]


def _not_read(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    found = [
        ("assumed", "; ".join(checkpoint.assumed)),
        ("unused", listing(checkpoint.unused)),
        ("missing", listing(checkpoint.missing)),
    ]
    return [(word, names) for word, names in found if names]
