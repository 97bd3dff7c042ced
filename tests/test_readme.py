"""README says what the committed reports say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from vitcli.report.content import SYMBOLS
from vitcli.schema import Study
from vitcli.study.plan import make_plan

ROOT = Path(__file__).parent.parent
LAPTOP = ROOT / "outputs" / "reference" / "laptop"
CLOTHES = ROOT / "outputs" / "reference" / "fashion_mnist"
README = (ROOT / "README.md").read_text()
STRIP = dict(re.findall(r"^\| \[`([\w-]+)`\]\(\S+\) \|.*\| ([^|]+) \|$", README, re.MULTILINE))


@pytest.mark.parametrize("study", sorted(path.name for path in LAPTOP.iterdir()))
def test_a_study_s_verdicts_are_those_of_its_file(study: str) -> None:
    claims = json.loads((LAPTOP / study / "claims.json").read_text())["claims"]
    if not claims:
        assert study not in STRIP
        return
    assert STRIP[study].split() == [SYMBOLS[claim["verdict"]] for claim in claims]


@pytest.mark.parametrize("folder", [*sorted(LAPTOP / s for s in STRIP), *sorted(CLOTHES.iterdir())])
def test_a_report_is_of_the_study_as_its_file_has_it(folder: Path) -> None:
    overrides = ["data=fashion_mnist", "data.img_size=16"] if folder.parent == CLOTHES else []
    reported = Study.from_plan(folder / "plan.json")
    now = make_plan(folder.name, overrides).study
    assert reported.claims == now.claims
    assert reported.differences == now.differences
    assert reported.seeds == now.seeds
    assert [cell.runs for cell in reported.cells] == [cell.runs for cell in now.cells]


def test_files_that_readme_links_to_are_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert len(links) > len(STRIP)
    for link in links:
        assert (ROOT / link).exists(), link


def test_no_cell_of_a_table_is_longer_than_a_line() -> None:
    cells = [re.sub(r"\]\([^)]*\)", "]", c) for c in re.findall(r"(?<=\|)[^|\n]+(?=\|)", README)]
    assert cells
    assert max(len(cell.strip()) for cell in cells) <= 60


def test_the_demo_s_table_is_that_of_its_report() -> None:
    report = (LAPTOP / "pos-emb" / "report.md").read_text()
    start = report.index("|  | Stem |")
    assert report[start : report.index("\n\n", start)] in README
