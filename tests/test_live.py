"""While a study runs: when its page is written anew, what that costs, and what it says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from helpers import TWO_CELLS, Ended
from made_up import claim, single, with_run, write

from vitcli import live as live_module
from vitcli.analysis.results import Results
from vitcli.live import LivePage, Share, live
from vitcli.notify import Notify
from vitcli.report.build import write_report
from vitcli.study import board

REFRESH = '<meta http-equiv="refresh" content="10">'


def test_a_run_that_fails_again_is_told_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "REFRESH_SECONDS", 0.01)
    folder = put(states(A0="failed"), tmp_path)
    path = tmp_path / "runs" / "A-c0-0" / "status.json"
    path.write_text(json.dumps({"state": "failed", "error": "e", "beat": 1.0}))
    with board.watch(folder):
        path.write_text(json.dumps({"state": "running", "beat": time.time()}))
        time.sleep(0.1)
        path.write_text(json.dumps({"state": "failed", "error": "e", "beat": 2.0}))
    assert capsys.readouterr().out == "[6/6] A-c0-0: failed\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_a_plan_that_is_edited_meanwhile_does_not_end_the_board(
    terminal: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(board, "REFRESH_SECONDS", 0.01)
    monkeypatch.setattr(board, "moves", lambda: terminal)
    folder = put(states(A0="running"), tmp_path)
    plan = folder / "plan.json"
    whole = plan.read_text()
    with board.watch(folder):
        plan.write_text("{")
        time.sleep(0.1)
        plan.unlink()
        time.sleep(0.1)
        plan.write_text(whole)
        put(states(), tmp_path)
    shown = capsys.readouterr()
    assert ("6 done" if terminal else "/6] A-c0-0: 0.800  1 s") in shown.out  # put writes in steps
    assert "Traceback" not in shown.err


@dataclass
class Clock:
    """Time that passes when told."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Heard(Notify):
    """Notices that are kept."""

    told: list[tuple[str, str, Mapping[str, int]]] = field(default_factory=list)

    def send(self, study: str, event: str, text: str, counts: Mapping[str, int]) -> str | None:
        self.told.append((event, text.removeprefix(f"vitcli, {study}: "), dict(counts)))
        return None


def states(**changes: str) -> Results:
    """Two cells of three seeds, with the state of some runs changed."""
    values = {"A": [0.8, 0.82, 0.81], "B": [0.5, 0.51, 0.52]}
    found = single(values, claim("difference", ["A-c0", "B-c0"]))
    for run, state in changes.items():
        name = f"{run[0]}-c0-{run[1]}"
        found = with_run(found, name, state=state, metrics={}, error=None)
    return found


