"""Text that is not ours, in each file of a report: read back by others' readers, it is the same."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_up import claim as made_claim
from made_up import single, with_run, with_study, write
from markdown_it import MarkdownIt
from markdown_it.token import Token

from vitcli.analysis.results import Results
from vitcli.files import one_line
from vitcli.report.build import write_report
from vitcli.schema import Axis, Metric

SIGNS = r"""<script>alert(1)</script> & | \` $x_1$ 50% #1 {a} ~ ^ \\ "q" =1+1 [a](b) **b** <!-- é"""
WORDS = [
    "# a",
    "- a",
    "+ a",
    "1. a",
    "2) a",
    "=1+1",
    "a\nb",
    "a\r\nb",
    "a,b",
    '"',
    "---",
    "a\x1b[31m\x07b",
    SIGNS,
]
LATEX = {
    "textbackslash{}": "\\", "textasciitilde{}": "~", "textasciicircum{}": "^",
    "textless{}": "<", "textgreater{}": ">", "textbar{}": "|",
}  # fmt: skip


def foreign(word: str) -> Results:
    """A study whose every text has the word, one of whose runs failed of it."""
    claims = [made_claim("difference", ["A-c0", "B-c0"], statement=word, where=word)]
    found = single({"A": [0.7, 0.71, 0.72], "B": [0.6, 0.62, 0.61]}, *claims)
    study = replace(
        found.study,
        title=word,
        rows={"A": Axis(word), "B": Axis("B")},
        columns={"c0": Axis(f"C {word}")},
        metrics={"m": Metric(word)},
        differences=[word],
        methods={"Done": word},
    )
    cells = [replace(cell, settings={"data.path": word}) for cell in study.cells]
    notes = with_run(with_study(found, **vars(study)), "A-c0-1", notes=(word,))
    failed = with_run(notes, "B-c0-2", state="failed", error=one_line(word), metrics={})
    return with_study(failed, cells=cells)


def report(word: str, outputs: Path) -> Path:
    return write_report(write(foreign(word), outputs), outputs / "runs") / "report"


class Text(HTMLParser):
    """The text of a page, and its tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags = "", set[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("word", WORDS)
def test_html(word: str, tmp_path: Path) -> None:
    read = Text((report(word, tmp_path) / "report.html").read_text())
    assert "script" not in read.tags
    assert " ".join(read.text.split()).count(one_line(word)) >= 7


def texts(tokens: list[Token]) -> list[str]:
    """What each cell, heading, item or paragraph says, less what is bold."""
    return ["".join(t.content for t in each.children or []) for each in tokens if each.children]


@pytest.mark.parametrize("word", WORDS)
def test_markdown(word: str, tmp_path: Path) -> None:
    read = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = read.parse((report(word, tmp_path) / "report.md").read_text())
    said, plain = texts(tokens), one_line(word)
    assert said[0] == plain  # the title
    assert said.count(plain) >= 4  # the title, a claim, a row, a difference
    assert sum(plain in each for each in said) >= 9
    kinds = {t.type for token in tokens for t in [token, *(token.children or [])]}
    assert not kinds & {"html_block", "code_inline", "fence", "code_block", "s_open", "hr"}
    inline = {t.content for token in tokens for t in token.children or [] if "html" in t.type}
    assert inline <= {"<sup>", "</sup>"}
    headings = [t.tag for t in tokens if t.type == "heading_open"]
    assert headings == ["h1", *["h2"] * 4]
    rows = "".join(
        {"tr_open": "\n", "th_open": "x", "td_open": "x"}.get(t.type, "") for t in tokens
    )
    assert rows.split() == ["xxx"] * 2 + ["xx"] * 3


@pytest.mark.parametrize("word", WORDS)
def test_latex(word: str, tmp_path: Path) -> None:
    text = (report(word, tmp_path) / "table.tex").read_text()
    (row,) = (
        line
        for line in text.splitlines()
        if line.endswith(r"0.710 ± 0.025 (3) \\".replace("±", r"$\pm$"))
    )
    label = row.split(" & 0.710", 1)[0]
    for sign, plain in LATEX.items():
        label = label.replace(f"\\{sign}", f"\0{plain}\0")
    assert not re.search(r"(?<!\\)[%#$_^~&]", re.sub("\0.\0", "", label))
    read = re.sub(r"\\([%#$_&{}])|\{([\[\]])\}|\0(.)\0", r"\1\2\3", label)
    assert read == one_line(word)


@pytest.mark.parametrize("word", WORDS)
def test_csv(word: str, tmp_path: Path) -> None:
    with (report(word, tmp_path) / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert all(None not in row and None not in row.values() for row in rows)
    assert {row["data.path"] for row in rows} == {word}
    assert rows[-1]["error"] == one_line(word)
    assert rows[-1]["m"] == ""


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_print_no_nan_and_no_none(seeds: int, tmp_path: Path) -> None:
    values = {"A": [0.7, 0.71][:seeds], "B": [0.6, float("nan")][:seeds]}
    found = single(values, made_claim("difference", ["A-c0", "B-c0"]))
    out = write_report(write(found, tmp_path), tmp_path / "runs") / "report"
    for name in ("report.html", "report.md", "table.tex", "runs.csv"):
        text = re.sub(r"(?s)<svg.*?</svg>|<style.*?</style>", "", (out / name).read_text())
        assert not re.findall(r"\b(?:nan|inf|NaN|None|null)\b", text), name
    assert "only one seed has finished in both cells" in (out / "report.md").read_text()
