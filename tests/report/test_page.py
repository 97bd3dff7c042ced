"""The page: one file, nothing of a label read as markup, every id once, light and dark."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from vitcli.report import page, tables
from vitcli.report.build import write_index, write_report
from vitcli.report.collect import load

Make = Callable[..., tuple[Path, Path]]
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


def hostile(plan: dict[str, Any]) -> dict[str, Any]:
    """Returns the plan's arguments with every text in it hostile."""
    named = [{"rows": plan["rows"]}, {"columns": plan["columns"]}]
    labels = {
        key: [x | {"label": f"{x['label']} {HOSTILE}"} for x in of]
        for one in named
        for key, of in one.items()
    }
    texts = dict.fromkeys(("title", "metric_label", "setting", "mode", "scale"), HOSTILE)
    claims = [c | dict.fromkeys(("id", "statement", "where"), HOSTILE) for c in plan["claims"]]
    paper = plan["paper"] | {"where": HOSTILE, "metric": HOSTILE}
    return plan | labels | texts | {
        "claims": claims,
        "paper": paper,
        "x": {"of": "column", "label": HOSTILE},
        "tables": {"val/top1": HOSTILE},
        "differences": [HOSTILE],
        "overrides": [HOSTILE],
        "sources": {"../<b>": [HOSTILE]},
    }  # fmt: skip


@pytest.mark.parametrize("figure", ["bars", "curve"])
def test_hostile_labels_stay_text(make: Make, curve: dict[str, Any], figure: str) -> None:
    curve["runs"]["vit_nano-c1000"] = {
        0: {"state": "failed", "error": HOSTILE},
        1: 0.5,
    }
    study_dir, runs_dir = make(**hostile(curve) | {"figure": figure})
    report = write_report(study_dir, runs_dir)
    write_index(runs_dir.parent)
    plain = " ".join(HOSTILE.split())
    for path in (report, runs_dir.parent / "studies" / "index.html"):
        parsed = Parsed(path.read_text())
        assert "script" not in [tag for tag, _ in parsed.tags]
        assert "b" not in [tag for tag, _ in parsed.tags]
        assert parsed.text.count(plain) >= 3
    latex = (report.parent / "table-val-top1.tex").read_text()
    assert tables.escape_latex(HOSTILE) in latex
    assert not re.search(r"(?<!\\)[$&](?!\\pm\$)", latex.replace(" & ", "").replace(r"$\pm$", ""))
    markdown = (report.parent / "report.md").read_text()
    assert "<script>" not in markdown.replace(r"\<", "")
    rows = [line for line in markdown.splitlines() if line.startswith("| ViT nano")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in rows if "run-" in line}) == 1


def test_the_page_is_one_file_that_asks_for_nothing(make: Make, whole: dict[str, Any]) -> None:
    text = write_report(*make(whole)).read_text()
    tags = Parsed(text).tags
    assert not {"script", "img", "iframe"} & {tag for tag, _ in tags}
    assert [a["href"] for tag, a in tags if tag == "link"] == ["data:,"]
    assert "http" not in re.sub(r"<svg.*?</svg>", "", text, flags=re.S)
    assert "@import" not in text
    assert "url(http" not in text
    relative = [a["href"] or "" for tag, a in tags if tag == "a"]
    assert "../../../runs/run-none-stem-s0/" in relative
    assert not any("//" in link for link in relative)


def test_structure_for_those_who_cannot_see_it(make: Make, curve: dict[str, Any]) -> None:
    tags = Parsed(write_report(*make(**curve)).read_text()).tags
    assert ("html", {"lang": "en"}) in tags
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert all(a.get("scope") in ("col", "row") for tag, a in tags if tag == "th")
    (svg,) = [a for tag, a in tags if tag == "svg"]
    assert svg["role"] == "img"
    assert "5-shot linear top-1 on digits against Images upstream" in (svg["aria-label"] or "")
    ids = Counter(a["id"] for _, a in tags if "id" in a)
    assert max(ids.values()) == 1
    wanted = [a["href"] for tag, a in tags if tag == "use"]
    assert {x.removeprefix("#") for x in wanted if x} <= set(ids)


def test_verdicts_come_first_with_their_numbers(make: Make, whole: dict[str, Any]) -> None:
    text = Parsed(write_report(*make(whole)).read_text()).text
    order = [text.index(f"\n{part}\n") for part in ("Verdicts", "Results", "Methods", "Runs")]
    assert order == sorted(order)
    opening = " ".join(text[order[0] : order[1]].split())
    for said in ("✓ reproduced", "effect+0.1", "n3", "margin±0.04", "detectable0.0"):
        assert said in opening
    assert "paper+0.028" in opening


def test_two_figures_share_no_id_and_wear_the_page_s_colours() -> None:
    svg = (
        b'<?xml version="1.0"?><!DOCTYPE svg><svg xmlns="http://www.w3.org/2000/svg" '
        b'xmlns:xlink="http://www.w3.org/1999/xlink" width="9pt" viewBox="0 0 9 9">'
        b'<metadata>made today</metadata><defs><style type="text/css">*{fill:none}</style></defs>'
        b'<g id="a" clip-path="url(#p)"><use xlink:href="#a" style="fill: #222222"/></g></svg>'
    )
    first, second = (page.inline(svg, prefix, 'say "x" <y>') for prefix in ("f1-", "f2-"))
    assert (
        '<g id="f1-a" clip-path="url(#f1-p)"><use href="#f1-a" style="fill: var(--ink)" />' in first
    )
    assert "f1-" not in second
    assert "made today" not in first
    assert "width=" not in first
    assert 'aria-label="say &quot;x&quot; &lt;y&gt;"' in first
    assert "figure svg *{fill:none}" in first


def test_the_same_files_give_the_same_page(make: Make, whole: dict[str, Any]) -> None:
    study_dir, runs_dir = make(whole)
    first = write_report(study_dir, runs_dir).read_bytes()
    assert write_report(study_dir, runs_dir).read_bytes() == first
    assert str(study_dir.parent).encode() not in first
    assert load(study_dir, runs_dir).title.encode() in first
