"""The page: one file, nothing of a label read as markup, every id once, verdicts first."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_up import with_run, with_study, write

from vitcli.analysis.results import Results
from vitcli.report import render
from vitcli.report.build import write_index, write_report
from vitcli.schema import Axis, Metric, XAxis

HOSTILE = "<script>alert('&amp; \"%_$|x')</script> {{ 7 * 7 }} --> ]]> </style> a_b $y$ \\ ~^#`"
VOID = {"meta", "link", "br"}


class Parsed(HTMLParser):
    """What a page holds; raises where its tags do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page(found: Results, outputs: Path) -> Path:
    return write_report(write(found, outputs), outputs / "runs") / "report" / "report.html"


def hostile(found: Results) -> Results:
    """Returns the study with every text in it hostile."""
    study = found.study
    return with_study(
        with_run(found, "vit_nano-c0-0", state="failed", error=HOSTILE, metrics={}),
        title=HOSTILE,
        setting=HOSTILE,
        rows={key: Axis(f"{axis.label} {HOSTILE}") for key, axis in study.rows.items()},
        columns={k: Axis(f"{c.label} {HOSTILE}", c.value) for k, c in study.columns.items()},
        claims=[replace(c, id=HOSTILE, statement=HOSTILE, where=HOSTILE) for c in study.claims],
        paper=replace(study.paper, where=HOSTILE, metric=HOSTILE),
        metrics={"m": Metric(HOSTILE), "val/top1": Metric(HOSTILE)},
        differences=[HOSTILE],
        overrides=[HOSTILE],
        methods={HOSTILE: HOSTILE},
        sources={"<b>": [HOSTILE]},
    )


@pytest.mark.parametrize("figure", ["bars", "curve"])
def test_hostile_labels_stay_text(curve: Results, tmp_path: Path, figure: str) -> None:
    x = XAxis("column", HOSTILE) if figure == "curve" else None
    of = "slope" if figure == "curve" else "difference"
    pairs = curve.study.claims[0].pairs if x else [["vit_nano-c0", "bit_nano-c1"]]
    claims = [replace(curve.study.claims[0], of=of, pairs=pairs)]
    report = page(hostile(with_study(curve, claims=claims, x=x)), tmp_path)
    write_index(tmp_path)
    plain = " ".join(HOSTILE.split())
    for path in (report, tmp_path / "studies" / "index.html"):
        parsed = Parsed(path.read_text())
        assert not {"script", "b"} & {tag for tag, _ in parsed.tags}
        assert parsed.text.count(plain) >= 2
    latex = (report.parent / "table.tex").read_text()
    assert render.escape_latex(HOSTILE) in latex
    assert not re.search(r"(?<!\\)[$&](?!\\pm\$)", latex.replace(" & ", "").replace(r"$\pm$", ""))
    markdown = (report.parent / "report.md").read_text()
    assert "<script>" not in markdown.replace(r"\<", "")
    rows = [line for line in markdown.splitlines() if line.startswith("| VIT\\_NANO")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in rows}) == 1


def test_the_page_is_one_file_that_asks_for_nothing(whole: Results, tmp_path: Path) -> None:
    path = page(whole, tmp_path)
    text = path.read_text()
    tags = Parsed(text).tags
    assert not {"script", "img", "iframe"} & {tag for tag, _ in tags}
    assert [a["href"] for tag, a in tags if tag == "link"] == ["data:,"]
    assert "http" not in re.sub(r"<svg.*?</svg>", "", text, flags=re.S)
    assert "@import" not in text
    assert "url(http" not in text


def test_no_link_is_dead_or_leads_out_of_the_report(whole: Results, tmp_path: Path) -> None:
    """A report is a folder that can be moved, and committed without its runs."""
    path = page(whole, tmp_path)
    tags = Parsed(path.read_text()).tags
    ids = {a["id"] for _, a in tags if "id" in a}
    links = [a["href"] or "" for tag, a in tags if tag == "a"]
    assert len(links) > 6
    for link in links:
        found = link[1:] in ids if link.startswith("#") else (path.parent / link).is_file()
        assert found, link
        assert ".." not in link
    markdown = (path.parent / "report.md").read_text()
    for link in re.findall(r"\]\((.*?)\)", markdown):
        assert (path.parent / link).is_file(), link


