"""`vitcli doctor`: what it says, against torch, torchvision and machines made up for it."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Ended

from vitcli import doctor
from vitcli.compose import compose
from vitcli.config import DataConfig
from vitcli.data.held import READERS
from vitcli.doctor import Finding
from vitcli.machine import cores
from vitcli.sets import place
from vitcli.step import precision


@pytest.fixture(autouse=True)
def _anew() -> None:
    doctor._gpus.cache_clear()


def found(name: str, outputs: Path = Path("outputs")) -> Finding:
    """Returns what the check of that name finds."""
    (one,) = [each for check in doctor.CHECKS if (each := check(outputs)).name == name]
    return one


def test_it_checks_each_thing_in_under_three_seconds_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.argv = ['vitcli', 'doctor']\n"
        "from vitcli.cli import main\n"
        "main()\n"
        "assert not {'torch', 'hydra', 'rich'} & set(sys.modules)\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 3
    named = re.findall(r"^(?:ok|look) +(\w+)  ", ended.stdout, re.MULTILINE)
    assert named == [
        "Python", "torch", "device", "cores", "load", "precision", "compiler", "disk", "SLURM",
        "browser", "data",
    ]  # fmt: skip


def test_it_reads_of_torch_what_torch_says() -> None:
    cuda = torch.version.cuda
    says = found("torch").says
    assert says.startswith(torch.__version__.partition("+")[0])
    assert says.endswith(f"with CUDA {cuda}" if cuda else "for CPUs")


def test_without_torch_nothing_runs(
    vitcli: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    ended = vitcli("doctor")
    assert ended.code == 1
    assert "look  torch      is not installed\n" in ended.out
    assert "-> pip install torch torchvision\n" in ended.out


def test_cores_are_those_that_runs_take() -> None:
    assert found("cores").says.startswith(f"{cores()} ")


@pytest.mark.parametrize("flag", ["amx_bf16", "avx512_bf16"])
def test_it_knows_the_units_that_torch_knows(flag: str) -> None:
    assert (flag in doctor._processor()) == bool(torch.cpu.get_capabilities().get(flag, False))


@pytest.mark.parametrize(
    ("flags", "overrides", "chosen"),
    [
        ({"amx_bf16", "avx512_bf16"}, ["model=micro", "compile=off"], "bf16"),
        ({"amx_bf16", "avx512_bf16"}, ["compile=on"], "bf16"),
        ({"amx_bf16", "avx512_bf16"}, ["compile=off"], "fp32"),
        ({"amx_bf16", "avx512_bf16"}, ["model=pico", "compile=on"], "fp32"),
        ({"amx_bf16", "avx512_bf16"}, ["model=pico", "stem=resnet_nano", "compile=on"], "bf16"),
        ({"avx512_bf16"}, [], "bf16"),
        ({"avx512_bf16"}, ["model=bit_nano"], "fp32"),
        (set(), [], "fp32"),
    ],
)
def test_what_it_says_of_precision_is_what_a_run_does(
    flags: set[str], overrides: list[str], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_gpus", lambda: [])
    monkeypatch.setattr(doctor, "_processor", lambda: flags | {"sse"})
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(flags, True))
    assert precision(compose(overrides), 100, torch.device("cpu")) == chosen
    said = {
        "amx_bf16": "bf16 by AMX for wide ViTs and compiled steps, fp32 for narrow ViTs",
        "avx512_bf16": "bf16 by AVX-512 for ViTs and hybrids, fp32 for ResNets",
        "": "fp32: this processor has no units for bf16",
    }[min(flags, default="")]
    assert found("precision").says == f"{said} (train.precision=auto)"


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts an nvidia-smi on the PATH that lists two of a kind."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H100, 81559 MiB'\necho 'NVIDIA H100, 81559 MiB'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("gpu")
def test_gpus_are_those_that_the_driver_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_cuda_of_torch", lambda: "13.0")
    assert found("device") == Finding("device", "2 GPUs: NVIDIA H100, 81559 MiB")
    assert found("precision").says.startswith("bf16 on a GPU that has it")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert found("device").todo == "CUDA_VISIBLE_DEVICES hides them; unset it"
    monkeypatch.setattr(doctor, "_cuda_of_torch", lambda: "")
    assert "this torch is for CPUs" in found("device").todo


def test_a_driver_that_does_not_answer_is_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nexit 9\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert found("device").says == "the CPU; nvidia-smi finds no GPU here"


@pytest.mark.parametrize(("load", "busy"), [(0.1, False), (3.0, True)])
def test_a_busy_machine(load: float, busy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert bool(found("load").todo) == busy


def test_room_where_outputs_are(
    vitcli: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage: Any = type("Usage", (), {"free": 3e9})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    says = f"3.0 GB free for {tmp_path / 'a/b'}"
    assert found("disk", tmp_path / "a/b") == Finding("disk", says)
    usage.free = 1e9
    assert found("disk", tmp_path / "a/b").todo == "make room, or choose outputs=FOLDER"
    (tmp_path / "file").touch()
    ended = vitcli("doctor", "--outputs", str(tmp_path / "file/outputs"))
    assert ended.code == 1
    assert f"outputs={tmp_path / 'file/outputs'}: {tmp_path / 'file'} is a file" in ended.out


def test_slurm_compiler_and_browser_that_are_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert found("SLURM").says == "no sbatch, sinfo: studies run on this machine"
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert found("compiler").todo.startswith("install g++")
    for name in ("sbatch", "sinfo", "g++"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert found("SLURM").says.endswith("hydra/launcher=slurm")
    assert found("compiler").says == f"no {tmp_path / 'Python.h'}"
    assert found("compiler").todo.startswith("install python3-dev")
    (tmp_path / "Python.h").touch()
    assert not found("compiler").todo

    def none(*arguments: object) -> None:
        raise doctor.webbrowser.Error

    monkeypatch.setattr("webbrowser.get", none)
    assert found("browser").says.startswith("none: copy report.html")


def test_data_that_are_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert found("data").says.startswith("glyphs and digits need no files; with data.download=true")
    (tmp_path / "data/MNIST/raw").mkdir(parents=True)
    (tmp_path / "data/imagenet").mkdir()
    says = found("data").says
    assert says.startswith("here: imagenet, mnist; ")
    assert says.endswith("with data.path=FOLDER: imagenet21k")


@pytest.mark.parametrize("name", sorted(READERS))
def test_sets_are_looked_for_where_torchvision_reads_them(name: str) -> None:
    reader = READERS[name]
    folder = getattr(reader, "base_folder", f"{reader.__name__}/raw")
    assert place(replace(DataConfig(), name=name, root="here")) == Path("here") / folder
