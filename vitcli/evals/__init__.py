"""Evaluators: what is measured on a trained model. `build_evals` is the way in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from vitcli.config import AugmentConfig, RunConfig
from vitcli.data import DataSource, build_data
from vitcli.data.decoded import Decoded
from vitcli.data.glyphs import Glyphs
from vitcli.evals.classification import Classification
from vitcli.evals.evaluator import Evaluator, measure
from vitcli.evals.fewshot import FewShot
from vitcli.evals.real import RealLabels
from vitcli.evals.shifts import Shifts
from vitcli.evals.zero_shot import ZeroShot
from vitcli.rules import OWN

__all__ = ["Evaluator", "build_evals", "measure"]

_LETTERS, _TO_DRAW_FROM, _TO_TEST_ON = 20, 100, 50  # classes of `letters`, images of each


def build_evals(config: RunConfig, data: DataSource, device: torch.device) -> list[Evaluator]:
    """Returns a run's evaluators: upstream validation, then what `evals` asks for.

    Raises:
        ValueError: evals.l2 or evals.shots does not suit the downstream data, data.real_labels not
            the validation images, or evals.zero_shot not the source.
    """
    evaluators: list[Evaluator] = [Classification(data, device)]
    if config.data.real_labels is not None:
        assert isinstance(data, Decoded)  # by the rules
        evaluators.append(RealLabels(data, Path(config.data.real_labels), device))
    for name in config.evals.sets:
        downstream = _downstream(config, name, device)
        evaluators.append(FewShot(config.evals, name, downstream, config.data.seed, device))
    if config.evals.zero_shot and config.finetune.source is not None:
        evaluators.append(ZeroShot(config, device))
    if shifts := config.evals.shifts:
        margin = max(shifts) if config.data.name == "glyphs" else 0
        wide = Glyphs(config.data, device, margin=margin) if margin else data
        evaluators.append(Shifts(shifts, wide, margin, device))
    return evaluators


def _downstream(config: RunConfig, name: str, device: torch.device) -> DataSource:
    """Returns the set of that name, at upstream's image size; `letters`: classes not seen upstream.

    Its seed is the data's, not the run's: every run is measured on the same images and draws.
    """
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
    )
    return build_data(downstream, device)
