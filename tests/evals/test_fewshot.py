"""Few-shot linear evaluation against a least-squares solve of its definition."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vitcli.compose import compose
from vitcli.config import DataConfig, EvalsConfig, RunConfig
from vitcli.data import Batch, build_data
from vitcli.data.digits import Digits
from vitcli.evals import build_evals
from vitcli.evals.fewshot import FewShot
from vitcli.evals.ridge import draw_supports, pixels, ridge_scores

CPU = torch.device("cpu")


def reference_scores(support: Tensor, targets: Tensor, test: Tensor, l2: float) -> Tensor:
    """Ridge regression as ordinary least squares with sqrt(l2) * identity as further rows."""
    mean, sd = support.mean(0), support.std(0, correction=0) + 1e-5
    x = np.hstack([(support - mean) / sd, np.full((len(support), 1), 100.0)])
    rows = np.vstack([x, math.sqrt(l2) * np.eye(x.shape[1])])
    answers = np.vstack([targets, np.zeros((x.shape[1], targets.shape[1]))])
    weights, *_ = np.linalg.lstsq(rows, answers)
    return torch.from_numpy(
        np.hstack([(test - mean) / sd, np.full((len(test), 1), 100.0)]) @ weights
    )


@pytest.mark.parametrize("l2", [2.0**-10, 1.0, 2.0**10])
@pytest.mark.parametrize("features", [7, 29, 30, 200])  # 29 and the constant: as many as examples
def test_scores_are_those_of_least_squares(features: int, l2: float) -> None:
    generator = torch.Generator().manual_seed(features)
    options: dict[str, Any] = {"generator": generator, "dtype": torch.float64}
    support = 3 * torch.randn(2, 30, features, **options) + 1
    support[..., 0] = 4.0  # a dead feature
    test = torch.randn(40, features, **options)
    test[..., 0] = 4.0
    labels = torch.randint(3, (2, 30), generator=generator)
    targets = nn.functional.one_hot(labels, 3).double() * 2 - 1
    scores = ridge_scores(support, targets, test, l2)
    for draw in range(2):
        expected = reference_scores(support[draw], targets[draw], test, l2)
        torch.testing.assert_close(scores[draw], expected, rtol=1e-8, atol=1e-8)


class Pixels(nn.Module):
    """Features are the pixels of one channel."""

    def forward_features(self, images: Tensor) -> Tensor:
        return images[:, 0].flatten(1)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        assert pre_logits
        return x


def fewshot(**options: Any) -> FewShot:
    config = EvalsConfig(**{"draws": 4, "l2": 1.0, **options})
    data = build_data(DataConfig(name="digits", img_size=8), CPU)
    return FewShot(config, "digits", data, 0, CPU)


def test_digits_from_pixels() -> None:
    results = dict(fewshot(shots=[5, 10, 25], draws=20).run(Pixels()))
    assert list(results) == [
        f"fewshot/digits/{shots}shot{sd}" for shots in (5, 10, 25) for sd in ("", "_sd")
    ]
    top1 = [results[f"fewshot/digits/{shots}shot"] for shots in (5, 10, 25)]
    assert top1 == sorted(top1)
    assert 0.6 < top1[0] < top1[2] < 0.97
    assert 0.005 < results["fewshot/digits/5shot_sd"] < 0.06


def test_whole_path_against_the_reference() -> None:
    data = build_data(DataConfig(name="digits", img_size=8), CPU)
    train, labels = data.train_batch(torch.arange(data.train_size))
    test, answers = data.val_batch(torch.arange(data.val_size))
    train, test = train[:, 0].flatten(1).double(), test[:, 0].flatten(1).double()
    top1 = []
    for rows in draw_supports(labels, 5, 4, seed=0):
        targets = nn.functional.one_hot(labels[rows], 10).double() * 2 - 1
        scores = reference_scores(train[rows], targets, test, 1.0)
        top1.append((scores.argmax(1) == answers).double().mean().item())
    results = dict(fewshot(shots=[5]).run(Pixels()))
    assert results["fewshot/digits/5shot"] == pytest.approx(np.mean(top1))
    assert results["fewshot/digits/5shot_sd"] == pytest.approx(np.std(top1, ddof=1))


def test_references_are_the_model_before_training_and_the_pixels_themselves() -> None:
    few = fewshot(shots=[5])
    own, references = dict(few.run(Pixels())), dict(few.references(Pixels()))
    untrained = {name.replace("untrained/", "fewshot/"): v for name, v in references.items()}
    assert {k: untrained[k] for k in own} == own
    # Three equal channels for one are a third of the penalty.
    third = dict(fewshot(shots=[5], l2=1 / 3).run(Pixels()))
    pixels = references["pixels/digits/5shot"]
    assert pixels == pytest.approx(third["fewshot/digits/5shot"]) != own["fewshot/digits/5shot"]
    assert len(references) == 4


def test_large_images_are_averaged_for_their_pixels() -> None:
    images = torch.rand(2, 3, 64, 48)
    found = pixels(images).view(2, 3, 32, 32)
    torch.testing.assert_close(found[:, :, 0, 0], images[:, :, :2, :2].mean((2, 3)))
    torch.testing.assert_close(found[:, :, 1, 1], images[:, :, 2:4, 1:3].mean((2, 3)))
    small = torch.rand(2, 3, 8, 8)
    assert torch.equal(pixels(small), small.flatten(1))


def test_letters_are_classes_that_upstream_has_not() -> None:
    config = RunConfig(
        data=DataConfig(name="glyphs", num_classes=30, img_size=24),
        evals=EvalsConfig(downstream=["digits", "letters"], shots=[5, 100]),
    )
    letters = build_evals(config, build_data(config.data, CPU), CPU)[2]
    protocol = letters.protocol()
    assert (protocol["data"], protocol["support_pool"], protocol["test_size"]) == (
        "letters", 2000, 1000
    )  # fmt: skip
    found = dict(letters.run(Pixels()))
    names = ["fewshot/letters/5shot", "fewshot/letters/100shot"]
    assert [name for name in found if not name.endswith("_sd")] == names
    assert 1 / 20 < found[names[0]] < found[names[1]]


def test_one_draw_has_no_sd() -> None:
    assert list(dict(fewshot(shots=[1], draws=1).run(Pixels()))) == ["fewshot/digits/1shot"]


def test_draws_are_balanced_nested_and_fixed() -> None:
    labels = torch.tensor([0, 1, 2, 1, 0]).repeat(20)
    rows = draw_supports(labels, 6, 8, seed=3)
    assert rows.shape == (8, 18)
    for draw in range(8):
        assert labels[rows[draw]].bincount().tolist() == [6, 6, 6]
        assert rows[draw].unique().numel() == 18
    assert rows.sort().values.unique(dim=0).shape[0] == 8
    assert torch.equal(draw_supports(labels, 6, 3, seed=3), rows[:3])
    assert not torch.equal(draw_supports(labels, 6, 8, seed=4), rows)
    fewer = draw_supports(labels, 2, 8, seed=3)
    for draw in range(8):
        assert set(fewer[draw].tolist()) <= set(rows[draw].tolist())


def test_draws_are_uniform() -> None:
    rows = draw_supports(torch.zeros(10, dtype=torch.int64), 3, 4000, seed=0)
    assert (rows.flatten().bincount() - 1200).abs().max() < 145  # 5 standard deviations


def test_protocol_is_json_and_names_every_part() -> None:
    protocol = fewshot().protocol()
    assert json.loads(json.dumps(protocol)) == protocol
    assert {"data", "shots", "draws", "l2", "l2_choice", "feature", "test_size", "solver"} <= set(
        protocol
    )
    assert (protocol["support_pool"], protocol["test_size"]) == (1297, 500)


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"evals\.l2=0\.0: must be above 0"):
        compose(["evals.l2=0"])
    with pytest.raises(ValueError, match=r"evals\.shots=\[5, 200\].*has 12\d training"):
        fewshot(shots=[5, 200])


class Seen(Pixels):
    """Counts what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.images = 0

    def forward_features(self, images: Tensor) -> Tensor:
        self.images += len(images)
        return super().forward_features(images)


