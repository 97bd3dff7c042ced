"""A kind of claim, a metric, a study and an x-axis, each added from outside, in one piece each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from helpers import Ended
from torch import nn

from vitcli.analysis.axes import AXES, AxisKind
from vitcli.analysis.contrasts import CONTRASTS, Contrast
from vitcli.analysis.estimators import Arm, estimated
from vitcli.analysis.intervals import Estimate
from vitcli.analysis.results import Results
from vitcli.config import RunConfig
from vitcli.data import DataSource
from vitcli.evals import EVALUATORS, Evaluator
from vitcli.files import read_json
from vitcli.schema import Cell, Metric
from vitcli.study.plan import newest

STUDY = {
    "title": "Depth and weights",
    "metric": "weights/norm",
    "rows": {"vit": "ViT"},
    "columns": {
        "one": {"label": "1 layer", "overrides": ["model.depth=1"]},
        "two": {"label": "2 layers", "overrides": ["model.depth=2"]},
    },
    "x": {"of": "parameters", "label": "Parameters"},
    "paper": {"where": "nowhere", "metric": "none"},
    "claims": [
        {
            "id": "deeper-is-heavier",
            "statement": "Two layers weigh more than one.",
            "where": "nowhere",
            "of": "ratio",
            "pairs": [["vit-two", "vit-one"]],
            "at_least": {"laptop": 0.1},
        }
    ],
    "scales": {"laptop": {}},
    "seeds": [0, 1, 2],
}


class Norm(Evaluator):
    """Yields weights/norm, the Euclidean norm of all weights."""

    @classmethod
    def metrics(cls, config: RunConfig) -> dict[str, Metric]:
        return {"weights/norm": Metric("norm of the weights")}

    @classmethod
    def images(cls, config: RunConfig) -> int:
        return 0

    @classmethod
    def build(
        cls, config: RunConfig, data: DataSource, device: torch.device
    ) -> Sequence[Evaluator]:
        return [cls()]

    def protocol(self) -> dict[str, Any]:
        return {"name": "norm"}

    def run(self, model: nn.Module) -> Iterator[tuple[str, float]]:
        yield (
            "weights/norm",
            float(sum(p.detach().square().sum() for p in model.parameters()) ** 0.5),
        )


def ratio(arms: Sequence[Arm]) -> Estimate:
    return estimated(np.log2(arms[0].y[:, 0] / arms[1].y[:, 0]), 1.0)


def parameters(results: Results, cell: Cell) -> float | None:
    found = [results.runs[run].params for run in cell.runs.values()]
    return float(found[0]) if found[0] else None


def test_each_is_one_record_one_class_or_one_file(
    vitcli: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, tiny: list[str], tmp_path: Path
) -> None:
    kind = Contrast(
        ratio,
        name="{a} over {b}",
        says="{a} is {size} times {b}",
        within="{a} and {b} differ by a factor of at most {size}",
        takes="cells",
        over_x=False,
        factor=True,
    )
    monkeypatch.setitem(CONTRASTS, "ratio", kind)
    monkeypatch.setitem(AXES, "parameters", AxisKind(parameters, "no seed has finished in it"))
    monkeypatch.setattr("vitcli.evals.EVALUATORS", [*EVALUATORS, Norm])
    path = tmp_path / "conf" / "study" / "weights.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(STUDY))
    own = [o for o in tiny if not o.startswith("model.depth")]
    here = ["--config-dir", str(tmp_path / "conf"), *own, "hydra/launcher=basic"]
    ended = vitcli("ablate", "weights", *here)
    assert ended.code == 0, ended.out + ended.err
    report = newest("weights", tmp_path / "outputs") / "report"
    (claim,) = read_json(report / "claims.json")["claims"]
    assert claim["verdict"] == "reproduced"
    assert claim["reason"].startswith("2 layers is 1.")
    svg = (report / "figures" / "main.svg").read_text()
    assert "<!-- Parameters -->" in svg
    assert "norm of the weights" in svg
