"""What the files of a run say, however broken: a word and a reason, never an exception."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import made_up
import pytest
from helpers import Ended

from vitcli.records import Run, read_losses, read_run


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
        (f'{{"metrics": {{"m": {"9" * 400}}}}}', f"m is {'9' * 40}"),
        ('{"metrics": {"m": 1e308}}', "m is 1e+308"),
        ('{"metrics": {"m": true}}', "m is True"),
        ('{"metrics": {"m": "0.5"}}', "m is 0.5"),
        *(
            (
                f'{{"metrics": {{"m": NaN}}, "{key}": {value}}}',
                f"unreadable: result.json: {key} is {said}, not a number from 0 to 1e+100",
            )
            for key in ("params", "train_flops", "wall_s", "train_s")
            for value, said in (
                ("9" * 400, "9" * 40),
                ("1e308", "1e+308"),
                ("-1", "-1"),
                ("true", "True"),
                ("NaN", "nan"),
            )
        ),
        (
            r'{"metrics": {}, "notes": ["\ud800"]}',
            "unreadable: result.json: not valid JSON ('utf-8'",
        ),
        (r'{"metrics": {"\uDfff": 1}}', "unreadable: result.json: not valid JSON ('utf-8' codec"),
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


@pytest.mark.parametrize("value", [math.inf, math.nan, 1e308, 10**400])
def test_a_number_that_is_not_finite_is_a_failure(tmp_path: Path, value: float) -> None:
    text = json.dumps({"metrics": {"m": 0.5, "train/loss": value}})
    found = run(tmp_path, result=text)
    assert (found.state, found.value("m"), found.failed) == ("done", 0.5, True)


def test_numbers_that_do_not_fit_stop_no_report(
    tmp_path: Path, vitcli: Callable[..., Ended]
) -> None:
    claim = made_up.claim("difference", ["B-c0", "A-c0"])
    found = made_up.results({"A": [[0.1], [0.2], [0.3]], "B": [[0.3], [0.4], [0.45]]}, claim)
    folder = made_up.write(found, tmp_path)
    first, second, *_ = sorted((tmp_path / "runs").glob("*/result.json"))
    for value in ("9" * 400, "1e308", "true"):
        first.write_text(f'{{"metrics": {{"m": {value}}}}}')
        second.write_text(f'{{"metrics": {{"m": 0.2}}, "wall_s": {value}}}')
        for command in ("status", "report"):
            ended = vitcli(command, folder.name, "--outputs", str(tmp_path))
            assert (ended.code, ended.err) == (0, "")


def test_a_step_that_cannot_be_drawn_is_left_out(tmp_path: Path) -> None:
    lines = [(1, 0.5), (10**400, 0.4), (2**63, 0.4), (-1, 0.4), (2, None), (3, 1e308), (4, 0.3)]
    text = "".join(json.dumps({"step": step, "loss": loss}) + "\n" for step, loss in lines)
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "metrics.jsonl").write_text(text)
    assert read_losses("r", tmp_path) == [(1, 0.5), (4, 0.3)]