def test_only_the_supports_are_computed() -> None:
    data = build_data(DataConfig(name="digits", img_size=8), CPU)
    labels = data.labels("train", torch.arange(data.train_size))
    needed = draw_supports(labels, 5, 4, seed=0).unique().numel()
    model = Seen()
    results = dict(fewshot(shots=[2, 5]).run(model))
    assert model.images == needed + data.val_size < data.train_size
    # As when every training image was computed.
    train, test = (
        batch[0][:, 0].flatten(1).double()
        for batch in (data.train_batch(torch.arange(1297)), data.val_batch(torch.arange(500)))
    )
    answers = data.labels("val", torch.arange(500))
    for shots in (2, 5):
        rows = draw_supports(labels, shots, 4, seed=0)
        targets = nn.functional.one_hot(labels[rows], 10).double() * 2 - 1
        right = ridge_scores(train[rows], targets, test, 1.0).argmax(-1) == answers
        top1 = right.double().mean(-1).mean().item()
        assert results[f"fewshot/digits/{shots}shot"] == pytest.approx(top1, rel=1e-12)


def test_a_row_that_is_out_changes_nothing_in_the_order_of_the_others() -> None:
    labels = torch.arange(30) % 3
    rows = draw_supports(labels, 5, 8, seed=1)
    without = labels.clone()
    without[rows[0, 2]] = -1  # of class 0
    others = draw_supports(without, 5, 8, seed=1)
    for before, after in zip(rows.tolist(), others.tolist(), strict=True):
        assert after[5:] == before[5:]
        kept = [row for row in before[:5] if row != rows[0, 2]]
        assert after[: len(kept)] == kept
        assert len(set(after[:5])) == 5


def test_the_next_image_stands_in_for_a_broken_one() -> None:
    class Broken(Digits):
        """Its training image `hole` cannot be decoded."""

        hole = -1

        def train_batch(self, index: Tensor, draw: Tensor | None = None) -> Batch:
            return super().train_batch(index[index != self.hole])

    data = Broken(DataConfig(name="digits", img_size=8), CPU)
    labels = data.labels("train", torch.arange(data.train_size))
    rows = draw_supports(labels, 3, 2, seed=0)
    evaluator = FewShot(
        EvalsConfig(downstream="digits", shots=[3], draws=2), "digits", data, 0, CPU
    )
    data.hole = int(rows[0, 4])
    left, needed, features = evaluator._probe._supports(lambda images: images[:, 0].flatten(1))
    assert left[data.hole] == -1
    assert (left != labels).sum() == 1
    assert data.hole not in needed
    assert set(draw_supports(left, 3, 2, seed=0).flatten().tolist()) == set(needed.tolist())
    images, _ = data.train_batch(needed)
    assert torch.equal(features, images[:, 0].flatten(1).double())
