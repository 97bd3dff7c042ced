"""trackio, read back by its own client. It finds its folder once, so each test has processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import ROOT, TWO_CELLS
from tracked_runs import check_no_key, check_nothing_here, final, logged

pytestmark = [pytest.mark.slow, pytest.mark.trackers]
_READ = """
import json, sys
import trackio
from trackio.sqlite_storage import SQLiteStorage
project = sys.argv[1]
lines = lambda run: SQLiteStorage.get_logs(project, run.name)
print(json.dumps({run.name: {"config": run.config, "lines": lines(run)}
                  for run in trackio.Api().runs(project)}))
"""


def python(*words: str, tmp_path: Path) -> str:
    """Returns what Python prints; there are no errors."""
    place = str(tmp_path / "outputs/trackers/trackio")
    done = subprocess.run(
        [sys.executable, *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)}
        | ({"TRACKIO_DIR": place} if "-c" in words else {}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def read(project: str, tmp_path: Path) -> dict[str, Any]:
    """Returns the runs of a project, by name."""
    found: dict[str, Any] = json.loads(python("-c", _READ, project, tmp_path=tmp_path))
    return found


def check_same(folder: Path, shown: Any) -> None:
    """Fails unless each line of the run's log is there once, as it is, then the last numbers."""
    *lines, last = shown["lines"]
    keys = ("step", "loss", "lr", "images_per_s")
    assert [{key: line[key] for key in keys} for line in lines] == logged(folder)
    assert {key: last[key] for key in final(folder)} == pytest.approx(final(folder))
    assert shown["config"]["model.depth"] == 1


def test_a_run_that_goes_on_is_there_once(tiny: list[str], tmp_path: Path) -> None:
    words = [*tiny, "train.steps=400", "tracker=trackio"]
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv.pop(1))\n"
        "from tracked_runs import interrupted; interrupted(sys.argv[1:])"
    )
    python("-c", script, str(ROOT / "tests"), *words, tmp_path=tmp_path)
    (folder,) = (tmp_path / "outputs/runs").iterdir()
    check_same(folder, read("vitcli", tmp_path)[folder.name])
    check_no_key(tmp_path / "outputs")
    check_nothing_here(tmp_path)


def test_a_study_is_a_project_with_its_report(tiny: list[str], tmp_path: Path) -> None:
    (tmp_path / "own/study").mkdir(parents=True)
    (tmp_path / "own/study/two.yaml").write_text(TWO_CELLS)
    words = [*tiny, "tracker=trackio", "--config-dir", str(tmp_path / "own")]
    assert "* " not in python("-m", "vitcli", "ablate", "two", *words, tmp_path=tmp_path)
    (study,) = (tmp_path / "outputs/studies").glob("two-*")
    shown = read(study.name, tmp_path)
    runs = {path.name: path for path in (tmp_path / "outputs/runs").iterdir()}
    assert shown.keys() == {study.name, *runs}
    for name, folder in runs.items():
        check_same(folder, shown[name])
    (line,) = shown[study.name]["lines"]
    assert (study / "report/report.md").read_text() in line["report"].values()
    figure = tmp_path / "outputs/trackers/trackio/media" / line["figures/main"]["file_path"]
    assert figure.exists()
