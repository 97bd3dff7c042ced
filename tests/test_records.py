"""What the files of a run say, however broken: a word and a reason, never an exception."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from vitcli.records import Run, read_run


def run(tmp_path: Path, **files: str) -> Run:
    folder = tmp_path / "r"
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name}.json").write_text(text)
    return read_run("r", tmp_path)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ('{"metrics": {"m": NaN}}', "m is nan"),
        ('{"metrics": {"m": null}}', "m is None"),
        ('{"metrics": {"val/top1": 0.5}}', "no m"),
        ('{"metrics"', "unreadable: result.json: not valid JSON"),
        ("[]", "unreadable: result.json: not one of vitcli's files"),
        ("{}", "unreadable: result.json: metrics is None, not a mapping"),
        (
            '{"format": 2, "metrics": {}}',
            "unreadable: result.json: format 2 of another version",
        ),
    ],
)
def test_a_result_without_the_number_says_why(tmp_path: Path, result: str, said: str) -> None:
    found = run(tmp_path, result=result)
    assert math.isnan(found.value("m"))
    assert (found.lacks("m") or "").startswith(said)
    assert str(tmp_path) not in (found.lacks("m") or "")


@pytest.mark.parametrize("status", ["{", "[]", "{}", '{"state": "running"}'])
def test_a_status_that_cannot_be_read_is_the_run_s_error(tmp_path: Path, status: str) -> None:
    found = run(tmp_path, status=status)
    assert (found.state, found.failed) == ("unreadable", True)
    assert (found.error or "").startswith("status.json")


def test_runs_without_files_or_result_are_not_done(tmp_path: Path) -> None:
    assert read_run("none", tmp_path).state == "planned"
    found = run(tmp_path, status='{"state": "done"}')
    assert found.error == "status.json says done, but there is no result.json"
    assert found.value("m") != found.value("m")


def test_a_number_that_is_not_finite_is_a_failure(tmp_path: Path) -> None:
    text = json.dumps({"metrics": {"m": 0.5, "train/loss": math.inf}})
    found = run(tmp_path, result=text)
    assert (found.state, found.value("m"), found.failed) == ("done", 0.5, True)
