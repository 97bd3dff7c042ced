"""The optimizers and schedules of the paper's Tables 3 and 4."""

from __future__ import annotations

import math

import torch
from timm.optim.sgdw import SGDW
from torch import nn

from vitcli.config import RecipeConfig

WARMUP_FRACTION = 0.1  # of the steps, where a recipe gives no number (ImageNet's 10k of 94k: 0.11)


def build_optimizer(model: nn.Module, recipe: RecipeConfig) -> torch.optim.Optimizer:
    """Returns AdamW, or SGD with momentum; both with decoupled decay on matrices and kernels only.

    Decay is times the learning rate (Steiner et al.; the paper does not say); biases, norms, class
    token and position embeddings are not decayed.
    """
    decayed: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        matrix = parameter.ndim >= 2 and name.endswith(".weight")
        (decayed if matrix else rest).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        return SGDW(groups, lr=recipe.lr, momentum=recipe.momentum)
    beta1, beta2 = recipe.betas
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(beta1, beta2), fused=True)


def lr_at(step: int, num_steps: int, recipe: RecipeConfig) -> float:
    """Returns the rate of `step` (0 to `num_steps` - 1): linear warm-up, then decay to zero."""
    warmup = recipe.warmup_steps
    if warmup is None:
        warmup = round(WARMUP_FRACTION * num_steps)
    if step < warmup:
        return recipe.lr * (step + 1) / warmup
    progress = (step - warmup) / max(1, num_steps - warmup)
    if recipe.schedule == "linear":
        return recipe.lr * (1 - progress)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * progress))


def all_warmup(num_steps: int, recipe: RecipeConfig) -> list[str]:
    """Returns a line to say where the warm-up takes the whole training, none where it does not."""
    warmup = recipe.warmup_steps
    if warmup is None or warmup < num_steps:
        return []
    return [
        f"recipe.warmup_steps={warmup} in a training of {num_steps} steps: the rate rises to "
        f"{num_steps / warmup:.0%} of recipe.lr and never decays"
    ]
