"""Files of named tensors: safetensors, npz, torch.save. Nothing in a file is ever run."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
import zlib
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vitcli.files import FORMAT, check_format, read_json, replacing
from vitcli.models.convert.checkpoint import listing
from vitcli.models.convert.containers import timms_arguments, unwrap
from vitcli.seal import BLANK, check_seal, check_zip, seal

SUFFIXES = (".safetensors", ".npz", ".bin", ".pt", ".pth")  # that are written
_READ = (*SUFFIXES, ".ckpt", ".pth.tar", ".pt.tar")
_RECORD = "vitcli"  # the entry that holds what no tensor can: config, preprocessing
_BROKEN = (
    SafetensorError, zipfile.BadZipFile, zlib.error, pickle.UnpicklingError, EOFError, RuntimeError,
    ValueError,
)  # fmt: skip


class Read(NamedTuple):
    """What a file holds.

    Args:
        tensors: by name, numbers as float32.
        record: ours, if it has one.
        notes: which of several sets of weights was taken, and what was taken off their names.
        arguments: what timm's train.py keeps of its model, as timm's config.json has it.
    """

    tensors: dict[str, Tensor]
    record: dict[str, Any] | None = None
    notes: Sequence[str] = ()
    arguments: dict[str, Any] | None = None


def read_tensors(path: Path, which: str | None = None) -> Read:
    """Returns what the file holds.

    Args:
        path: a file, or an index of several (`model.safetensors.index.json`).
        which: a word of the name of the set that is wanted, as `ema`; None: the usual one.
    Raises:
        ValueError: in one line: no such file, an unknown suffix, a broken file, or one that holds
            more than tensors and plain values.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if path.name.endswith(".index.json"):
        return _read_index(path)
    if not path.name.endswith(_READ):
        raise ValueError(f"{path}: the name must end in one of {', '.join(_READ)}")
    try:
        held, record = _READERS.get(path.suffix, _read_torch)(path)
    except _BROKEN as error:
        if isinstance(error, pickle.UnpicklingError) or "allow_pickle" in str(error):
            raise ValueError(
                f"{path}: refused, as it holds more than tensors and plain values: reading it "
                "could run code"
            ) from None
        first = str(error).strip().split("\n")[0]
        raise ValueError(f"{path}: damaged, or not what its suffix says ({first})") from None
    try:
        tensors, notes = unwrap(held, which)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    tensors = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    known = None if record is None else check_format(path, json.loads(record))
    return Read(tensors, known, notes, timms_arguments(held))


def _read_index(path: Path) -> Read:
    """Returns the tensors of all files that an index of Hugging Face's names."""
    placed = read_json(path).get("weight_map")
    if not isinstance(placed, dict) or not all(isinstance(v, str) for v in placed.values()):
        raise ValueError(f"{path}: no weight_map of names and files")
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(placed.values())):
        shard = path.parent / Path(name).name
        if not shard.is_file():
            raise ValueError(f"{path}: {name}, which it names, is not there")
        tensors |= read_tensors(shard).tensors
    if absent := [name for name in placed if name not in tensors]:
        raise ValueError(f"{path}: not in its files: {listing(absent)}")
    return Read(tensors)


def write_tensors(path: Path, tensors: dict[str, Tensor], record: dict[str, Any] | None) -> None:
    """Writes tensors, and our record if given, in the format of the path's suffix."""
    sealed = record is not None and path.suffix == ".safetensors"
    if record is not None:
        record = {"format": FORMAT, **record, **({"crc32": BLANK} if sealed else {})}
    text = {} if record is None else {_RECORD: json.dumps(record)}
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with replacing(path, durable=True) as temporary:
        if path.suffix == ".safetensors":
            temporary.touch()
            mode = temporary.stat().st_mode
            # One entry, as several come in any order. Hugging Face asks for this one.
            save_file(tensors, temporary, text or {"format": "pt"})
            temporary.chmod(mode)  # save_file lets nobody else read
            if sealed:
                seal(temporary)
        elif path.suffix == ".npz":
            arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in tensors.items()}
            arrays |= {name: np.array(value) for name, value in text.items()}
            with temporary.open("wb") as file:  # a name would be given a suffix
                np.savez(file, **arrays)
        else:
            torch.save({"state_dict": tensors, **text}, temporary)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], str | None]:
    sealed = check_seal(path)
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        record = (file.metadata() or {}).get(_RECORD)
    if not sealed and record is not None and "format" in json.loads(record):
        raise ValueError("its checksum is not there")  # the first files had none, and no format
    return tensors, record


def _read_npz(path: Path) -> tuple[dict[str, Tensor], str | None]:
    # Opened here: numpy leaves the file open if it is broken.
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    record = arrays.pop(_RECORD, None)
    return {k: _tensor(v) for k, v in arrays.items()}, None if record is None else str(record)


def _tensor(array: np.ndarray[Any, Any]) -> Tensor:
    if array.dtype == np.dtype("V2"):  # what numpy makes of bfloat16
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _read_torch(path: Path) -> tuple[Any, str | None]:
    if zipfile.is_zipfile(path):  # torch's older format is none
        check_zip(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other pickle protocols, before the error that counts
        # What timm's train.py keeps its arguments in; it holds values and runs nothing.
        with torch.serialization.safe_globals([Namespace]):
            held = torch.load(path, map_location="cpu", weights_only=True)
    return held, held.get(_RECORD) if isinstance(held, dict) else None


_READERS: dict[str, Callable[[Path], tuple[Any, str | None]]] = {
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
}
