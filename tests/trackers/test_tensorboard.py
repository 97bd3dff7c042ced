"""TensorBoard, read back by its own event accumulator."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import TWO_CELLS, Ended, start, wait_for
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tracked_runs import check_no_key, check_nothing_here, final, interrupted, logged

from vitcli.compose import compose
from vitcli.runner import run


def read(folder: Path) -> Any:
    """Returns what TensorBoard shows of a run."""
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    found.Reload()
    return found


def check_same(folder: Path, shown: Any) -> None:
    """Fails unless each line of the run's log is there once, as it is."""
    for key in ("loss", "lr", "images_per_s"):
        steps = [(event.step, event.value) for event in shown.Scalars(key)]
        own = [(line["step"], pytest.approx(line[key], rel=1e-6)) for line in logged(folder)]
        assert steps == own  # TensorBoard has 32 bits


def test_a_run_that_goes_on_is_there_once(tiny: list[str], tmp_path: Path) -> None:
    folder = interrupted(tiny, "tracker=tensorboard")
    place = tmp_path / "outputs/trackers/tensorboard/runs" / folder.name
    shown = read(place)
    check_same(folder, shown)
    for key, value in final(folder).items():
        assert [event.value for event in shown.Scalars(key)] == [pytest.approx(value)]
    (text,) = shown.Tensors("config")
    assert b"model.depth: 1\n" in text.tensor_proto.string_val[0]
    content = shown.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
    settings = metadata.parse_session_start_info_plugin_data(content).hparams
    assert settings["model.depth"].number_value == 1
    assert "tracker" not in settings
    check_no_key(tmp_path / "outputs")
    check_nothing_here(tmp_path)


@pytest.mark.slow
def test_steps_that_a_kill_has_trained_twice_are_there_once(
    tiny: list[str], tmp_path: Path
) -> None:
    words = [*tiny, "train.steps=3000", "checkpoint.every=30", "tracker=tensorboard"]
    process = start("train", *words, cwd=tmp_path)
    (tmp_path / "outputs").mkdir(exist_ok=True)
    wait_for(lambda: any((tmp_path / "outputs").glob("runs/*/checkpoints/state.pt")))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    folder = run(compose(words), quiet=True).folder
    check_same(folder, read(tmp_path / "outputs/trackers/tensorboard/runs" / folder.name))


@pytest.mark.slow
def test_a_study_is_a_group_with_its_report(
    tiny: list[str], tmp_path: Path, vitcli: Callable[..., Ended]
) -> None:
    (tmp_path / "own/study").mkdir(parents=True)
    (tmp_path / "own/study/two.yaml").write_text(TWO_CELLS)
    words = [*tiny, "tracker=tensorboard"]
    ended = vitcli("ablate", "two", *words, "--config-dir", str(tmp_path / "own"))
    assert (ended.code, ended.err) == (0, "")
    (study,) = (tmp_path / "outputs/studies").glob("*/plan.json")
    plain = json.loads(study.read_text())["overrides"]
    assert "tracker=tensorboard" not in plain
    name = study.parent.name
    group = tmp_path / "outputs/trackers/tensorboard" / name
    runs = {path.name for path in (tmp_path / "outputs/runs").iterdir()}
    assert {path.name for path in group.iterdir()} == {*runs, name}
    for each in runs:
        check_same(tmp_path / "outputs/runs" / each, read(group / each))
    assert vitcli("report", name, "--outputs", str(tmp_path / "outputs")).code == 0  # again
    shown = read(group / name)
    (image,) = shown.Images("figures/main")
    figures = study.parent / "report/figures"
    assert image.encoded_image_string == (figures / "main.png").read_bytes()
    (page,) = shown.Tensors("report")
    assert (
        page.tensor_proto.string_val[0].decode() == (study.parent / "report/report.md").read_text()
    )
