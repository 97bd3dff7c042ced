"""What people look at: the board, the progress line, the plan, the benchmark."""

from __future__ import annotations

import json
import math
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_up
import pytest
import torch
import yaml
from helpers import ROOT, TWO_CELLS, Ended
from PIL import Image
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from vitcli import bench, bench_data, create_model
from vitcli.output import console
from vitcli.progress import counting, duration, measuring, progress
from vitcli.records import Run
from vitcli.status import Status
from vitcli.step import has_bf16
from vitcli.study.board import _follow_lines, board, summary
from vitcli.study.estimate import cost
from vitcli.study.plan import freeze, make_plan


def record(step: int) -> dict[str, Any]:
    return {"step": step, "loss": 1.5, "lr": 0.1, "images_per_s": 1234.0}


def test_elsewhere_than_at_a_terminal_progress_is_ten_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress("run", 0, 1000) as show:
        for step in range(1, 1001):
            show(record(step))
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(100, 1001, 100))


def test_at_a_terminal_progress_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with progress("a-run", 0, 50) as show:
        show({**record(20), "loss": None})  # of steps that were all left out
        show(record(25))
    shown = capsys.readouterr().out
    assert "a-run" in shown
    assert "step 25/50  loss 1.500" in shown
    assert "1,234 images/s" in shown


