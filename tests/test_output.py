"""A run ends well, whoever stops reading what it says."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import made_up
import pytest
from helpers import ROOT, Ended, start

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


def test_a_terminal_that_closes_is_no_loss() -> None:
    import pty

    terminal, end = pty.openpty()
    stream = Lenient(io.TextIOWrapper(os.fdopen(end, "wb"), line_buffering=True))
    assert stream.write("seen\n") == 5
    os.close(terminal)
    for _ in range(3):
        assert stream.write("unseen\n") == 7
        stream.flush()
    assert stream.lost is None
    stream.close()


@pytest.mark.parametrize("words", [["--json"], []])
def test_what_a_full_disk_did_not_take_is_said(tmp_path: Path, words: list[str]) -> None:
    folder = made_up.write(made_up.results({"A": [[0.1]], "B": [[0.2]]}), tmp_path / "outputs")
    command = [sys.executable, "-m", "vitcli", "status", folder.name, *words]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            command, cwd=tmp_path, env=env, stdout=full, stderr=subprocess.PIPE, text=True
        )
    said = "vitcli: not all of the output was written: No space left on device\n"
    assert (ended.returncode, ended.stderr) == (1, said)


@pytest.mark.parametrize("columns", ["0", "1", "19"])
def test_a_width_of_nothing_is_that_of_a_page(
    columns: str, tmp_path: Path, vitcli: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made_up.write(made_up.results({"A": [[0.1]], "B": [[0.2]]}), tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    wide = vitcli("status", folder.name, "--outputs", str(tmp_path))
    assert "A-c0" in wide.out
    monkeypatch.setenv("COLUMNS", columns)
    assert vitcli("status", folder.name, "--outputs", str(tmp_path)).out == wide.out


def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    command = f"cd gone && rmdir ../gone && exec {sys.executable} -m vitcli train"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        command, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True
    )
    said = "vitcli: the current folder does not exist any more\n"
    assert (ended.returncode, ended.stderr) == (1, said)


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
