"""A study on a SLURM of one node: what clusters do to jobs leaves the table of an unbroken run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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


def ablate(
    place: Path, *more: str, study: str = TWO_CELLS, steps: int = 1000
) -> subprocess.Popen[str]:
    """Starts the study."""
    own = place / "own"
    (own / "study").mkdir(parents=True, exist_ok=True)
    (own / "study" / "few.yaml").write_text(study)
    words = ["ablate", "few", "--config-dir", str(own), *TINY, f"train.steps={steps}"]
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
    for path in sorted((outputs / "runs").glob("*/result.json")):
        folder, result = path.parent, json.loads(path.read_text())
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


def limit(folder: Path, job: str) -> None:
    """Warns the job of its limit twice: legs of a few steps, shorter than checkpoint.every.

    The signal goes straight to the process. A controller that is busy with a requeue held
    `scancel` until the run had finished.
    """
    for _ in range(2):
        wait_for(lambda: folder in jobs(folder.parent.parent))
        os.kill(read_status(folder)["pid"], signal.SIGUSR2)
        wait_for(lambda: read_status(folder)["state"] != "running")


def terminate(folder: Path, job: str) -> None:
    os.kill(read_status(folder)["pid"], signal.SIGTERM)


def kill(folder: Path, job: str) -> None:
    os.kill(read_status(folder)["pid"], signal.SIGKILL)


EVENTS = {"requeued": requeue, "limited": limit, "terminated": terminate, "killed": kill}
FIVE_CELLS = """
title: Five
metric: val/top1
seeds: [0]
rows:
  requeued: {label: A, overrides: [pos_emb=none]}
  limited: {label: B, overrides: [pos_emb=relative]}
  terminated: {label: C, overrides: [pos_emb=learned_2d]}
  killed: {label: D, overrides: [pos_emb=sincos_2d]}
  failing: {label: E, overrides: [recipe.lr=1e30]}
columns: {c: {label: C}}
paper: {where: nowhere, metric: none}
claims: []
scales: {laptop: {}}
"""
TUNED = """
title: Tuned
metric: val/top1
seeds: [0]
source: [data.size=64, data.val_size=32, evals=upstream, train.steps=50, train.batch_size=8]
rows: {a: {label: A}}
columns: {c: {label: C, overrides: [recipe=finetune_laptop, data=digits, evals=upstream]}}
paper: {where: nowhere, metric: none}
claims: []
scales: {laptop: {overrides: [train.steps=20, train.batch_size=8]}}
"""


def test_a_study_through_all_that_a_cluster_does_to_it(tmp_path: Path) -> None:
    def cells(place: Path) -> dict[str, Path]:
        plan = json.loads(next((place / "outputs/studies").glob("few-*/plan.json")).read_text())
        runs = place / "outputs" / "runs"
        return {cell["row"]: runs / cell["runs"]["0"] for cell in plan["cells"]}

    def strike(folder: Path, event: Callable[[Path, str], None]) -> None:
        wait_for(lambda: folder in jobs(broken / "outputs"))
        event(folder, jobs(broken / "outputs")[folder])

    def table(place: Path) -> bytes:
        return next((place / "outputs/studies").glob("few-*/report/table.tex")).read_bytes()

    def study(place: Path, *more: str) -> subprocess.Popen[str]:
        return ablate(place, *more, study=FIVE_CELLS)

    alone, broken = tmp_path / "alone", tmp_path / "broken"
    code, _, errors = ended(study(alone))
    assert (code, errors.count("failed")) == (1, 1)

    launcher = study(broken, *SLURM)
    wait_for(lambda: bool(jobs(broken / "outputs")))
    runs = cells(broken)
    with ThreadPoolExecutor() as pool:
        struck = [pool.submit(strike, runs[row], event) for row, event in EVENTS.items()]
        wait_for(lambda: any(event.done() for event in struck))
        launcher.kill()
        launcher.communicate()
        code, _, errors = ended(study(broken, *SLURM))
        for event in struck:
            event.result()
    said = dict(re.findall(r"(\S+): failed: (.*)", errors))
    assert (code, set(said)) == (1, {runs["killed"].name, runs["failing"].name})
    assert "its process was killed (job " in said[runs["killed"].name]

    code, _, errors = ended(study(broken, *SLURM))
    assert (code, errors.count("failed")) == (1, 1)
    assert len(results(broken / "outputs")) == 4
    assert results(broken / "outputs") == results(alone / "outputs")
    assert table(broken) == table(alone)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the study gives on this machine, undisturbed."""
    place = tmp_path_factory.mktemp("unbroken")
    assert ended(ablate(place))[0] == 0
    return results(place / "outputs")


def test_a_later_command_adopts_the_jobs(unbroken: dict[str, Any], tmp_path: Path) -> None:
    def ids() -> set[str]:
        paths = (tmp_path / "outputs" / "runs").glob("*/job.json")
        return {json.loads(path.read_text())["id"] for path in paths}

    code, out, errors = ended(ablate(tmp_path, *SLURM, "--detach"))
    assert (code, errors) == (0, "")
    assert "queued: 2 runs" in out
    first = ids()
    assert ended(ablate(tmp_path, *SLURM))[0] == 0
    assert ids() == first
    assert results(tmp_path / "outputs") == unbroken
    _, said, _ = ended(start("logs", "few", "a-c", cwd=tmp_path))
    assert "Job completed successfully" in said


def test_runs_that_fine_tune_others_follow_them_alone(tmp_path: Path) -> None:
    (tmp_path / "own" / "study").mkdir(parents=True)
    (tmp_path / "own" / "study" / "tuned.yaml").write_text(TUNED)
    words = ["ablate", "tuned", "--config-dir", "own", *SLURM]
    code, out, errors = ended(start(*words, "--detach", cwd=tmp_path))
    assert (code, errors) == (0, "")
    assert "queued: 3 runs" in out
    outputs = tmp_path / "outputs"
    wait_for(lambda: len(results(outputs)) == 3)
    weights = [result for _, _, result in results(outputs).values()]
    assert ended(start(*words, cwd=tmp_path))[0] == 0
    assert [result for _, _, result in results(outputs).values()] == weights


def test_cancel_leaves_no_job_and_what_trained_goes_on(tmp_path: Path) -> None:
    assert ended(ablate(tmp_path, *SLURM, "--detach", steps=200_000))[0] == 0
    wait_for(lambda: bool(jobs(tmp_path / "outputs")))
    first, job = next(iter(jobs(tmp_path / "outputs").items()))
    _, said, _ = ended(start("cancel", "few", cwd=tmp_path))
    assert "cancelled: 2 jobs" in said
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
