"""Checksums in files of weights and states, so that a flipped bit is never trained on. No torch.

A zip (torch.save, npz) has one of each tensor, which torch does not look at. A safetensors file has
none: our record in its header holds one, of the file with zeros in that place.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path

# What zipfile raises for a flipped bit, by which an entry is said to be compressed (zlib.error), in
# an unknown way (NotImplementedError), or encrypted (RuntimeError): damage, like the others.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)
BLANK = "00000000"  # in the record until the file is sealed
_SEAL = re.compile(rb'\\"crc32\\": \\"([0-9a-f]{8})\\"')  # JSON in the header's JSON
_BLOCK = 1 << 24  # bytes


def seal(path: Path) -> None:
    """Puts the checksum into a safetensors file whose record has `crc32: BLANK`."""
    found = _sealed(path)
    assert found is not None, "no crc32 in the record"
    start, _ = found
    checksum = _checksum(path, start)
    with path.open("rb+") as file:
        file.seek(start)
        file.write(checksum)


def check_seal(path: Path) -> bool:
    """Returns whether a safetensors file is sealed. Raises ValueError if it was changed since."""
    found = _sealed(path)
    if found is not None and _checksum(path, found[0]) != found[1]:
        raise ValueError("its checksum does not match: the file is damaged")
    return found is not None


def check_zip(path: Path) -> None:
    """Raises ValueError if the file is no zip, or an entry is not what was written."""
    try:
        with zipfile.ZipFile(path) as file:
            bad = file.testzip()
    except _DAMAGE as error:
        raise ValueError(str(error)) from None
    if bad is not None:
        raise ValueError(f"the checksum of {bad} does not match: the file is damaged")


def _sealed(path: Path) -> tuple[int, bytes] | None:
    """Returns where the checksum is, and what it is."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > path.stat().st_size:
            raise ValueError("its header is longer than the file")
        found = _SEAL.search(file.read(size))
    return None if found is None else (8 + found.start(1), found[1])


def _checksum(path: Path, start: int) -> bytes:
    """Returns the CRC-32 of the file with BLANK at `start`, in eight digits."""
    with path.open("rb") as file:
        found = zlib.crc32(file.read(start))
        file.read(len(BLANK))
        found = zlib.crc32(BLANK.encode(), found)
        while block := file.read(_BLOCK):
            found = zlib.crc32(block, found)
    return b"%08x" % found
