"""Output that cannot end a run: where nobody reads any more, it goes nowhere."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any


class Lenient:
    """A text stream that goes on after its reader has gone: `| head`, a terminal that closes."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes the text, or drops it; returns its length."""
        try:
            self._stream.write(text)
        except OSError:
            self._drop()
        return len(text)

    def flush(self) -> None:
        """Writes what is held back, or drops it."""
        try:
            self._stream.flush()
        except OSError:
            self._drop()

    def _drop(self) -> None:
        """Sends all that follows nowhere, what is held back and Python's own last flush too."""
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def be_lenient() -> None:
    """Makes standard output and errors lenient; what they cannot encode is escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            setattr(sys, name, Lenient(stream))
