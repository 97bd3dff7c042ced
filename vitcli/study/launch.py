"""The only caller of Hydra's launchers: runs what a plan still misses, each in a job of its own."""

from __future__ import annotations

import logging
import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vitcli.argv import quoted
from vitcli.choices import choose, nearest
from vitcli.files import conf_dir
from vitcli.machine import cores
from vitcli.status import Status, read_status, settle
from vitcli.stops import stops
from vitcli.study import slurm
from vitcli.study.job import job, lacks_source
from vitcli.study.plan import Plan
from vitcli.trackers import check_installed
from vitcli.with_hydra import composed, one_line_errors, run_hydra

_log = logging.getLogger(__name__)
_EXTRAS = {"ray": "ray", "submitit_local": "cluster", "submitit_slurm": "cluster"}
_WORKERS = ("local", "joblib")  # launchers whose jobs are in processes of this command's own
_CHDIR = re.compile(r"\+*hydra\.job\.chdir=(?!false$)")
_RAY_CPUS = "hydra.launcher.ray.remote.num_cpus"  # of a run


def check(plan: Plan, hydra_overrides: Sequence[str] = (), detach: bool = False) -> None:
    """Raises ValueError if `launch` cannot do this here; before anything of the plan is written.

    There is no such launcher, cluster, device or library of a tracker, or no such key of the
    launcher's; or only a cluster can detach.
    """
    launcher = _launcher(hydra_overrides)
    _check_installed(launcher)
    if moved := [o for o in hydra_overrides if _CHDIR.match(o)]:
        raise ValueError(f"{moved[0]}: not supported, `outputs` says where a run goes")
    check_installed(plan.tracker)
    if detach and launcher not in slurm.LAUNCHERS:
        raise ValueError(
            "--detach: only a cluster's jobs run on without this command (hydra/launcher=slurm)"
        )
    if launcher in slurm.LAUNCHERS:
        slurm.check()
    else:
        _shared_out(plan, 1, 1, hydra_overrides)  # looks for the device
    _check_keys(launcher, hydra_overrides)


def launch(plan: Plan, hydra_overrides: Sequence[str] = (), detach: bool = False) -> bool:
    """Runs what has no result yet, sources first; returns False if a signal stopped it.

    A run that fails, or whose process dies, leaves the others alone: the files say how each ended,
    and of a run whose source has no result, that it waits for it.

    Args:
        plan: checked, then frozen.
        hydra_overrides: `hydra/launcher=...`, `hydra.launcher.n_jobs=...` and the like.
        detach: only queue the jobs, on a cluster; those of sources first, the others after them.
    Raises:
        ValueError: the cluster refuses the jobs.
    """
    on_slurm = _launcher(hydra_overrides) in slurm.LAUNCHERS
    with _stopping(plan) as stopped:
        for stage in _stages(plan, detach):
            if on_slurm:
                sources = {
                    run: plan.configs[run].finetune.weights for run in missing(plan) if run in stage
                }
                slurm.finish(plan.outputs, sources, plan.folder, hydra_overrides, stopped, detach)
            else:
                _finish(plan, stage, hydra_overrides, stopped)
            if stopped():
                return False
    return True


def _stages(plan: Plan, queued: bool) -> Iterator[list[str]]:
    """Yields the runs that are fine-tuned from, then those of the others that can be trained.

    Those others need the result of their source; where jobs are only queued, its job will do.
    """
    sources = plan.study.sources
    if sources:
        yield list(sources)
    ready = []
    for run in (run for run in plan.configs if run not in sources):
        source = plan.configs[run].finetune.weights
        follows = queued and source is not None and slurm.has_job(_folder(plan, source))
        if follows or not lacks_source(plan.outputs, run, source):
            ready.append(run)
    yield ready


def _finish(
    plan: Plan, stage: list[str], hydra_overrides: Sequence[str], stopped: Callable[[], bool]
) -> None:
    """Runs what of the stage has no result, until a signal stops it."""
    tried: set[str] = set()
    while todo := [run for run in missing(plan) if run in stage and run not in tried]:
        before = {run: read_status(_folder(plan, run)) for run in todo}
        _multirun(plan, todo, len(stage), hydra_overrides)
        if stopped():
            return
        begun = {run for run in todo if read_status(_folder(plan, run)) != before[run]}
        # A killed worker takes joblib's queue with it: what had not begun is tried again.
        tried |= begun or set(todo)
    # A worker that is killed takes those beside it along: each of them once more, alone.
    for run in [run for run in tried if _is_lost(plan, run)]:
        _multirun(plan, [run], len(stage), hydra_overrides)
        if stopped():
            return
        if _is_lost(plan, run):
            Status(_folder(plan, run)).update(state="failed", error="its process was killed")


def _is_lost(plan: Plan, run: str) -> bool:
    return bool(read_status(_folder(plan, run))["state"] == "lost")


