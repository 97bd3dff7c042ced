"""Schedules against their formulas, decay against the matrices it is for."""

from __future__ import annotations

import math

import pytest
import torch

from vitcli.compose import compose
from vitcli.config import RecipeConfig
from vitcli.models import build_model
from vitcli.optim import all_warmup, build_optimizer, lr_at


def test_warm_up_then_cosine() -> None:
    recipe = RecipeConfig(lr=2.0, schedule="cosine", warmup_steps=10)
    assert [lr_at(s, 110, recipe) for s in (0, 4, 9, 10)] == pytest.approx([0.2, 1.0, 2.0, 2.0])
    assert lr_at(60, 110, recipe) == pytest.approx(1.0)
    assert lr_at(85, 110, recipe) == pytest.approx(1 + math.cos(0.75 * math.pi))


def test_warm_up_then_linear_and_a_tenth_by_default() -> None:
    recipe = RecipeConfig(lr=1.0, schedule="linear")
    rates = [lr_at(s, 100, recipe) for s in range(100)]
    assert rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert 0 < rates[-1] < 0.02


def test_a_run_shorter_than_its_warm_up_stays_below_the_rate() -> None:
    rates = [lr_at(s, 5, RecipeConfig(lr=1.0, warmup_steps=10)) for s in range(5)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    (said,) = all_warmup(5, RecipeConfig(warmup_steps=10))
    assert said.startswith("recipe.warmup_steps=10 in a training of 5 steps: the rate rises to 50%")
    assert all_warmup(10, RecipeConfig(warmup_steps=10)) != []
    assert all_warmup(11, RecipeConfig(warmup_steps=10)) == all_warmup(1, RecipeConfig()) == []


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("pos_emb", ["learned_1d", "learned_2d", "relative"])
def test_decay_is_decoupled_and_on_matrices_only(optimizer: str, pos_emb: str) -> None:
    config = compose(["model.depth=1", f"pos_emb={pos_emb}"])
    model = build_model(config, (16, 16), 8)
    for parameter in model.parameters():
        torch.nn.init.ones_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    recipe = RecipeConfig(optimizer=optimizer, lr=0.1, weight_decay=0.5)
    build_optimizer(model, recipe).step()
    decayed = {n for n, p in model.named_parameters() if not torch.equal(p, torch.ones_like(p))}
    matrices = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    assert decayed == {
        "patch_embed.proj.weight", "head.weight", *(f"blocks.0.{m}.weight" for m in matrices)
    }  # fmt: skip
    # With no gradient a decoupled step is w - lr * decay * w.
    assert model.get_parameter("head.weight").unique().tolist() == pytest.approx([0.95])