def put(found: Results, outputs: Path) -> Path:
    """Writes the study as it is at that moment."""
    for run in found.runs.values():
        if run.state != "done":
            (outputs / "runs" / run.id / "result.json").unlink(missing_ok=True)
    folder = write(found, outputs)
    for run in found.runs.values():
        if run.state in ("running", "lost"):
            beat = time.time() - (600 if run.state == "lost" else 0)
            status = {"state": "running", "host": "elsewhere", "pid": 1, "beat": beat}
            (outputs / "runs" / run.id / "status.json").write_text(json.dumps(status))
    return folder


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of what is measured."""
    made = Clock()
    monkeypatch.setattr(
        live_module, "Share", lambda share, expected: Share(share, expected, made, made)
    )
    return made


def page(folder: Path) -> str:
    return (folder / "report/report.html").read_text()


def test_the_page_is_written_as_runs_end(tmp_path: Path, clock: Clock) -> None:
    folder = put(states(A1="running", B1="planned"), tmp_path)
    shown = LivePage(folder, None, pytest.fail)
    shown.tick()
    assert not (folder / "report").exists()  # nothing is allowed at first
    clock.now = 100.0
    shown.tick()
    first = page(folder)
    assert REFRESH in first
    assert "This study is running: 4 of 6 runs have a result. Its figures follow." in first
    assert "<svg" not in first
    assert "figures/" not in first  # no link to what is not written
    clock.now = 101.0
    (folder / "report/report.html").write_text("as it was")
    shown.tick()
    assert page(folder) == "as it was"  # no run has ended since
    clock.now = 1000.0
    shown.tick()
    assert "<svg" in page(folder)  # figures may be drawn by now
    assert "4 of 6 runs have a result. Written at" in page(folder)
    clock.now = 1001.0
    put(states(B1="running"), tmp_path)
    shown.tick()
    assert "5 of 6 runs have a result." in page(folder)
    put(states(), tmp_path)
    clock.now = 2000.0
    shown.tick()
    assert "5 of 6 runs" in page(folder)  # all have ended: the report is next
    write_report(folder, tmp_path / "runs")
    assert "refresh" not in page(folder)
    assert "is running" not in page(folder)
    assert "figures/main.png" in page(folder)


def test_figures_that_lag_behind_say_so(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put(states(A1="running", B1="planned"), tmp_path)
    shown = LivePage(folder, None, pytest.fail)
    real = live_module.write_live

    def slow(*arguments: Any) -> Any:
        clock.now += 2.0 if arguments[-1] else 0.0
        return real(*arguments)

    monkeypatch.setattr(live_module, "write_live", slow)
    clock.now = 300.0
    shown.tick()
    put(states(B1="running"), tmp_path)
    clock.now = 500.0
    shown.tick()
    assert "5 of 6 runs have a result. Its figures are of the first 4." in page(folder)
    assert "<svg" in page(folder)
    clock.now = 850.0
    shown.tick()
    assert "5 of 6 runs have a result. Written at" in page(folder)


@pytest.mark.parametrize("costs", [(0.02, 0.1, 1.0), (0.5, 0.1, 1.0), (0.01, 3.0, 30.0)])
def test_it_costs_under_one_percent(
    tmp_path: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    costs: tuple[float, float, float],
) -> None:
    folder = put(states(A1="running", B1="running"), tmp_path)
    spent, written, ended = [0.0], [0], [0]
    found = live_module.load(folder, tmp_path / "runs")

    def work(seconds: float) -> None:
        clock.now += seconds
        spent[0] += seconds

    def load(*arguments: Any) -> Results:
        work(costs[0])
        ended[0] += 1  # there is always something new
        changed = "failed" if ended[0] % 2 else "running"
        return with_run(found, "A-c0-1", state=changed)

    def write_live(*arguments: Any) -> None:
        work(costs[2] if arguments[-1] else costs[1])
        written[0] += 1

    monkeypatch.setattr(live_module, "load", load)
    monkeypatch.setattr(live_module, "write_live", write_live)
    shown = LivePage(folder, None, pytest.fail)
    for _ in range(2000):
        clock.now += 10.0
        shown.tick()
    assert spent[0] <= 0.011 * clock.now
    assert written[0] >= 5


def test_a_page_that_cannot_be_written_is_one_warning(tmp_path: Path, clock: Clock) -> None:
    folder, said = put(states(A1="running"), tmp_path), list[str]()
    shown = LivePage(folder, None, said.append)
    (folder / "report").write_text("a file in its place")
    for _ in range(3):
        clock.now += 1000.0
        shown.tick()
    (warning,) = said
    assert warning.startswith("the report was not written anew while the study runs: ")
    (folder / "plan.json").write_text("{")
    clock.now += 1000.0
    shown.tick()
    assert said == [warning]


def test_failed_and_lost_runs_are_told_once(tmp_path: Path, clock: Clock) -> None:
    folder, heard = put(states(A0="failed", A1="running", B1="running"), tmp_path), Heard()
    shown = LivePage(folder, heard, pytest.fail)

    def tick(**changes: str) -> list[tuple[str, str, Mapping[str, int]]]:
        heard.told.clear()
        put(states(**changes), tmp_path)
        clock.now += 1000.0
        shown.tick()
        return list(heard.told)

    assert tick(A0="failed", A1="running", B1="running") == []  # it had failed before
    counts = {"failed": 1, "running": 1, "lost": 1, "done": 3}
    assert tick(A0="failed", A1="running", B1="lost") == [("lost", "1 lost: B-c0-1 (lost)", counts)]
    assert tick(A0="failed", A1="running", B1="failed") == []  # it was lost, and is called failed
    ((event, text, _),) = tick(A0="running", A1="failed", B1="failed")
    assert (event, text) == ("failed", "1 failed: A-c0-1 (failed)")
    ((event, text, _),) = tick(A0="failed", A1="failed", B1="failed")  # again, as it was retried
    assert (event, text) == ("failed", "1 failed: A-c0-0 (failed)")
    shown._told.clear()  # as of a plan that had none of these runs: `seeds=` was raised meanwhile
    ((event, text, _),) = tick(A0="failed", A1="failed", B1="running")
    assert text.startswith("2 failed: ")
    more = dict.fromkeys(("A0", "A1", "A2", "B0", "B1", "B2"), "running")
    assert tick(**more) == []
    ((event, text, _),) = tick(**dict.fromkeys(more, "failed"))
    assert text.startswith("6 failed: A-c0-0 (failed), A-c0-1 (failed), A-c0-2 (failed), 3 more")


def test_the_end_is_told_and_a_page_that_nobody_writes_stays_still(tmp_path: Path) -> None:
    folder, heard = put(states(A1="failed", B1="running"), tmp_path), Heard()
    with live(folder, heard, pytest.fail) as shown:
        results = live_module.load(folder, tmp_path / "runs")
        live_module.write_live(results, folder, tmp_path / "runs", None, False)
        assert REFRESH in page(folder)
    assert heard.told == []  # stopped by a person, who knows
    assert REFRESH not in page(folder)
    assert "is no longer running" in page(folder)
    with live(folder, heard, pytest.fail) as shown:
        shown.finished = True
    assert heard.told == [("end", "ended: 4 done, 1 failed, 1 running",
                           {"done": 4, "failed": 1, "running": 1})]  # fmt: skip
    heard.told.clear()
    with pytest.raises(RuntimeError), live(folder, heard, pytest.fail):
        raise RuntimeError("no\nanswer")
    ((event, text, _),) = heard.told
    assert event == "failed"
    assert text.startswith("stopped by RuntimeError: no answer: ")


def test_what_is_counted_is_what_the_thread_computes() -> None:
    share = Share(0.5, 0.0)
    with share.work():
        time.sleep(0.3)
    assert share._spent < 0.1
    with share.work():
        began = time.thread_time()
        while time.thread_time() - began < 0.1:
            pass
    assert 0.1 <= share._spent < 0.3


@pytest.mark.parametrize("broken", [False, True])
def test_a_study_shows_itself_while_it_runs(
    vitcli: Callable[..., Ended],
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: bool,
) -> None:
    (tmp_path / "conf/study").mkdir(parents=True)
    (tmp_path / "conf/study/two.yaml").write_text(TWO_CELLS)
    monkeypatch.setattr(live_module, "TICK_SECONDS", 0.02)
    for name in ("_LOOKS", "_TEXTS", "_FIGURES"):
        monkeypatch.setattr(live_module, name, (0.9, 0.0))
    seen, real = list[str](), live_module.write_live

    def write_live(results: Results, folder: Path, *arguments: Any) -> Any:
        if broken:
            raise OSError("no room")
        made = real(results, folder, *arguments)
        seen.append(page(folder))
        return made

    monkeypatch.setattr(live_module, "write_live", write_live)
    words = [o for o in tiny if not o.startswith("train.steps")]
    ended = vitcli(
        "ablate", "two", "--config-dir", str(tmp_path / "conf"), *words, "train.steps=150",
        "hydra/launcher=basic", "notify=false",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    (folder,) = (tmp_path / "outputs/studies").iterdir()
    assert "refresh" not in page(folder)
    assert "2 of 2 runs finished" in page(folder)
    refused = "vitcli: notify: no notice was sent: false ended with exit code 1\n"
    if broken:
        warning = "the report was not written anew while the study runs: no room\n"
        assert ended.err == f"vitcli: {warning}{refused}"
        return
    assert ended.err == refused
    assert all(REFRESH in text for text in seen)
    assert "0 of 2 runs have a result" in seen[0]
    assert "1 of 2 runs have a result" in seen[-1]
