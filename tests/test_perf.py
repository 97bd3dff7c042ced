"""Counts of cost against the paper's exaFLOPs and torch's counter."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vitcli import perf
from vitcli.compose import compose
from vitcli.config import RunConfig
from vitcli.machine import cores
from vitcli.models import build_model
from vitcli.paper import table

JFT_IMAGES, JFT_CLASSES = 303e6, 18_000
MODELS = {
    "ViT-B/32": ["model=b", "model.patch_size=32"],
    "ViT-B/16": ["model=b"],
    "ViT-L/32": ["model=l", "model.patch_size=32"],
    "ViT-L/16": ["model=l"],
    "ViT-H/14": ["model=h"],
    "R50x1": ["model=bit_r50x1"],
    "R50x2": ["model=bit_r50x2"],
    "R101x1": ["model=bit_r101x1"],
    "R152x1": ["model=bit_r152x1"],
    "R152x2": ["model=bit_r152x2"],
    "R200x3": ["model=bit_r200x3"],
    "R50+B/32": ["model=b", "stem=resnet", "model.patch_size=32"],
    "R50+B/16": ["model=b", "stem=resnet"],
    "R50+L/32": ["model=l", "stem=resnet", "model.patch_size=32"],
    "R50+L/16": ["model=l", "stem=resnet"],
}


@cache
def macs(model: str, classes: int) -> int:
    config = compose(["scale=paper", "recipe=jft_b", *MODELS[model]])
    return perf.count(config, (224, 224), classes)[1]


@pytest.mark.parametrize("row", table("table6"), ids=lambda row: f"{row['model']}@{row['epochs']}")
def test_exaflops_are_the_paper_s_within_5_percent(row: dict[str, str]) -> None:
    """ViTs are within 0.2 % but B/32 (55 is printed: +2.3 %), hybrids within 1.7 %.

    BiT is 3.5 to 5 % above, as if the paper had counted a little less of each ResNet. R50+L/16 is
    2.9 % below at 7 epochs and equal at 14: the printed 859 and 1668 are no factor of 2 apart.
    """
    images = int(row["epochs"]) * JFT_IMAGES
    found = 6 * macs(row["model"], JFT_CLASSES) * images / 1e18
    assert found == pytest.approx(float(row["exaflops"]), rel=0.05)
    if row["family"] == "vit" and row["model"] != "ViT-B/32":
        assert found == pytest.approx(float(row["exaflops"]), rel=0.002)


def test_multiply_adds_of_a_vit_written_out() -> None:
    n, d, mlp, depth, classes = 197, 768, 3072, 12, 1000
    block = 4 * n * d * d + 2 * n * n * d + 2 * n * d * mlp
    patches, head = 196 * 16 * 16 * 3 * d, d * classes
    assert macs("ViT-B/16", classes) == depth * block + patches + head


SMALL = [
    ["pos_emb=none"],
    ["pos_emb=learned_2d", "pos_emb.where=every_layer"],
    ["pos_emb=learned_2d", "pos_emb.where=shared", "model.pool=gap"],
    ["pos_emb=relative"],
    ["pos_emb=relative", "pos_emb.offsets=2d", "model.pool=gap"],
    ["pos_emb=sincos_2d", "model.head_hidden=true"],
    ["stem=resnet_nano"],
    ["model=bit_pico"],
    ["model=bit_milli"],
]


def by_torch(config: RunConfig, size: tuple[int, int], classes: int) -> tuple[int, int]:
    """What torch counts on the model itself."""
    with torch.device("meta"):
        model = build_model(config, size, classes).eval()
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            model(torch.zeros(1, 3, *size))
    return sum(p.numel() for p in model.parameters()), counter.get_total_flops() // 2


@pytest.mark.parametrize("overrides", SMALL, ids=" ".join)
@pytest.mark.parametrize("size", [(16, 16), (32, 24)])
def test_small_models_cost_what_torch_counts(overrides: list[str], size: tuple[int, int]) -> None:
    config = compose(overrides)
    assert perf.count(config, size, 10) == by_torch(config, size, 10)


@pytest.mark.parametrize("model", MODELS)
def test_the_paper_s_models_cost_what_torch_counts(model: str) -> None:
    config = compose(["scale=paper", "recipe=jft_b", *MODELS[model]])
    size = (224, 224) if config.model.patch_size == 14 else (384, 224)
    assert perf.count(config, size, 1000) == by_torch(config, size, 1000)


def test_a_job_takes_the_cores_that_slurm_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "4")
    assert cores() == 4
    steps = {"STEP_NUM_TASKS": "4", "PROCID": "1", "LOCALID": "1", "STEP_TASKS_PER_NODE": "2(x2)"}
    for name, value in steps.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert cores() == 2  # two tasks share the node's
    monkeypatch.setattr("joblib.cpu_count", lambda: 1)
    assert cores() == 1  # to which SLURM has bound them
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert cores() == 1
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "64")
    assert cores() == 8
