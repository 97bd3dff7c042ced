"""The pages of `vitcli serve` in a real browser: sort, find, hide, compare, what is new."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from made_up import claim, single, write
from playwright.sync_api import Browser, Page, expect
from served import serving, write_run

from vitcli.analysis.load import load
from vitcli.files import write_text
from vitcli.report.build import write_live, write_report
from vitcli.serve.server import Server

pytestmark = [pytest.mark.slow, pytest.mark.browser]
HOSTILE = "<img src=x onerror=alert(1)> </script><b>\"'&amp;"
WAIT = 30_000  # ms: other work shares the cores


@dataclass
class Open:
    """A page of the server, and what the browser said and asked for."""

    page: Page
    at: str
    said: list[str]
    asked: list[str]

    def runs(self) -> list[str]:
        """Returns the runs in the table, from the top."""
        return self.page.locator("#rows th").all_inner_texts()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    values = {"A": [0.8, 0.82, 0.81], "B": [0.5, 0.51, 0.52]}
    found = single(values, claim("difference", ["A-c0", "B-c0"], statement=HOSTILE))
    write_report(write(found, tmp_path), tmp_path / "runs")
    for number in range(8):
        write_run(tmp_path, f"r{number}", seed=number, lr=0.001 * (number + 1), top1=number / 10)
    write_run(tmp_path, "r8", "running", step=40)
    write_run(tmp_path, "r9", "failed", status={"error": HOSTILE})
    with serving(tmp_path) as server:
        yield server


@pytest.fixture
def index(browser: Browser, server: Server) -> Iterator[Open]:
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        page.set_default_timeout(WAIT)
        expect.set_options(timeout=WAIT)
        opened = Open(page, f"http://127.0.0.1:{server.server_port}", [], [])
        page.on("console", lambda message: opened.said.append(message.text))
        page.on("pageerror", lambda error: opened.said.append(str(error)))
        page.on("request", lambda request: opened.asked.append(request.url))
        page.goto(opened.at)
        page.locator("#rows tr").nth(15).wait_for()
        yield opened
        assert opened.said == []
        assert all(url.startswith((opened.at, "data:")) for url in opened.asked)


def pick(index: Open, *runs: str) -> None:
    for run in runs:
        index.page.get_by_label(f"Tick {run}", exact=True).check()


def test_runs_are_sorted_found_and_hidden(index: Open) -> None:
    page = index.page
    page.get_by_label("Metric").select_option("val/top1")
    heading = page.get_by_role("columnheader", name="val/top1")
    heading.wait_for()
    page.locator("td", has_text="0.7000").wait_for()
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert index.runs()[:8] == [f"r{number}" for number in range(7, -1, -1)]
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert index.runs()[:8] == [f"r{number}" for number in range(8)]  # without a value: last
    page.get_by_label("Find").fill("r -r3")
    expect(page.locator("#count")).to_have_text("9 of 16 runs are shown")
    assert "r3" not in index.runs()
    page.get_by_label("done (14)").uncheck()
    assert index.runs() == ["r8", "r9"]
    pick(index, "r9")
    page.get_by_role("button", name="Hide ticked runs").click()
    assert index.runs() == ["r8"]
    page.get_by_role("button", name="Show 1 hidden run").click()
    assert index.runs() == ["r8", "r9"]
    page.get_by_label("done (14)").check()
    page.get_by_label("Find").fill("")
    page.get_by_label("Study").select_option("s-laptop")
    assert sorted(index.runs()) == [f"{row}-c0-{seed}" for row in "AB" for seed in range(3)]


def test_words_of_files_stay_words(index: Open) -> None:
    assert HOSTILE in index.page.locator("#rows").inner_text()
    assert HOSTILE in index.page.locator("#study-rows").inner_text()
    assert index.page.locator("img, b").count() == 0


def test_two_runs_are_compared_while_one_runs(index: Open, tmp_path: Path) -> None:
    page = index.page
    compare = page.get_by_role("button", name="Compare two ticked runs")
    pick(index, "r2")
    assert compare.is_disabled()
    pick(index, "r8")
    compare.click()
    curves = page.locator("polyline")
    expect(curves).to_have_count(2)

    def points() -> list[int]:
        return [len((c.get_attribute("points") or "").split()) for c in curves.all()]

    assert points() == [10, 4]
    rows = page.locator("#differing tbody tr")
    assert rows.all_inner_texts() == ["recipe.lr\t0.003\t0.001", "seed\t2\t0"]
    assert "val/top1\t0.2000\t–\t" in page.locator("#metric-table").inner_text()
    write_run(tmp_path, "r8", "running", step=70)
    expect(page.locator("#legend")).to_contain_text("at step 70")
    assert points() == [10, 7]
    write_run(tmp_path, "r8", top1=0.65)
    expect(page.locator("#metric-table")).to_contain_text("+0.4500")
    page.get_by_text("All settings").click()
    expect(page.locator("#every")).to_contain_text("model.name")
    shutil.rmtree(tmp_path / "runs" / "r8")
    expect(page.locator("#said")).to_contain_text("404: there is no run r8")
    assert index.said
    assert all("404" in line for line in index.said)
    index.said.clear()


def test_the_index_shows_what_is_new_and_keeps_what_a_person_did(
    index: Open, tmp_path: Path
) -> None:
    page = index.page
    pick(index, "r2", "r8")
    page.get_by_label("Find").fill("r")
    row = page.locator("#rows tr", has_text="r8")
    expect(row).to_contain_text("40 / 100")
    write_run(tmp_path, "r8", "running", step=90)
    write_run(tmp_path, "r95")
    shutil.rmtree(tmp_path / "runs" / "r2")
    expect(row).to_contain_text("90 / 100")
    assert index.runs() == ["r0", "r1", *(f"r{number}" for number in range(3, 10)), "r95"]
    assert page.get_by_label("Tick r8", exact=True).is_checked()
    assert page.get_by_role("button", name="Compare two ticked runs").is_disabled()
    assert page.get_by_label("Find").input_value() == "r"
    (tmp_path / "runs/r95/result.json").write_text('{"metrics": {"val')
    expect(page.locator("#rows tr", has_text="r95")).to_contain_text("unreadable")


def test_a_running_study_s_page_loads_itself_anew_until_it_has_ended(
    index: Open, tmp_path: Path
) -> None:
    page, folder = index.page, tmp_path / "studies" / "s-laptop"
    (tmp_path / "runs/A-c0-1/result.json").rename(tmp_path / "later.json")
    write_live(load(folder, tmp_path / "runs"), folder, tmp_path / "runs", None, True)
    path = folder / "report" / "report.html"
    write_text(path, path.read_text().replace('content="10"', 'content="1"'))
    page.get_by_role("link", name="S", exact=True).click()
    expect(page.locator("header")).to_contain_text("5 of 6 runs have a result")
    assert page.locator("figure svg").count() == 2
    (tmp_path / "later.json").rename(tmp_path / "runs/A-c0-1/result.json")
    write_report(folder, tmp_path / "runs")
    expect(page.locator("header")).to_contain_text("6 of 6 runs finished")
    loaded = len(index.asked)
    page.wait_for_timeout(2500)
    assert len(index.asked) == loaded


def test_a_path_outside_is_refused(index: Open, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text(json.dumps("secret"))
    for path in ("/secret.json", "/studies/s-laptop/report/..%2f..%2f..%2fsecret.json"):
        answer = index.page.goto(index.at + path)
        assert answer is not None
        assert answer.status in (403, 404)
        assert "secret" not in answer.text().replace("secret.json", "")
    index.said.clear()  # the browser logs that it was refused


@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_and_wear_the_reader_s_colours(
    browser: Browser, server: Server, width: int, scheme: Any
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    for path, there in (("/", "#rows tr"), ("/compare?run=r1&run=r2", "polyline")):
        page.goto(f"http://127.0.0.1:{server.server_port}{path}")
        page.locator(there).first.wait_for(timeout=WAIT)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert dark == ("rgb(22, 24, 27)" if scheme == "dark" else "rgb(255, 255, 255)")
        unnamed = page.evaluate(
            "[...document.querySelectorAll('input, select, button')]"
            ".filter(x => !x.labels?.length && !x.ariaLabel && !x.textContent).length"
        )
        assert unnamed == 0
    page.close()


def test_a_thousand_runs_are_all_there(browser: Browser, tmp_path: Path) -> None:
    write_run(tmp_path, "r0")
    for number in range(1, 1000):
        shutil.copytree(tmp_path / "runs/r0", tmp_path / f"runs/r{number}")
    with serving(tmp_path) as server:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.locator("#rows tr").nth(999).wait_for(state="attached", timeout=WAIT)
        assert page.locator("#count").inner_text() == "1,000 of 1,000 runs are shown"
        page.close()
