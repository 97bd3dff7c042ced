"""Evaluators: what is measured on a trained model. `build_evals` is the way in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from vitcli.config import AugmentConfig, RunConfig
from vitcli.data import DataSource, build_data
from vitcli.data.decoded import Decoded
from vitcli.evals.classification import Classification
from vitcli.evals.fewshot import FewShot
from vitcli.evals.real import RealLabels


class Evaluator(Protocol):
    """A measurement. It changes neither the model's mode nor the random state."""

    def protocol(self) -> dict[str, Any]:
        """Returns the parts of the measurement that its numbers depend on, JSON values."""

    def run(self, model: nn.Module) -> Iterator[tuple[str, float]]:
        """Yields (name, value)."""


def build_evals(config: RunConfig, data: DataSource, device: torch.device) -> list[Evaluator]:
    """Returns a run's evaluators: upstream validation, then few-shot if evals.downstream is set.

    Raises:
        ValueError: evals.l2 or evals.shots does not suit the downstream data, or data.real_labels
            not the validation images.
    """
    evaluators: list[Evaluator] = [Classification(data, device)]
    if config.data.real_labels is not None:
        assert isinstance(data, Decoded)  # by the rules
        evaluators.append(RealLabels(data, Path(config.data.real_labels), device))
    if config.evals.downstream is not None:
        # Same image size as upstream, and the data's seed, not the run's: every run is measured on
        # the same images and the same draws.
        downstream = replace(
            config.data,
            name=config.evals.downstream,
            path=config.evals.path,
            alias=None,
            real_labels=None,
            stream=False,  # the draws are of any images
            size=None,
            val_size=None,
            num_classes=None,
            augment=AugmentConfig(),
        )
        source = build_data(downstream, device)
        evaluators.append(FewShot(config.evals, source, config.data.seed, device))
    return evaluators
