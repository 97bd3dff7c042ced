"""Evaluators: what is measured on a trained model. No torch until something is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitcli.config import RunConfig
from vitcli.evals.classification import Classification
from vitcli.evals.evaluator import Evaluator, measure, said_by
from vitcli.evals.fewshot import FewShot
from vitcli.evals.real import RealLabels
from vitcli.evals.shifts import Shifts
from vitcli.evals.zero_shot import ZeroShot
from vitcli.plugins import EVALS, load
from vitcli.schema import Metric

if TYPE_CHECKING:
    import torch

    from vitcli.data import DataSource

__all__ = [
    "EVALUATORS", "Evaluator", "build_evals", "evaluators_of", "measure", "metrics_of", "said_by"
]  # fmt: skip

# Ours; another package has its own in the group of entry points `vitcli.evals`.
EVALUATORS: list[type[Evaluator]] = [Classification, RealLabels, FewShot, ZeroShot, Shifts]


def evaluators_of(config: RunConfig) -> list[type[Evaluator]]:
    """Returns our evaluators and those that `evals.own` names. Raises ValueError: there is none."""
    return [*EVALUATORS, *(load(EVALS, name) for name in config.evals.own)]


def metrics_of(config: RunConfig) -> dict[str, Metric]:
    """Returns what is measured on a run of this config, by name."""
    found: dict[str, Metric] = {}
    for kind in evaluators_of(config):
        found |= kind.metrics(config)
    return found


def build_evals(config: RunConfig, data: DataSource, device: torch.device) -> list[Evaluator]:
    """Returns a run's evaluators: upstream validation, then what `evals` asks for.

    Raises:
        ValueError: evals.l2 or evals.shots does not suit the downstream data, data.real_labels not
            the validation images, or evals.zero_shot not the source.
    """
    return [one for kind in evaluators_of(config) for one in kind.build(config, data, device)]