def at_once(plan: Plan, runs: int, device: str | None = None) -> int:
    """Returns how many of that many runs go on at a time: as cores suffice, or one alone on a GPU.

    A run has one core, or as many as `threads` says. What fits into a GPU's memory beside another
    run is the user's to know (`hydra.launcher.n_jobs`).

    Args:
        device: `cpu` or another kind; None: torch is asked, which takes seconds to import, and
            raises ValueError for device=cuda without one.
    """
    config = next(iter(plan.configs.values()))
    if device is None:
        from vitcli.trainer import find_device

        device = find_device(config).type
    if device != "cpu":
        return 1
    threads = max(1, config.threads)
    return max(1, min(cores() // threads, runs))


def settle_finished(plan: Plan) -> None:
    """Ends the runs that were killed after they wrote their result."""
    for run in plan.configs.keys() - set(missing(plan)):
        settle(_folder(plan, run))


def missing(plan: Plan) -> list[str]:
    """Returns the ids of the runs without a result, seed by seed: half a study has whole seeds."""
    runs = sorted(plan.configs, key=lambda run: plan.configs[run].seed)
    return [run for run in runs if not (_folder(plan, run) / "result.json").exists()]


def _multirun(plan: Plan, runs: list[str], most: int, hydra_overrides: Sequence[str]) -> None:
    """Hands `runs` to a launcher; on this machine, as many at once as a stage of `most` can be."""
    argv = ["vitcli ablate", "-m", f"folder={quoted(plan.folder)}", "run=" + ",".join(runs)]
    argv += [f"stop={_stop(plan).name}"]
    argv += [*_shared_out(plan, len(runs), most, hydra_overrides), *hydra_overrides]
    try:
        with one_line_errors():
            run_hydra("launch", argv, job)
    except Exception as error:
        died = type(error).__name__ in ("TerminatedWorkerError", "UncompletedJobError")
        # The files say whose run it was. After a signal a worker may die of anything, of a broken
        # import too.
        if not died and not _stop(plan).exists():
            raise


def _launcher(hydra_overrides: Sequence[str]) -> str:
    given = [o.partition("=")[2] for o in hydra_overrides if o.startswith("hydra/launcher=")]
    return given[-1] if given else "local"


def _check_installed(launcher: str) -> None:
    """Raises ValueError, naming those that there are, if the launcher is not installed here."""
    from hydra.core.config_store import ConfigStore
    from hydra.core.plugins import Plugins

    Plugins.instance()  # registers those of packages
    theirs = (Path(name).stem for name in ConfigStore.instance().list("hydra/launcher"))
    known = {path.stem for path in (conf_dir() / "hydra/launcher").glob("*.yaml")}.union(theirs)
    if launcher in _EXTRAS and launcher not in known:
        extra = _EXTRAS[launcher]
        raise ValueError(f"hydra/launcher={launcher}: it needs pip install 'vitcli[{extra}]'")
    choose("hydra/launcher", launcher, sorted(known))


def _check_keys(launcher: str, hydra_overrides: Sequence[str]) -> None:
    """Raises ValueError for an override that Hydra or the launcher does not have."""
    if not hydra_overrides:
        return
    words = ["folder=one", "run=one"]
    with one_line_errors():
        known = composed("launch", [*words, f"hydra/launcher={launcher}"]).hydra.launcher
        for override in hydra_overrides:
            key, _, _ = override.partition("=")
            name = key.removeprefix("hydra.launcher.").partition(".")[0]
            if key.startswith("hydra.launcher.") and name not in known:
                raise ValueError(
                    f"{override}: hydra/launcher={launcher} has no {name}{nearest(name, known)}"
                )
        composed("launch", [*words, *hydra_overrides])


def _shared_out(plan: Plan, runs: int, most: int, hydra_overrides: Sequence[str]) -> list[str]:
    """Returns the overrides that give each job its share of the cores, as its launcher packs them.

    Ray gives what it is asked for, and submitit_local starts all jobs at once.
    """
    given = dict(o.split("=", 1) for o in hydra_overrides if "=" in o)
    launcher = _launcher(hydra_overrides)
    if launcher == "ray":
        asked = given.get(_RAY_CPUS, "1")
        return [f"threads={max(1, int(float(asked)))}", f"++{_RAY_CPUS}={asked}"]
    if launcher == "submitit_local":
        if runs > cores():
            _log.warning(
                "%d runs at once on %d cores, as hydra/launcher=submitit_local starts all of them; "
                "without it they take turns",
                runs,
                cores(),
            )
        return [f"threads={max(1, cores() // runs)}"]
    if launcher not in _WORKERS:
        return []
    jobs = given.get("hydra.launcher.n_jobs", str(at_once(plan, most)))
    if not re.fullmatch(r"-1|[1-9]\d*", jobs):
        raise ValueError(
            f"hydra.launcher.n_jobs={jobs}: a whole number of at least 1, or -1 for all cores"
        )
    parallel = int(jobs)
    threads = max(1, cores() // parallel) if parallel > 0 else 1  # joblib's -1: as many as cores
    return [f"threads={threads}", f"hydra.launcher.n_jobs={parallel}", f"launcher={os.getpid()}"]


@contextmanager
def _stopping(plan: Plan) -> Iterator[Callable[[], bool]]:
    """Hands a signal that stops runs on to this command's jobs; gives whether one came."""
    stop = _stop(plan)
    stop.unlink(missing_ok=True)

    def handle(number: int, frame: object) -> None:
        stop.touch()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second one ends at once

    before = {s: signal.signal(s, handle) for s in stops()}
    try:
        yield stop.exists
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        stop.unlink(missing_ok=True)


def _stop(plan: Plan) -> Path:
    """Returns the file that stops this command's jobs, and keeps the others from beginning."""
    return plan.folder / f"stop-{os.getpid()}"


def _folder(plan: Plan, run: str) -> Path:
    return plan.folder.parent.parent / "runs" / run
