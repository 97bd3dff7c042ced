"""Names stay inside: whatever the texts of a config, a study or a file are."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import TWO_CELLS, Ended
from made_up import single, write

from vitcli.compose import compose
from vitcli.config import RunConfig
from vitcli.files import is_name
from vitcli.identity import run_id
from vitcli.rules import validate
from vitcli.runner import run
from vitcli.study.plan import freeze, make_plan

EVIL = ("../../../evil", "a/b", "..", ".", "/tmp/evil-of-vitcli", "con\0", "x" * 300, "a\nb", "-rf")
PLACES = {"outputs", "data.root"}  # a user's own: what they name is meant


def texts(node: Any, prefix: str = "") -> Iterator[str]:
    """The keys of all text in a config."""
    for f in fields(node):
        value = getattr(node, f.name)
        if is_dataclass(value):
            yield from texts(value, f"{prefix}{f.name}.")
        elif "str" in str(f.type) or f.type == "Any":
            yield prefix + f.name


def put(config: RunConfig, key: str, value: str) -> None:
    *groups, name = key.split(".")
    node: Any = config
    for group in groups:
        node = getattr(node, group)
    setattr(node, name, [value, value] if isinstance(getattr(node, name), list) else value)


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder three deep, in which commands run."""
    folder = tmp_path / "a" / "b" / "c"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def outside(inside: Path) -> list[Path]:
    """The files that lie around the folder, or in it but not in `outputs`."""
    root, allowed = inside.parents[2], inside / "outputs"
    found = [p for p in root.rglob("*") if p.is_file() and allowed not in p.parents]
    return found + list(Path("/tmp").glob("evil-of-vitcli*"))


@pytest.mark.parametrize("key", [key for key in texts(RunConfig()) if key not in PLACES])
def test_a_run_is_written_into_outputs_whatever_its_texts(
    key: str, inside: Path, tiny: list[str]
) -> None:
    few = [word for word in tiny if not word.startswith(("outputs", "train.steps"))]
    for value in EVIL:
        config = compose([*few, "train.steps=1", "evals=upstream"])
        put(config, key, value)
        with suppress(ValueError, OSError):
            validate(config)
            folder = run(config, quiet=True).folder
            assert folder.resolve().parent == inside / "outputs" / "runs"
            (folder / "result.json").unlink()
        assert not list(inside.glob("outputs/runs/*/result.json"))
        assert outside(inside) == []


@pytest.mark.parametrize("place", sorted(PLACES))
def test_a_place_that_cannot_be_is_one_line(
    place: str, inside: Path, tiny: list[str], vitcli: Callable[..., Ended]
) -> None:
    (inside / "file").write_text("x")
    for value in ("file", "x" * 300, "/proc/vitcli"):
        ended = vitcli("train", *tiny, f"{place}={value}", "data=mnist")
        assert ended.code in (1, 2), value
        assert ended.err.startswith("vitcli: ")
        assert ended.err.count("\n") == 1


def walk(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all texts in a YAML file, keys too (the last part is then None)."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*path, key, None)
            yield from walk(value, (*path, key))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from walk(value, (*path, i))
    elif isinstance(node, str):
        yield path


def changed(node: Any, path: tuple[Any, ...], value: str) -> Any:
    """The same with another text at the place."""
    if not path:
        return value
    if path[1:] == (None,):
        return {value if key == path[0] else key: of for key, of in node.items()}
    copy = dict(node) if isinstance(node, dict) else list(node)
    copy[path[0]] = changed(node[path[0]], path[1:], value)
    return copy


STUDY = yaml.safe_load(TWO_CELLS) | {
    "cells": [{"row": "a", "column": "c", "overrides": ["seed=1"]}, {"row": "b", "column": "c"}],
    "source": ["model=pico"], "tables": ["val/loss"], "metric_label": "m", "differences": ["d"],
    "x": {"of": "column", "label": "x"}, "like": "pos-emb",
    "claims": [{"id": "c", "statement": "s", "where": "w", "at_least": {"laptop": 0.1},
                "pairs": [["a-c", "b-c"]], "of": "difference", "metric": "val/top1"}],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("path", list(walk(STUDY)), ids=lambda path: ".".join(map(str, path)))
def test_a_study_is_written_into_outputs_whatever_its_texts(
    path: tuple[Any, ...], inside: Path
) -> None:
    alone = {"source", "x", "like", "cells"} - {path[0]}  # they exclude each other
    whole = {key: value for key, value in STUDY.items() if key not in alone}
    (inside / "outputs" / "conf" / "study").mkdir(parents=True)
    for value in EVIL[:3]:
        text = yaml.safe_dump(changed(whole, path, value))
        (inside / "outputs" / "conf" / "study" / "own.yaml").write_text(text)
        with suppress(ValueError):
            freeze(make_plan("own", [], inside / "outputs" / "conf"))
        assert outside(inside) == []


@pytest.mark.parametrize("value", EVIL)
def test_a_plan_s_runs_are_names(value: str, inside: Path, vitcli: Callable[..., Ended]) -> None:
    folder = write(single({"A": [0.7, 0.8], "B": [0.6, 0.7]}), inside / "outputs")
    plan = json.loads((folder / "plan.json").read_text())
    for part in ("runs", "scratch"):
        cells = [{**plan["cells"][0], part: {"0": value}}]
        (folder / "plan.json").write_text(json.dumps({**plan, "cells": cells}))
        for command in ("status", "report"):
            ended = vitcli(command, "s")
            if is_name(value):
                assert ended.code == 0
                continue
            assert (ended.code, ended.err.count("\n")) == (2, 1)
            assert f"plan.json: cells.0.{part}.0=" in ended.err
        assert outside(inside) == []


@pytest.mark.parametrize("command", ["status", "report", "plan", "ablate"])
def test_a_study_s_name_is_no_path(
    command: str, inside: Path, vitcli: Callable[..., Ended]
) -> None:
    folder = write(single({"A": [0.7, 0.8], "B": [0.6, 0.7]}), inside / "outputs")
    for place in (inside, inside / "outputs"):
        (place / "plan.json").write_text((folder / "plan.json").read_text())
    before = outside(inside)
    for name in ("..", ".", "../..", "", str(inside)):
        ended = vitcli(command, name)
        assert ended.code == 2, name
        assert ended.err.count("\n") == 1
    assert outside(inside) == before


def test_names() -> None:
    assert all(map(is_name, ("nano-p4", "größe", "a b", "..a", "x" * 230)))
    assert not any(map(is_name, ("", ".", "..", "a/b", "a\\b", "a\0b", "x" * 231, "ö" * 120)))
    config = compose([])
    config.model.name = "../../evil"  # of a file's record, say
    with pytest.raises(ValueError, match=r"'\.\./\.\./evil-p4.*' is not the name of a folder"):
        run_id(config)
    assert os.sep not in run_id(compose([]))
