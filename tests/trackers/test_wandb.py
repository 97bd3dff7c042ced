"""Weights & Biases offline: its run files, read by its own messages."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import TWO_CELLS, Ended
from tracked_runs import check_no_key, check_nothing_here, final, interrupted, logged

pytestmark = [pytest.mark.slow, pytest.mark.trackers]
_BLOCK = 32768  # the files are LevelDB's logs, after a header of 7 bytes


def records(path: Path) -> Iterator[Any]:
    """Yields the messages of a .wandb file."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, parts = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while at + 7 <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def only(place: Path, run: str) -> list[Any]:
    """Returns the messages of a run's one folder."""
    (path,) = place.glob(f"offline-run-*-{run}/run-{run}.wandb")
    return list(records(path))


def history(found: list[Any]) -> list[dict[str, Any]]:
    """Returns the lines of a run, as W&B would show them."""
    lines = [
        {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in each.history.item}
        for each in found
        if each.HasField("history")
    ]
    return [line for line in lines if "lr" in line or "report/path" in line]


def test_a_run_that_goes_on_is_one_folder_with_each_step_once(
    tiny: list[str], tmp_path: Path
) -> None:
    folder = interrupted(tiny, "tracker=wandb")
    found = only(tmp_path / "outputs/trackers/wandb", folder.name)
    (about,) = (each.run for each in found if each.HasField("run"))
    assert (about.run_id, about.project, about.run_group) == (folder.name, "vitcli", "")
    config = {item.key: json.loads(item.value_json) for item in about.config.update}
    assert config["model.depth"] == 1
    keys = ("step", "loss", "lr", "images_per_s")
    lines = [
        {key: line["_step" if key == "step" else key] for key in keys} for line in history(found)
    ]
    assert lines == logged(folder)
    last = {
        item.key or "/".join(item.nested_key): json.loads(item.value_json)
        for each in found
        for item in each.summary.update
    }
    assert {key: last[key] for key in final(folder)} == pytest.approx(final(folder))
    check_no_key(tmp_path / "outputs")
    check_nothing_here(tmp_path)


def test_a_study_is_a_group_with_its_report(
    tiny: list[str], tmp_path: Path, vitcli: Callable[..., Ended]
) -> None:
    (tmp_path / "own/study").mkdir(parents=True)
    (tmp_path / "own/study/two.yaml").write_text(TWO_CELLS)
    words = [*tiny, "tracker=wandb", "--config-dir", str(tmp_path / "own")]
    ended = vitcli("ablate", "two", *words)
    assert (ended.code, ended.err) == (0, "")
    (study,) = (tmp_path / "outputs/studies").glob("two-*")
    place = tmp_path / "outputs/trackers/wandb"
    for name in [study.name, *(path.name for path in (tmp_path / "outputs/runs").iterdir())]:
        (about,) = (each.run for each in only(place, name) if each.HasField("run"))
        assert about.run_group == study.name
    (line,) = history(only(place, study.name))
    files = next(place.glob(f"offline-run-*-{study.name}")) / "files"
    page = files / line["report/path"]
    assert page.read_text() == (study / "report/report.html").read_text()
    figure = files / line["figures/main/path"]
    assert figure.read_bytes() == (study / "report/figures/main.png").read_bytes()