@pytest.mark.parametrize("study", ["whole", "curve"])
def test_structure_for_those_who_cannot_see_it(
    study: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    found: Results = request.getfixturevalue(study)
    tags = Parsed(page(found, tmp_path).read_text()).tags
    assert ("html", {"lang": "en"}) in tags
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert all(a.get("scope") in ("col", "row") for tag, a in tags if tag == "th")
    svgs = [a for tag, a in tags if tag == "svg"]
    assert [svg["role"] for svg in svgs] == ["img", "img"]
    assert svgs[1]["aria-label"] == (
        "5-shot linear top-1 on digits of none, 1-D, 2-D, relative, over stem, every layer, "
        "every layer, shared"
        if study == "whole"
        else "5-shot linear top-1 on digits of VIT_NANO, VIT_MICRO, BIT_NANO, BIT_MICRO, HYBRID, "
        "over Images"
    )
    ids = Counter(a["id"] for _, a in tags if "id" in a)
    assert max(ids.values()) == 1
    wanted = [a["href"] for tag, a in tags if tag == "use"]
    assert {x.removeprefix("#") for x in wanted if x} <= set(ids)


def test_verdicts_come_first_with_their_numbers(whole: Results, tmp_path: Path) -> None:
    text = Parsed(page(whole, tmp_path).read_text()).text
    order = [text.index(f"\n{part}\n") for part in ("Verdicts", "Results", "Details")]
    assert order == sorted(order)
    opening = " ".join(text[order[0] : order[1]].split())
    assert opening.startswith("Verdicts ✓ reproduced A statement. 1-D (stem) is 0.15")
    for said in (
        "above none (stem)",
        "claimed: above +0.040",
        "the paper: +0.028",
        "interval +0.1",
    ):
        assert said in opening
    details = " ".join(text[order[2] :].split())
    for said in ("p for< 0.001", "p against1", "seeds5", "Without pre-training: raw pixels 0.400"):
        assert said in details
    assert "Tested: 5-shot linear top-1 on digits: 1-D (stem) is at least 0.040 above" in details


def test_two_figures_share_no_id_and_wear_the_page_s_colours() -> None:
    svg = (
        b'<?xml version="1.0"?><!DOCTYPE svg><svg xmlns="http://www.w3.org/2000/svg" '
        b'xmlns:xlink="http://www.w3.org/1999/xlink" width="9pt" viewBox="0 0 9 9">'
        b'<metadata>made today</metadata><defs><style type="text/css">*{fill:none}</style></defs>'
        b'<g id="a" clip-path="url(#p)"><use xlink:href="#a" style="fill: #222222"/></g></svg>'
    )
    first, second = (render.inline(svg, prefix, 'say "x" <y>') for prefix in ("f1-", "f2-"))
    assert (
        '<g id="f1-a" clip-path="url(#f1-p)"><use href="#f1-a" style="fill: var(--ink)" />' in first
    )
    assert "f1-" not in second
    assert "made today" not in first
    assert "width=" not in first
    assert 'aria-label="say &quot;x&quot; &lt;y&gt;"' in first
    assert "figure svg *{fill:none}" in first


def test_latex_is_of_balanced_booktabs_tables(whole: Results, tmp_path: Path) -> None:
    text = (page(whole, tmp_path).parent / "table.tex").read_text()
    lines = text.splitlines()
    assert lines.count(r"\begin{tabular}{lccc}") == lines.count(r"\end{tabular}") == 2
    rows = [line for line in lines if line.endswith(r"\\")]
    assert len(rows) == 5 + 2 + 5  # with a row a null
    assert all(line.count(" & ") == 3 for line in rows)
    bare = text.replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}")
    assert r"$\pm$" in text
    assert "±" not in text
