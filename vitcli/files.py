"""Files that are whole or absent: written to a temporary name, then renamed.

What took long to make is `durable`, that is on the disk before it is renamed: after a power cut a
file may otherwise be there, and empty.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

FORMAT = 1  # of our files; one that this vitcli would read wrongly has a higher number
LARGEST = 1e100  # of a number in a file: sums of its squares are numbers too
_LONGEST = 230  # bytes of 255: a temporary name is longer
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TEMPORARY = re.compile(r"\..+\.\d+")  # a name, the process that writes


def conf_dir() -> Path:
    """Returns the folder of the shipped configs: in an installed wheel, else in the source tree."""
    here = Path(__file__).resolve().parent
    return here / "conf" if (here / "conf").is_dir() else here.parent / "conf"


def check_writable(outputs: str | Path) -> None:
    """Raises ValueError if the folder can be neither made nor written to."""
    folder = Path(outputs).absolute()
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not there.is_dir():
        raise ValueError(f"outputs={outputs}: {there} is a file, give a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"outputs={outputs}: {there} cannot be written to")


def one_line(text: object) -> str:
    """Returns the text on one line, without what steers a terminal."""
    return " ".join(_CONTROL.sub(" ", str(text)).split())


def is_name(text: str) -> bool:
    """Returns whether the text can name a file or folder inside another, and leads nowhere else."""
    leads = text in ("", ".", "..") or any(sign in text for sign in "/\\\0")
    return not leads and len(os.fsencode(text)) <= _LONGEST


def named(text: str) -> str:
    """Returns the text. Raises ValueError unless it can name a file or folder inside another."""
    if not is_name(text):
        raise ValueError(f"{text!r} is not the name of a folder")
    return text


@contextmanager
def replacing(path: Path, keep: Path | None = None, durable: bool = False) -> Iterator[Path]:
    """Gives a temporary name to write to, then `path`'s place to what is there; makes the folder.

    If the block fails, `path` stays as it was and nothing is left behind.

    Args:
        path: what is to be written.
        keep: where the file that is replaced goes; None: nowhere.
        durable: wait until the disk has what was written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        if durable:
            _sync(temporary)
        if keep is not None and path.exists():
            path.replace(keep)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Removes the temporary files that killed processes left; the caller alone writes there."""
    for path in folder.rglob(".*"):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_bytes(path: Path, data: bytes, durable: bool = False) -> None:
    """Writes `data` to `path`, replacing it at once; makes the folder if need be."""
    with replacing(path, durable=durable) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8 to `path`, replacing it at once."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any, durable: bool = False) -> None:
    """Writes `value` as JSON to `path`, replacing it at once. Raises ValueError on NaN.

    Half a character, as in the name of a file that is not UTF-8, becomes a question mark.
    """
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    if "\\ud" in text:
        text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_bytes(path, text.encode(errors="replace"), durable)


def read_json(path: Path) -> Any:
    """Returns the value in the JSON file. Raises ValueError, naming the file, if it is not JSON.

    Half a character, as `\\ud800` is, can't be written anywhere, so it is refused here.
    """
    try:
        data = path.read_bytes()
        text = data.decode(json.detect_encoding(data))  # UTF-16 too, as PowerShell's > writes
        value = json.loads(text)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from error


def is_number(value: Any, least: float = -LARGEST) -> TypeGuard[float]:
    """Returns whether a value of a file is a number that can be reckoned with: finite, not huge."""
    return type(value) in (int, float) and least <= value <= LARGEST


def write_record(path: Path, value: Mapping[str, Any], durable: bool = False) -> None:
    """Writes one of our own JSON files: `value`, and the format that it is written in."""
    write_json(path, {"format": FORMAT, **value}, durable)


def read_record(path: Path) -> dict[str, Any]:
    """Returns what `write_record` wrote, this format's or an older one's.

    Raises ValueError, naming the file: it is no JSON object, or of a newer vitcli.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path}: not one of vitcli's files, it holds no keys")
    return check_format(path, found)


def check_format(path: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Returns `found` without its format. Raises ValueError if a newer vitcli wrote it."""
    written = found.get("format", FORMAT)  # the first files did not say
    if type(written) is not int or written > FORMAT:
        raise ValueError(
            f"{path}: format {written} of another version of vitcli; this one reads format {FORMAT}"
        )
    return {key: value for key, value in found.items() if key != "format"}
