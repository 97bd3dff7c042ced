"""Damaged files of ours: one line that names the file, never a traceback, never another result."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import made_up
import pytest
import yaml
from helpers import Ended
from hypothesis import given, settings
from hypothesis import strategies as st

from vitcli.compose import compose
from vitcli.files import read_record
from vitcli.frozen import read_config, write_config
from vitcli.identity import run_id
from vitcli.records import read_losses, read_run
from vitcli.runner import run
from vitcli.schema import Study
from vitcli.status import read_status

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
STATUS = {"state": "running", "host": "h", "pid": 1, "beat": 1.0, "step": 1, "num_steps": 2}
RESULT = {"metrics": {"m": 1.0}, "params": 1, "wall_s": 1.0, "env": {"host": "h"}}


def damaged(whole: dict[str, object]) -> st.SearchStrategy[bytes]:
    """Bytes, another value, or the whole file cut short or with other values."""
    text = json.dumps(whole).encode()
    other = st.dictionaries(st.sampled_from(sorted(whole)), JSON, max_size=3)
    return (
        st.binary(max_size=50)
        | JSON.map(lambda value: json.dumps(value).encode())
        | st.integers(0, len(text)).map(lambda end: text[:end])
        | other.map(lambda values: json.dumps({**whole, **values}).encode())
    )


@given(status=damaged(STATUS), result=st.none() | damaged(RESULT), log=st.binary(max_size=50))
@settings(max_examples=150, deadline=None)
def test_reading_a_run_never_raises(
    status: bytes, result: bytes | None, log: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    runs = tmp_path_factory.mktemp("runs")
    (runs / "r").mkdir()
    (runs / "r" / "status.json").write_bytes(status)
    (runs / "r" / "metrics.jsonl").write_bytes(log)
    if result is not None:
        (runs / "r" / "result.json").write_bytes(result)
    assert isinstance(read_status(runs / "r")["state"], str)
    found = read_run("r", runs)
    if found.state == "unreadable" and found.error is not None:
        assert found.error.startswith(("status.json: ", "result.json: "))
    assert "\n" not in found.said
    assert isinstance(read_losses("r", runs), list)


@given(text=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=100, deadline=None)
def test_a_damaged_config_or_plan_is_one_line(
    text: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("run") / "config.yaml"
    path.write_bytes(text)
    for reads in (read_config, Study.from_plan):
        with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
            reads(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scale": "zz"}, "scale=zz: choose from laptop, gpu, paper"),
        ({"scale": "gpu"}, "scale=gpu: claim c has no size for it"),
        ({"rows": {"A": {"label": "A"}}}, "cells.row=B: choose from A"),
        ({"columns": {"d": {"label": "D"}}}, "cells.column=c0: choose from d"),
        ({"cells": []}, "cells=[]: give at least one"),
        ({"seeds": []}, "seeds=[]: give at least one"),
    ],
)
def test_a_plan_that_leads_nowhere_is_one_line(
    changes: dict[str, object], said: str, tmp_path: Path
) -> None:
    claim = made_up.claim("difference", ["B-c0", "A-c0"])
    folder = made_up.write(made_up.results({"A": [[0.1]], "B": [[0.3]]}, claim), tmp_path)
    path = folder / "plan.json"
    assert Study.from_plan(path).scale == "laptop"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ValueError, match=re.escape(f"{path}: {said}")):
        Study.from_plan(path)


FIGURE = {"table": "table9", "metric": "average", "pairs": [["vit", "resnet"]]}
CURVE = {"table": "table9", "x": "exaflops", "y": "average"}


@pytest.mark.parametrize(
    ("of_study", "of_claim", "said"),
    [
        ({"cells": []}, {}, "cells=[]: give at least one"),
        ({"x": {"of": "foo", "label": "x"}}, {}, "x.of=foo: choose from column, train_flops"),
        ({"paper": {"where": "w", "metric": "m", "curve": CURVE}}, {}, "paper.curve: table=table9"),
        ({}, {"of": "foo"}, "claim c: of=foo: choose from difference"),
        ({}, {"pairs": []}, "claim c: pairs=[]: give at least one"),
        ({}, {"pairs": [["A-c0"]]}, "claim c: pairs: [A-c0]: of=difference takes 2 cells"),
        ({}, {"paper": FIGURE}, "claim c: paper.table=table9: choose from table5"),
    ],
)
def test_a_plan_that_no_analysis_reads_is_one_line_and_others_go_on(
    of_study: dict[str, object],
    of_claim: dict[str, object],
    said: str,
    tmp_path: Path,
    vitcli: Callable[..., Ended],
) -> None:
    claim = made_up.claim("difference", ["B-c0", "A-c0"])
    found = made_up.results({"A": [[0.1]] * 2, "B": [[0.3], [0.4]]}, claim)
    path = made_up.write(found, tmp_path) / "plan.json"
    other = tmp_path / "studies" / "other-laptop" / "plan.json"
    other.parent.mkdir()
    other.write_bytes(path.read_bytes())
    held = json.loads(path.read_text())
    held = {**held, "claims": [{**held["claims"][0], **of_claim}], **of_study}
    path.write_text(json.dumps(held))
    where = ("--outputs", str(tmp_path))
    for command in ("report", "status"):
        ended = vitcli(command, path.parent.name, *where)
        assert (ended.code, len(ended.err.splitlines())) == (2, 1), ended.err
        assert ended.err.startswith(f"vitcli: {path}: {said}")
    every = vitcli("report", "--all", *where)
    assert (every.code, every.err) == (1, "")
    assert f"plan.json: {said}" in every.out
    assert (other.parent / "report" / "report.html").exists()


def test_a_damaged_run_does_not_stop_the_others(
    tmp_path: Path, vitcli: Callable[..., Ended]
) -> None:
    found = made_up.results({"A": [[0.1, 0.2]] * 3, "B": [[0.3, 0.4]] * 3})
    folder = made_up.write(found, tmp_path)
    bad, *_ = found.runs
    other = tmp_path / "studies" / "other-laptop"
    other.mkdir()
    for text in (b"\x00\xff", b"null", b"[]", b"{}", b"{", b'{"metrics": {}, "env": []}'):
        (tmp_path / "runs" / bad / "result.json").write_bytes(text)
        (other / "plan.json").write_bytes(text)
        for command in (
            ("status", folder.name), ("report", folder.name), ("report", "--all"),
            ("status", found.study.name),
        ):  # fmt: skip
            ended = vitcli(*command, "--outputs", str(tmp_path))
            assert ended.code == int("--all" in command), (command, ended.err)  # one has failed
            assert "Traceback" not in ended.out + ended.err
        broken = vitcli("status", other.name, "--outputs", str(tmp_path))
        assert broken.code == 2
        assert broken.err.startswith(f"vitcli: {other / 'plan.json'}: ")
        assert len(broken.err.splitlines()) == 1


def edit(path: Path, **values: object) -> None:
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **values}))


@pytest.mark.parametrize("finished", [False, True])
def test_an_edited_config_is_refused_with_the_difference(
    finished: bool, tiny: list[str], vitcli: Callable[..., Ended]
) -> None:
    config = compose(tiny)
    folder = Path(config.outputs) / "runs" / run_id(config)
    write_config(folder, config)
    if finished:
        run(config, quiet=True)
    held = yaml.safe_load((folder / "config.yaml").read_text())
    edit(folder / "config.yaml", recipe={**held["recipe"], "lr": 0.1}, threads=2)
    ended = vitcli("train", *tiny)
    assert ended.code == 2
    assert "was changed, it is no longer this run's: recipe.lr is 0.1, not 0.003" in ended.err
    assert "threads" not in ended.err
    if finished:
        assert vitcli("eval", str(folder)).code == 2
    write_config(folder, config)
    edit(folder / "config.yaml", threads=2, surprise=1)
    assert "surprise is no setting" in vitcli("train", *tiny).err


def test_each_file_of_a_run_says_its_format(tiny: list[str]) -> None:
    folder = run(compose(tiny), quiet=True).folder
    for name in ("env.json", "result.json", "status.json"):
        path = folder / name
        held = json.loads(path.read_text())
        assert held["format"] == 1
        path.write_text(json.dumps({**held, "format": 2}))
        with pytest.raises(ValueError, match="format 2 of another version of vitcli; this"):
            read_record(path)
    assert read_config(folder / "config.yaml") == compose(tiny)
    edit(folder / "config.yaml", format=2)
    with pytest.raises(ValueError, match="format 2 of another"):
        read_config(folder / "config.yaml")
