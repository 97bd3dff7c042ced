"""Evaluators: what is measured on a trained model. `build_evals` is the way in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import nn

from vitcli.config import AugmentConfig, RunConfig
from vitcli.data import DataSource, build_data
from vitcli.evals.classification import Classification
from vitcli.evals.fewshot import FewShot


class Evaluator(Protocol):
    """A measurement. It changes neither the model's mode nor the random state."""

    def protocol(self) -> dict[str, Any]:
        """Returns the parts of the measurement that its numbers depend on, JSON values."""

    def run(self, model: nn.Module) -> Iterator[tuple[str, float]]:
        """Yields (name, value)."""


def build_evals(config: RunConfig, data: DataSource, device: torch.device) -> list[Evaluator]:
    """Returns a run's evaluators: upstream validation, then few-shot if evals.downstream is set.

    Raises:
        ValueError: evals.l2 or evals.shots does not suit the downstream data.
    """
    evaluators: list[Evaluator] = [Classification(data, device)]
    if config.evals.downstream is not None:
        # Same image size as upstream, and the data's seed, not the run's: every run is measured on
        # the same images and the same draws.
        downstream = replace(
            config.data,
            name=config.evals.downstream,
            size=None,
            val_size=None,
            num_classes=None,
            augment=AugmentConfig(),
        )
        source = build_data(downstream, device)
        evaluators.append(FewShot(config.evals, source, config.data.seed, device))
    return evaluators
