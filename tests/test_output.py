"""A run ends well, whoever stops reading what it says."""

from __future__ import annotations

import io
import os
from pathlib import Path

from helpers import start

from vitcli.output import Lenient


def test_what_nobody_reads_is_dropped() -> None:
    reader, writer = os.pipe()
    stream = Lenient(io.TextIOWrapper(os.fdopen(writer, "wb"), line_buffering=True))
    assert stream.write("heard\n") == 6
    assert os.read(reader, 9) == b"heard\n"
    os.close(reader)
    for _ in range(3):
        assert stream.write("unheard\n") == 8
        stream.flush()
    assert not stream.isatty()
    stream.close()


def test_a_run_whose_reader_goes_ends_with_a_result(tiny: list[str], tmp_path: Path) -> None:
    process = start("train", *tiny, "train.steps=300", cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline().startswith('{"step":')
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    assert list(tmp_path.glob("outputs/runs/*/result.json"))


def test_a_notebook_s_backend_of_figures_does_not_matter(tiny: list[str], tmp_path: Path) -> None:
    os.environ["MPLBACKEND"] = "module://no_such_backend"
    try:
        process = start("train", *tiny, cwd=tmp_path)
    finally:
        del os.environ["MPLBACKEND"]
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
