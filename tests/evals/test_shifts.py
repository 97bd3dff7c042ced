"""Equivariance and invariance of models whose answer is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vitcli.compose import compose
from vitcli.config import DataConfig
from vitcli.data import Batch, DataSource, build_data
from vitcli.evals import build_evals
from vitcli.evals.shifts import Shifts
from vitcli.evals.translate import _overlap
from vitcli.models import build_model

CPU = torch.device("cpu")
MARGIN = 8


class Periodic(DataSource):
    """Noise, 16 pixels a side, that goes on around itself: here a translation is cyclic."""

    num_classes, train_size, val_size, device = 10, 0, 60, CPU

    def __init__(self) -> None:
        self.images = torch.randn(60, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def train_batch(self, index: Tensor, draw: Tensor | None = None) -> Batch:
        raise AssertionError("only validation images are translated")

    def val_batch(self, index: Tensor) -> Batch:
        return F.pad(self.images[index], (MARGIN,) * 4, mode="circular"), index % 10


class Net(nn.Module):
    """A map (B, C, h, w) of an image, pooled by its mean, and ten classes."""

    def __init__(self, body: nn.Module, channels: int) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(channels, 10)

    def forward_features(self, images: Tensor) -> Tensor:
        features: Tensor = self.body(images)
        return features

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        pooled = x.mean((2, 3))
        logits: Tensor = self.head(pooled)
        return pooled if pre_logits else logits


class Spotlight(nn.Module):
    """Weighs each pixel by its place."""

    def forward(self, images: Tensor) -> Tensor:
        side = images.shape[-1]
        return images * torch.linspace(0.2, 2, side) * torch.linspace(1, 3, side)[:, None]


def measured(model: nn.Module, *shifts: int) -> dict[str, float]:
    torch.manual_seed(1)
    return dict(Shifts(list(shifts), Periodic(), MARGIN, CPU).run(model))


def vit(*overrides: str) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = build_model(compose(["model.depth=2", *overrides]), (16, 16), 10)
    nn.init.normal_(model.get_parameter("head.weight"))
    return model


@pytest.mark.parametrize("margin", [MARGIN, 6])
def test_a_convolution_without_padding_is_equivariant_to_its_stride(margin: int) -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.Conv2d(8, 8, 1))
    found = measured(Net(body, 8), 2, 4, margin)
    assert found["shift/4/error"] < 1e-10
    assert found["shift/2/error"] > 0.5
    assert (found[f"shift/{margin}/error"] < 1e-10) == (margin == 8)
    assert found["shift/2/invariance"] > found["shift/4/invariance"] + 0.1


def test_one_map_cell_a_pixel_is_equivariant_everywhere() -> None:
    found = measured(Net(nn.Conv2d(3, 8, 1), 8), 1, 3, 5)
    assert all(found[f"shift/{s}/error"] < 1e-10 for s in (1, 3, 5))
    assert all(found[f"shift/{s}/invariance"] < 1e-10 for s in (1, 3, 5))


def test_a_bag_of_patches_is_invariant_and_learned_places_are_not() -> None:
    bag = measured(vit("pos_emb=none", "model.pool=gap"), 2, 4, 8)
    for shift in (4, 8):
        assert bag[f"shift/{shift}/invariance"] < 1e-8
        assert bag[f"shift/{shift}/error"] < 1e-8
        assert bag[f"shift/{shift}/consistency"] == 1
    assert bag["shift/2/invariance"] > 0.01
    learned = vit("pos_emb=learned_1d", "model.pool=gap")
    nn.init.normal_(learned.get_parameter("pos_embed"))
    found = measured(learned, 4)
    assert found["shift/4/invariance"] > 0.01
    assert found["shift/4/error"] > 0.01
    assert found["shift/4/consistency"] < 1


def test_numbers_of_a_model_that_is_neither() -> None:
    model = Net(Spotlight(), 3)
    found = measured(model, 3)
    images = Periodic().images.double().numpy()
    place = np.linspace(0.2, 2, 16) * np.linspace(1, 3, 16)[:, None]
    still = images * place
    weight, bias = (p.detach().double().numpy() for p in (model.head.weight, model.head.bias))
    guess = (still.mean((2, 3)) @ weight.T + bias).argmax(1)
    same, errors, invariances = [], [], []
    for axis in (2, 3):
        for by in (3, -3):
            moved = np.roll(images, by, axis) * place
            difference = moved - np.roll(still, by, axis)
            seen = slice(3, 16) if by > 0 else slice(0, 13)
            overlap = difference[:, :, seen] if axis == 2 else difference[..., seen]
            errors.append(((overlap**2).mean((0, 2, 3)) / still.var((0, 2, 3))).mean())
            pooled = moved.mean((2, 3)), still.mean((2, 3))
            invariances.append((((pooled[0] - pooled[1]) ** 2).mean(0) / pooled[1].var(0)).mean())
            same.append(((pooled[0] @ weight.T + bias).argmax(1) == guess).mean())
    assert found["shift/3/error"] == pytest.approx(np.mean(errors), rel=1e-5)
    assert found["shift/3/invariance"] == pytest.approx(np.mean(invariances), rel=1e-5)
    assert found["shift/3/consistency"] == pytest.approx(np.mean(same))
    assert 0 < found["shift/3/consistency"] < 1


@pytest.mark.parametrize("cells", [0.5, 1.0, 1.25, 2.0, -0.25, -1.0, -1.5])
@pytest.mark.parametrize("axis", [-2, -1])
def test_a_map_is_interpolated_between_cells(cells: float, axis: int) -> None:
    ramp = torch.arange(6.0).view(6, 1).expand(6, 6)
    still = (ramp if axis == -2 else ramp.T)[None, None]
    expected, found = _overlap(still, still - cells, axis, cells)
    assert torch.equal(expected, found)
    assert found.shape[axis] == 6 - np.ceil(abs(cells))


@pytest.mark.parametrize("overrides", [["model=bit_nano"], ["stem=resnet_nano"], ["model=nano"]])
def test_our_models_before_their_first_step(overrides: list[str]) -> None:
    config = compose([*overrides, "evals=upstream", "evals.shifts=[1,4]", "data.val_size=40"])
    data = build_data(config.data, CPU)
    shifts = build_evals(config, data, CPU)[-1]
    model = build_model(config, (16, 16), data.num_classes)
    found = dict(shifts.references(model))
    kinds = ("error", "invariance")
    assert list(found) == [f"untrained/shift/{s}/{kind}" for s in (1, 4) for kind in kinds]
    assert min(found.values()) > 0
    protocol = shifts.protocol()
    assert json.loads(json.dumps(protocol)) == protocol
    assert (protocol["margin"], protocol["test_size"]) == ("drawn", 40)
    assert "shift/1/consistency" in dict(shifts.run(model))
    assert shifts.notes() == []
    headless = dict(shifts.run(build_model(config, (16, 16), 0)))
    assert list(headless) == [f"shift/{s}/{kind}" for s in (1, 4) for kind in kinds]
    assert shifts.notes() == ["no head, and so no shift/<s>/consistency"]


def test_a_set_without_a_margin_repeats_its_edges() -> None:
    data = build_data(DataConfig(name="digits", img_size=16), CPU)
    shifts = Shifts([2], data, 0, CPU)
    assert shifts.protocol()["margin"] == "edge pixels repeated"
    found = dict(shifts.run(Net(nn.Conv2d(3, 8, 1), 8)))
    assert found["shift/2/error"] < 1e-10


def test_of_constant_features_nothing_can_be_said() -> None:
    class Dead(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.zeros(len(images), 2, 4, 4)

    shifts = Shifts([4], build_data(DataConfig(name="digits", img_size=16), CPU), 0, CPU)
    assert list(dict(shifts.run(Net(Dead(), 2)))) == ["shift/4/consistency"]
    assert shifts.notes() == [
        f"no feature varies over the images, and so no shift/4/{name}"
        for name in ("error", "invariance")
    ]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["evals.shifts=[13]"], "evals.shifts=[13]: at most 12 pixels"),
        (["model=bit_nano", "evals.shifts=[1,9]"], "evals.shifts=[1, 9]: at most 8 pixels"),
        (["model=bit_nano", "data.img_size=20", "evals.shifts=[1]"], "has a stride of 8 pixels"),
        (["evals.shifts=[0]"], "evals.shifts=[0]: must be at least 1"),
    ],
)
def test_shifts_that_cannot_be(overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (checked below)
        compose(overrides)
    assert message in str(caught.value)
