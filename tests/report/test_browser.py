"""The pages in a real browser: quiet, self-contained, whole, and as wide as a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_up import with_run, write
from playwright.sync_api import Browser

from vitcli.analysis.results import Results
from vitcli.report.build import write_index

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture
def pages(whole: Results, curve: Results, tmp_path: Path) -> dict[str, Path]:
    """Returns the pages of a study in bars, of one in curves, and of both."""
    error = "out of memory " * 20
    write(with_run(whole, "relative-stem-c0-1", state="failed", error=error, metrics={}), tmp_path)
    write(curve, tmp_path)
    for run in curve.runs:
        log = "".join(f'{{"step": {step}, "loss": {3 - step / 10}}}\n' for step in range(1, 11))
        (tmp_path / "runs" / run / "metrics.jsonl").write_text(log)
    write_index(tmp_path)
    studies = tmp_path / "studies"
    return {
        "bars": studies / "pos-emb-laptop" / "report" / "report.html",
        "curve": studies / "data-scaling-laptop" / "report" / "report.html",
        "index": studies / "index.html",
    }


@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_open_quietly_and_fit(
    browser: Browser, pages: dict[str, Path], width: int, scheme: Any
) -> None:
    for name, path in pages.items():
        page = browser.new_page(
            viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True
        )
        said: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message, said=said: said.append(message.text))
        page.on("pageerror", lambda error, said=said: said.append(str(error)))
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        page.goto(path.as_uri())
        assert said == []
        assert asked == [path.as_uri()]
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name} scrolls sideways"
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert dark == ("rgb(22, 24, 27)" if scheme == "dark" else "rgb(255, 255, 255)")
        page.evaluate("document.querySelectorAll('details').forEach(x => { x.open = true })")
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name} scrolls sideways with all details open"
        figures = page.locator("figure svg")
        assert figures.count() == {"bars": 2, "curve": 3, "index": 0}[name]
        for figure in figures.all():
            box = figure.bounding_box()
            assert box is not None
            assert box["width"] > 300
            assert box["height"] > 100
            # Glyphs are found by their ids: a lost name has no size, nor has a space (3).
            glyphs = figure.locator("use[href*=DejaVu]:not([href$='-3'])").all()[:20]
            assert len(glyphs) == 20
            assert all((glyph.bounding_box() or {"height": 0})["height"] > 0 for glyph in glyphs)
        page.close()


def test_the_index_leads_to_the_reports_and_a_verdict_to_its_details(
    browser: Browser, pages: dict[str, Path]
) -> None:
    page = browser.new_page()
    page.goto(pages["index"].as_uri())
    page.get_by_role("link", name="Position embedding").click()
    assert page.url == pages["bars"].as_uri()
    assert page.get_by_role("heading", level=1).inner_text() == "Position embedding: kind and place"
    tested = page.get_by_text("Tested: 5-shot linear top-1").first
    assert not tested.is_visible()
    page.get_by_role("link", name="A statement.").first.click()
    tested.wait_for(state="visible", timeout=5000)
    page.close()


def test_a_printed_page_is_black_on_white(browser: Browser, pages: dict[str, Path]) -> None:
    page = browser.new_page(viewport={"width": 680, "height": 900}, color_scheme="dark")
    page.emulate_media(media="print")
    page.goto(pages["curve"].as_uri())
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("document.documentElement.scrollWidth") <= 680
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.close()
