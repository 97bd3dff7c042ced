"""Answers for programs: one object on standard output, of the keys that docs/programs.md lists."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_up
import pytest
from helpers import ROOT, Ended

from vitcli import bench
from vitcli.catalog import options
from vitcli.listing import KINDS
from vitcli.output import plain


def documented(command: str) -> set[str]:
    """Returns the keys in the command's table."""
    text = (ROOT / "docs/programs.md").read_text()
    _, _, section = text.partition(f"\n## {command}\n")
    rows = re.findall(r"^\| (`[^|]*`) \|", section.partition("\n## ")[0], re.MULTILINE)
    return {key for row in rows for key in re.findall(r"`(\w+)`", row)}


def answered(ended: Ended, command: str, code: int = 0) -> dict[str, Any]:
    """Returns the object, less its format and command."""
    assert ended.code == code, ended.err

    def no_constant(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    found = json.loads(ended.out, parse_constant=no_constant)
    assert ended.out.count("\n") == 1
    assert (found.pop("format"), found.pop("command")) == (1, command)
    return dict(found)


def test_what_json_has_not() -> None:
    found = plain({1: (math.nan, math.inf, 0.5), "path": Path("a/b"), "none": None, "yes": True})
    assert found == {"1": [None, None, 0.5], "path": "a/b", "none": None, "yes": True}


def test_a_study_from_plan_to_report(tmp_path: Path, vitcli: Callable[..., Ended]) -> None:
    values = {"A": [[0.1, 0.2]] * 3, "B": [[s, math.nan] for s in (0.29, 0.3, 0.31)]}
    results = made_up.results(values, made_up.claim("difference", ["B-c0", "A-c0"]))
    folder = made_up.write(results, tmp_path)
    status = answered(vitcli("status", folder.name, "--outputs", str(tmp_path), "--json"), "status")
    assert status.keys() == documented("status")
    assert status["states"] == {"done": 9, "failed": 3}
    assert {run["value"] for run in status["runs"]} == {0.1, 0.2, 0.29, 0.3, 0.31, None}
    assert {run["cell"] for run in status["runs"]} == {"A-c0", "A-c1", "B-c0", "B-c1"}
    report = answered(vitcli("report", folder.name, "--outputs", str(tmp_path), "--json"), "report")
    assert report.keys() == {"study", "scale", "metric", "folder", "claims"}
    assert report.keys() == documented("report")
    (claim,) = report["claims"]
    assert claim["pairs"][0]["effect"] == pytest.approx(0.2)
    every = answered(vitcli("report", "--all", "--outputs", str(tmp_path), "--json"), "report")
    (listed,) = every["studies"]
    assert (listed["folder"], listed["verdicts"][0]["word"]) == (folder.name, claim["verdict"])
    wrong = vitcli("status", "nothing", "--outputs", str(tmp_path), "--json")
    assert (wrong.code, wrong.out) == (2, "")


def test_plan_has_the_numbers_of_its_table(vitcli: Callable[..., Ended], tmp_path: Path) -> None:
    words = ["plan", "pos-emb", f"outputs={tmp_path}", "flops_per_second=1e12"]
    plan = answered(vitcli(*words, "--processes", "2", "--json"), "plan")
    assert plan.keys() == documented("plan")
    assert plan["runs_to_go"] == plan["runs"] == sum(cell["runs"] for cell in plan["cells"])
    assert plan["flops_to_go"] == pytest.approx(sum(c["runs"] * c["flops"] for c in plan["cells"]))
    assert plan["seconds"] == pytest.approx(plan["flops_to_go"] / 1e12)
    assert all(cell["memory_bytes"] > 1e6 for cell in plan["cells"])
    unknown = answered(vitcli(*words[:-1], "--json"), "plan")
    assert unknown["seconds"] is None
    said = vitcli(*words).out
    assert f"{plan['flops_to_go']:.3g} FLOPs, evaluations included" in said
    assert all(f"{cell['parameters']:,}" in said for cell in plan["cells"])


def test_eval_and_data_check(vitcli: Callable[..., Ended], tiny: list[str]) -> None:
    assert vitcli("train", *tiny).code == 0
    outputs = Path(tiny[-1].partition("=")[2])
    (run,) = (outputs / "runs").iterdir()
    found = answered(vitcli("eval", str(run), f"outputs={outputs}", "--json"), "eval")
    assert found.keys() == documented("eval")
    assert found["metrics"].keys() >= {"val/top1"}
    checked = answered(vitcli("data", "check", *tiny[:3], "--json"), "data check")
    assert checked.keys() == documented("data check")
    assert [part["images"] for part in checked["parts"]] == [256, 64]
    assert len(checked["classes"]) == 8
    assert checked["bad"] == {}


@pytest.mark.parametrize("kind", ["models", "data", "recipes", "claims", "settings"])
def test_lists(vitcli: Callable[..., Ended], kind: str) -> None:
    found = answered(vitcli("list", kind, "--json"), "list")
    assert found.keys() == {kind}
    headings = {heading.lstrip("#") for heading in KINDS[kind].headings}
    assert all(row.keys() == headings for row in found[kind])
    if kind == "models":
        assert {row["model"] for row in found[kind]} == options("model").keys()
        (b,) = (row for row in found[kind] if row["model"] == "b")
        assert b["parameters"] == 86_567_656


def test_doctor(vitcli: Callable[..., Ended], tmp_path: Path) -> None:
    found = answered(vitcli("doctor", "--outputs", str(tmp_path), "--json"), "doctor")
    assert found.keys() == documented("doctor")
    for check in found["checks"]:
        assert check.keys() == {"name", "says", "todo", "stops"}
    assert vitcli("list", "--json").code == 2


def test_bench_decides_itself_what_is_compiled(vitcli: Callable[..., Ended]) -> None:
    ended = vitcli("bench", "train", "compile=off")
    assert (ended.code, ended.err) == (
        2,
        "vitcli: compile=: bench times a step both compiled and not\n",
    )


def test_bench(vitcli: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"ours": 3.0, "plain": 2.0, "drawn": 9.0, "timm_fp32": 2.0, "ratio": 1.5}
    monkeypatch.setattr(bench, "bench_step", lambda name, words: times)
    monkeypatch.setattr("vitcli.bench_data.bench_data", lambda: {"jpeg_folder": {"ours": 1.0}})
    found = answered(vitcli("bench", "--json"), "bench")
    assert found.keys() == documented("bench") & {"train", "data"}
    assert found["train"]["nano"] == times
    assert answered(vitcli("bench", "data", "--json"), "bench").keys() == {"data"}


def test_exit_codes_are_those_of_the_table(
    vitcli: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*given: object) -> None:
        raise KeyboardInterrupt

    folder = made_up.write(made_up.results({"A": [[0.1]], "B": [[0.2]]}), tmp_path)
    here = ("--outputs", str(tmp_path))
    codes = [vitcli("report", folder.name, *here).code, vitcli("report", "none", *here).code]
    (tmp_path / "studies/broken").mkdir()
    (tmp_path / "studies/broken/plan.json").write_text("{}")
    codes.append(vitcli("report", "--all", *here).code)
    monkeypatch.setattr("vitcli.report.build.write_report", stop)
    codes.append(vitcli("report", folder.name, *here).code)
    assert codes == [0, 2, 1, 130]
    section = (ROOT / "docs/programs.md").read_text().partition("## Exit codes")[2]
    table = section.partition("\n## ")[0]
    assert re.findall(r"^\| (\d+) \|", table, re.MULTILINE) == sorted(map(str, codes), key=int)


def test_a_claim_of_no_kind_is_one_line_and_stops_no_other_report(
    vitcli: Callable[..., Ended], tmp_path: Path
) -> None:
    results = made_up.results({"A": [[0.1]], "B": [[0.2]]}, made_up.claim("mean", ["B-c0", "A-c0"]))
    folder = made_up.write(results, tmp_path)
    ended = vitcli("report", folder.name, "--outputs", str(tmp_path))
    assert (ended.code, len(ended.err.splitlines())) == (2, 1)
    assert "claim c: of=mean: choose from difference" in ended.err
    every = vitcli("report", "--all", "--outputs", str(tmp_path))
    assert (every.code, "of=mean" in every.out) == (1, True), every.err
