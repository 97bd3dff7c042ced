"""MLflow: its SQLite store in outputs/, and its real server, read back by its own client."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import TWO_CELLS, Ended, start
from tracked_runs import KEY, check_no_key, check_nothing_here, final, interrupted, logged

from vitcli.trackers import follow
from vitcli.trackers.mlflow import MlflowClient

_SERVER_SECONDS = 240  # it loads some thousand modules
pytestmark = [
    pytest.mark.slow,
    # Of MLflow's own tables, under the newest SQLAlchemy.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine needs more than 30 s for MLflow's first answers; here none may be lost."""
    monkeypatch.setitem(follow._PATIENCE, "done", _SERVER_SECONDS)


def check_same(client: Any, experiment: str, folder: Path) -> Any:
    """Fails unless the run is there once, and each line of its log is, as it is; returns it."""
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id], f"tags.`vitcli.run_id` = '{folder.name}'")
    (one,) = runs
    for key in ("loss", "lr", "images_per_s"):
        points = [
            (each.step, each.value) for each in client.get_metric_history(one.info.run_id, key)
        ]
        assert sorted(points) == [(line["step"], line[key]) for line in logged(folder)]
    assert {key: one.data.metrics[key] for key in final(folder)} == final(folder)
    assert (one.info.run_name, one.info.status) == (folder.name, "FINISHED")
    assert one.data.params["model.depth"] == "1"
    return one


def test_a_run_that_goes_on_is_there_once(tiny: list[str], tmp_path: Path) -> None:
    place = tmp_path / "outputs/trackers/mlflow"
    place.mkdir(parents=True)
    client = MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    client.search_experiments()  # the tables take longer to make than such a run lasts
    folder = interrupted(tiny, "tracker=mlflow")
    check_same(client, "vitcli", folder)
    check_no_key(tmp_path / "outputs")
    check_nothing_here(tmp_path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Starts MLflow's server with its default store, SQLite, and gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = tmp_path / "home/server"
    place.mkdir(parents=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"],
        cwd=place,
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + _SERVER_SECONDS
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=2).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.5)
        assert (place / "mlflow.db").exists()  # the default
        MlflowClient(address).search_experiments()  # it loads as much again, and makes its tables
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait(60)


def test_a_study_is_an_experiment_of_the_server_with_its_report(
    tiny: list[str],
    tmp_path: Path,
    vitcli: Callable[..., Ended],
    server: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.replace("//", f"//me:{KEY}@"))
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    (tmp_path / "own/study").mkdir(parents=True)
    (tmp_path / "own/study/two.yaml").write_text(TWO_CELLS)
    words = [*tiny, "tracker=mlflow", "hydra/launcher=basic", "--config-dir", str(tmp_path / "own")]
    ended = vitcli("ablate", "two", *words)
    assert (ended.code, ended.err) == (0, "")
    (study,) = (tmp_path / "outputs/studies").glob("two-*")
    client = MlflowClient(server)
    for folder in (tmp_path / "outputs/runs").iterdir():
        check_same(client, study.name, folder)
    experiment = client.get_experiment_by_name(study.name)
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 3
    (own,) = (each for each in runs if each.info.run_name == study.name)
    for path in ("report/report.html", "report/figures/main.png"):
        got = client.download_artifacts(own.info.run_id, path, str(tmp_path / "home"))
        assert Path(got).read_bytes() == (study / path).read_bytes()
    assert not (tmp_path / "outputs/trackers").exists()
    check_no_key(tmp_path / "outputs")


def test_a_server_that_is_not_there_costs_two_lines_and_a_bounded_time(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"me:{KEY}@127.0.0.1:{nobody.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{address}")
        process = start("train", *tiny, "tracker=mlflow", cwd=tmp_path)
        out, err = process.communicate(timeout=150)  # 30 of them are the bound
    assert process.returncode == 0
    assert "val/top1" in out
    first, last = err.splitlines()
    assert first.startswith("tracker=mlflow: MlflowException: ")
    assert "8 lines of its log and its end are missing" in last
    assert KEY not in err
    check_nothing_here(tmp_path)
