"""A study that is run: a user's own, failing cells, kills, signals, no cluster."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import Ended, but_depth, killed_after_its_result, start, wait_for

from vitcli.files import write_record
from vitcli.status import Status, read_status, state_paths
from vitcli.study import slurm
from vitcli.study.board import states
from vitcli.study.job import job
from vitcli.study.launch import _stopping, launch, missing
from vitcli.study.plan import freeze, make_plan, newest


def test_a_user_s_study_runs_reports_and_answers_from_files(
    vitcli: Callable[..., Ended], own: Callable[..., Path], tiny: list[str], tmp_path: Path
) -> None:
    arguments = ["own-depth", "--config-dir", str(own()), *but_depth(tiny)]
    planned = vitcli("plan", *arguments)
    assert planned.code == 0
    assert "4 of 4 runs to go" in " ".join(planned.out.split())
    assert "memory" not in planned.out
    shared = vitcli("plan", *arguments, "--processes", "2")
    assert "memory: of each process, with 2 a run; known for" in " ".join(shared.out.split())
    assert re.search(r"\d MB", shared.out)
    assert not (tmp_path / "outputs").exists()
    ended = vitcli("ablate", *arguments)
    assert ended.code == 0, ended.err
    assert "[4/4]" in ended.out
    folder = newest("own-depth", tmp_path / "outputs")
    table = (folder / "report/report.md").read_text()
    assert table.count(" (2) |") == 2
    outputs = ["--outputs", str(tmp_path / "outputs")]
    assert "4 done" in vitcli("status", "own-depth", *outputs).out
    assert "1 layer" in vitcli("report", folder.name, *outputs).out
    killed = next((tmp_path / "outputs" / "runs").iterdir())
    killed_after_its_result(killed)
    again = vitcli("ablate", *arguments)
    assert again.code == 0
    assert (read_status(killed)["state"], state_paths(killed)[0].exists()) == ("done", False)
    assert "[" not in again.out.split("1 layer")[0].splitlines()[0]
    more = vitcli("ablate", *arguments, "seeds=3")  # shares the four, trains two
    assert "[6/6]" in more.out
    assert "[4/6]" not in more.out


@pytest.mark.slow
def test_one_failing_cell_does_not_stop_the_others(
    vitcli: Callable[..., Ended], own: Callable[..., Path], tiny: list[str], tmp_path: Path
) -> None:
    explode = ["recipe.lr=1e30", "recipe.grad_clip=0", "train.steps=30"]
    cells = [
        {"row": "one", "column": "here", "overrides": explode},
        {"row": "two", "column": "here", "overrides": ["recipe.lr=1e-3", "train.steps=8"]},
    ]
    few = [o for o in but_depth(tiny) if not o.startswith("train.steps")]
    arguments = ["own-depth", "--config-dir", str(own(cells=cells)), *few, "checkpoint.every=7"]
    ended = vitcli("ablate", *arguments)
    assert ended.code == 1
    assert "FloatingPointError: the loss is" in ended.err
    folder = newest("own-depth", tmp_path / "outputs")
    assert [run.state for run in states(folder).values()] == ["failed"] * 2 + ["done"] * 2
    table = (folder / "report/report.md").read_text()
    assert "| 1 layer | no result<sup>1</sup> |" in table
    assert "<sup>1</sup> 1 layer: seeds 0, 1 failed: FloatingPointError: the loss is" in table
    assert table.count(" (2) |") == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "interrupt", "basic", "worker", "launcher"])
def test_a_broken_study_goes_on_to_the_same_table(
    vitcli: Callable[..., Ended],
    own: Callable[..., Path],
    tiny: list[str],
    tmp_path: Path,
    how: str,
) -> None:
    few = [o for o in but_depth(tiny) if not o.startswith(("outputs=", "train.steps"))]
    arguments = ["ablate", "own-depth", "--config-dir", str(own()), *few]
    arguments += ["train.steps=300", "checkpoint.every=10"]

    def finish(place: str) -> list[dict[str, str]]:
        """Returns the table of the study, what is left of it trained in this process."""
        ended = vitcli(*arguments, f"outputs={tmp_path / place}", "hydra/launcher=basic")
        assert ended.code == 0, ended.err
        folder = newest("own-depth", tmp_path / place)
        rows = csv.DictReader((folder / "report/runs.csv").read_text().splitlines())
        return [row | {"seconds": ""} for row in rows]

    unbroken = finish("unbroken")
    launcher = ["hydra/launcher=basic"] if how == "basic" else []
    process = start(*arguments, "outputs=broken", *launcher, cwd=tmp_path)
    runs = tmp_path / "broken/runs"
    wait_for(lambda: len(list(runs.glob("*/checkpoints/state.pt"))) >= 1)
    if how == "kill":
        os.killpg(process.pid, signal.SIGKILL)
    elif how == "launcher":  # alone: its workers save, and begin nothing else
        process.kill()
    elif how in ("interrupt", "basic"):
        process.send_signal(signal.SIGINT)
    else:
        busy = next(runs.glob("*/checkpoints/state.pt")).parent.parent
        os.kill(read_status(busy)["pid"], signal.SIGKILL)
    _, errors = process.communicate(timeout=600)
    if how in ("interrupt", "basic"):
        assert process.returncode == 130
        assert "resumes it" in errors
        assert "interrupted" in [read_status(folder)["state"] for folder in runs.iterdir()]
    if how == "launcher":  # its workers, too, had let go of their output
        found = [read_status(folder)["state"] for folder in runs.iterdir()]
        assert "interrupted" in found
        assert set(found) <= {"interrupted", "planned", "done"}
    if how == "worker":  # it took those beside it along, and all of them went on
        assert process.returncode == 0, errors
        assert len(list(runs.glob("*/result.json"))) == 4
    assert finish("broken") == unbroken


def test_a_signal_stops_the_command_s_own_runs_alone(
    own: Callable[..., Path], tiny: list[str]
) -> None:
    """Another command may train others of the study's runs, and may be told to stop itself."""
    plan = make_plan("own-depth", but_depth(tiny), own())
    freeze(plan)
    (plan.folder / "stop-1").touch()
    with _stopping(plan) as stopped:
        assert not stopped()
        signal.raise_signal(signal.SIGTERM)
        assert stopped()
        assert (plan.folder / f"stop-{os.getpid()}").exists()
    assert [path.name for path in plan.folder.glob("stop-*")] == ["stop-1"]


