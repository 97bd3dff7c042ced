"""Everybody's checkpoints: read into ours, write to theirs.

A file's names tell its code base, its suffix the way it is packed; a folder with a config.yaml is a
run of ours, one with a config.json Hugging Face's or timm's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from vitcli.compose import override
from vitcli.config import RunConfig
from vitcli.files import read_json, write_json
from vitcli.frozen import read_config
from vitcli.identity import flat, run_id
from vitcli.models.convert import big_transfer, google, torchvision
from vitcli.models.convert.as_timm import timm_call
from vitcli.models.convert.big_transfer import read_big_transfer, write_big_transfer
from vitcli.models.convert.checkpoint import (
    Checkpoint,
    Found,
    check_shapes,
    num_classes,
)
from vitcli.models.convert.described import describe, notes
from vitcli.models.convert.google import places, read_google, write_google
from vitcli.models.convert.huggingface import read_huggingface, write_huggingface
from vitcli.models.convert.infer import infer
from vitcli.models.convert.preprocess import Preprocess
from vitcli.models.convert.record import record_of, recorded
from vitcli.models.convert.tensors import SUFFIXES, Read, read_tensors, write_tensors
from vitcli.models.convert.timm import download_timm, read_timm
from vitcli.models.convert.torchvision import read_torchvision

__all__ = ["Checkpoint", "Preprocess", "describe", "notes", "read", "write"]

# In folders with a config.json; of those that are there the first, as transformers takes it.
_WEIGHTS = (
    "model.safetensors", "model.safetensors.index.json",
    "pytorch_model.bin", "pytorch_model.bin.index.json",
)  # fmt: skip
_WHICH = "which="  # of several sets of weights in a file: which=ema
_IMG_SIZE = "data.img_size="
_READ_HERE = ("model", "pos_emb", "stem", _WHICH, _IMG_SIZE)


def read(
    source: str, overrides: Sequence[str] = (), img_size: tuple[int, int] | None = None
) -> Checkpoint:
    """Returns the checkpoint at `source`, for the images that its tables are for.

    Args:
        source: a run's folder, a folder with a config.json, a file, `timm:NAME` or `hf:REPO`; only
            the last two use the network.
        overrides: single keys that the file does not tell, as `model.num_heads=8`; of several sets
            of weights in a file `which=ema` takes the one with that in its name.
        img_size: (height, width) wanted; only tells the grid where nothing else does.
    Raises:
        ValueError: in one line: no such file, a broken one, one that could run code, names of no
            known code base, weights that do not fit, or what the overrides must say.
    """
    try:
        for word in overrides:
            if not word.startswith(_READ_HERE):
                raise ValueError(
                    f"{word}: is not read here; only keys of model, pos_emb and stem, {_WHICH} and "
                    f"{_IMG_SIZE}"
                )
        if source.startswith("timm:"):
            return infer(download_timm(source.removeprefix("timm:")), overrides, img_size)
        path = _download(source.removeprefix("hf:")) if source.startswith("hf:") else Path(source)
        return _read_path(path, overrides, img_size)
    except ValueError as error:
        message = str(error)
        raise ValueError(message if source in message else f"{source}: {message}") from None


def write(checkpoint: Checkpoint, path: Path) -> str:
    """Writes a checkpoint; returns how to load it there. The name says for whom.

    `.npz`: Google's names; no suffix: a folder for Hugging Face; `.safetensors`, `.bin`, `.pt` or
    `.pth`: our names, which are timm's. What the names do not say is recorded in the file, beside
    the weights.

    Raises:
        ValueError: an unknown suffix, or a model that the other code base cannot be.
    """
    if not path.suffix:
        tensors, config, processor, lost = write_huggingface(checkpoint)
        write_tensors(path / _WEIGHTS[0], tensors, None)
        write_json(path / "preprocessor_config.json", processor)
        write_json(path / "config.json", config)
        call = f"transformers.{config['architectures'][0]}.from_pretrained({str(path)!r})"
        return "; ".join([call, *lost])
    if path.suffix == ".npz":
        return _write_npz(checkpoint, path)
    if path.suffix in SUFFIXES:
        write_tensors(path, checkpoint.state, record_of(checkpoint))
        try:
            return timm_call(checkpoint, path)
        except ValueError as error:
            return f"vitcli.load({str(path)!r}); not for timm: {error}"
    raise ValueError(f"{path}: the name must end in one of {', '.join(SUFFIXES)}, or in none")


def _write_npz(checkpoint: Checkpoint, path: Path) -> str:
    """Writes Google's names; returns how to load them. Its code knows pixels in [-1, 1] alone."""
    checkpoint, said = checkpoint.for_our_pixels()
    model, stem = checkpoint.config.model, checkpoint.config.stem
    if model.family == "resnet":
        write_tensors(path, write_big_transfer(checkpoint), record_of(checkpoint))
        return "as in big_transfer"
    write_tensors(path, write_google(checkpoint), record_of(checkpoint))
    ours = [f"GELU {model.gelu}"] * (model.gelu != "tanh")
    ours += [f"norm eps {model.norm_eps:g}"] * (model.norm_eps != 1e-6)
    if stem.layers and (stem.width < 64 or stem.groups not in (0, 32)):
        ours.append(f"group norms of {stem.groups or 'fewer than 32'} groups")
    if ours:
        theirs = "GELU tanh, norm eps 1e-06, 32 groups"
        said.append(f"{', '.join(ours)}: recorded in the file; vision_transformer has {theirs}")
    return "; ".join(["as in vision_transformer", *said])


