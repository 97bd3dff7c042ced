"""The mathematics of few-shot evaluation: draws of supports, and ridge regressions in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vitcli.data import DataSource
from vitcli.data.counter import bits
from vitcli.evals.inference import BATCH, batches, exact

_STREAM = 0xFE35  # of this module's random numbers; draw d has the d-th from here
_BIAS = 100.0  # the constant feature; at this size, the penalty on its weight is next to nothing
_PIXELS = 32  # of a side, of the raw pixels as features: 3,072 numbers, 2.5 GB for ImageNet 5-shot
_Features = Callable[[Tensor], Tensor]  # of images (B, 3, S, S): (B, D)


class Probe:
    """Linear probes on a few images of each class, several draws of them, by ridge regression."""

    def __init__(
        self, data: DataSource, shots: Sequence[int], draws: int, seed: int, l2: float
    ) -> None:
        self._data, self._shots, self._draws, self._seed, self._l2 = data, shots, draws, seed, l2
        self._labels = data.labels("train", torch.arange(data.train_size, device=data.device))

    def check(self, name: str) -> None:
        """Raises ValueError if a class of the set, called by that name, has too few images."""
        self._name = name
        self._check(self._labels)

    def top1(self, features: _Features) -> dict[int, list[float]]:
        """Returns each draw's top-1 on the validation images, by the number of shots."""
        labels, needed, train = self._supports(features)
        seen = [(exact(features(images)), of) for images, of in batches(self._data, "val")]
        test, answers = (torch.cat(column).to(train.device) for column in zip(*seen, strict=True))
        found = {}
        for shots in self._shots:
            rows = draw_supports(labels, shots, self._draws, self._seed)
            targets = F.one_hot(labels[rows], self._data.num_classes).to(test) * 2 - 1
            support = train[torch.searchsorted(needed, rows)]
            scores = ridge_scores(support, targets, test, self._l2)
            found[shots] = (scores.argmax(-1) == answers).double().mean(-1).tolist()
        return found

    def _check(self, labels: Tensor) -> None:
        counts = labels[labels >= 0].bincount(minlength=self._data.num_classes)
        fewest = int(counts.min())
        if max(self._shots) > fewest:
            raise ValueError(
                f"evals.shots={self._shots}: the smallest class of {self._name} has "
                f"{fewest} training images"
            )

    def _supports(self, features: _Features) -> tuple[Tensor, Tensor, Tensor]:
        """Returns all labels, which images the draws need (N,), ascending, and features (N, D).

        An image that cannot be decoded has label -1, and is drawn no more: in each draw the next
        of its class stands in for it.
        """
        labels = self._labels.clone()
        while True:
            draws = draw_supports(labels, max(self._shots), self._draws, self._seed)
            needed, found, bad = draws.flatten().bincount().nonzero()[:, 0], [], []
            chunks = torch.split(needed, BATCH)
            made = self._data.batches("train", ((chunk,) for chunk in chunks))
            for chunk, (images, _) in zip(chunks, made, strict=True):
                if len(images):
                    found.append(exact(features(images)))
                if len(images) < len(chunk):
                    one_by_one = (
                        (row, self._data.train_batch(row)) for row in torch.split(chunk, 1)
                    )
                    bad += [row for row, (image, _) in one_by_one if not len(image)]
            if not bad:
                exactly = torch.cat(found)
                return labels.to(exactly.device), needed.to(exactly.device), exactly
            labels[torch.cat(bad)] = -1
            self._check(labels)


def pre_logits(model: Any, images: Tensor) -> Tensor:
    """Returns the features (B, D) that the model's head is given."""
    features: Tensor = model.forward_head(model.forward_features(images), pre_logits=True)
    return features


def pixels(images: Tensor) -> Tensor:
    """Returns images (B, 3, H, W) as features (B, D), averaged to 32 pixels a side at most."""
    height, width = images.shape[-2:]
    return F.adaptive_avg_pool2d(images, (min(height, _PIXELS), min(width, _PIXELS))).flatten(1)


def draw_supports(labels: Tensor, shots: int, draws: int, seed: int) -> Tensor:
    """Returns rows (draws, classes * shots) of `labels` (N,): random, `shots` of each class.

    A row with label -1 is never drawn, and changes nothing in the order of the others.
    """
    images = (labels >= 0).nonzero()[:, 0]
    labels = labels[images]
    streams = _STREAM + torch.arange(draws, device=labels.device)
    shuffled = bits(seed, streams[:, None], images).argsort(dim=1)
    by_class = shuffled.gather(1, labels[shuffled].argsort(dim=1, stable=True))
    counts = labels.bincount()
    first = counts.cumsum(0) - counts
    rows = first[:, None] + torch.arange(shots, device=labels.device)
    return images[by_class[:, rows.flatten()]]


def ridge_scores(support: Tensor, targets: Tensor, test: Tensor, l2: float) -> Tensor:
    """Returns the scores (..., T, K) of `test` (T, D) by ridge regressions, float64.

    Each regression fits `targets` (..., N, K) on `support` (..., N, D) with penalty `l2` times the
    squared weights, after both sets' features are z-scored by the support's and given a constant.
    """
    mean = support.mean(-2, keepdim=True)
    sd = support.std(-2, keepdim=True, correction=0) + 1e-5
    x = F.pad((support - mean) / sd, (0, 1), value=_BIAS)
    xt = x.mT
    # (X'X + l2)^-1 X' = X' (XX' + l2)^-1: solve in the smaller of features and examples.
    if x.shape[-2] < x.shape[-1]:
        weights = xt @ _solve(x @ xt, l2, targets)
    else:
        weights = _solve(xt @ x, l2, xt @ targets)
    # Not of z-scored test features: those are as many copies of them as there are regressions.
    slopes = weights[..., :-1, :] / sd.mT
    return test @ slopes + (_BIAS * weights[..., -1:, :] - mean @ slopes)


def _solve(gram: Tensor, l2: float, right: Tensor) -> Tensor:
    gram.diagonal(dim1=-2, dim2=-1).add_(l2)
    return torch.cholesky_solve(right, torch.linalg.cholesky(gram))
