"""`vitcli doctor`: what this machine has for us, and what to do about what it has not.

Nothing imports torch, which takes seconds: its files, the processor's and the drivers' say enough.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from vitcli.catalog import options
from vitcli.files import check_writable
from vitcli.listing import config_of
from vitcli.machine import cores, missing_to_compile
from vitcli.sets import place

_ROOM = 2e9  # bytes; a laptop study's runs take 0.1 GB, one ViT-B with its training states 3 GB


@dataclass(frozen=True)
class Finding:
    """What a check found, what to do about it (empty: all is well), and whether nothing runs."""

    name: str
    says: str
    todo: str = ""
    stops: bool = False


def _python(outputs: Path) -> Finding:
    says = f"{platform.python_version()}, vitcli {version('vitcli')}"
    return Finding("Python", says)


def _torch(outputs: Path) -> Finding:
    cuda = _cuda_of_torch()
    if cuda is None:
        return Finding("torch", "is not installed", "pip install torch torchvision", stops=True)
    return Finding("torch", f"{version('torch')}, {f'with CUDA {cuda}' if cuda else 'for CPUs'}")


def _cuda_of_torch() -> str | None:
    """Returns the CUDA that torch was built with; empty: none; None: there is no torch."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    text = Path(spec.origin).with_name("version.py").read_text()
    found = re.search(r"^cuda\b.*= *'([^']*)'", text, re.MULTILINE)
    return found[1] if found else ""


def _device(outputs: Path) -> Finding:
    gpus, hidden = _gpus(), os.environ.get("CUDA_VISIBLE_DEVICES")
    if not gpus:
        return Finding("device", "the CPU; nvidia-smi finds no GPU here")
    says = f"{len(gpus)} GPU{'s' * (len(gpus) > 1)}: {', '.join(dict.fromkeys(gpus))}"
    if not _cuda_of_torch():
        todo = "this torch is for CPUs; pytorch.org/get-started has the command for one with CUDA"
        return Finding("device", says, todo)
    if hidden is not None and not hidden.strip():
        return Finding("device", says, "CUDA_VISIBLE_DEVICES hides them; unset it")
    return Finding("device", says + (f"; CUDA_VISIBLE_DEVICES={hidden}" if hidden else ""))


@cache  # it takes a second where no driver daemon runs
def _gpus() -> list[str]:
    """Returns the names and memories of the GPUs that the driver lists."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=2, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in listed.stdout.splitlines() if line.strip()]


def _cores(outputs: Path) -> Finding:
    mine, there = cores(), os.cpu_count() or 1
    of = "all" if mine == there else f"of {there}; affinity, a cgroup or SLURM gives no more"
    return Finding("cores", f"{mine} ({of}): threads of one run, or runs of a study at a time")


def _load(outputs: Path) -> Finding:
    load, there = os.getloadavg()[0], os.cpu_count() or 1
    says = f"{load:.1f} processes at work in the last minute, on {there} cores"
    busy = load > there / 2
    todo = "others compute here: runs take longer, and what `--time` and `bench` say is too slow"
    return Finding("load", says, todo if busy else "")


def _precision(outputs: Path) -> Finding:
    flags = _processor()
    if _gpus() and _cuda_of_torch():
        says = "bf16 on a GPU that has it (compute capability 8 and up), else fp32"
    elif not flags:
        says = "not known without torch here; a run's env.json says which"
    elif "amx_bf16" in flags:
        says = "bf16 by AMX for wide ViTs and compiled steps, fp32 for narrow ViTs"
    elif "avx512_bf16" in flags:
        says = "bf16 by AVX-512 for ViTs and hybrids, fp32 for ResNets"
    else:
        says = "fp32: this processor has no units for bf16"
    return Finding("precision", f"{says} (train.precision=auto)")


def _processor() -> set[str]:
    """Returns what the processor can do, as Linux names it; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    found = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return set(found[1].split()) if found else set()


def _compiler(outputs: Path) -> Finding:
    missing = missing_to_compile()
    if not missing:
        name = os.environ.get("CXX", "g++")
        return Finding("compiler", f"{name}: on a CPU the steps of longer runs are compiled")
    package = "python3-dev or the like" if missing.endswith(".h") else "g++"
    todo = f"install {package}: compiled steps are 1.2 to 1.7 times as fast on a CPU"
    return Finding("compiler", f"no {missing}", todo)


def _disk(outputs: Path) -> Finding:
    folder = outputs.absolute()
    there = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(there).free
    says = f"{free / 1e9:,.1f} GB free for {outputs}"
    try:
        check_writable(outputs)
    except ValueError as error:
        return Finding("disk", says, f"{error}; choose another by outputs=FOLDER", stops=True)
    return Finding("disk", says, "" if free > _ROOM else "make room, or choose outputs=FOLDER")


def _slurm(outputs: Path) -> Finding:
    absent = [name for name in ("sbatch", "sinfo") if shutil.which(name) is None]
    if absent:
        return Finding("SLURM", f"no {', '.join(absent)}: studies run on this machine")
    try:
        says = f"sbatch is here, hydra-submitit-launcher {version('hydra-submitit-launcher')} too"
    except PackageNotFoundError:
        todo = "pip install 'vitcli[cluster]', to start studies with hydra/launcher=slurm"
        return Finding("SLURM", "sbatch is here", todo)
    return Finding("SLURM", f"{says}: hydra/launcher=slurm")


def _browser(outputs: Path) -> Finding:
    try:
        name = getattr(webbrowser.get(), "name", "there is one")
    except webbrowser.Error:
        return Finding("browser", "none: copy report.html to where one is, or read report.md")
    return Finding("browser", f"{name}, for report.html")


def _data(outputs: Path) -> Finding:
    here, fetched, absent = list[str](), list[str](), list[str]()
    for name, path in options("data").items():
        data = config_of("data", name, path).data
        its = place(data)
        if its is not None:
            own = data.path is not None
            (here if its.exists() else absent if own else fetched).append(name)
    says = [f"here: {', '.join(here)}" if here else "glyphs and digits need no files"]
    says += [f"with data.download=true: {', '.join(fetched)}"] if fetched else []
    says += [f"with data.path=FOLDER: {', '.join(absent)}"] if absent else []
    return Finding("data", "; ".join(says))


CHECKS: tuple[Callable[[Path], Finding], ...] = (
    _python, _torch, _device, _cores, _load, _precision, _compiler, _disk, _slurm, _browser, _data,
)  # fmt: skip
