"""A study's runs as jobs of SLURM: submitted by submitit, found again by their numbers.

A run's `job.json` says which job has it. So whoever calls later, from whatever shell, waits for
jobs that are queued already. What SLURM itself queues again is waited for; what was stopped and is
not queued any more is submitted again, in `TRIES` jobs at most.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vitcli.argv import quoted
from vitcli.files import read_record, write_record
from vitcli.status import Status, read_status
from vitcli.study.job import train_frozen
from vitcli.with_hydra import composed, one_line_errors

LAUNCHERS = ("slurm", "submitit_slurm")  # of hydra/launcher
TRIES = 3  # of a run that was stopped and not queued again
_POLL_SECONDS = 2.0
_UNSEEN_SECONDS = 15.0  # from a submission until the queue must show it
_LATE_SECONDS = 90.0  # until a network drive shows what another machine wrote
# submitit's parameters for every kind of cluster; all others are SLURM's.
_COMMON = {
    "timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "name",
    "stderr_to_stdout",
}  # fmt: skip


@dataclass
class Work:
    """What a job of SLURM does; submitit pickles it, and asks it what goes on in the next."""

    outputs: Path
    run: str

    def __call__(self) -> None:
        """Trains the run. Raises SystemExit if a signal stopped it, so that the job has failed."""
        try:
            train_frozen(self.outputs, self.run, threads=0)
        except KeyboardInterrupt:
            raise SystemExit(1) from None

    def checkpoint(self) -> Any:
        """Returns what goes on: the same, from the run's own state."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def check() -> None:
    """Raises ValueError if SLURM or submitit is not there; RuntimeError: it does not answer."""
    if find_spec("submitit") is None:
        raise ValueError("hydra/launcher=slurm: it needs pip install 'vitcli[cluster]'")
    _queue()


def finish(
    outputs: Path,
    runs: Mapping[str, str | None],
    study: Path,
    overrides: Sequence[str],
    stopped: Callable[[], bool],
    detach: bool = False,
) -> None:
    """Returns when each of the runs has a result or has failed.

    Args:
        outputs: the folder of all runs.
        runs: what each of them fine-tunes, or None, by id; none has a result. A run whose source
            has none either is queued to begin after the source's job.
        study: the study's folder, where the jobs' logs go.
        overrides: `hydra/launcher=slurm`, `hydra.launcher.partition=...` and the like.
        stopped: whether a person gave up: then the jobs are cancelled, their states saved.
        detach: return as soon as all of them are queued.
    Raises:
        ValueError: SLURM refuses the jobs.
        RuntimeError: SLURM does not answer; the same call finds the jobs again.
    """
    params = _parameters(study, overrides)
    folders = {run: outputs / "runs" / run for run in runs}
    queue = _queue()
    for folder in folders.values():
        held = _job(folder)
        if held.get("id") not in queue and not _is_unseen(held):  # of an earlier call
            (folder / "job.json").unlink(missing_ok=True)
    while not stopped():
        queue = _queue()
        todo = [run for run, folder in folders.items() if _is_due(folder, queue)]
        for job in sorted({_before(outputs, runs[run]) for run in todo}):
            now = [run for run in todo if _before(outputs, runs[run]) == job]
            _submit(outputs, now, study, params, job)
        if detach or not any(_is_open(folder) for folder in folders.values()):
            return
        _say_why(list(folders.values()), queue)
        time.sleep(_POLL_SECONDS)
    cancel(list(folders.values()))


def look(folders: Sequence[Path]) -> None:
    """Says in the status of each run whose job waits why SLURM lets it wait, if SLURM answers."""
    waiting = [folder for folder in folders if read_status(folder)["state"] == "queued"]
    if not waiting or shutil.which("squeue") is None:
        return
    try:
        queue = _queue(asks=1)
    except RuntimeError:  # the runs' own files say the rest
        return
    _say_why(waiting, queue)
    for folder in waiting:
        job = _job(folder)
        if job and job["id"] not in queue and not _is_unseen(job):
            gone = f"job {job['id']} is queued no more ({_ended(job['id'])}, log {job['log']})"
            Status(folder).update(state="queued", note=f"{gone}; `vitcli ablate` submits it again")


def _say_why(folders: Sequence[Path], queue: Mapping[str, str]) -> None:
    for folder in folders:
        job, status = _job(folder), read_status(folder)
        state, _, reason = queue.get(job.get("id", ""), "").partition(" ")
        note = f"job {job.get('id')} waits: {reason}"
        if status["state"] == "queued" and state == "PENDING" and status.get("note") != note:
            Status(folder).update(state="queued", note=note)


def cancel(folders: Sequence[Path]) -> int:
    """Cancels the runs' jobs; returns how many, when they have ended and saved their states."""
    of = {job["id"]: folder for folder in folders if (job := _job(folder))}
    found = set(of) & set(_queue()) if of else set()
    if found:
        _slurm("scancel", *sorted(found))
    while found and found & set(_queue()):
        time.sleep(_POLL_SECONDS / 4)
    for folder in (of[job] for job in found):
        write_record(folder / "job.json", {**_job(folder), "submitted": 0.0})  # it is not unseen
        if read_status(folder)["state"] == "queued":
            Status(folder).update(state="planned", note="its job was cancelled")
    return len(found)


def log(folder: Path) -> str:
    """Returns what the run's job wrote, or the traceback of its failure, with where it stands."""
    if (log := _job(folder).get("log")) and Path(log).exists():
        parts = [Path(log), Path(log).with_suffix(".out")]
        return "\n".join(f"-- {p}\n{p.read_text(errors='replace')}" for p in parts if p.exists())
    status = read_status(folder)
    return str(status.get("traceback") or f"{status['state']}: no log, no traceback")


