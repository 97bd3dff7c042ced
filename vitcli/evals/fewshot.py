"""Few-shot linear evaluation: ridge regression from frozen features, in closed form.

The paper (section 4.1) names the method only; the parts it leaves open are those of big_vision's
evaluators/fewshot_lsr.py, but for float64: in float32 a small l2 moved up to 14 of 500 predictions.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from vitcli.config import AugmentConfig, DataConfig, EvalsConfig, RunConfig
from vitcli.evals.evaluator import Evaluator
from vitcli.rules import NUM_CLASSES, OWN
from vitcli.schema import Metric
from vitcli.sets import UNKNOWN_CLASSES, sizes, words

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from vitcli.data import DataSource

_LETTERS, _TO_DRAW_FROM, _TO_TEST_ON = 20, 100, 50  # classes of `letters`, images of each


class FewShot(Evaluator):
    """Yields fewshot/<data>/<k>shot, the mean top-1 over the draws, and ..._sd, their sd.

    One draw has no sd. The features are those that the model's head is given. The draws depend on
    the data's seed alone, so two models are compared on the same images; fewer shots are part of
    more. As references, untrained/... is the same of the model before its first step, and
    pixels/... of no model: the features are the images, averaged down to 32 pixels a side if they
    are larger.
    """

    def __init__(
        self, config: EvalsConfig, name: str, data: DataSource, seed: int, device: torch.device
    ) -> None:
        """Takes the downstream data by the name; draws of supports are functions of (seed, draw).

        Raises:
            ValueError: evals.shots is more than the images that a class has.
        """
        from vitcli.evals.ridge import Probe

        self._config, self._name, self._data = config, name, data
        self._seed, self._device = seed, device
        self._probe = Probe(data, config.shots, config.draws, seed, config.l2)
        self._probe.check(f"evals.downstream={name}")

    @classmethod
    def metrics(cls, config: RunConfig) -> dict[str, Metric]:
        """Returns, of each set and number of shots, the model's top-1 and its two references'."""
        tuned = config.finetune.source is not None
        before = "before fine-tuning" if tuned else "untrained"
        found = {}
        for name in config.evals.sets:
            for shots in config.evals.shots:
                suffix = f"{name}/{shots}shot"
                label = f"{shots}-shot linear top-1 on {words(name)}"
                nulls = {"raw pixels": f"pixels/{suffix}", before: f"untrained/{suffix}"}
                only_pixels = {"raw pixels": nulls["raw pixels"]}
                found[f"fewshot/{suffix}"] = Metric(label, nulls=nulls, transferred=True)
                found[f"pixels/{suffix}"] = Metric(f"{label}, of raw pixels")
                untrained = Metric(f"{label}, {before}", nulls=only_pixels if tuned else {})
                found[f"untrained/{suffix}"] = untrained
        if config.evals.draws > 1:
            spread = {f"{n}_sd": Metric(f"{m.label}: sd over draws") for n, m in found.items()}
            found |= spread
        return found

    @classmethod
    def images(cls, config: RunConfig) -> int:
        """Returns supports and test images of each set, before training and after it."""
        evals, total = config.evals, 0
        for name in evals.sets:
            pool, tested = _LETTERS * _TO_DRAW_FROM, _LETTERS * _TO_TEST_ON
            classes = _LETTERS
            if name != "letters":
                known = sizes(replace(config.data, name=name, size=None, val_size=None))
                pool, tested = known[0] or 0, known[1] or 0
                classes = NUM_CLASSES.get(name, UNKNOWN_CLASSES)
            total += 2 * (min(pool, evals.draws * max(evals.shots) * classes) + tested)
        return total

    @classmethod
    def build(cls, config: RunConfig, data: DataSource, device: torch.device) -> list[FewShot]:
        """Returns one for each set. Raises ValueError if a class has less images than shots."""
        return [
            cls(config.evals, name, _downstream(config, name, device), config.data.seed, device)
            for name in config.evals.sets
        ]

    def protocol(self) -> dict[str, Any]:
        """Returns the parts of the measurement that its numbers depend on."""
        return {
            "name": "fewshot",
            "data": self._name,
            "shots": list(self._config.shots),
            "draws": self._config.draws,
            "draw_seed": self._seed,
            "l2": self._config.l2,
            "l2_choice": "fixed",
            "feature": "pre_logits",
            "support_pool": self._data.train_size,
            "test_size": self._data.val_size,
            "solver": "ridge, z-scored by the support, constant feature 100, float64",
        }

    def run(self, model: nn.Module) -> Iterator[tuple[str, float]]:
        """Yields (name, value)."""
        from vitcli.evals.ridge import pre_logits

        yield from self._results(model, {"fewshot": partial(pre_logits, model)})

    def references(self, untrained: nn.Module) -> Iterator[tuple[str, float]]:
        """Yields (name, value) of raw pixels and of the model before its first step."""
        from vitcli.evals.ridge import pixels, pre_logits

        yield from self._results(
            untrained, {"pixels": pixels, "untrained": partial(pre_logits, untrained)}
        )

    def notes(self) -> list[str]:
        """Returns what of the downstream set was left out or assumed."""
        return [f"few-shot on {self._name}: {line}" for line in self._data.said()]

    def _results(
        self, model: nn.Module, of: dict[str, Callable[[Tensor], Tensor]]
    ) -> list[tuple[str, float]]:
        from vitcli.evals.inference import inference

        results = []
        for what, features in of.items():
            with inference(model, self._device):
                found = self._probe.top1(features)
            for shots, top1 in found.items():
                name = f"{what}/{self._name}/{shots}shot"
                results.append((name, statistics.fmean(top1)))
                if len(top1) > 1:
                    results.append((f"{name}_sd", statistics.stdev(top1)))
        return results


def _downstream(config: RunConfig, name: str, device: torch.device) -> DataSource:
    """Returns the set of that name, at upstream's image size; `letters`: classes not seen upstream.

    Its seed is the data's: runs that share it are measured on the same images and draws.
    """
    from vitcli.data import build_data
    from vitcli.data.divided import SecondPart
    from vitcli.data.glyphs import Glyphs

    if name == "letters":
        seen = config.data.num_classes
        assert seen is not None  # by the rules
        unseen = replace(
            config.data,
            num_classes=_LETTERS,
            size=_LETTERS * _TO_DRAW_FROM,
            val_size=_LETTERS * _TO_TEST_ON,
        )
        return Glyphs(unseen, device, first=seen)
    downstream = replace(
        config.data,
        name=name,
        path=config.evals.path if name in OWN else None,
        alias=None,
        real_labels=None,
        stream=False,  # the draws are of any images
        size=None,
        val_size=None,
        num_classes=None,
        augment=AugmentConfig(),
        config_name=None,
    )
    if name != config.data.name:
        usual = DataConfig()
        splits = ["train", "val"] if name == "wds" else usual.splits  # as in conf/data
        downstream = replace(downstream, splits=splits, columns=usual.columns)
    try:
        return build_data(downstream, device)
    except SecondPart:  # data.val_share is upstream's: here is a part for validation
        return build_data(replace(downstream, val_share=None), device)
