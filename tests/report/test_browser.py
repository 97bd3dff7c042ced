"""The pages in a real browser: quiet, self-contained, whole, and as wide as a phone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from vitcli.report.build import write_index

pytestmark = [pytest.mark.slow, pytest.mark.browser]
Make = Callable[..., tuple[Path, Path]]
NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    assert path, f"no browser: install one of {', '.join(NAMES)} (apt-get install chromium)"
    with sync_playwright() as playwright:
        # Root, as in a container, has no sandbox; the page is our own.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def pages(make: Make, whole: dict[str, Any], curve: dict[str, Any]) -> dict[str, Path]:
    """Returns the pages of a study in bars, of one in curves, and of both."""
    whole["relative-stem"][1] = {"state": "failed", "error": "out of memory " * 20}
    make(whole, sources={"run-none-stem-s1": ["1-D (stem)"]})
    _, runs_dir = make(**curve)
    write_index(runs_dir.parent)
    studies = runs_dir.parent / "studies"
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
        figures = page.locator("figure svg")
        assert figures.count() == (name != "index")
        for figure in figures.all():
            box = figure.bounding_box()
            assert box is not None
            assert box["width"] > 300
            assert box["height"] > 150
            # Glyphs are found by their ids: a name lost in the change of ids has no size.
            glyphs = figure.locator("use").all()[:20]
            assert len(glyphs) == 20
            assert all((glyph.bounding_box() or {"height": 0})["height"] > 0 for glyph in glyphs)
        page.close()


def test_the_index_leads_to_the_reports_and_these_to_their_runs(
    browser: Browser, pages: dict[str, Path]
) -> None:
    page = browser.new_page()
    page.goto(pages["index"].as_uri())
    page.get_by_role("link", name="Position embedding").click()
    assert page.url == pages["bars"].as_uri()
    assert page.get_by_role("heading", level=1).inner_text() == "Position embedding: kind and place"
    page.get_by_role("link", name="result").first.click()
    assert "run-none-stem-s0/result.json" in page.url
    page.close()


def test_a_printed_page_is_black_on_white(browser: Browser, pages: dict[str, Path]) -> None:
    page = browser.new_page(viewport={"width": 680, "height": 900}, color_scheme="dark")
    page.emulate_media(media="print")
    page.goto(pages["curve"].as_uri())
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("document.documentElement.scrollWidth") <= 680
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.close()
