"""The step loop: exact resumption, accumulation, clipping, and what happens to a bad loss."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from vitcli.bench import trainer_of
from vitcli.compose import compose
from vitcli.config import RunConfig
from vitcli.data import build_data
from vitcli.evals.inference import top1
from vitcli.models import build_model
from vitcli.stops import Interrupted
from vitcli.trainer import Trainer


def make(config: RunConfig, folder: Path) -> Trainer:
    torch.manual_seed(config.seed)
    data = build_data(config.data, torch.device("cpu"))
    side = config.data.img_size
    return Trainer(config, build_model(config, (side, side), data.num_classes), data, folder)


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def stop_after(trainer: Trainer, step: int) -> None:
    with pytest.raises(Interrupted, match=f"after step {step} of"):
        trainer.train(lambda record: None, lambda: trainer.step >= step)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_resuming_is_exact_twice_within_an_epoch(
    tiny: list[str], tmp_path: Path, optimizer: str
) -> None:
    # 256 images in batches of 16: an epoch is 16 steps, and both stops are inside the first.
    config = compose(
        [*tiny, f"recipe.optimizer={optimizer}", "recipe.dropout=0.1", "train.steps=20"]
    )
    unbroken = make(config, tmp_path / "unbroken")
    unbroken.train(lambda record: None, lambda: False)
    for step in (3, 7):
        trainer = make(config, tmp_path / "broken")
        trainer.resume()
        stop_after(trainer, step)
    torch.manual_seed(99)  # what the process drew before does not matter
    last = make(config, tmp_path / "broken")
    last.resume()
    assert last.step == 7
    last.train(lambda record: None, lambda: False)
    assert torch.equal(weights(last), weights(unbroken))
    lines = (tmp_path / "broken/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 21))


def test_a_crash_goes_back_to_the_last_checkpoint_and_ends_the_same(
    tiny: list[str], tmp_path: Path
) -> None:
    config = compose([*tiny, "train.steps=9", "checkpoint.every=4"])
    unbroken = make(config, tmp_path / "unbroken")
    unbroken.train(lambda record: None, lambda: False)

    def crash(record: dict[str, object]) -> None:
        if record["step"] == 6:
            raise OSError("power cut")

    with pytest.raises(OSError, match="power cut"):
        make(config, tmp_path / "broken").train(crash, lambda: False)
    with (tmp_path / "broken/metrics.jsonl").open("a") as log:
        log.write('{"step": 7, "lo')  # cut off
    last = make(config, tmp_path / "broken")
    last.resume()
    assert last.step == 4
    last.train(lambda record: None, lambda: False)
    assert torch.equal(weights(last), weights(unbroken))


@pytest.mark.parametrize("polyak", [0.0, 0.9])
def test_the_best_weights_are_kept_and_resumed_exactly(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, polyak: float
) -> None:
    few = ["train.keep=best", "train.val_every=4", "train.steps=22", "recipe.lr=0.05"]
    config = compose([*tiny, *few, f"recipe.polyak={polyak}"])
    unbroken = make(config, tmp_path / "unbroken")
    curve: dict[int, tuple[float, torch.Tensor]] = {}
    train_step = unbroken.train_step

    def watched() -> torch.Tensor:
        loss = train_step()
        step = unbroken.step + 1
        if step % 4 == 0 or step == 22:
            weights = unbroken.last.get_parameter("head.weight").detach().clone()
            curve[step] = (top1(unbroken.last, unbroken.data, "val", unbroken.device), weights)
        return loss

    monkeypatch.setattr(unbroken, "train_step", watched)
    unbroken.train(lambda record: None, lambda: False)
    assert list(curve) == [4, 8, 12, 16, 20, 22]
    best = max(curve, key=lambda step: curve[step][0])  # of equals the first
    assert unbroken.looks.best_step == best < 22  # a rate so high does not end at its best
    assert torch.equal(unbroken.trained.get_parameter("head.weight"), curve[best][1])
    for step in (best, best + 3):
        trainer = make(config, tmp_path / "broken")
        trainer.resume()
        stop_after(trainer, step)
    last = make(config, tmp_path / "broken")
    last.resume()
    last.train(lambda record: None, lambda: False)
    assert last.looks.best_step == best
    assert last.looks.late == unbroken.looks.late
    assert torch.equal(weights(last), weights(unbroken))
    for name, tensor in unbroken.trained.state_dict().items():
        assert torch.equal(last.trained.state_dict()[name], tensor)


def test_validating_every_tenth_is_the_default_and_leaves_training_alone(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    few = [*tiny, "train.steps=25", "recipe.dropout=0.1"]
    plain, best = (
        make(compose(few), tmp_path / "a"),
        make(compose([*few, "train.keep=best"]), tmp_path / "b"),
    )
    plain.train(lambda record: None, lambda: False)

    def counted(*arguments: object) -> float:
        steps.append(best.step)
        return 0.5

    monkeypatch.setattr("vitcli.looks.top1", counted)
    best.train(lambda record: None, lambda: False)
    assert steps == [3, 6, 9, 12, 15, 18, 21, 22, 24, 25]  # 22: nine tenths
    assert best.looks.best_step == 3  # of equals the earliest
    assert torch.equal(weights(plain), weights(best))


def test_micro_batches_give_the_gradient_of_the_batch(tiny: list[str]) -> None:
    whole, parts = compose(tiny), compose([*tiny, "train.accumulate=4"])
    torch.manual_seed(0)
    one = trainer_of(whole)
    torch.manual_seed(0)
    four = trainer_of(parts)
    losses = one.train_step(), four.train_step()
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(weights(one), weights(four), rtol=1e-4, atol=1e-6)


def test_the_loss_falls(tiny: list[str], tmp_path: Path) -> None:
    config = compose([*tiny, "train.steps=150", "model.depth=2", "recipe.lr=3e-3"])
    losses: list[float] = []
    make(config, tmp_path).train(lambda record: losses.append(record["loss"]), lambda: False)
    assert losses[0] == pytest.approx(2.079, abs=0.1)  # log 8: the head is zero at first
    assert sum(losses[-10:]) / 10 < 1.6


def test_the_gradient_is_clipped_to_its_global_norm(tiny: list[str]) -> None:
    # The first SGD step moves the weights by lr x gradient: its length is the clip.
    clip = [
        "recipe.optimizer=sgd",
        "recipe.lr=1.0",
        "recipe.warmup_steps=0",
        "recipe.weight_decay=0",
    ]
    trainer = trainer_of(compose([*tiny, *clip, "recipe.grad_clip=0.001"]))
    before = weights(trainer)
    trainer.train_step()
    assert (weights(trainer) - before).norm().item() == pytest.approx(0.001, rel=1e-2)


def test_a_loss_that_is_not_finite_stops_at_its_step(tiny: list[str], tmp_path: Path) -> None:
    few = ["train.steps=1000", "checkpoint.every=3"]  # logged every 10 steps, saved more often
    config = compose([*tiny, "recipe.lr=1e30", "recipe.grad_clip=0", *few])
    with pytest.raises(FloatingPointError, match=r"loss is (nan|inf) at step \d+: .*recipe.lr"):
        make(config, tmp_path).train(lambda record: None, lambda: False)
    assert not (tmp_path / "checkpoints").exists()


def test_bf16_trains(tiny: list[str]) -> None:
    trainer = trainer_of(compose([*tiny, "train.precision=bf16"]))
    assert trainer.train_step().isfinite()
    assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}


def test_a_state_of_another_version_is_refused(tiny: list[str], tmp_path: Path) -> None:
    config = compose([*tiny, "train.steps=9"])
    stop_after(make(config, tmp_path), 3)
    path = tmp_path / "checkpoints" / "state.pt"
    state = torch.load(path, weights_only=True)
    del state["looks"]
    torch.save(state, path)
    with pytest.raises(ValueError, match="another version of vitcli, it has no looks: remove it"):
        make(config, tmp_path).resume()


def test_saving_takes_a_small_share_of_the_time(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []

    def slow(folder: Path, run: str, step: int, parts: object) -> None:
        saved.append(step)
        time.sleep(0.2)

    monkeypatch.setattr("vitcli.trainer.save_state", slow)
    config = compose([*tiny, "train.steps=60", "checkpoint.every=1"])
    make(config, tmp_path).train(lambda record: None, lambda: False)
    assert saved[0] == 1
    assert saved[-1] == 60
    assert len(saved) < 10  # a step takes milliseconds, so that 2 % of the time are few


def test_a_state_is_saved_by_time_too(tiny: list[str], tmp_path: Path) -> None:
    config = compose([*tiny, "checkpoint.every=1000", "checkpoint.minutes=0"])
    trainer = make(config, tmp_path)

    def crash(record: dict[str, object]) -> None:
        if trainer.step == 7:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        trainer.train(crash, lambda: False)
    again = make(config, tmp_path)
    again.resume()
    assert 1 <= again.step < 7