def _read_path(
    path: Path, overrides: Sequence[str], img_size: tuple[int, int] | None
) -> Checkpoint:
    weights, run = path, path.parent.parent / "config.yaml"
    if (path / "config.yaml").exists():
        weights, run = path / "checkpoints" / "model.safetensors", path / "config.yaml"
    elif path.is_dir():
        weights = next((path / n for n in _WEIGHTS if (path / n).exists()), path / _WEIGHTS[0])
    which = [word.removeprefix(_WHICH) for word in overrides if word.startswith(_WHICH)]
    overrides = [word for word in overrides if not word.startswith(_WHICH)]
    held = read_tensors(weights, which[-1] if which else None)
    tensors, record = held.tensors, held.record
    if record is not None and path.is_dir() and run.exists() and "run" in record:
        _check_owner(record["run"], run_id(read_config(run)), weights)
    # Not recorded in the training state of a run, nor in the weights of older runs.
    if record is None and weights.parent.name == "checkpoints" and run.exists():
        config = read_config(run)
        preprocess = Preprocess.of(config.data)
        said = Found("vitcli", tensors, [], {}, assumed=[*held.notes])
        return _known(said, config, preprocess, overrides)
    found = _found(weights, held)
    if record is None:
        found.assumed.extend(held.notes)
        return infer(found, overrides, img_size)
    code_base, config, preprocess, classes = recorded(record, num_classes(found.state))
    # What its reader assumes of the code base is in the record.
    said = replace(found, code_base=code_base, classes=classes, assumed=[*held.notes])
    return _known(said, config, preprocess, overrides)


def _check_owner(owner: str, run: str, weights: Path) -> None:
    if owner != run:
        raise ValueError(
            f"{weights} is of the run {owner}, and the config.yaml there describes another, {run}"
        )


def _found(weights: Path, held: Read) -> Found:
    """Returns the file's weights under our names; its own names say whose they are."""
    config, processor = (
        _described(weights.with_name(name)) if weights.name in _WEIGHTS else None
        for name in ("config.json", "preprocessor_config.json")
    )
    try:
        found = _read_as(held, config, processor)
    except (TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
        what = f"{type(error).__name__}: {error}".split("\n")[0]
        whose = "config.json, preprocessor_config.json or weights are" if config else "it is"
        raise ValueError(f"{whose} not as its code writes it ({what})") from None
    if found is None:
        raise ValueError("no names of a model in Google's, timm's, Hugging Face's or our code")
    return found


def _read_as(
    held: Read, config: dict[str, Any] | None, processor: dict[str, Any] | None
) -> Found | None:
    """Returns what the reader of the names' code base makes of them; None: there is none."""
    tensors = held.tensors
    if places(tensors, google.ANCHOR):
        return read_google(tensors)
    if places(tensors, big_transfer.ANCHOR):
        return read_big_transfer(tensors)
    if held.record is not None:
        return Found("vitcli", tensors, [], {})
    if any(name.endswith("embeddings.patch_embeddings.projection.weight") for name in tensors):
        return read_huggingface(tensors, config, processor)
    if torchvision.ANCHOR in tensors:
        return read_torchvision(tensors)
    if {"patch_embed.proj.weight", "stem.conv.weight"} & set(tensors):
        return read_timm(tensors, config, held.arguments)
    return None


def _described(path: Path) -> dict[str, Any] | None:
    """Returns what a JSON file beside the weights says; None: there is none."""
    if not path.exists():
        return None
    found = read_json(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} holds no keys")
    return found


def _known(
    found: Found, config: RunConfig, preprocess: Preprocess, overrides: Sequence[str]
) -> Checkpoint:
    """Returns the checkpoint whose config need not be inferred. Raises ValueError."""
    for word in overrides:
        if word.startswith(_IMG_SIZE):
            raise ValueError(f"{word}: is not read here, the file itself says which images")
    own = dict(flat(asdict(config)))
    config = override(config, overrides) if overrides else config
    found.assumed.extend(
        f"{key}={value}, where the file says {own.get(key)}"
        for key, value in flat(asdict(config))
        if value != own.get(key)
    )
    known = Checkpoint(
        found.code_base,
        config,
        found.state,
        num_classes(found.state),
        preprocess,
        found.unused,
        assumed=found.assumed,
        classes=found.classes,
    )
    check_shapes(known)
    return known


def _download(repo: str) -> Path:
    """Returns the folder of a repository of Hugging Face's Hub; fetched unless cached."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    described = ["config.json", "preprocessor_config.json"]
    try:
        for weights in _WEIGHTS:
            shards = weights.replace(".", "-*.", 1).removesuffix(".index.json")
            folder = Path(snapshot_download(repo, allow_patterns=[*described, weights, shards]))
            if (folder / weights).exists():
                return folder
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise ValueError(f"hf:{repo}: {str(error).splitlines()[0]}") from None
    raise ValueError(f"hf:{repo}: has none of {', '.join(_WEIGHTS)}")
