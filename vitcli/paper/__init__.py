"""The published numbers, as printed: percentages of top-1, images, exaFLOPs.

table5: by pre-training set, fine-tuned at 384 px, the numbers behind Fig. 3. table6: the scaling
study on JFT-300M, behind Fig. 5. table7: Adam against SGD for ResNets, 7 epochs of JFT-300M.
Table 8 stands in `conf/study/pos_emb.yaml`. The paper's `R50x1+ViT-B/32` is `R50+B/32` here.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

TABLES = ("table5", "table6", "table7")
FIVE = ("imagenet", "cifar10", "cifar100", "pets", "flowers")  # of the average in Table 7


@cache
def table(name: str) -> tuple[dict[str, str], ...]:
    """Returns the rows of `table5`, `table6` or `table7`, in the paper's order."""
    with Path(__file__).with_name(f"{name}.csv").open(newline="") as file:
        return tuple(csv.DictReader(file))


def scaling(metric: str, family: str | None = None) -> list[tuple[str, float, float]]:
    """Returns (model, exaFLOPs, top-1 in [0, 1]) of Table 6, from the least compute to the most.

    Args:
        metric: a column of the table, or `average`: the mean of `FIVE`, Table 7's average.
        family: `vit`, `resnet` or `hybrid`; None: all.
    """
    rows = [row for row in table("table6") if family in (None, row["family"])]
    columns = FIVE if metric == "average" else (metric,)
    found = [
        (
            row["model"],
            float(row["exaflops"]),
            sum(float(row[column]) for column in columns) / len(columns) / 100,
        )
        for row in rows
    ]
    return sorted(found, key=lambda point: point[1])


def pretraining(test: str, model: str) -> list[tuple[float, float]]:
    """Returns (pre-training images, top-1 in [0, 1]) of Table 5, from the smallest set up."""
    rows = (row for row in table("table5") if (row["test"], row["model"]) == (test, model))
    return sorted((float(row["images"]), float(row["top1"]) / 100) for row in rows)
