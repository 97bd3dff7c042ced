"""Output that cannot end a run: where nobody reads any more, it goes nowhere. Text is text.

For people by rich, for programs as one JSON object.
"""

from __future__ import annotations

import errno
import io
import json
import math
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_NARROWEST = 20  # columns in which a table can be read
FORMAT = 1  # of the answers; a key that goes, or means something else, makes it 2


class Lenient:
    """A text stream that goes on after its reader has gone: `| head`, a terminal that closes.

    Attributes:
        lost: why else something was not written, as where a disk is full.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._at_terminal = stream.isatty()
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        """Writes the text, or drops it; returns its length."""
        try:
            self._stream.write(text)
        except OSError as error:
            self._drop(error)
        return len(text)

    def flush(self) -> None:
        """Writes what is held back, or drops it."""
        try:
            self._stream.flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        """Sends all that follows nowhere, what is held back and Python's own last flush too."""
        gone = (errno.EPIPE, errno.EIO) if self._at_terminal else (errno.EPIPE,)
        if error.errno not in gone:
            self.lost = self.lost or error
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def lost_output() -> str:
    """Returns why not all of the standard output was written, empty if it was or nobody reads."""
    if not isinstance(sys.stdout, Lenient):
        return ""
    sys.stdout.flush()
    lost = sys.stdout.lost
    return f"not all of the output was written: {lost.strerror}" if lost else ""


def console(whole_lines: bool = False) -> Console:
    """Returns what prints tables and lines with the words of others as they are: [red] is no red.

    All that we print by rich goes through it.

    Args:
        whole_lines: where there is no terminal, do not wrap: a row is a line for who reads it.
    """
    from rich.console import Console

    made = Console(markup=False, emoji=False)
    if made.width < _NARROWEST:  # COLUMNS=0, or no terminal's
        made.width = 80
    if whole_lines and not made.is_terminal:
        made.width = 1000
    return made


def moves() -> bool:
    """Returns whether what is printed can change in place.

    It can at a terminal, and in a notebook with ipywidgets.
    """
    if sys.stdout.isatty():
        return True
    in_kernel = "ipykernel" in sys.modules and find_spec("ipywidgets") is not None
    return in_kernel and console().is_jupyter


def answer(command: str, content: Mapping[str, Any]) -> None:
    """Prints what a command has found as one JSON object, whose keys docs/programs.md lists."""
    print(json.dumps({"format": FORMAT, "command": command, **plain(content)}, allow_nan=False))


def plain(value: Any) -> Any:
    """Returns a value as JSON has it: of dataclasses their fields; NaN and infinities are null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if is_dataclass(value):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    return str(value) if isinstance(value, Path) else value


def be_lenient() -> None:
    """Makes standard output and errors lenient; what they cannot encode is escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            setattr(sys, name, Lenient(stream))


def plural(number: int, thing: str) -> str:
    """Returns `1 job`, `2 jobs`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