def _is_open(folder: Path) -> bool:
    """Returns whether the run is to be waited for."""
    return not (folder / "result.json").exists() and read_status(folder)["state"] != "failed"


def _is_unseen(job: Mapping[str, Any]) -> bool:
    """Returns whether the job is so new that a slow controller may not list it yet."""
    return bool(job) and time.time() - job["submitted"] < _UNSEEN_SECONDS


def _is_due(folder: Path, queue: Mapping[str, str]) -> bool:
    """Returns whether the run is to be submitted; says in its status if it never will be."""
    job = _job(folder)
    if not job:
        return not (folder / "result.json").exists()
    if not _is_open(folder) or job["id"] in queue or _is_unseen(job):
        return False
    state, ended = read_status(folder)["state"], _ended(job["id"])
    if state == "running":
        return False  # it beats: `lost` within a minute if its process is gone
    # Its last files, or SLURM's accounts, may come late.
    late = state == "done" or ended in ("COMPLETED", "COMPLETING", "RUNNING")
    if late and time.time() - _left(folder, job) < _LATE_SECONDS:
        return False
    if ended.startswith("CANCELLED"):
        why = "its job was cancelled"
    elif state not in ("interrupted", "planned") and ended not in (
        "NODE_FAIL",
        "PREEMPTED",
        "TIMEOUT",
        "REQUEUED",
    ):
        why = "its process was killed"
    elif job["tries"] < TRIES:
        return True
    else:
        why = f"it was stopped in each of {TRIES} jobs"
    why += f" (job {job['id']}, {ended}; log {job['log']})"
    Status(folder).update(state="failed", error=why)
    return False


def _left(folder: Path, job: dict[str, Any]) -> float:
    """Returns when the job was first seen to be queued no more."""
    if "left" not in job:
        job["left"] = time.time()
        write_record(folder / "job.json", job)
    return float(job["left"])


def _before(outputs: Path, source: str | None) -> str:
    """Returns the number of the job that has yet to train the source; empty if none has."""
    if source is None or (outputs / "runs" / source / "result.json").exists():
        return ""
    return str(_job(outputs / "runs" / source).get("id", ""))


def _submit(
    outputs: Path, runs: Sequence[str], study: Path, params: Mapping[str, Any], after: str
) -> None:
    """Submits the runs as one array, to begin when the job `after` has ended, if it is given."""
    import submitit

    for run in runs:  # before: its job may be fast
        Status(outputs / "runs" / run).update(state="queued")
    given = dict(params) | ({"dependency": f"afterany:{after}"} if after else {})
    again = given.pop("max_num_timeout", 0)
    folder = study / "jobs" / "%j"
    executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=again)
    executor.update_parameters(
        **{k if k in _COMMON else f"slurm_{k}": v for k, v in given.items() if v is not None}
    )
    try:
        jobs = executor.submit_array([Work(outputs.resolve(), run) for run in runs])
    except submitit.core.utils.FailedJobError as error:
        raise ValueError(f"SLURM refuses the jobs: {' '.join(str(error).split())}") from None
    for run, job in zip(runs, jobs, strict=True):
        place = outputs / "runs" / run
        tries, log = _job(place).get("tries", 0) + 1, str(job.paths.stderr)
        now = time.time()
        write_record(
            place / "job.json", {"id": job.job_id, "submitted": now, "tries": tries, "log": log}
        )


def has_job(folder: Path) -> bool:
    """Returns whether a job has the run, or had it."""
    return bool(_job(folder))


def _job(folder: Path) -> dict[str, Any]:
    """Returns which job has the run; nothing if none has, or if its file is damaged."""
    try:
        found = read_record(folder / "job.json")
    except (FileNotFoundError, ValueError):
        return {}
    kinds = {"id": str, "submitted": float, "tries": int, "log": str}
    return found if all(isinstance(found.get(k), kind) for k, kind in kinds.items()) else {}


def _queue(asks: int = 15) -> dict[str, str]:
    """Returns state and reason of each of the user's jobs that are queued or running, by number.

    A busy controller may not answer in time: it is asked again, for half a minute.
    """
    try:
        lines = _slurm("squeue", "-h", "-r", "--me", "-o", "%i %T %r").splitlines()
    except RuntimeError:
        if asks == 1:
            raise
        time.sleep(_POLL_SECONDS)
        return _queue(asks - 1)
    return dict(line.split(maxsplit=1) for line in lines)


def _ended(job: str) -> str:
    """Returns how SLURM says that a job ended; UNKNOWN where it keeps no accounts."""
    try:
        found = _slurm("sacct", "-X", "-n", "-P", "-j", job, "-o", "State").split("\n")[0]
    except (ValueError, RuntimeError):
        found = ""
    return found or "UNKNOWN"


def _slurm(*command: str) -> str:
    if shutil.which(command[0]) is None:
        raise ValueError(f"hydra/launcher=slurm: there is no {command[0]} on this machine")
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"{command[0]}: {' '.join(ended.stderr.split())}")
    return ended.stdout


def _parameters(study: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Returns submitit's parameters, of the preset and the user's overrides."""
    from omegaconf import OmegaConf

    words = [f"folder={quoted(study)}", "run=one", *overrides]
    with one_line_errors():
        found: Any = OmegaConf.to_container(composed("launch", words).hydra.launcher)
    for key in ("_target_", "submitit_folder"):
        del found[key]
    found["name"] = study.name
    return dict(found)
