"""The bars: the same bytes each time, and drawn whatever runs are missing."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from made_up import with_run, with_study
from matplotlib.image import imread

from vitcli.analysis.results import Results
from vitcli.report import bars
from vitcli.report.style import save
from vitcli.schema import Metric


def drawn(found: Results, kind: str = "svg") -> bytes:
    return save(lambda: bars.draw(found), [kind])[kind]


def texts(found: Results) -> list[str]:
    """Returns the figure's texts: matplotlib draws them as outlines, each below a comment."""
    return re.findall(r"<!-- (.*?) -->", drawn(found).decode())


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_study_gives_the_same_bytes(whole: Results, kind: str) -> None:
    assert drawn(whole, kind) == drawn(whole, kind)


def test_png_is_readable_and_not_blank(whole: Results, tmp_path: Path) -> None:
    path = tmp_path / "table.png"
    path.write_bytes(drawn(whole, "png"))
    image = imread(path)
    assert 1200 < image.shape[1] < 2400
    assert 0.05 < np.mean(image[..., :3].min(axis=2) < 0.95) < 0.6


def test_both_data_sets_and_every_number_are_named(whole: Results) -> None:
    ElementTree.fromstring(drawn(whole))
    said = " ".join(texts(whole))
    for text in ("on digits, scale laptop", "Table 8, n = 1: ImageNet", "every layer, shared"):
        assert text in said
    for value in ("0.61382", "0.64206", "0.64292"):
        assert said.count(value) == 1
    assert said.count("relative") == 1  # where it does not exist it has no place


def test_lost_runs_leave_no_bar_and_say_so(whole: Results) -> None:
    found = whole
    for seed in range(5):
        found = with_run(found, f"none-stem-c0-{seed}", state="failed", metrics={})
        if seed:
            found = with_run(found, f"relative-stem-c0-{seed}", state="planned", metrics={})
    said = texts(found)
    assert said.count("no result") == 1
    assert f"{whole.runs['relative-stem-c0-0'].metrics['m']:.3f} (1)" in said


def test_a_study_without_any_result_still_has_its_places(whole: Results) -> None:
    found = whole
    for run in whole.runs:
        found = with_run(found, run, state="planned", metrics={})
    assert texts(found).count("no result") == 8


def test_without_the_paper_s_values_there_is_one_panel(whole: Results) -> None:
    for cell in whole.study.cells:
        cell.paper = None
    said = " ".join(texts(whole))
    assert "Here: 5-shot" in said
    assert "The paper" not in said


def test_dollars_in_labels_are_dollars(whole: Results) -> None:
    found = with_study(whole, metrics={"m": Metric("cost in $ and $x_1$")})
    assert "cost in $ and $x_1$" in " ".join(texts(found))


def test_what_there_is_without_training_is_marked(whole: Results) -> None:
    said = " ".join(texts(whole))
    assert "raw pixels" in said
    assert "tick: untrained" in said
