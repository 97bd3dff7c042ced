"""One run in several processes: the losses of one process, whatever ends one of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from helpers import ROOT, Ended, start, wait_for
from PIL import Image
from torch.distributed import HashStore

from vitcli.compose import compose
from vitcli.identity import run_id
from vitcli.machine import Place, cores, meeting_point, place
from vitcli.runner import run
from vitcli.status import read_status
from vitcli.stops import Interrupted, StopSignal
from vitcli.world import ProcessLost, World, check_processes

TINY = (
    "data.size=256 data.val_size=64 data.num_classes=8 train.steps=8 train.batch_size=16 "
    "evals.draws=2 model.depth=2 train.precision=fp32 compile=off recipe.lr=1e-3 threads=1"
)


def torchrun(*command: str, cwd: Path) -> subprocess.Popen[str]:
    """Starts two processes of a run."""
    two = ["--standalone", "--nproc-per-node=2"]
    return start(*two, *command, cwd=cwd, module="torch.distributed.run")


def ended(process: subprocess.Popen[str]) -> Ended:
    out, errors = process.communicate(timeout=200)
    return Ended(process.returncode, out, errors)


def log(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def images(place: Path) -> Path:
    """Writes 8 images of each of two classes for training and 4 for validation; two are broken."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("val", 4)):
        for name in ("a", "b"):
            (place / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / part / name / f"{i}.png")
    for broken in ("a/3.png", "b/5.png"):
        (place / "train" / broken).write_bytes(b"no image")
    return place


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(tmp_path: Path) -> None:
    own = images(tmp_path / "images")
    files = (
        f"data=imagefolder data.path={own} data.size=16 data.val_size=8 data.num_classes=2 "
        "data.img_size=16 data.max_bad=2 data.workers=0 evals=upstream train.batch_size=8"
    )
    variants = {
        "ddp": TINY,
        "fsdp": f"{TINY} seed=1 parallel=fsdp recompute=true recipe.grad_clip=0.5",
        "sgd": f"{TINY} seed=2 parallel=fsdp recipe.optimizer=sgd pos_emb=relative",
        "parts": f"{TINY} seed=3 train.accumulate=2 recipe.mixup=0.5 recipe.polyak=0.9",
        "best": f"{TINY} seed=4 train.keep=best train.on_nan=skip train.batch_size=15",
        "broken images": f"{TINY} seed=5 {files}",
    }
    several = ended(
        torchrun(str(ROOT / "tests/several.py"), str(tmp_path / "two"), *variants.values(),
                 cwd=tmp_path)
    )  # fmt: skip
    assert several.code == 0, several.err
    for name, words in variants.items():
        alone = run(compose([*words.split(), f"outputs={tmp_path / 'one'}"]), quiet=True)
        both = tmp_path / "two/runs" / alone.folder.name
        result = json.loads((both / "result.json").read_text())
        assert result["env"]["processes"] == 2, name
        assert result["skipped"] == alone.result["skipped"], name
        for ours, theirs in zip(log(both), log(alone.folder), strict=True):
            assert ours["step"] == theirs["step"]
            assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-6), (name, ours)
        for metric in ("val/loss", "train/loss"):
            expected = alone.result["metrics"][metric]
            assert result["metrics"][metric] == pytest.approx(expected, rel=1e-4), name


