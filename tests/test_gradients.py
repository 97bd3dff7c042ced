"""A step that does not fit into memory, one that is not finite, and what memory a step takes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import ROOT
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vitcli.bench import trainer_of
from vitcli.compose import compose
from vitcli.data import build_data
from vitcli.identity import run_id
from vitcli.machine import Place
from vitcli.memory import fits, needed
from vitcli.models import build_model
from vitcli.trainer import Trainer
from vitcli.world import World, check_processes


def make(overrides: list[str], folder: Path) -> Trainer:
    config = compose(overrides)
    torch.manual_seed(0)
    data = build_data(config.data, torch.device("cpu"))
    model = build_model(config, config.data.height_width, data.num_classes)
    return Trainer(config, model, data, folder)


def limit(trainer: Trainer, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets no more than `most` images into memory, and fails in the middle of a step."""
    loss = trainer.gradients._loss

    def limited(images: Tensor, labels: Tensor) -> Tensor:
        if len(images) > most:
            raise torch.OutOfMemoryError("tried to allocate 2.00 GiB")
        return loss(images, labels)

    monkeypatch.setattr(trainer.gradients, "_loss", limited)


def weights(trainer: Trainer) -> Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


@pytest.mark.parametrize("more", [[], ["recipe.mixup=0.5"], ["train.accumulate=2"]])
def test_micro_batches_become_smaller_until_they_fit(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    more = [*more, "recipe.optimizer=sgd", "recipe.lr=0.1"]  # Adam makes much of rounding near 0
    roomy = make([*tiny, *more], tmp_path / "roomy")
    tight = make([*tiny, *more, "train.auto_batch=true"], tmp_path / "tight")
    limit(tight, 5, monkeypatch)  # of 16
    for trainer in (roomy, tight):
        trainer.train(lambda record: None, lambda: False)
    assert tight.gradients.micro_batch == 4
    torch.testing.assert_close(weights(tight), weights(roomy), rtol=1e-4, atol=1e-5)
    assert run_id(roomy.config) == run_id(tight.config)


def test_what_would_fit_is_said(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make(tiny, tmp_path)
    limit(trainer, 5, monkeypatch)
    need = needed(trainer.config, 4, 1, bf16=False)
    assert need is not None
    monkeypatch.setattr("vitcli.gradients.available_memory", lambda: need)
    said = (
        r"^out of memory, with 16 images at once: train\.accumulate=4 with train\.batch_size=16, "
        r"4 images at once, should fit; train\.auto_batch=true finds what does "
        r"\(tried to allocate 2\.00 GiB\)$"
    )
    with pytest.raises(RuntimeError, match=said):
        trainer.train(lambda record: None, lambda: False)
    monkeypatch.setattr("vitcli.gradients.available_memory", lambda: 1000.0)
    less = "recompute=true, parallel=fsdp over several processes, a smaller data.img_size, a"
    with pytest.raises(
        RuntimeError, match=f"not even one image fits into 1e-06 GB; what takes less: {less}"
    ):
        trainer.train(lambda record: None, lambda: False)


def test_only_what_the_model_can_do_is_advised(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [word for word in tiny if not word.startswith("model.depth")]
    trainer = make([*words, "model=bit_pico", "train.batch_size=1"], tmp_path)
    limit(trainer, 0, monkeypatch)
    monkeypatch.setattr("vitcli.gradients.available_memory", lambda: 1000.0)
    with pytest.raises(RuntimeError, match=r"what takes less: a smaller data\.img_size, a smaller"):
        trainer.train(lambda record: None, lambda: False)


@pytest.mark.parametrize(
    ("words", "processes", "fits", "advice"),
    [
        ("train.batch_size=100", 8, 6, "train.accumulate=4 with train.batch_size=100, 4 images "),
        ("train.batch_size=10", 4, 1, "1 images at once should fit, but no train.accumulate makes"),
        ("train.batch_size=6 recipe.mixup=0.2", 1, 3, "train.accumulate=3 with train.batch_size=6"),
    ],
)
def test_what_is_advised_is_allowed(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    words: str, processes: int, fits: int, advice: str,
) -> None:  # fmt: skip
    trainer = make([*tiny, *words.split()], tmp_path)
    monkeypatch.setattr(trainer.gradients, "_world", World(Place(0, processes)))
    need = needed(trainer.config, fits, processes, bf16=False)
    monkeypatch.setattr("vitcli.gradients.available_memory", lambda: need)
    with pytest.raises(RuntimeError, match=re.escape(f"images at once: {advice}")) as raised:
        trainer.gradients.halve("why")
    said = str(raised.value)
    assert ("train.auto_batch" in said) == (processes == 1)
    for word in re.findall(r"train.accumulate=\d+", said):
        check_processes(compose([*tiny, *words.split(), word]), processes)


def test_smaller_micro_batches_do_not_change_what_dropout_draws(
    tiny: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"train.auto_batch=true with recipe.dropout=0.1: in sma"):
        compose(["train.auto_batch=true", "recipe.dropout=0.1"])
    trainer = make([*tiny, "recipe.dropout=0.1"], tmp_path)
    with pytest.raises(RuntimeError, match=r"should fit \(why\)$"):
        trainer.gradients.halve("why")


def test_a_failed_allocation_of_the_cpu_is_told_from_other_errors(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make(tiny, tmp_path)

    def huge(images: Tensor, labels: Tensor) -> Tensor:
        return torch.empty(1 << 60)

    monkeypatch.setattr(trainer.gradients, "_loss", huge)
    with pytest.raises(RuntimeError, match=r"^out of memory, with 16 images at once: "):
        trainer.train_step()

    def wrong(images: Tensor, labels: Tensor) -> Tensor:
        raise RuntimeError("something else")

    monkeypatch.setattr(trainer.gradients, "_loss", wrong)
    with pytest.raises(RuntimeError, match=r"^something else$"):
        trainer.train_step()


def explode(trainer: Trainer, steps: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    loss = trainer.gradients._loss

    def exploding(images: Tensor, labels: Tensor) -> Tensor:
        return loss(images, labels) * (float("nan") if trainer.step in steps else 1.0)

    monkeypatch.setattr(trainer.gradients, "_loss", exploding)


def test_a_step_that_is_not_finite_is_left_out_and_counted(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*tiny, "train.on_nan=skip", "train.steps=8", "recipe.polyak=0.9"]
    trainer = make(words, tmp_path / "a")
    explode(trainer, {2, 3, 6}, monkeypatch)
    seen: list[object] = []

    def watch(record: dict[str, object]) -> None:
        seen.append((record["step"], record["loss"] is None))

    trainer.train(watch, lambda: False)
    assert trainer.losses.left_out == 3
    assert seen == [(step, step in (3, 4, 7)) for step in range(1, 9)]
    assert weights(trainer).isfinite().all()
    again = make(words, tmp_path / "a")
    again.resume()
    assert again.losses.left_out == 3


def test_a_training_that_does_not_recover_is_ended(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make([*tiny, "train.on_nan=skip", "train.steps=40"], tmp_path)
    explode(trainer, set(range(5, 40)), monkeypatch)
    with pytest.raises(FloatingPointError, match="11 steps in a row have a gradient that is not"):
        trainer.train(lambda record: None, lambda: False)
    assert trainer.step == 15


def test_skipping_changes_nothing_where_all_is_finite(tiny: list[str], tmp_path: Path) -> None:
    plain, skipping = make(tiny, tmp_path / "a"), make([*tiny, "train.on_nan=skip"], tmp_path / "b")
    for trainer in (plain, skipping):
        trainer.train(lambda record: None, lambda: False)
    assert torch.equal(weights(plain), weights(skipping))


@pytest.mark.parametrize("pos_emb", ["learned_1d", "relative", "none"])
def test_recomputed_blocks_give_the_same_gradient_for_more_work(
    tiny: list[str], pos_emb: str
) -> None:
    found = []
    for recompute in ("false", "true"):
        torch.manual_seed(0)
        words = [*tiny, f"pos_emb={pos_emb}", f"recompute={recompute}", "recipe.dropout=0.1"]
        trainer = trainer_of(compose(words))
        with FlopCounterMode(display=False) as counter:
            trainer.train_step()
        found.append((weights(trainer), counter.get_total_flops()))
    (plain, once), (recomputed, twice) = found
    assert torch.equal(plain, recomputed)
    assert 1.2 * once < twice < 1.4 * once  # a fourth pass beside three


def test_recomputing_is_for_vits() -> None:
    with pytest.raises(ValueError, match=r"recompute=true with model.family=resnet"):
        compose(["model=bit_nano", "pos_emb=none", "recompute=true"])


def test_memory_is_divided_and_what_fits_is_found() -> None:
    words = ["model=h", "data.img_size=224", "scale=paper", "data.num_classes=1000"]
    whole = needed(compose(words), 8, 1, bf16=False)
    divided = compose([*words, "parallel=fsdp", "recompute=true"])
    part = needed(divided, 8, 8, bf16=False)
    assert whole is not None
    assert part is not None
    assert whole > 16 * 632e6  # weights, gradients and two moments of 4 bytes
    assert part < whole / 5
    assert needed(compose(["model=bit_nano", "pos_emb=none"]), 8, 1, bf16=False) is None
    assert fits(divided, 4096, 8, bf16=False, there=0) == 0
    room = needed(divided, 64, 8, bf16=False)
    assert room is not None
    assert fits(divided, 4096, 8, bf16=False, there=room + 1) == 64


@pytest.mark.slow
def test_a_process_takes_the_memory_that_is_predicted(tmp_path: Path) -> None:
    words = ["model=b", "data.img_size=64", "train.batch_size=4", "parallel=fsdp"]
    ended = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
         str(ROOT / "tests/measure_memory.py"), *words],
        cwd=tmp_path,
        # Else the heap keeps twice as much as is in use.
        env={**os.environ, "PYTHONPATH": str(ROOT), "MALLOC_MMAP_THRESHOLD_": "262144"},
        capture_output=True,
        text=True,
        timeout=300,
    )  # fmt: skip
    ratios = [float(found) for found in re.findall(r"ratio (\d+\.\d+)", ended.stdout)]
    assert len(ratios) == 2, ended.stderr
    assert all(0.8 < ratio < 1.2 for ratio in ratios)
