"""What every evaluator offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from torch import nn

from vitcli.progress import measuring

Metrics = Iterator[tuple[str, float]]


class Evaluator(Protocol):
    """A measurement. It changes neither the model's mode nor the random state."""

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


def measure(
    evaluators: Sequence[Evaluator],
    how: Callable[[Evaluator], Metrics],
    name: str,
    quiet: bool = False,
) -> dict[str, float]:
    """Returns all that the evaluators yield, by `how`; if that takes long, a terminal shows it."""
    metrics: dict[str, float] = {}
    with measuring(name, len(evaluators), quiet) as begin:
        for evaluator in evaluators:
            begin(evaluator.protocol()["name"])
            metrics |= dict(how(evaluator))
    return metrics