@pytest.mark.slow
def test_a_run_of_two_processes_is_stopped_killed_and_ended_by_one(tmp_path: Path) -> None:
    words = [*TINY.replace("train.steps=8", "train.steps=300").split(), "checkpoint.every=20"]
    config = compose([*words, f"outputs={tmp_path / 'two'}"])
    folder = tmp_path / "two/runs" / run_id(config)
    command = ["-m", "vitcli", "train", *words, f"outputs={tmp_path / 'two'}"]

    def past(step: int) -> bool:
        return bool(read_status(folder).get("step", 0) >= step)

    stopped = torchrun(*command, "parallel=fsdp", cwd=tmp_path)
    wait_for(lambda: past(30))
    os.kill(stopped.pid, signal.SIGTERM)  # torchrun hands it on
    ended(stopped)
    status = read_status(folder)
    assert status["state"] == "interrupted"
    killed = torchrun(*command, cwd=tmp_path)
    wait_for(lambda: past(status["step"] + 50))
    children = Path(f"/proc/{killed.pid}/task/{killed.pid}/children").read_text().split()
    other = next(pid for pid in children if int(pid) != read_status(folder)["pid"])
    os.kill(int(other), signal.SIGKILL)
    _, out = killed.communicate(timeout=60)
    assert killed.returncode == 1
    assert "process 0 of 2: " in out
    assert "another of the 2 processes ended: killed, or out of memory" in out
    assert read_status(folder)["state"] == "failed"
    assert "ended: killed" in read_status(folder)["error"]
    run(config, quiet=True)
    alone = run(compose([*words, f"outputs={tmp_path / 'one'}"]), quiet=True)
    found = [(line["step"], line["loss"]) for line in log(folder)]
    expected = [(line["step"], line["loss"]) for line in log(alone.folder)]
    assert [step for step, _ in found] == [step for step, _ in expected]
    assert np.allclose([x for _, x in found], [x for _, x in expected], rtol=1e-3)
    assert not list((folder / "checkpoints").glob("state*"))


@pytest.mark.slow
def test_an_error_of_one_process_ends_the_others_and_is_shown(tmp_path: Path) -> None:
    script = tmp_path / "fails.py"
    script.write_text(
        "import sys\n"
        "from vitcli import trainer\n"
        "from vitcli.cli import main\n"
        "from vitcli.machine import place\n"
        "step = trainer.Trainer.train_step\n"
        "def fails(self):\n"
        "    if self.step == 5 and place().rank == 1:\n"
        "        raise OSError('no space left on device')\n"
        "    return step(self)\n"
        "trainer.Trainer.train_step = fails\n"
        "main()\n"
    )
    outputs = tmp_path / "outputs"
    failed = ended(
        torchrun(str(script), "train", *TINY.split(), f"outputs={outputs}", cwd=tmp_path)
    )
    assert failed.code == 1
    assert "vitcli, process 1 of 2: OSError: no space left on device" in failed.err
    (folder,) = (outputs / "runs").iterdir()
    assert read_status(folder)["error"] == (
        "ProcessLost: process 1 of 2 ended: no space left on device"
    )


def test_a_failure_of_another_counts_before_the_signal_that_follows_it() -> None:
    store = HashStore()
    store.set("ended", "1 failed no space left on device")
    lost = "process 1 of 2 ended: no space left on device"
    with pytest.raises(ProcessLost, match=lost), World(Place(0, 2), store).watched():
        raise Interrupted("stopped by SIGTERM")
    store.set("ended", "1 stopped stopped by SIGTERM")
    own = pytest.raises(Interrupted, match=r"^stopped after step 3")
    with own, World(Place(0, 2), store).watched():
        raise Interrupted("stopped after step 3")


def test_of_a_process_that_said_nothing_it_is_said_what_was_seen() -> None:
    said = (
        "another of the 2 processes ended: killed, or out of memory: it said nothing "
        r"\(\[gloo\] Connection closed by peer\)$"
    )
    with pytest.raises(ProcessLost, match=said), World(Place(0, 2), HashStore()).watched():
        raise RuntimeError("[gloo] Connection closed by peer\nmore")


def test_this_process_s_own_workers_are_not_another_process() -> None:
    store = HashStore()
    own = pytest.raises(RuntimeError, match=r"^DataLoader timed out after 600 seconds")
    with own, World(Place(1, 2), store).watched():
        raise RuntimeError("DataLoader timed out after 600 seconds")
    assert store.get("ended") == b"1 failed DataLoader timed out after 600 seconds"


def test_the_others_wait_for_the_first_however_long_and_see_it_end() -> None:
    store, made = HashStore(), list[int]()
    waits = Thread(target=lambda: made.append(World(Place(1, 2), store).in_turn(lambda: 1)))
    waits.start()
    waits.join(0.5)
    assert (waits.is_alive(), made) == (True, [])
    assert World(Place(0, 2), store).in_turn(lambda: made.append(0) or 0) == 0
    waits.join()
    assert made == [0, 1]
    ended = HashStore()
    ended.set("ended", "0 failed there is no such set")
    lost = "process 0 of 2 ended: there is no such set"
    with pytest.raises(ProcessLost, match=lost):
        World(Place(1, 2), ended).in_turn(lambda: 1)


