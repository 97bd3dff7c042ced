"""Accuracy and loss on the upstream images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from vitcli.analysis.settled import MOVED
from vitcli.config import RunConfig, num_steps
from vitcli.evals.evaluator import Evaluator
from vitcli.schema import Metric
from vitcli.sets import named, sizes, words

if TYPE_CHECKING:
    import torch
    from torch import nn

    from vitcli.data import DataSource

# Of the last weights too, where training keeps the best (train.keep=best).
OF_BOTH = ("val/top1", "train/top1", "gap/top1", "val/loss", "train/loss", "gap/loss")


class Classification(Evaluator):
    """Yields val/top1, val/top5 (fractions) and val/loss (nats), means over the validation images.

    With five classes or fewer there is no val/top5: it would be 1 by definition. train/top1 and
    train/loss are of the first training images, not augmented, as many as validation has. Two gaps
    measure over-fitting: gap/top1 = train/top1 - val/top1, which once the training images are
    learned by heart (train/top1 = 1) is no more than 1 - val/top1, and gap/loss = val/loss -
    train/loss.
    """

    uses_head = True

    def __init__(self, data: DataSource, device: torch.device) -> None:
        self._data, self._device = data, device

    @classmethod
    def metrics(cls, config: RunConfig) -> dict[str, Metric]:
        """Returns the metrics of upstream images, or of those that are fine-tuned on."""
        tuned = config.finetune.source is not None
        of = f"on {words(named(config.data))} after fine-tuning" if tuned else "upstream"
        top1 = f"top-1 {of}" if tuned else "upstream validation top-1"
        found = {
            "val/top1": Metric(top1, scratch=tuned, transferred=tuned),
            "val/loss": Metric(f"validation loss {of}", lower_is_better=True, scratch=tuned),
            "train/top1": Metric(f"training top-1 {of}"),
            "train/loss": Metric(f"training loss {of}", lower_is_better=True),
            "gap/top1": Metric(f"training minus validation top-1 {of}", lower_is_better=True),
            "gap/loss": Metric(f"validation minus training loss {of}", lower_is_better=True),
        }
        if config.data.num_classes is None or config.data.num_classes > 5:
            found["val/top5"] = Metric(f"validation top-5 {of}")
        found[MOVED] = Metric(f"change of {top1} over the last tenth of training")
        if config.train.keep == "best":
            for name in OF_BOTH:
                label, low = found[name].label, found[name].lower_is_better
                found[f"last/{name}"] = Metric(f"{label}, at the last weights", low)
        return found

    @classmethod
    def images(cls, config: RunConfig) -> int:
        """Returns both parts' and a look's; where the best is kept, twice and all looks."""
        train, val = sizes(config.data)
        once = (val or 0) + min(val or 0, train or val or 0)
        if config.train.keep != "best":
            return once + (val or 0)
        every, looks = config.train.val_every, 10
        if every is not None and (train is not None or config.train.epochs is None):
            looks = -(-num_steps(config, train or 0) // every)
        return 2 * once + looks * (val or 0)

    @classmethod
    def build(
        cls, config: RunConfig, data: DataSource, device: torch.device
    ) -> list[Classification]:
        """Returns the one that every run has."""
        return [cls(data, device)]

    def protocol(self) -> dict[str, Any]:
        """Returns the parts of the measurement that its numbers depend on."""
        return {
            "name": "classification",
            "test_size": self._data.val_size,
            "train_images": min(self._data.val_size, self._data.train_size),
        }

    def run(self, model: nn.Module) -> Iterator[tuple[str, float]]:
        """Yields (name, value)."""
        from vitcli.evals.inference import scores

        data, device = self._data, self._device
        val = scores(model, data, "val", device)
        train = scores(model, data, "train", device, data.val_size)
        yield "val/top1", val.top1
        if data.num_classes > 5:
            yield "val/top5", val.top5
        yield "val/loss", val.loss
        yield "train/top1", train.top1
        yield "train/loss", train.loss
        yield "gap/top1", train.top1 - val.top1
        yield "gap/loss", val.loss - train.loss
