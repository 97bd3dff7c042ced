"""Files of named tensors: safetensors, npz, torch.save. Nothing in a file is ever run."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
import zlib
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
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
    held, record = _read_index(path) if path.name.endswith(".index.json") else _read_file(path)
    try:
        tensors, notes = unwrap(held, which)
        tensors = {name: _plain(name, tensor) for name, tensor in tensors.items()}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    known = None if record is None else check_format(path, record)
    return Read(tensors, known, notes, timms_arguments(held))


def _read_file(path: Path) -> tuple[Any, dict[str, Any] | None]:
    """Returns what one file holds, and our record if it has one."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if not path.name.endswith(_READ):
        raise ValueError(f"{path}: the name must end in one of {', '.join(_READ)}")
    _check_kind(path)
    try:
        return _READERS.get(path.suffix, _read_torch)(path)
    except _BROKEN as error:
        if isinstance(error, pickle.UnpicklingError) or "allow_pickle" in str(error):
            raise ValueError(
                f"{path}: refused, as it holds more than tensors and plain values: reading it "
                "could run code"
            ) from None
        first = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: damaged, or not what its suffix says ({first})") from None


def _check_kind(path: Path) -> None:
    """Raises ValueError for what is often saved under the name of weights."""
    with path.open("rb") as file:
        first = file.read(64)
    if first.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path}: a pointer of git-lfs, not the file: `git lfs pull` fetches it")
    if first.lstrip().startswith(b"<") and first[8:9] != b"{":
        raise ValueError(f"{path}: a page of HTML or XML, not the file that it is named after")
    if first[8:9] == b"{" and path.suffix not in (".safetensors", ".npz"):
        raise ValueError(f"{path}: safetensors by its content: name it .safetensors")


def _read_index(path: Path) -> tuple[dict[str, Any], None]:
    """Returns the tensors of all files that an index of Hugging Face's names."""
    index = read_json(path) if path.is_file() else None
    placed = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(placed, dict) or not all(isinstance(v, str) for v in placed.values()):
        raise ValueError(f"{path}: no weight_map of names and files")
    held: dict[str, Any] = {}
    for name in sorted(set(placed.values())):
        shard = path.parent / Path(name).name
        if not shard.is_file():
            raise ValueError(f"{path}: {name}, which it names, is not there")
        part, _ = _read_file(shard)
        held |= part if isinstance(part, dict) else {}
    if absent := [name for name in placed if name not in held]:
        raise ValueError(f"{path}: not in its files: {listing(absent)}")
    return held, None


def _plain(name: str, tensor: Tensor) -> Tensor:
    """Returns the numbers alone, of floats as float32. Raises ValueError: there are none."""
    if tensor.is_meta or tensor.is_quantized or tensor.layout != torch.strided:
        kind = "quantized" if tensor.is_quantized else "meta" if tensor.is_meta else tensor.layout
        raise ValueError(f"{name} is no plain tensor ({kind}): save it as one of float32")
    tensor = tensor.detach()
    return tensor.float() if tensor.is_floating_point() else tensor


def write_tensors(path: Path, tensors: dict[str, Tensor], record: dict[str, Any] | None) -> None:
    """Writes tensors, and our record if given, in the format of the path's suffix."""
    sealed = record is not None and path.suffix == ".safetensors"
    if record is not None:
        record = {"format": FORMAT, **record, **({"crc32": BLANK} if sealed else {})}
    text = {} if record is None else {_RECORD: json.dumps(record)}
    tensors = {name: tensor.contiguous() for name, tensor in _apart(tensors)}
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


def _apart(tensors: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yields the tensors, each with memory of its own: safetensors refuses what is shared."""
    seen = set[int]()
    for name, tensor in tensors.items():
        memory = tensor.untyped_storage().data_ptr()
        yield name, tensor.clone() if memory in seen else tensor
        seen.add(memory)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    sealed = check_seal(path)
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        record = _parsed((file.metadata() or {}).get(_RECORD))
    if not sealed and record is not None and "format" in record:
        raise ValueError("its checksum is missing")  # the first files had none, and no format
    return tensors, record


def _read_npz(path: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    # Opened here: numpy leaves the file open if it is broken.
    with path.open("rb") as opened:
        file = np.load(opened, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("one array, of .npy")
        with file:
            arrays = {name: file[name] for name in file.files}
    record = arrays.pop(_RECORD, None)
    held = {name: _tensor(array) for name, array in arrays.items()}
    return held, None if record is None else _parsed(str(record))


def _tensor(array: np.ndarray[Any, Any]) -> Tensor | np.ndarray[Any, Any]:
    """Returns the array as a tensor; itself where torch has none of its kind, as of text."""
    if array.dtype == np.dtype("V2"):  # what numpy makes of bfloat16
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    try:
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
    except TypeError:
        return array


def _read_torch(path: Path) -> tuple[Any, dict[str, Any] | None]:
    if zipfile.is_zipfile(path):  # torch's older format is none
        check_zip(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other pickle protocols, before the error that counts
        # What timm's train.py keeps its arguments in; it holds values and runs nothing.
        with torch.serialization.safe_globals([Namespace]):
            held = torch.load(path, map_location="cpu", weights_only=True)
    return held, _parsed(held.get(_RECORD)) if isinstance(held, dict) else None


def _parsed(record: Any) -> dict[str, Any] | None:
    """Returns our record, of its JSON. Raises ValueError: it is no object."""
    if record is None:
        return None
    try:
        found = json.loads(record)
    except (TypeError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"its entry {_RECORD!r} is no record of ours")
    return found


_READERS: dict[str, Callable[[Path], tuple[Any, dict[str, Any] | None]]] = {
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
}
