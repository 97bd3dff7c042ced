"""One run from config to folder: what it leaves, and how it ends when it can't."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from helpers import Ended, killed_after_its_result, start, wait_for
from safetensors.torch import load_file

from vitcli import perf
from vitcli.compose import compose
from vitcli.config import RunConfig
from vitcli.evals import build_evals
from vitcli.evals.classification import Classification
from vitcli.evaluate import evaluate
from vitcli.frozen import read_config
from vitcli.identity import run_id
from vitcli.models import build_model
from vitcli.runner import Outcome, RunFailed, run
from vitcli.status import Busy, Status, only_one, read_status
from vitcli.step import NotCompiled
from vitcli.stops import stops


def test_a_run_leaves_all_that_is_needed_to_read_it(tiny: list[str]) -> None:
    config = compose(tiny)
    outcome = run(config, quiet=True)
    names = {path.name for path in outcome.folder.iterdir()} - {".lock"}
    assert names == {
        "config.yaml", "env.json", "metrics.jsonl", "status.json", "result.json", "checkpoints"
    }  # fmt: skip
    assert outcome.folder.name == run_id(config)
    assert read_config(outcome.folder / "config.yaml") == config
    assert read_status(outcome.folder)["state"] == "done"
    result = json.loads((outcome.folder / "result.json").read_text())
    assert 0 <= result["metrics"]["fewshot/digits/5shot"] <= 1
    assert result["images"] == 8 * 16
    assert result["evals"][1]["l2"] == 32.0
    assert [p.name for p in (outcome.folder / "checkpoints").iterdir()] == ["model.safetensors"]
    model = build_model(config, (16, 16), 8)
    model.load_state_dict(load_file(outcome.folder / "checkpoints/model.safetensors"))


def test_what_is_kept_is_measured_and_the_last_step_beside_it(tiny: list[str]) -> None:
    many = ["train.steps=40", "recipe.lr=0.05", "train.keep=best", "train.val_every=4"]
    # At this rate accuracy goes up and down, on another CPU in another way: a seed of several.
    runs = (run(compose([*tiny, *many, f"seed={s}"]), quiet=True).result for s in range(9))
    seed, result = next(
        (s, r)
        for s, r in enumerate(runs)
        if r["metrics"]["val/top1"] > r["metrics"]["last/val/top1"]
    )
    metrics = result["metrics"]
    assert result["kept_step"] < 40
    assert 0 <= metrics["last/train/top1"] <= 1
    over = metrics["last/train/top1"] - metrics["last/val/top1"]
    assert metrics["last/gap/top1"] == pytest.approx(over)
    plain = run(compose([*tiny, *many[:2], f"seed={seed}"]), quiet=True).result
    assert plain["kept_step"] == 40
    assert plain["metrics"]["val/top1"] == metrics["last/val/top1"]
    assert plain["metrics"]["train/top1"] == metrics["last/train/top1"]
    assert not any(name.startswith("last/") for name in plain["metrics"])


def test_references_are_of_the_model_that_training_starts_from(tiny: list[str]) -> None:
    few = [*tiny, "evals.downstream=[digits,letters]", "evals.shifts=[2]"]
    metrics = run(compose([*few, "recipe.lr=0"]), quiet=True).result["metrics"]
    for name in ("digits/5shot", "letters/10shot_sd"):  # a rate of zero: untrained is trained
        assert metrics[f"untrained/{name}"] == metrics[f"fewshot/{name}"]
        assert f"pixels/{name}" in metrics
    for name in ("shift/2/error", "shift/2/invariance"):
        assert metrics[f"untrained/{name}"] == metrics[name]
    assert metrics["shift/2/consistency"] == 1  # a head of zeros
    assert "untrained/shift/2/consistency" not in metrics
    moved = run(compose(few), quiet=True).result["metrics"]
    references = [name for name in metrics if name.startswith(("untrained/", "pixels/"))]
    assert {name: moved[name] for name in references} == {n: metrics[n] for n in references}
    assert moved["fewshot/letters/5shot"] != moved["untrained/letters/5shot"]


def test_a_finished_run_is_not_trained_again(tiny: list[str]) -> None:
    first = run(compose(tiny), quiet=True)
    before = (first.folder / "checkpoints/model.safetensors").stat().st_mtime_ns
    again = run(compose([*tiny, "checkpoint.every=3"]), quiet=True)
    assert (first.trained, again.trained) == (True, False)
    assert again.result == first.result
    assert (first.folder / "checkpoints/model.safetensors").stat().st_mtime_ns == before


def test_a_run_that_another_process_ends_meanwhile_is_not_trained_again(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[Outcome] = []

    def other(*arguments: object) -> object:  # comes while this one builds
        monkeypatch.undo()
        ended.append(run(compose(tiny), quiet=True))
        return build_evals(*arguments)

    monkeypatch.setattr("vitcli.runner.build_evals", other)
    found = run(compose(tiny), quiet=True)
    assert (ended[0].trained, found.trained) == (True, False)
    assert found.result == ended[0].result


def test_same_config_same_numbers_other_seed_others(tiny: list[str], tmp_path: Path) -> None:
    results = [
        run(compose([*tiny, f"seed={seed}", f"outputs={tmp_path / place}"]), quiet=True).result
        for seed, place in ((0, "a"), (0, "b"), (1, "a"))
    ]
    assert results[0]["metrics"] == results[1]["metrics"] != results[2]["metrics"]


def test_a_failed_run_keeps_its_traceback(tiny: list[str]) -> None:
    config = compose([*tiny, "recipe.lr=1e30", "recipe.grad_clip=0", "train.steps=30"])
    with pytest.raises(RunFailed, match=r"FloatingPointError: the loss is .*status.json"):
        run(config, quiet=True)
    folder = Path(config.outputs) / "runs" / run_id(config)
    status = read_status(folder)
    assert status["state"] == "failed"
    assert "Traceback" in status["traceback"]
    assert not (folder / "result.json").exists()


def test_a_failed_evaluation_does_not_cost_the_training(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from vitcli.evals.fewshot import FewShot

    config = compose(tiny)
    folder = Path(config.outputs) / "runs" / run_id(config)
    with monkeypatch.context() as patch:
        patch.setattr(FewShot, "run", lambda self, model: 1 / 0)
        with pytest.raises(RunFailed, match="ZeroDivisionError"):
            run(config, quiet=True)
    before = (folder / "metrics.jsonl").read_text()
    assert run(config, quiet=True).result["steps"] == 8
    assert (folder / "metrics.jsonl").read_text() == before  # the speeds in it would differ


def test_a_model_that_diverges_in_its_last_step_is_a_failed_run(tiny: list[str]) -> None:
    config = compose([*tiny, "train.steps=1", "recipe.lr=1e30"])
    with pytest.raises(RunFailed, match=r"val/loss is nan: .* try a smaller recipe\.lr"):
        run(config, quiet=True)


def test_letters_that_a_run_has_seen_are_not_measured(tiny: list[str]) -> None:
    folder = run(compose([*tiny, "train.steps=1", "data.num_classes=40"]), quiet=True).folder
    with pytest.raises(ValueError, match=r"data\.num_classes=8: .* this run has seen 40$"):
        evaluate(str(folder), ["data.num_classes=8", "evals.downstream=letters"])


def test_outputs_that_are_a_file_are_named(tiny: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in ("file", "file/within"):
        config = compose([*tiny, f"outputs={tmp_path / place}"])
        with pytest.raises(ValueError, match=rf"^outputs=.*{place}: .*file is a file, give a fold"):
            run(config, quiet=True)


def test_what_cannot_be_built_leaves_nothing(tiny: list[str]) -> None:
    for overrides, key in (
        (["data.num_classes=5000", "data.size=5000"], "data.num_classes=5000"),
        (["evals.shots=[5,500]"], "evals.shots="),
    ):
        config = compose([*tiny, *overrides])
        with pytest.raises(ValueError, match=key):
            run(config, quiet=True)
        assert not Path(config.outputs).exists()


def test_a_run_has_one_owner(tiny: list[str]) -> None:
    config = compose(tiny)
    with only_one(Path(config.outputs) / "runs" / run_id(config)), pytest.raises(Busy):
        run(config, quiet=True)


def stop_it(config: RunConfig, number: signal.Signals) -> Path:
    """Starts the run, sends it the signal when it has logged a line, and returns its folder."""
    folder = Path(config.outputs) / "runs" / run_id(config)

    def send() -> None:
        wait_for(lambda: (folder / "metrics.jsonl").exists())
        wait_for(lambda: bool((folder / "metrics.jsonl").read_text()))
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    with pytest.raises(KeyboardInterrupt, match="stopped after step"):
        run(config, quiet=True)
    thread.join()
    assert read_status(folder)["state"] == "interrupted"
    return folder


def test_a_signal_stops_and_the_same_call_goes_on_exactly(tiny: list[str], tmp_path: Path) -> None:
    long = [*tiny, "train.steps=400"]
    unbroken = run(compose([*long, f"outputs={tmp_path / 'unbroken'}"]), quiet=True)
    config = compose(long)
    folder = Path(config.outputs) / "runs" / run_id(config)

    stop_it(config, signal.SIGINT)
    resumed = run(config, quiet=True)
    files = [f / "checkpoints/model.safetensors" for f in (folder, unbroken.folder)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert resumed.result["metrics"] == unbroken.result["metrics"]
    logs = [
        [json.loads(line) | {"images_per_s": 0} for line in path.read_text().splitlines()]
        for path in (folder / "metrics.jsonl", unbroken.folder / "metrics.jsonl")
    ]
    assert logs[0] == logs[1]


def test_the_seconds_of_training_outlast_an_evaluation_that_fails(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose(tiny)
    spent = list[float]()
    for failure in ("one", "two"):
        with monkeypatch.context() as patched:
            patched.setattr("vitcli.runner._result", raising(OSError(failure)))
            with pytest.raises(RuntimeError, match=failure):
                run(config, quiet=True)
        folder = Path(config.outputs) / "runs" / run_id(config)
        spent.append(read_status(folder)["train_seconds"])
    result = run(config, quiet=True).result
    assert 0 < spent[0] <= spent[1] <= result["train_s"] <= result["wall_s"]


def raising(error: Exception) -> Callable[..., None]:
    """Returns what raises the error, whatever it is called with."""

    def call(*arguments: object) -> None:
        raise error

    return call


def test_a_killed_run_is_lost_and_goes_on_exactly(tiny: list[str], tmp_path: Path) -> None:
    overrides = [*tiny, "train.steps=500", "checkpoint.every=20"]
    config = compose(overrides)
    unbroken = run(compose([*overrides, f"outputs={tmp_path / 'unbroken'}"]), quiet=True)
    folder = Path(config.outputs) / "runs" / run_id(config)
    process = start("train", *overrides, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not (folder / "checkpoints/state.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert read_status(folder)["state"] == "lost"
    state = torch.load(folder / "checkpoints/state.pt", weights_only=True)
    assert 20 <= state["step"] < 500
    resumed = run(config, quiet=True)
    assert resumed.result["metrics"] == unbroken.result["metrics"]
    files = [f / "checkpoints/model.safetensors" for f in (folder, unbroken.folder)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_run_killed_after_its_result_is_ended_by_the_next_call(tiny: list[str]) -> None:
    folder = run(compose(tiny), quiet=True).folder
    killed_after_its_result(folder)
    Status(folder).update(state="failed", error="the disk was full", step=8)
    assert not run(compose(tiny), quiet=True).trained
    status = read_status(folder)
    assert (status["state"], status["step"], "error" in status) == ("done", 8, False)
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["model.safetensors"]


def test_cost_counts_the_paper_s_way() -> None:
    parameters, macs = perf.count(compose(["scale=paper"]), (224, 224), 1000)
    assert parameters == 86_567_656
    # Table 6: ViT-B/16, 7 epochs of 303M images: 224 exaFLOPs.
    assert 6 * macs * 7 * 303e6 / 1e18 == pytest.approx(224, rel=0.05)


def test_train_prints_json_lines_and_a_result(
    vitcli: Callable[..., Ended], tiny: list[str]
) -> None:
    ended = vitcli("train", *tiny)
    assert ended.code == 0
    first, *rest = ended.out.splitlines()
    assert json.loads(first)["step"] == 1
    assert any(line.startswith("fewshot/digits/5shot ") for line in rest)
    assert "trained already" in vitcli("train", *tiny).out


@pytest.mark.parametrize("number", stops(), ids=lambda number: number.name)
def test_each_stop_signal_saves_at_the_next_step(number: signal.Signals, tiny: list[str]) -> None:
    config = compose([*tiny, "train.steps=2000", "checkpoint.every=2000"])
    folder = stop_it(config, number)
    assert torch.load(folder / "checkpoints/state.pt", weights_only=True)["step"] >= 1


@pytest.mark.parametrize("when", ["references", "run"])
def test_a_signal_between_trainings_is_acted_on_at_once(
    when: str, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = run(compose([*tiny, f"outputs={tmp_path / 'unbroken'}"]), quiet=True)
    with monkeypatch.context() as patch:
        original = getattr(Classification, when)

        def signalled(self: Classification, model: torch.nn.Module) -> object:
            os.kill(os.getpid(), signal.SIGTERM)
            return original(self, model)

        patch.setattr(Classification, when, signalled)
        with pytest.raises(KeyboardInterrupt, match="stopped by SIGTERM"):
            run(compose(tiny), quiet=True)
    resumed = run(compose(tiny), quiet=True)
    assert resumed.trained
    assert resumed.result["metrics"] == unbroken.result["metrics"]


def test_a_damaged_state_is_said_and_the_one_before_is_gone_on_from(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = run(compose([*tiny, f"outputs={tmp_path / 'unbroken'}"]), quiet=True)
    config = compose([*tiny, "checkpoint.every=2"])
    with monkeypatch.context() as patch:
        patch.setattr("vitcli.trainer._SAVING", 1e9)  # every second step, however short
        patch.setattr(
            "vitcli.runner.save_weights", lambda *given: os.kill(os.getpid(), signal.SIGINT)
        )
        with pytest.raises(KeyboardInterrupt):
            run(config, quiet=True)
    folder = Path(config.outputs) / "runs" / run_id(config)
    state = folder / "checkpoints" / "state.pt"
    state.write_bytes(state.read_bytes()[:-2000])
    (folder / ".result.json.123").touch()  # as a SIGKILL leaves them
    (folder / "checkpoints" / ".state.pt.123").touch()
    resumed = run(config, quiet=True)
    assert "state.pt is damaged" in resumed.result["note"]
    assert "resumed from the older state, of step 6" in resumed.result["note"]
    assert resumed.result["metrics"] == unbroken.result["metrics"]
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == [
        ".lock", "config.yaml", "env.json", "metrics.jsonl", "model.safetensors", "result.json",
        "status.json",
    ]  # fmt: skip


def test_a_folder_that_is_removed_ends_the_run(tiny: list[str]) -> None:
    config = compose([*tiny, "train.steps=3000"])
    folder = Path(config.outputs) / "runs" / run_id(config)

    def remove() -> None:
        wait_for(lambda: (folder / "metrics.jsonl").exists())
        shutil.rmtree(folder)

    thread = threading.Thread(target=remove)
    thread.start()
    with pytest.raises(RunFailed, match="was removed while the run was going on"):
        run(config, quiet=True)
    thread.join()
    assert not folder.exists()


def test_a_signal_that_ends_the_compiler_has_stopped_the_run(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose(tiny)

    def train(trainer: object, observe: object, stop: Callable[[], bool]) -> None:
        with suppress(KeyboardInterrupt):  # as torch's compiler catches it
            signal.raise_signal(signal.SIGINT)
        raise NotCompiled("the step cannot be compiled: backend='inductor' raised")

    monkeypatch.setattr("vitcli.trainer.Trainer.train", train)
    with pytest.raises(KeyboardInterrupt, match="while the step was compiled"):
        run(config, quiet=True)
    folder = Path(config.outputs) / "runs" / run_id(config)
    assert read_status(folder)["state"] == "interrupted"
