"""Launchers of a study but SLURM: which there are, how they share the cores, and Ray."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import ROOT, TWO_CELLS, Ended

from vitcli.study.launch import _shared_out
from vitcli.study.plan import make_plan


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "own" / "study").mkdir(parents=True)
    (tmp_path / "own" / "study" / "two.yaml").write_text(TWO_CELLS)
    return str(tmp_path / "own")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {"threads": "4", "hydra.launcher.n_jobs": "2"}),
        (["hydra/launcher=local"], {"threads": "4", "hydra.launcher.n_jobs": "2"}),
        (["hydra.launcher.n_jobs=1"], {"threads": "8", "hydra.launcher.n_jobs": "1"}),
        (["hydra.launcher.n_jobs=-1"], {"threads": "1", "hydra.launcher.n_jobs": "-1"}),
        (["hydra/launcher=submitit_local"], {"threads": "4"}),
        (["hydra/launcher=basic"], {}),
    ],
)
def test_the_runs_of_a_launcher_share_the_cores(
    own: str,
    tiny: list[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    expected: dict[str, str],
) -> None:
    monkeypatch.setattr("vitcli.study.launch.cores", lambda: 8)
    few = [o for o in tiny if not o.startswith(("model.depth", "threads"))]
    plan = make_plan("two", [*few, "device=cpu"], Path(own))
    found = dict(o.split("=", 1) for o in _shared_out(plan, 2, 2, words))
    found.pop("launcher", None)
    assert found == expected


def test_more_runs_at_once_than_cores_are_said(
    own: str, tiny: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("vitcli.study.launch.cores", lambda: 2)
    few = [o for o in tiny if not o.startswith("model.depth")]
    plan = make_plan("two", [*few, "device=cpu"], Path(own))
    assert _shared_out(plan, 3, 3, ["hydra/launcher=submitit_local"]) == ["threads=1"]
    assert caplog.messages[0].startswith("3 runs at once on 2 cores")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "hydra/launcher=lcoal",
            "hydra/launcher=lcoal: choose from basic, joblib, local, slurm, submitit_local",
        ),
        ("hydra/launcher=ray", "hydra/launcher=ray: it needs pip install 'vitcli[ray]'"),
        ("hydra.launcher.n_jobs=0", "hydra.launcher.n_jobs=0: a whole number of at least 1"),
        ("hydra.launcher.n_jobs=x", "hydra.launcher.n_jobs=x: a whole number of at least 1"),
        (
            "hydra.launcher.partition=gpu",
            "hydra.launcher.partition=gpu: hydra/launcher=local has no partition",
        ),
        (
            "hydra.launcher.n_job=1",
            "hydra.launcher.n_job=1: hydra/launcher=local has no n_job; did",
        ),
        ("hydra.sweeper.x=1", "Could not override 'hydra.sweeper.x'"),
        ("device=cuda", "device=cuda: there is none here"),
        ("--detach", "--detach: only a cluster's jobs run on without this command"),
    ],
)
def test_what_cannot_be_launched_is_named_before_anything_is_written(
    vitcli: Callable[..., Ended],
    own: str,
    tiny: list[str],
    tmp_path: Path,
    words: str,
    said: str,
) -> None:
    few = [o for o in tiny if not o.startswith("model.depth")]
    ended = vitcli("ablate", "two", "--config-dir", own, *few, words)
    assert ended.code == 2
    assert ended.err.startswith(f"vitcli: {said}")
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "outputs").exists()  # a plan there would be the newest


@pytest.mark.slow
@pytest.mark.ray
def test_ray_gives_the_table_of_this_machine(
    vitcli: Callable[..., Ended], own: str, tiny: list[str], tmp_path: Path
) -> None:
    few = [o for o in tiny if not o.startswith(("model.depth", "outputs"))]
    words = ["ablate", "two", "--config-dir", own, *few]
    here = vitcli(*words, f"outputs={tmp_path / 'here'}", "hydra/launcher=basic")
    assert here.code == 0, here.err
    there = subprocess.run(
        [os.environ["RAY_PYTHON"], "-m", "vitcli", *words, f"outputs={tmp_path / 'ray'}",
         "hydra/launcher=ray"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )  # fmt: skip
    assert there.returncode == 0, there.stderr

    def metrics(place: str) -> dict[str, object]:
        paths = (tmp_path / place / "runs").glob("*/result.json")
        return {path.parent.name: json.loads(path.read_text())["metrics"] for path in paths}

    assert metrics("ray") == metrics("here")
    assert len(metrics("ray")) == 2
