"""Evaluators: what is measured on a trained model. No torch until something is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitcli.config import RunConfig
from vitcli.evals.classification import Classification
from vitcli.evals.evaluator import Evaluator, measure
from vitcli.evals.fewshot import FewShot
from vitcli.evals.real import RealLabels
from vitcli.evals.shifts import Shifts
from vitcli.evals.zero_shot import ZeroShot
from vitcli.schema import Metric

if TYPE_CHECKING:
    import torch

    from vitcli.data import DataSource

__all__ = ["EVALUATORS", "Evaluator", "build_evals", "measure", "metrics_of"]

# All there are; one of your own is added by appending it.
EVALUATORS: list[type[Evaluator]] = [Classification, RealLabels, FewShot, ZeroShot, Shifts]


def metrics_of(config: RunConfig) -> dict[str, Metric]:
    """Returns what is measured on a run of this config, by name."""
    found: dict[str, Metric] = {}
    for kind in EVALUATORS:
        found |= kind.metrics(config)
    return found


def build_evals(config: RunConfig, data: DataSource, device: torch.device) -> list[Evaluator]:
    """Returns a run's evaluators: upstream validation, then what `evals` asks for.

    Raises:
        ValueError: evals.l2 or evals.shots does not suit the downstream data, data.real_labels not
            the validation images, or evals.zero_shot not the source.
    """
    return [one for kind in EVALUATORS for one in kind.build(config, data, device)]
