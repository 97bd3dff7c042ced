"""Upstream accuracy and loss, and what an evaluator leaves behind."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vitcli.config import DataConfig, EvalsConfig, RunConfig
from vitcli.data import DataSource, build_data
from vitcli.evals import build_evals
from vitcli.evals.classification import OF_BOTH, Classification

CPU = torch.device("cpu")


class Fixed(DataSource):
    """A data set whose images hold the logits that the model below returns."""

    device = CPU

    def __init__(self, logits: Tensor, labels: Tensor, train_size: int = 1) -> None:
        self.val_size, self.num_classes = logits.shape
        self.logits, self.labels, self.train_size = logits, labels, train_size

    def train_batch(self, index: Tensor, draw: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Of the images with an even index the first class has the highest logit."""
        assert draw is None
        return F.one_hot(index % 2, self.num_classes).float(), torch.zeros_like(index)

    def val_batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return self.logits[index], self.labels[index]


def test_numbers_over_several_batches() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1203, 12, generator=generator)
    labels = torch.randint(12, (1203,), generator=generator)
    results = dict(Classification(Fixed(logits, labels), CPU).run(nn.Identity()))
    rank = (logits > logits.gather(1, labels[:, None])).sum(1)
    assert results["val/top1"] == pytest.approx((rank < 1).double().mean().item())
    assert results["val/top5"] == pytest.approx((rank < 5).double().mean().item())
    loss = -logits.double().log_softmax(1).gather(1, labels[:, None]).mean().item()
    assert results["val/loss"] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize(("train_size", "seen"), [(3, 3), (5, 5), (800, 701)])
def test_training_images_are_as_many_as_validation_has(train_size: int, seen: int) -> None:
    data = Fixed(torch.zeros(701, 4), torch.zeros(701, dtype=torch.int64), train_size)
    evaluator = Classification(data, CPU)
    assert evaluator.protocol()["train_images"] == seen
    right = (seen + 1) // 2
    found = dict(evaluator.run(nn.Identity()))
    assert found["train/top1"] == pytest.approx(right / seen)
    assert found["gap/top1"] == pytest.approx(right / seen - found["val/top1"])


@pytest.mark.parametrize("classes", [2, 5])
def test_no_top5_where_it_would_be_one(classes: int) -> None:
    data = Fixed(torch.zeros(10, classes), torch.zeros(10, dtype=torch.int64))
    results = dict(Classification(data, CPU).run(nn.Identity()))
    assert set(results) == set(OF_BOTH)
    assert results["val/loss"] == pytest.approx(math.log(classes))
    assert results["gap/loss"] == results["val/loss"] - results["train/loss"]


class Moody(nn.Module):
    """A model that draws random numbers when it is called, and has parts in different modes."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen, self.head = nn.Dropout(0.5), nn.Linear(3, 10)
        self.frozen.eval()
        self.modes: list[bool] = []

    def forward_features(self, images: Tensor) -> Tensor:
        self.modes.append(self.training or self.head.training or torch.is_grad_enabled())
        self.modes.append(torch.is_autocast_enabled("cpu"))
        return images.mean((2, 3)) + torch.rand(())

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        return x if pre_logits else self.head(x)

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(images))


def sources() -> tuple[RunConfig, DataSource]:
    config = RunConfig(
        data=DataConfig(name="glyphs", img_size=8, val_size=30),
        evals=EvalsConfig(downstream=["digits", "letters"], shots=[2], draws=3),
    )
    return config, build_data(config.data, CPU)


def test_mode_and_random_state_are_left_alone() -> None:
    config, data = sources()
    model = Moody()
    evaluators = build_evals(config, data, CPU)
    before = torch.get_rng_state()
    with torch.autocast("cpu", torch.bfloat16):
        for evaluator in evaluators:
            for _ in (*evaluator.run(model), *evaluator.references(model)):
                assert [m.training for m in model.modules()] == [True, False, True]
                assert torch.is_grad_enabled()
                assert torch.is_autocast_enabled("cpu")
    assert torch.equal(torch.get_rng_state(), before)
    assert model.modes
    assert not any(model.modes)


def test_mode_and_random_state_survive_an_error() -> None:
    config, data = sources()
    model = Moody()
    model.head = nn.Linear(4, 10)
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError):
        list(build_evals(config, data, CPU)[0].run(model))
    assert [m.training for m in model.modules()] == [True, False, True]
    assert torch.equal(torch.get_rng_state(), before)


def test_build_evals() -> None:
    config, data = sources()
    names = [evaluator.protocol()["name"] for evaluator in build_evals(config, data, CPU)]
    assert names == ["classification", "fewshot", "fewshot"]
    config.evals.downstream = None
    assert len(build_evals(config, data, CPU)) == 1
