"""The bars: the same bytes each time, and drawn whatever runs are missing."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from vitcli.report import figures
from vitcli.report.collect import load

Make = Callable[..., tuple[Path, Path]]


def texts(svg: bytes) -> list[str]:
    """Returns the figure's texts: matplotlib draws them as outlines, each below a comment."""
    return re.findall(r"<!-- (.*?) -->", svg.decode())


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_study_gives_the_same_bytes(make: Make, whole: dict[str, Any], kind: str) -> None:
    study = load(*make(whole))
    assert figures.render(study, kind) == figures.render(study, kind)


def test_png_is_readable_and_not_blank(make: Make, whole: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "table.png"
    path.write_bytes(figures.render(load(*make(whole)), "png"))
    image = imread(path)
    assert 1200 < image.shape[1] < 2400
    assert 0.05 < np.mean(image[..., :3].min(axis=2) < 0.95) < 0.6


def test_both_data_sets_and_every_number_are_named(make: Make, whole: dict[str, Any]) -> None:
    svg = figures.render(load(*make(whole)), "svg")
    ElementTree.fromstring(svg)
    said = " ".join(texts(svg))
    for text in ("on digits, scale laptop", "Table 8, n = 1: ImageNet", "every layer, shared"):
        assert text in said
    for value in ("0.61382", "0.64206", "0.64292"):
        assert said.count(value) == 1
    assert said.count("relative") == 1  # where it does not exist it has no place


def test_lost_runs_leave_no_bar_and_say_so(make: Make, whole: dict[str, Any]) -> None:
    whole["none-stem"] = {s: {"state": "failed", "error": "x"} for s in range(3)}
    whole["relative-stem"] |= {s: {"state": "planned"} for s in (1, 2)}
    study = load(*make(whole))
    said = texts(figures.render(study, "svg"))
    assert said.count("no result") == 1
    assert f"{study.values['relative-stem'][0]:.3f} (1)" in said


def test_a_study_without_any_result_still_has_its_places(make: Make, whole: dict[str, Any]) -> None:
    lost = {cell: {s: {"state": "planned"} for s in range(3)} for cell in whole}
    assert texts(figures.render(load(*make(lost)), "svg")).count("no result") == 8


def test_without_the_paper_s_values_there_is_one_panel(make: Make) -> None:
    runs = {"none-shared": {0: 0.5, 1: 0.6}, "relative-every_layer": {0: 0.7, 1: 0.75}}
    said = " ".join(texts(figures.render(load(*make(runs)), "svg")))
    assert "Here: 5-shot" in said
    assert "The paper" not in said


def test_dollars_in_labels_are_dollars(make: Make, whole: dict[str, Any]) -> None:
    svg = figures.render(load(*make(whole, metric_label="cost in $ and $x_1$")), "svg")
    assert "cost in $ and $x_1$" in " ".join(texts(svg))


def test_what_is_known_without_training_is_marked(make: Make, whole: dict[str, Any]) -> None:
    def also(cell: str, seed: int) -> dict[str, float]:
        return {"pixels/digits/5shot": 0.4, "untrained/digits/5shot": 0.3 + 0.01 * seed}

    said = " ".join(texts(figures.render(load(*make(whole, also)), "svg")))
    assert "raw pixels" in said
    assert "tick: untrained" in said
