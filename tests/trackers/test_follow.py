"""What follows a run for a tracker: it is never waited for, and never ends a run."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from helpers import Ended, start
from tracked_runs import KEY, check_no_key, logged

from vitcli.compose import compose
from vitcli.identity import run_id
from vitcli.runner import run
from vitcli.trackers import About, follow, tensorboard

ABOUT = About("a", Path("nowhere"))


class Fake:
    """A tracker that fails as often as it is told to, or hangs."""

    def __init__(self, fails: int = 0, hangs: threading.Event | None = None) -> None:
        self.fails, self.hangs, self.steps = fails, hangs, list[int]()
        self.ended: tuple[str, int, dict[str, float]] | None = None

    def start(self, about: About) -> int:
        """Holds two steps."""
        return 2

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Takes a line, fails, or waits."""
        if self.hangs is not None:
            self.hangs.wait()
        if self.fails:
            self.fails -= 1
            raise OSError(f"no way to https://me:{KEY}@host/x")
        self.steps.append(step)

    def attach(self, report: Path) -> None:
        """Is not called here."""
        raise AssertionError

    def finish(self, state: str, step: int, final: Mapping[str, float]) -> None:
        """Keeps how it ended."""
        self.ended = (state, step, dict(final))


def test_what_a_tracker_holds_is_not_told_again_and_a_failure_is_one_line() -> None:
    said, fake = list[str](), Fake(fails=3)
    follower = follow.Follower("mlflow", ABOUT, said.append, fake)
    for step in range(1, 9):
        follower.send({"step": step, "loss": None if step == 5 else 1.0, "lr": float("nan")})
        time.sleep(0.01)
    follower.end("done", {"val/top1": 0.5})
    assert fake.steps == [3, 4, 5, 6, 7, 8]
    assert fake.ended == ("done", 8, {"val/top1": 0.5})
    (line,) = said
    assert line.startswith("tracker=mlflow: OSError: no way to https://***@host/x; the run goes on")


def test_a_tracker_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_PATIENCE", {"done": 0.2})
    monkeypatch.setattr(follow, "_MOST", 10)
    said, release = list[str](), threading.Event()
    follower = follow.Follower("wandb", ABOUT, said.append, Fake(hangs=release))
    began = time.perf_counter()
    for step in range(3, 103):
        follower.send({"step": step, "loss": 1.0})
    follower.end("done")
    assert time.perf_counter() - began < 5  # 18 s if it waited for each
    release.set()
    (line,) = said
    assert "a is not complete there, 100 lines of its log and its end are missing" in line


def test_a_run_that_goes_on_tells_all_that_its_log_holds(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_MOST", 3)
    said, fake, release = list[str](), Fake(), threading.Event()
    fake.start = lambda about: release.wait() and 0
    monkeypatch.setattr(follow, "make_tracker", lambda name: fake)
    lines = [json.dumps({"step": step, "loss": 1.0}) + "\n" for step in range(1, 13)]
    (tmp_path / "metrics.jsonl").write_text("".join(lines))
    follower = follow.follow(compose([*tiny, "tracker=mlflow"]), tmp_path, 10, said.append)
    assert follower is not None
    for step in range(11, 16):
        follower.send({"step": step, "loss": 1.0})
    release.set()
    follower.end("done")
    assert fake.steps == list(range(1, 14))  # three of the new ones could wait
    assert said == ["tracker=mlflow: it lacks 2 lines of " + tmp_path.name]


@pytest.mark.parametrize("hangs", [False, True])
def test_a_report_that_cannot_be_attached_is_one_line(
    hangs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begins(about: About) -> int:
        if hangs:
            time.sleep(2)
        raise OSError("no way")

    monkeypatch.setattr(follow, "_PATIENCE", {"done": 0.5})
    said, fake = list[str](), Fake()
    fake.start = begins
    monkeypatch.setattr(follow, "make_tracker", lambda name: fake)
    (tmp_path / "s").mkdir()
    follow.track_report(tmp_path / "s", "mlflow", said.append)
    why = "no answer in 0.5 s" if hangs else "OSError: no way"
    assert said == [
        f"tracker=mlflow: {why}; the report was not attached; `vitcli report` tries again"
    ]


def test_an_end_that_comes_while_a_tracker_begins_is_told_at_once() -> None:
    said, fake, release = list[str](), Fake(), threading.Event()
    monkey = threading.Thread(target=lambda: (time.sleep(0.1), release.set()))
    fake.start = lambda about: release.wait() and 2
    follower = follow.Follower("mlflow", ABOUT, said.append, fake)
    monkey.start()
    began = time.perf_counter()
    follower.end("done")
    assert time.perf_counter() - began < 5
    assert (said, fake.ended) == ([], ("done", 2, {}))


def test_a_run_whose_tracker_fails_ends_well(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(self: object, about: About) -> int:
        raise PermissionError(f"refused: {KEY}")

    monkeypatch.setattr(tensorboard.Run, "start", fails)
    outcome = run(compose([*tiny, "tracker=tensorboard"]), quiet=True)
    assert outcome.trained
    first, last = (record.message for record in caplog.records)
    assert "PermissionError: refused: ***; the run goes on" in first
    assert f"{len(logged(outcome.folder))} lines of its log and its end are missing" in last
    check_no_key(outcome.folder)


def test_a_library_that_is_missing_is_said_before_anything_is_trained(
    tiny: list[str], vitcli: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitcli.trackers.find_spec", lambda name: None)
    for tracker, extra in (("mlflow", "trackers"), ("trackio", "trackio")):
        ended = vitcli("train", *tiny, f"tracker={tracker}")
        assert ended.code == 2
        assert ended.err == (f"vitcli: tracker={tracker}: it needs pip install 'vitcli[{extra}]'\n")
        assert not any(Path("outputs").glob("runs/*"))
    ended = vitcli("train", *tiny, "tracker=tensorbord")
    assert ended.code == 2
    assert "tracker=tensorbord: choose from none, tensorboard, wandb, mlflow, trackio" in ended.err


def test_who_is_told_is_no_part_of_a_run() -> None:
    assert run_id(compose(["tracker=wandb"])) == run_id(compose([]))


@pytest.mark.slow
def test_no_library_is_loaded_unless_it_is_chosen(tiny: list[str], tmp_path: Path) -> None:
    loads = "import sys; from vitcli.cli import main; sys.argv = ['vitcli', *sys.argv[1:]]\n"
    loads += "try: main()\nexcept SystemExit: pass\n"
    loads += "print(sorted({'tensorboard', 'wandb', 'mlflow', 'trackio'} & set(sys.modules)))"
    (tmp_path / "loads.py").write_text(loads)
    process = start("train", *tiny, cwd=tmp_path, module="loads")
    assert process.communicate()[0].splitlines()[-1] == "[]"


def test_the_words_of_a_failure_hold_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_PASSWORD", "sesame")
    said = follow.without_secrets(f"http://u:p@h/x\n{KEY} sesame")
    assert said == "http://***@h/x *** ***"


def test_a_run_keeps_the_group_that_it_began_in(tmp_path: Path) -> None:
    follow.keep_group(tmp_path, "pos-emb-laptop")
    follow.keep_group(tmp_path, "other")
    assert follow._group(tmp_path) == "pos-emb-laptop"
    (tmp_path / "tracked.json").write_text("{")
    assert follow._group(tmp_path) is None