def test_a_signal_does_not_hinder_an_error_from_being_written() -> None:
    stop = StopSignal()
    with pytest.raises(OSError, match="no space left"), stop.waits():
        raise OSError("no space left")
    stop.handle(signal.SIGTERM, None)


def test_processes_of_different_runs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Place(0, 2))
    monkeypatch.setattr(world, "gather", lambda run: [run, "nano-s1-b"])
    world.check_same("nano-s1-b")
    with pytest.raises(ValueError, match="of 2 runs, nano-s0-a, nano-s1-b among them"):
        world.check_same("nano-s0-a")


def test_a_study_is_not_started_by_several_processes(
    vitcli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}.items():
        monkeypatch.setenv(name, value)
    refused = vitcli("ablate", "pos-emb")
    assert refused.code == 2
    assert refused.err.startswith("vitcli, process 1 of 2: ablate: 2 processes were started")
    assert refused.err.count("\n") == 1


def test_the_place_is_what_torchrun_or_srun_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_STEP_NUM_TASKS", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert place() == Place(0, 1, 0, 1)
    monkeypatch.setenv("SLURM_PROCID", "5")  # of a batch script: no step of several tasks
    assert place() == Place(0, 1, 0, 1)
    slurm = {"STEP_NUM_TASKS": "6", "LOCALID": "1", "STEP_TASKS_PER_NODE": "2(x3)"}
    for name, value in slurm.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert place() == Place(5, 6, 1, 2)
    elastic = {"TORCHELASTIC_RUN_ID": "x", "RANK": "3", "WORLD_SIZE": "4"}
    for name, value in (elastic | {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}).items():
        monkeypatch.setenv(name, value)
    assert place() == Place(3, 4, 1, 2)
    monkeypatch.setenv("MASTER_ADDR", "node7")
    monkeypatch.setenv("MASTER_PORT", "1234")
    assert meeting_point() == ("node7", 1234)
    monkeypatch.setattr("joblib.cpu_count", lambda: 9)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)
    assert cores() == 4  # torchrun's two share them
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "6")
    assert cores() == 3  # or those of the task that torchrun is


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    for there, index in ((8, 3), (1, 0)):  # all of a node's are seen, or each process sees its own
        monkeypatch.setattr(torch.cuda, "device_count", lambda there=there: there)
        world = World(Place(rank=3, size=8, local_rank=3, local_size=8))
        assert world.device(torch.device("cuda")) == torch.device("cuda", index)


def test_each_row_is_one_process_s_and_alone_all_is_trivial() -> None:
    rows = torch.arange(7)
    shares = [World(Place(rank, 3)).share(rows) for rank in range(3)]
    assert torch.equal(torch.cat(shares).sort().values, rows)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    alone = World()
    assert alone.share(rows) is rows
    assert alone.sum([1.5]) == [1.5]
    assert alone.agree(lambda: "x") == "x"
    assert alone.gather("x") == ["x"]


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        ("train.batch_size=4 train.accumulate=4", "micro-batches of 1 images for 2 processes"),
        ("train.auto_batch=true", "train.auto_batch=true with 2 processes"),
        ("parallel=fsdp model=bit_nano pos_emb=none", "parallel=fsdp with model.family=resnet"),
        ("parallel=fsdp recipe.polyak=0.9", "parallel=fsdp with recipe.polyak=0.9"),
        ("parallel=fsdp train.keep=best", "parallel=fsdp with train.keep=best"),
        ("parallel=fsdp compile=on", "parallel=fsdp with compile=on"),
    ],
)
def test_what_several_processes_cannot_do_is_refused(words: str, refused: str) -> None:
    config = compose(words.split())
    check_processes(config, 1)
    with pytest.raises(ValueError, match=refused):
        check_processes(config, 2)
