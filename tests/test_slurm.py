"""A study on a SLURM of one node: what clusters do to jobs leaves the table of an unbroken run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import TWO_CELLS, start, wait_for

from vitcli.status import read_status

pytestmark = [pytest.mark.slow, pytest.mark.slurm]
SLURM = ["hydra/launcher=slurm", "hydra.launcher.partition=debug", "hydra.launcher.cpus_per_task=1"]


TINY = [
    "data.size=256", "data.val_size=64", "data.num_classes=8", "train.batch_size=16",
    "evals.draws=2", "model.depth=1", "train.precision=fp32", "compile=off",
]  # fmt: skip


def ablate(place: Path, *more: str, steps: int = 1000) -> subprocess.Popen[str]:
    """Starts the study of two cells."""
    own = place / "own"
    (own / "study").mkdir(parents=True, exist_ok=True)
    (own / "study" / "two.yaml").write_text(TWO_CELLS)
    words = ["ablate", "two", "--config-dir", str(own), *TINY, f"train.steps={steps}"]
    return start(*words, f"outputs={place / 'outputs'}", *more, cwd=place)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Returns how the command ended: its code, output and errors."""
    out, errors = process.communicate(timeout=500)
    return process.returncode, out, errors


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def results(outputs: Path) -> dict[str, Any]:
    """Returns what must not depend on what happened, by run."""
    found = {}
    for folder in sorted((outputs / "runs").iterdir()):
        result = json.loads((folder / "result.json").read_text())
        log = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        weights = (folder / "checkpoints" / "model.safetensors").read_bytes()
        losses = [(record["step"], record["loss"]) for record in log]
        found[folder.name] = (result["metrics"], losses, weights)
    return found


def jobs(outputs: Path) -> dict[Path, str]:
    """Returns the jobs of the runs that train, past their first steps."""
    return {
        path.parent: json.loads(path.read_text())["id"]
        for path in (outputs / "runs").glob("*/job.json")
        if (status := read_status(path.parent))["state"] == "running" and status.get("step", 0) > 50
    }


def requeue(folder: Path, job: str) -> None:
    slurm("scontrol", "requeue", job)


def before_a_limit(folder: Path, job: str) -> None:
    slurm("scancel", "--signal=USR2", job)


def terminate(folder: Path, job: str) -> None:
    os.kill(read_status(folder)["pid"], signal.SIGTERM)


def kill(folder: Path, job: str) -> None:
    os.kill(read_status(folder)["pid"], signal.SIGKILL)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the study gives on this machine, undisturbed."""
    place = tmp_path_factory.mktemp("unbroken")
    assert ended(ablate(place))[0] == 0
    return results(place / "outputs")


@pytest.mark.parametrize("what", [requeue, before_a_limit, terminate])
def test_a_stopped_job_is_waited_for_or_submitted_again(
    what: Callable[[Path, str], None], unbroken: dict[str, Any], tmp_path: Path
) -> None:
    process = ablate(tmp_path, *SLURM)
    wait_for(lambda: bool(jobs(tmp_path / "outputs")))
    what(*next(iter(jobs(tmp_path / "outputs").items())))
    code, _, errors = ended(process)
    assert (code, errors) == (0, "")
    assert results(tmp_path / "outputs") == unbroken


def test_a_killed_job_is_named_and_the_same_command_trains_it_again(
    unbroken: dict[str, Any], tmp_path: Path
) -> None:
    process = ablate(tmp_path, *SLURM)
    wait_for(lambda: bool(jobs(tmp_path / "outputs")))
    folder, job = next(iter(jobs(tmp_path / "outputs").items()))
    kill(folder, job)
    code, _, errors = ended(process)
    assert code == 1
    assert f"{folder.name}: failed: its process was killed (job {job}, FAILED; log " in errors
    assert ended(ablate(tmp_path, *SLURM))[0] == 0
    assert results(tmp_path / "outputs") == unbroken


def test_a_later_command_adopts_the_jobs(unbroken: dict[str, Any], tmp_path: Path) -> None:
    def ids() -> set[str]:
        paths = (tmp_path / "outputs" / "runs").glob("*/job.json")
        return {json.loads(path.read_text())["id"] for path in paths}

    code, out, errors = ended(ablate(tmp_path, *SLURM, "--detach"))
    assert (code, errors) == (0, "")
    assert "2 runs are queued" in out
    first = ids()
    assert ended(ablate(tmp_path, *SLURM))[0] == 0
    assert ids() == first
    assert results(tmp_path / "outputs") == unbroken
    _, said, _ = ended(start("logs", "two", "a-c", cwd=tmp_path))
    assert "Job completed successfully" in said


def test_cancel_leaves_no_job_and_what_trained_goes_on(tmp_path: Path) -> None:
    assert ended(ablate(tmp_path, *SLURM, "--detach", steps=200_000))[0] == 0
    wait_for(lambda: bool(jobs(tmp_path / "outputs")))
    first, job = next(iter(jobs(tmp_path / "outputs").items()))
    _, said, _ = ended(start("cancel", "two", cwd=tmp_path))
    assert "2 jobs are cancelled" in said
    assert read_status(first)["state"] == "interrupted"
    assert list(first.glob("checkpoints/state.pt"))
    queued = slurm("squeue", "-h", "-r", "-o", "%A %i").split()
    assert not [entry for entry in queued if entry.split("_")[0] == job.split("_")[0]]


def test_a_job_of_a_multirun_is_queued_again_before_its_limit(tmp_path: Path) -> None:
    words = [*TINY, "train.steps=1000", f"outputs={tmp_path / 'outputs'}", *SLURM]
    process = start("train", "-m", *words, cwd=tmp_path)

    def training() -> list[Path]:
        return list((tmp_path / "outputs" / "runs").glob("*/metrics.jsonl"))

    wait_for(lambda: any(path.read_text() for path in training()))
    folder = training()[0].parent
    os.kill(read_status(folder)["pid"], signal.SIGUSR2)
    code, _, errors = ended(process)
    assert (code, "Error" in errors) == (0, False)
    assert read_status(folder)["state"] == "done"


def test_the_tasks_of_a_job_train_its_run_together(
    unbroken: dict[str, Any], tmp_path: Path
) -> None:
    code, _, errors = ended(ablate(tmp_path, *SLURM, "hydra.launcher.tasks_per_node=2"))
    assert (code, errors) == (0, "")
    for run, (_, losses, _) in results(tmp_path / "outputs").items():
        result = json.loads((tmp_path / "outputs/runs" / run / "result.json").read_text())
        assert result["env"]["processes"] == 2
        steps, values = zip(*losses, strict=True)
        expected_steps, expected = zip(*unbroken[run][1], strict=True)
        assert steps == expected_steps
        assert values[:3] == pytest.approx(expected[:3], rel=1e-5)