def test_a_run_that_still_loads_its_data_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its launcher alone was told to stop, and nothing in the run listens yet."""
    began, ended = list[str](), list[str]()

    def load(outputs: Path, run: str, threads: int) -> None:
        began.append(run)
        (tmp_path / "stop-1").touch()
        time.sleep(30)
        ended.append(run)

    monkeypatch.setattr("vitcli.study.job.train_frozen", load)
    for run in ("one", "two"):
        job(SimpleNamespace(folder=tmp_path, stop="stop-1", run=run, threads=1, launcher=None))
    assert (began, ended) == (["one"], [])


def test_of_runs_that_died_together_only_the_one_that_dies_alone_has_failed(
    own: Callable[..., Path], tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed worker of joblib's takes all others along."""
    plan = make_plan("own-depth", but_depth(tiny), own())
    freeze(plan)
    culprit, *_ = missing(plan)
    rounds, outputs = list[list[str]](), plan.outputs

    def multirun(plan: object, runs: list[str], *_: object) -> None:
        rounds.append(runs)
        for run in runs:
            folder = outputs / "runs" / run
            if len(runs) > 1 or run == culprit:
                Status(folder).update(state="running", pid=2**22 + 1)  # and no lock: lost
            else:
                (folder / "result.json").write_text("{}")

    monkeypatch.setattr("vitcli.study.launch._multirun", multirun)
    assert launch(plan)
    assert sorted(map(len, rounds)) == [1, 1, 1, 1, 4]
    assert missing(plan) == [culprit]
    status = read_status(plan.outputs / "runs" / culprit)
    assert (status["state"], status["error"]) == ("failed", "its process was killed")


@pytest.mark.parametrize(
    ("state", "account", "age", "said"),
    [
        ("done", "COMPLETED", 0.0, None),  # its result is on its way over a network drive
        ("lost", "RUNNING", 0.0, None),  # accounts lag
        ("done", "COMPLETED", 100.0, "its process was killed (job 13_0, COMPLETED"),
        ("running", "RUNNING", 100.0, None),
        ("queued", "OUT_OF_MEMORY", 0.0, "its process was killed (job 13_0, OUT_OF_MEMORY"),
        ("queued", "CANCELLED by 0", 0.0, "its job was cancelled"),
    ],
)
def test_a_job_that_left_the_queue_is_judged_when_its_files_can_have_come(
    state: str,
    account: str,
    age: float,
    said: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slurm, "_ended", lambda job: account)
    job = {"id": "13_0", "submitted": 1.0, "tries": 1, "log": "x", "left": time.time() - age}
    write_record(tmp_path / "job.json", job)
    beat = {"state": "running" if state == "lost" else state, "host": "other", "pid": 1}
    write_record(tmp_path / "status.json", beat | {"beat": time.time() - 600 * (state == "lost")})
    assert not slurm._is_due(tmp_path, {})
    status = read_status(tmp_path)
    assert status["state"] == (state if said is None else "failed")
    assert said is None or status["error"].startswith(said)


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        ("vitcli.study.slurm.find_spec", "needs pip install 'vitcli[cluster]'"),
        ("shutil.which", "there is no squeue on this machine"),
    ],
)
def test_a_machine_without_slurm_says_what_is_not_there(
    lacking: str,
    said: str,
    own: Callable[..., Path],
    tiny: list[str],
    vitcli: Callable[..., Ended],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lacking, lambda name: None)
    words = ["own-depth", "--config-dir", str(own()), *but_depth(tiny), "hydra/launcher=slurm"]
    ended = vitcli("ablate", *words)
    assert ended.code == 2
    assert said in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not (tmp_path / "outputs").exists()


def test_status_asks_slurm_only_of_what_waits_and_does_without_its_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def down(*command: str) -> str:
        asked.append(command[0])
        raise RuntimeError("slurm_load_jobs error")

    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(slurm, "_slurm", down)
    job = {"id": "1", "submitted": 1.0, "tries": 1, "log": "x", "format": 1}
    for state in ("done", "queued"):
        (tmp_path / state).mkdir()
        (tmp_path / state / "job.json").write_text(json.dumps(job))
        (tmp_path / state / "status.json").write_text(json.dumps({"state": state}))
    slurm.look([tmp_path / "done"])
    assert asked == []
    slurm.look([tmp_path / "done", tmp_path / "queued"])
    assert asked == ["squeue"]


def test_status_names_what_there_is(vitcli: Callable[..., Ended], tmp_path: Path) -> None:
    ended = vitcli("status", "pos-emb", "--outputs", str(tmp_path))
    assert ended.code == 2
    assert "nothing is planned" in ended.err
