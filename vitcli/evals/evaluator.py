"""What every evaluator offers. Planning reads it, so it does not import torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from vitcli.config import RunConfig
from vitcli.progress import measuring
from vitcli.schema import Metric

if TYPE_CHECKING:
    import torch
    from torch import nn

    from vitcli.data import DataSource

Metrics = Iterator[tuple[str, float]]


class Evaluator(Protocol):
    """A measurement. It changes neither the model's mode nor the random state.

    Its three class methods say, of a run's config, what it will yield and what that costs.
    """

    # It reads the model's logits as the data's classes: `vitcli eval` leaves it out where the head
    # has another number of them.
    uses_head: bool = False

    @classmethod
    def metrics(cls, config: RunConfig) -> dict[str, Metric]:
        """Returns the metrics it yields for a run of this config, by name; {} where not asked."""
        ...

    @classmethod
    def images(cls, config: RunConfig) -> int:
        """Returns how many images go through the model, as far as that is known beforehand."""
        ...

    @classmethod
    def build(
        cls, config: RunConfig, data: DataSource, device: torch.device
    ) -> Sequence[Evaluator]:
        """Returns those that the config asks for. Raises ValueError if the data do not suit."""
        ...

    def protocol(self) -> dict[str, Any]:
        """Returns the parts of the measurement that its numbers depend on, JSON values."""
        ...

    def run(self, model: nn.Module) -> Metrics:
        """Yields (name, value) of a trained model."""
        ...

    def references(self, untrained: nn.Module) -> Metrics:
        """Yields (name, value) of what is compared with: the model before its first step, or none.

        Of a fine-tuning run that model is the source's, under a head of zeros.
        """
        return iter(())

    def notes(self) -> list[str]:
        """Returns what was left out or assumed, a line each, once it has measured."""
        return []


def said_by(evaluators: Sequence[Evaluator]) -> list[str]:
    """Returns what evaluators that have measured left out or assumed, each line once."""
    return list(dict.fromkeys(line for each in evaluators for line in each.notes()))


def measure(
    evaluators: Sequence[Evaluator],
    how: Callable[[Evaluator], Metrics],
    name: str,
    quiet: bool = False,
) -> dict[str, float]:
    """Returns all that the evaluators yield, by `how`; if that takes long, a terminal shows it.

    Raises:
        FloatingPointError: one of them is not finite, as after a step that diverged.
    """
    metrics: dict[str, float] = {}
    with measuring(name, len(evaluators), quiet) as begin:
        for evaluator in evaluators:
            begin(evaluator.protocol()["name"])
            for key, value in how(evaluator):
                if not math.isfinite(value):
                    raise FloatingPointError(
                        f"{key} is {value:g}: what the model computes is not finite; where it was "
                        "trained here, try a smaller recipe.lr"
                    )
                metrics[key] = value
    return metrics