@pytest.mark.parametrize("terminal", [False, True])
def test_only_a_terminal_shows_how_far_a_count_is(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with counting("a-set", 5000) as count:
        count(1000)
        count(500)
    shown = capsys.readouterr().out
    assert ("a-set" in shown and "1,500/5,000" in shown) == terminal
    assert terminal or not shown


@pytest.mark.parametrize(
    ("patience", "quiet", "terminal"),
    [(0.0, False, True), (60.0, False, True), (0.0, True, True), (0.0, False, False)],
)
def test_only_a_terminal_shows_only_a_long_evaluation(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    patience: float,
    quiet: bool,
    terminal: bool,
) -> None:
    monkeypatch.setattr("vitcli.progress.PATIENCE", patience)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with measuring("a-run", 3, quiet) as begin:
        begin("classification")
        begin("fewshot")
        time.sleep(0.3)
    shown = capsys.readouterr().out
    if patience == 0 and terminal and not quiet:
        assert "a-run" in shown
        assert "measuring fewshot  1/3" in shown
    else:
        assert shown == ""
    assert not any(isinstance(thread, threading.Timer) for thread in threading.enumerate())


MARKUP = ("[/x]", "[red]", "[link=http://a]b", ":smile:", "{0}")


@pytest.mark.parametrize("word", MARKUP)
def test_the_words_of_others_are_no_markup(
    word: str, vitcli: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "study").mkdir()
    claim = {"id": "c", "statement": f"S {word}", "where": "w", "pairs": [["a-c", "b-c"]]}
    study = yaml.safe_load(TWO_CELLS) | {"title": f"Two {word}"}
    study["rows"]["a"]["label"], study["columns"]["c"]["label"] = f"A {word}", f"C {word}"
    study["claims"] = [claim | {"at_least": {"laptop": 0.1}}]
    (tmp_path / "study" / "two.yaml").write_text(yaml.safe_dump(study))
    plan = make_plan("two", [f"outputs={tmp_path}"], tmp_path)
    freeze(plan)
    first, second = plan.configs
    Status(tmp_path / "runs" / first).update(state="failed", error=f"E {word}")
    Status(tmp_path / "runs" / second).update(state="running", note=f"N {word}")
    where = ["--outputs", str(tmp_path)]
    for command, shown in (
        (["status", "two", *where], ["Two", "E", "N"]),
        (["report", "two", *where], ["Two", "A", "C", "S", "E"]),
        (["report", "--all", *where], ["S"]),
        (["plan", "two", f"outputs={tmp_path}", "--config-dir", str(tmp_path)], ["Two"]),
    ):
        ended = vitcli(*command)
        assert ended.code == 0, ended.err
        assert all(f"{each} {word}" in " ".join(ended.out.split()) for each in shown), ended.out


@pytest.mark.parametrize("word", MARKUP)
def test_at_a_terminal_too(
    word: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitcli.progress.PATIENCE", 0.0)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with measuring(f"M {word}", 3, False) as begin:
        begin("fewshot")
        time.sleep(0.2)
    with progress(f"P {word}", 0, 50) as show:
        show(record(25))
    speed = {"ours": 1.0, "plain": 1.0, "ratio": 1.0, "compile_s": 0.0}
    bench.show({f"B {word}": speed}, console())
    shown = capsys.readouterr().out
    assert all(f"{each} {word}" in shown for each in "MPB")


@pytest.mark.parametrize("word", MARKUP[1:])
def test_names_of_files_are_no_markup(
    word: str, vitcli: Callable[..., Ended], tmp_path: Path
) -> None:
    for part, names in (("train", ("a", f"b {word}".replace("/", "_"))), ("val", ("a",))):
        for name in names:
            (tmp_path / part / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / part / name / "1.png")
    bad = f"bad {word.replace('/', '_')}.png"
    (tmp_path / "val" / "a" / bad).write_bytes(b"no image")
    ended = vitcli("data", "check", "data=imagefolder", f"data.path={tmp_path}", "data.workers=0")
    assert ended.code == 1
    assert bad in ended.out
    assert f"val has no images of b {word.replace('/', '_')}" in ended.out


def test_all_that_rich_prints_goes_through_one_console() -> None:
    for path in (ROOT / "vitcli").rglob("*.py"):
        text = path.read_text()
        assert path.name == "output.py" or not re.search(r"\bConsole\(", text), path
        for call in re.findall(r"(?:Live|Progress)\(.*", text):
            assert "console=console()" in call, (path, call)


def test_the_time_left_is_shared_by_those_that_run() -> None:
    half = {"step": 50, "num_steps": 100}
    done, running = Run("a", "done", wall_s=100.0), Run("b", "running", status=half)
    planned = Run("c", "planned")
    # Two halves and a whole of 100 s, two at a time.
    line = summary([done, running, running, planned])
    assert line == "1 done, 2 running, 1 planned; about 100 s left"
    begun = Run("d", "running", status=half | {"train_seconds": 40.0})
    assert "about 80 s left" in summary([begun, begun, planned])
    assert "left" not in summary([running, planned])


def test_the_board_shows_each_run_and_each_error(tiny: list[str]) -> None:
    plan = make_plan("pos-emb", [*tiny, "seeds=2"])
    freeze(plan)
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(board(plan.folder))
    shown = console.export_text()
    console.file.close()
    assert shown.count("planned") == 16 + 1
    assert "learned_2d-every_layer" in shown


def test_runs_that_end_together_are_counted_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made_up.write(made_up.results({"A": [[0.1], [0.2], [math.nan]]}), tmp_path)
    done = threading.Event()
    done.set()
    _follow_lines(folder, done, {("A-c0-0", None)})
    said = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert said == ["[2/3] A-c0-1", "[3/3] A-c0-2"]


def test_what_failed_before_is_counted_when_it_ends_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made_up.write(made_up.results({"A": [[math.nan], [math.nan], [0.3]]}), tmp_path)
    done = threading.Event()
    done.set()
    _follow_lines(folder, done, {("A-c0-0", None), ("A-c0-1", None)})
    assert [line[:5] for line in capsys.readouterr().out.splitlines()] == ["[1/3]"]


def test_a_plan_s_cost_is_the_closed_form(tiny: list[str]) -> None:
    budget = [o for o in tiny if not o.startswith("model.depth")]
    plan = make_plan("pos-emb", [*budget, "seeds=1"])
    config = plan.configs[plan.study.cells[1].runs["0"]]  # learned_1d at the stem
    found = cost(config)
    n, d, m, depth, patch, classes = 17, 64, 256, 4, 48, 8
    layer = 4 * n * d * d + 2 * n * n * d + 2 * n * d * m
    macs = 16 * patch * d + depth * layer + d * classes
    assert found.training == 6 * macs * 8 * 16
    block = 4 * (d * d + d) + 4 * d + 2 * d * m + d + m
    expected = patch * d + d + d + n * d + depth * block + 2 * d + d * classes + classes
    assert found.parameters == expected


@pytest.mark.parametrize(
    ("seconds", "text"), [(90, "90 s"), (600, "10 min"), (7200, "2 h"), (864000, "10 days")]
)
def test_durations_have_a_fitting_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_bf16_is_timed_only_where_a_cpu_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for able, expected in (({"avx2": True}, False), ({"avx512_bf16": True}, True)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        assert has_bf16(torch.device("cpu")) is expected


def test_bench_says_how_near_a_step_is_to_a_product_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of three times the FLOPs of a forward pass in 2 s, one product of it in 10 ms."""
    seconds = {"ours": 2.0, "plain": 3.0, "drawn": 0.1, "product": 0.01}
    monkeypatch.setattr(bench, "side_by_side", lambda *given: dict(seconds))
    monkeypatch.setattr(torch, "compile", lambda loss, **options: loss)
    words = ["model=nano", "data.size=64", "data.val_size=16", "train.batch_size=64", "threads=1"]
    found = bench.bench_step("nano", words)
    model, batch = create_model("model=nano", img_size=16, num_classes=64), 64
    with FlopCounterMode(display=False) as forward:
        model(torch.zeros(batch, 3, 16, 16))
    product = 2 * (batch * 17) * 64 * 256 / 0.01  # 17 tokens, D = 64, an MLP of 256
    assert found["of_peak"] == pytest.approx(
        3 * forward.get_total_flops() / 2.0 / product, rel=0.01
    )
    assert "product" not in found
    hybrid = bench.bench_step("hybrid", [*words, "stem=resnet_nano"])
    assert "of_peak" not in hybrid


@pytest.mark.slow
def test_bench_prints_both_and_their_ratio(
    vitcli: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "ROUNDS", 1)
    monkeypatch.setattr(bench, "SECONDS", 0.0)
    monkeypatch.setattr(bench, "SHAPES", {"nano": ["model=nano"]})
    monkeypatch.setattr(bench_data, "ROUNDS", 1)
    monkeypatch.setattr(bench_data, "FILES", 64)
    monkeypatch.setattr(bench_data, "cores", lambda: 1)  # of those that the machine has
    monkeypatch.setattr(torch, "compile", lambda loss, **options: loss)
    ended = vitcli("bench")
    assert ended.code == 0, ended.err
    assert "nano" in ended.out
    assert "timm" in ended.out
    assert "px, 1 workers" in ended.out
    assert "CIFAR-10" in ended.out
    ended = vitcli("bench", "train", "model=pico", "--json")
    found = json.loads(ended.out)["train"]["model=pico"]
    timm = max(found[key] for key in found if key.startswith("timm"))
    assert found["ratio"] == pytest.approx(found["ours"] / timm)
    assert "takes no settings" in vitcli("bench", "data", "model=pico").err
    assert vitcli("bench", "trian").err == "vitcli: bench trian: choose from train, data\n"
