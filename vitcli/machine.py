"""What this process was given: cores, and its place among the processes of one run. No torch."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """Which of the processes of a run this is; alone, it is the first of one."""

    rank: int = 0  # in [0, size)
    size: int = 1
    local_rank: int = 0  # among those on this machine, in [0, local_size)
    local_size: int = 1


def place() -> Place:
    """Returns which process of a run this is, as torchrun or srun says it."""
    given = os.environ.get
    if "TORCHELASTIC_RUN_ID" in os.environ:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        return Place(*(int(os.environ[name]) for name in names))
    size = int(given("SLURM_STEP_NUM_TASKS", "1"))  # a batch script's own step has none
    if size == 1 or "SLURM_PROCID" not in os.environ:
        return Place()
    here = given("SLURM_STEP_TASKS_PER_NODE", "1").partition("(")[0].partition(",")[0]  # 2(x3),1
    local = int(given("SLURM_LOCALID", "0"))
    return Place(int(os.environ["SLURM_PROCID"]), size, local, max(int(here), local + 1))


def check_alone(words: Sequence[str]) -> None:
    """Raises ValueError for a command of several processes that is not one run's training."""
    size, command = place().size, words[0] if words else ""
    if size > 1 and command not in ("train", "finetune"):
        raise ValueError(
            f"{command}: {size} processes were started, and only `train` and `finetune` share "
            "their work among several; a study's runs are started by `vitcli ablate` itself, alone"
        )


def meeting_point() -> tuple[str, int]:
    """Returns host and port where the processes of a run meet: the first one's machine.

    Raises:
        RuntimeError: SLURM does not say which hosts there are.
    """
    host, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT")
    if host is None:
        hosts = os.environ["SLURM_STEP_NODELIST"]
        found = subprocess.run(
            ["scontrol", "show", "hostnames", hosts], capture_output=True, text=True
        )
        if found.returncode:
            raise RuntimeError(f"scontrol show hostnames {hosts}: {found.stderr.strip()}")
        host = found.stdout.split()[0]
    # Other jobs of the same machine have other numbers.
    number = 8 * int(os.environ.get("SLURM_JOB_ID", "0")) + int(
        os.environ.get("SLURM_STEP_ID", "0")
    )
    return host, int(port) if port else 15000 + number % 15000


def cores() -> int:
    """Returns how many cores this process may use: by affinity, cgroup quota, SLURM's job.

    SLURM need not bind a job to the cores that it is given. Processes that torchrun starts on one
    machine share its cores, or their task's; tasks that srun starts share those of the node, where
    it does not say how many each has.
    """
    from joblib import cpu_count

    there, sharing = int(cpu_count()), place().local_size
    elastic = "TORCHELASTIC_RUN_ID" in os.environ
    task, node = (os.environ.get(f"SLURM_CPUS_{of}", "") for of in ("PER_TASK", "ON_NODE"))
    if task.isdecimal():
        there = min(there, int(task))
    elif node.isdecimal():
        there = min(there, int(node) if elastic else int(node) // sharing)
    return max(1, there // sharing if elastic else there)


def available_memory() -> float:
    """Returns how many bytes this process may have: the machine's, its cgroup's, its own limit."""
    limits = [math.inf]
    with suppress(AttributeError, ValueError):  # not of Windows
        limits.append(float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")))
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # none here, or `max`
            limits.append(float(Path(path).read_text()))
    with suppress(ImportError):  # not of Windows
        import resource

        own, _ = resource.getrlimit(resource.RLIMIT_AS)
        limits += [float(own)] if own != resource.RLIM_INFINITY else []
    return min(limits)


def missing_to_compile() -> str:
    """Returns what compiling a training step on a CPU lacks here: a command, a file, or nothing."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        return compiler
    header = Path(sysconfig.get_path("include"), "Python.h")
    return "" if header.is_file() else str(header)
