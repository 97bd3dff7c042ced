"""The published numbers, as printed: percentages of top-1, images, exaFLOPs.

table5: by pre-training set, fine-tuned at 384 px, the numbers behind Fig. 3. table6: the scaling
study on JFT-300M, behind Fig. 5. table7: Adam against SGD for ResNets, 7 epochs of JFT-300M.
Table 8 stands in `conf/study/pos_emb.yaml`. The paper's `R50x1+ViT-B/32` is `R50+B/32` here.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

FIVE = ("imagenet", "cifar10", "cifar100", "pets", "flowers")  # of the average in Table 7
FAMILIES = {"vit": "ViT", "resnet": "ResNet", "hybrid": "Hybrid"}


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
    found = [(row["model"], float(row["exaflops"]), _top1(row, metric)) for row in rows]
    return sorted(found, key=lambda point: point[1])


def pretraining(test: str, model: str) -> list[tuple[float, float]]:
    """Returns (pre-training images, top-1 in [0, 1]) of Table 5, from the smallest set up."""
    rows = (row for row in table("table5") if (row["test"], row["model"]) == (test, model))
    return sorted((float(row["images"]), float(row["top1"]) / 100) for row in rows)


def points(name: str, metric: str) -> dict[str, float]:
    """Returns top-1 in [0, 1] of each training that a table has, by model and what tells it apart.

    `ViT-L/16 JFT-300M` of table5, `R152x2 14` (epochs) of table6, `R50 adam` of table7.

    Args:
        metric: a test set of table5 or table7, a column of table6; `average`, of `FIVE`, of the
            latter two.
    """
    apart = {"table5": "pretrain", "table6": "epochs", "table7": "optimizer"}[name]
    if name == "table6":
        top1 = {(model, x): y for model, x, y in scaling(metric)}
        return {
            f"{row['model']} {row[apart]}": top1[row["model"], float(row["exaflops"])]
            for row in table(name)
        }
    found: dict[str, list[float]] = {}
    for row in table(name):
        if metric == row["test"] or (metric, name) == ("average", "table7"):
            found.setdefault(f"{row['model']} {row[apart]}", []).append(float(row["top1"]) / 100)
    return {key: sum(values) / len(values) for key, values in found.items()}


def published(name: str, metric: str, row: str) -> list[tuple[float, float]]:
    """Returns (x, top-1) of a row that `names` lists: a model of table5, a family of table6."""
    if name == "table5":
        return pretraining(metric, row)
    return [(x, y) for _, x, y in scaling(metric, row)]


def names(name: str, metric: str, single: bool) -> list[str]:
    """Returns what `points` names of a table, or the rows that it has curves of.

    Raises:
        ValueError: there is no such table, or no such metric in it.
    """
    tables = ("table5", "table6", *(("table7",) if single else ()))
    if name not in tables:
        raise ValueError(f"paper.table={name}: choose from {', '.join(tables)}")
    if name == "table6":
        known = ["average", "real", *FIVE]
    else:
        tests = sorted({row["test"] for row in table(name)})
        known = [*tests, *(["average"] if name == "table7" else [])]
    if metric not in known:
        raise ValueError(f"paper.metric={metric}: choose from {', '.join(known)}")
    if single:
        return list(points(name, metric))
    if name == "table6":
        return list(FAMILIES)
    return sorted({row["model"] for row in table(name) if row["test"] == metric})


def curve(name: str, x: str, y: str, **only: str) -> dict[str, list[tuple[float, float]]]:
    """Returns (x, top-1 in [0, 1]) points, x rising, by family or, in table5, by model.

    Args:
        name: `table5` or `table6`.
        x: the column of the x-axis: `images`, `exaflops`.
        y: a column of percentages, or `average`, of `FIVE`.
        only: columns and the value that a row must have there: `test="ImageNet"` of table5.
    Raises:
        ValueError: there is no such table, column or row; names it.
    """
    if name not in ("table5", "table6"):
        raise ValueError(f"table={name}: choose from table5, table6")
    columns = list(table(name)[0])
    for key in (x, *only, *(FIVE if y == "average" else (y,))):
        if key not in columns:
            raise ValueError(f"{name} has no column {key}: choose from {', '.join(columns)}")
    found: dict[str, list[tuple[float, float]]] = {}
    for row in table(name):
        if all(row[key] == value for key, value in only.items()):
            family = FAMILIES.get(row.get("family", ""), row["model"])
            found.setdefault(family, []).append((float(row[x]), _top1(row, y)))
    if not found:
        raise ValueError(f"{name} has no row with {', '.join(f'{k}={v}' for k, v in only.items())}")
    return {family: sorted(points) for family, points in found.items()}


def _top1(row: dict[str, str], metric: str) -> float:
    columns = FIVE if metric == "average" else (metric,)
    return sum(float(row[column]) for column in columns) / len(columns) / 100
