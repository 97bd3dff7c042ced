"""`vitcli serve`: what it shows of whatever files, what it refuses, and what it never does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import ROOT, Ended, start
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import claim, single, write
from served import ask, serving, write_run

from vitcli.analysis.results import Results
from vitcli.records import Run, read_run
from vitcli.report.build import write_report
from vitcli.serve.shelf import Shelf, stamp


def rows(shelf: Shelf, metric: str = "") -> dict[str, Any]:
    return {row["id"]: row for row in shelf.overview(metric, patience=60)["runs"]}


def hashes(folder: Path) -> dict[str, Any]:
    return {str(path): stamp(path) for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    write_run(tmp_path, "a", seed=1, top1=0.25)
    write_run(tmp_path, "b", lr=0.1, top1=0.75)
    write_run(tmp_path, "c", "running", step=40)
    write_run(tmp_path, "d", "failed", status={"error": "<b>no</b>"})
    return tmp_path.resolve()


@pytest.fixture
def study_of_six() -> Results:
    """Two cells of three seeds, and a claim about them."""
    values = {"A": [0.8, 0.82, 0.81], "B": [0.5, 0.51, 0.52]}
    return single(values, claim("difference", ["A-c0", "B-c0"]))


def test_a_run_is_shown_as_its_files_say(outputs: Path) -> None:
    found = rows(Shelf(outputs), "val/top1")
    assert [row["state"] for row in found.values()] == ["done", "done", "running", "failed"]
    assert [found[run]["value"] for run in "abcd"] == [0.25, 0.75, None, None]
    assert [found[run]["seed"] for run in "abcd"] == [1, 0, 0, 0]
    assert (found["c"]["step"], found["c"]["num_steps"], found["c"]["loss"]) == (40, 100, 2.2)
    assert (found["a"]["model"], found["a"]["data"], found["a"]["seconds"]) == (
        "nano", "glyphs", 30.0,
    )  # fmt: skip
    assert found["d"]["error"] == "<b>no</b>"


def test_two_runs_are_compared(outputs: Path) -> None:
    found = Shelf(outputs).compare(["a", "c"])
    first, second = found["runs"]
    assert first["metrics"] == {"val/top1": 0.25, "val/loss": 1.0}
    assert second["metrics"] == {}
    assert first["losses"] == [[step, 3 - step / 50] for step in range(10, 101, 10)]
    assert [step for step, _ in second["losses"]] == [10, 20, 30, 40]
    differ = [row for row in found["settings"] if row[1] != row[2]]
    assert differ == [["seed", "1", "0"]]
    with pytest.raises(KeyError):
        Shelf(outputs).compare(["a", "nope"])


def test_a_long_curve_is_thinned_out_and_keeps_its_end(outputs: Path) -> None:
    lines = [f'{{"step": {s}, "loss": {s}}}\n' for s in range(1, 12_346)]
    lines += ['{"step": 12346, "loss": NaN}\n', '{"step": Infinity, "loss": 1}\n', '{"step": 1234']
    (outputs / "runs/a/metrics.jsonl").write_text("".join(lines))
    losses = Shelf(outputs).compare(["a"])["runs"][0]["losses"]
    assert 400 < len(losses) <= 501
    assert (losses[0], losses[-1]) == ([1, 1.0], [12345, 12345.0])
    assert losses == sorted(losses)


def test_what_changes_is_seen_and_what_does_not_is_not_read_again(
    outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(outputs)
    before = shelf.overview(patience=60)
    read = list[str]()

    def noted(name: str, runs: Path) -> Run:
        read.append(name)
        return read_run(name, runs)

    monkeypatch.setattr("vitcli.serve.shelf.read_run", noted)
    assert shelf.overview(patience=60) == before
    assert read == ["c"]  # it is running, and may be lost by now
    write_run(outputs, "c", top1=0.9)
    shutil.rmtree(outputs / "runs" / "b")
    write_run(outputs, "e", lr=0.2)
    found = rows(shelf)
    assert list(found) == ["a", "c", "d", "e"]
    assert (found["c"]["state"], found["c"]["value"]) == ("done", 0.9)
    assert read == ["c", "c", "e"]


JUNK = st.sampled_from(
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"format": 99}', b'{"state": "running"}',
        b"[" * 9999,
        b'{"metrics": {"m": "x", "n": {}, "o": 1e999, "p": ' + b"9" * 400 + b"}}",
        b'{"metrics": 3}', b'{"state": "done", "step": "many", "beat": 1e999}', b"a: [1\n",
        b"{step: 1}", b'{"step": 1, "loss": 1e999}\n{"step": 1e999, "loss": 1}\n' + b"[" * 9999,
        b"data: 3\nmodel: {name: {a: 1}}\nseed: [1]\n", b"a: &a [*a]\n", b"seed: .nan\n",
        b"data: {name: !!binary AA==}\nmodel: {name: 2024-01-01}\n",
    ]
)  # fmt: skip
FILES = ("status.json", "result.json", "config.yaml", "metrics.jsonl")


@given(st.dictionaries(st.sampled_from(FILES), JUNK), st.dictionaries(st.sampled_from(FILES), JUNK))
@settings(max_examples=60, deadline=None)
def test_damaged_files_hide_no_other_run(
    tmp_path_factory: pytest.TempPathFactory, first: dict[str, bytes], then: dict[str, bytes]
) -> None:
    outputs = tmp_path_factory.mktemp("outputs").resolve()
    write_run(outputs, "whole")
    shelf = Shelf(outputs)
    for held in (first, then):
        for name, data in held.items():
            (outputs / "runs" / "r").mkdir(exist_ok=True)
            (outputs / "runs" / "r" / name).write_bytes(data)
        found = shelf.overview(patience=60)
        json.dumps(found, allow_nan=False)
        assert found["runs"][-1]["value"] == 0.5 or found["metric"] != "val/top1"
        assert [row["id"] for row in found["runs"]][-1] == "whole"
        names = [row["id"] for row in found["runs"]]
        json.dumps(shelf.compare(names), allow_nan=False)


def test_a_name_that_is_no_text_hides_no_other_run(outputs: Path) -> None:
    """JavaScript refuses to make an address of it."""
    there = len(Shelf(outputs).overview(patience=60)["runs"])
    os.mkdir(os.fsencode(outputs / "runs") + b"/bad\xff")
    assert len(Shelf(outputs).overview(patience=60)["runs"]) == there


def test_links_are_not_followed_out_of_outputs(outputs: Path, tmp_path_factory: Any) -> None:
    outside = tmp_path_factory.mktemp("outside")
    write_run(outside, "x", lr=0.77)
    (outputs / "runs" / "x").symlink_to(outside / "runs" / "x")
    write_run(outputs, "y")
    for name in ("config.yaml", "metrics.jsonl"):
        (outputs / "runs/y" / name).unlink()
        (outputs / "runs/y" / name).symlink_to(outside / "runs/x" / name)
    write_run(outputs, "z")
    (outputs / "runs/z/result.json").unlink()
    (outputs / "runs/z/result.json").symlink_to(outside / "runs/x/result.json")
    shelf = Shelf(outputs)
    found = rows(shelf)
    assert (found["x"]["state"], found["z"]["state"]) == ("unreadable", "unreadable")
    assert "leads out of outputs" in found["x"]["error"]
    for name in "xy":
        one = shelf.compare([name])
        assert (one["settings"], one["runs"][0]["losses"]) == ([], [])
    assert "0.77" not in json.dumps(shelf.compare(["x", "y"]))


def test_it_survives_files_that_come_and_go(tmp_path: Path) -> None:
    shelf, done, failed = Shelf(tmp_path.resolve()), threading.Event(), list[BaseException]()

    def look() -> None:
        try:
            while not done.is_set():
                found = shelf.overview(patience=1)
                json.dumps(found, allow_nan=False)
                for row in found["runs"][:2]:
                    try:
                        shelf.compare([row["id"]])
                    except KeyError:  # gone
                        continue
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 2
    while time.monotonic() < until:
        for number in range(6):
            write_run(tmp_path, f"r{number}", ["done", "running"][number % 2])
        (tmp_path / "runs/r0/result.json").write_text('{"metrics": {"val/t')
        for number in range(6):
            shutil.rmtree(tmp_path / "runs" / f"r{number}")
    done.set()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_study_shows_its_progress_and_verdicts(study_of_six: Results, tmp_path: Path) -> None:
    folder = write(study_of_six, tmp_path)
    shelf = Shelf(tmp_path.resolve())
    (study,) = shelf.overview()["studies"]
    assert (study["folder"], study["runs"], study["counts"]) == (
        "s-laptop", 6, {"done": 6},
    )  # fmt: skip
    assert (study["report"], study["verdicts"]) == (False, [])
    write_report(folder, tmp_path / "runs")
    (study,) = shelf.overview()["studies"]
    claims = json.loads((folder / "report/claims.json").read_text())["claims"]
    assert [v["word"] for v in study["verdicts"]] == [claim["verdict"] for claim in claims]
    assert study["report"]
    assert all(row["studies"] == ["s-laptop"] for row in shelf.overview()["runs"])
    shutil.rmtree(tmp_path / "runs")
    assert shelf.overview()["studies"][0]["counts"] == {"planned": 6}
    (folder / "plan.json").write_text("{")
    (study,) = shelf.overview()["studies"]
    assert study["problem"].startswith("plan.json: not valid JSON")


@pytest.fixture
def report(study_of_six: Results, outputs: Path) -> Path:
    folder = write_report(write(study_of_six, outputs), outputs / "runs") / "report"
    secret = outputs.parent / f"{outputs.name}-outside.json"
    secret.write_text('{"secret": 1}')
    (folder / "out.json").symlink_to(secret)
    (folder / "outer").symlink_to(outputs.parent)
    (folder / "circle.json").symlink_to(folder / "circle.json")
    (folder / "run.py").write_text("secret")
    os.mkfifo(folder / "pipe.json")
    (outputs / "runs/a/report").mkdir()
    (outputs / "runs/a/report/x.json").write_text("secret")
    (outputs / "secret.json").write_text("secret")
    return folder


def test_a_report_is_served_as_it_is(report: Path, outputs: Path) -> None:
    with serving(outputs) as server:
        for name, kind in [
            ("report.html", "text/html; charset=utf-8"), ("figures/main.svg", "image/svg+xml"),
            ("figures/main.png", "image/png"), ("runs.csv", "text/csv; charset=utf-8"),
            ("report.md", "text/plain; charset=utf-8"), ("claims.json", "application/json"),
        ]:  # fmt: skip
            answer = ask(server, f"/studies/s-laptop/report/{name}")
            assert (answer.code, answer.headers["Content-Type"]) == (200, kind)
            assert answer.body == (report / name).read_bytes()
            assert "script-src" not in answer.headers["Content-Security-Policy"]
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    "path",
    [
        "../../../secret.json", "..%2f..%2f..%2fsecret.json", "%2e%2e/%2e%2e/%2e%2e/secret.json",
        "..\\..\\..\\secret.json", "figures/../../../../secret.json", "out.json", "circle.json",
        "outer/secret.json", "run.py", "pipe.json", "figures", "figures/", "nope.json", "a%00.json",
        "//etc/passwd", "%2fetc%2fpasswd", "./claims.json", "%252e%252e/claims.json",
        "claims.json/",
    ],
)  # fmt: skip
def test_a_path_outside_is_refused(report: Path, outputs: Path, path: str) -> None:
    with serving(outputs) as server:
        answer = ask(server, f"/studies/s-laptop/report/{path}")
        assert answer.code in (403, 404)
        assert answer.body.startswith(f"{answer.code}: ".encode())
        assert b"secret" not in answer.body


@pytest.mark.parametrize(
    "path",
    [
        "/runs/a/config.yaml", "/runs/a/report/x.json", "/secret.json", "/../secret.json",
        "/static/index.js", "/studies", "/studies/s-laptop/plan.json", "/api", "/index.html",
        "/etc/passwd", "/api/compare?run=..%2f..%2fetc", "/api/compare?run=",
        "/api/compare?run=nope",
        "/api/compare", "/api/compare?run=a&run=b&run=c", "/studies/../runs/report/x.json", "*",
        "http://example.org/", "/studies/%ff/report/x.json",
    ],
)  # fmt: skip
def test_nothing_else_is_served(report: Path, outputs: Path, path: str) -> None:
    with serving(outputs) as server:
        answer = ask(server, path)
        assert answer.code in (400, 403, 404)
        assert b"secret" not in answer.body


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("localhost", 200), ("LOCALHOST:1", 200), ("127.0.0.1:8000", 200), ("[::1]:8000", 200),
        ("example.org", 403), ("127.0.0.1.example.org", 403), ("localhost:80@example.org", 403),
        ("127.0.0.1\t", 403), ("evil", 403), ("0.0.0.0", 403), ("localhost.", 403),
    ],
)  # fmt: skip
def test_only_a_name_of_this_machine_is_answered(outputs: Path, host: str, code: int) -> None:
    with serving(outputs) as server:
        for path in ("/", "/api/overview"):
            assert ask(server, path, host=host).code == code
        assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "WHAT"])
def test_nothing_can_be_changed(outputs: Path, method: str) -> None:
    before = hashes(outputs)
    with serving(outputs) as server:
        answer = ask(server, "/api/overview", method)
        assert (answer.code, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert hashes(outputs) == before


def test_an_answer_is_sent_again_only_if_it_changed(outputs: Path) -> None:
    before = hashes(outputs)
    with serving(outputs) as server:
        first = ask(server, "/api/overview")
        tag = ask(server, "/api/overview", If_None_Match=first.headers["ETag"]).headers["ETag"]
        again = ask(server, "/api/overview", If_None_Match=tag)  # settings are read by now
        assert (again.code, again.body, again.headers["ETag"]) == (304, b"", tag)
        assert hashes(outputs) == before
        write_run(outputs, "c", "running", step=50)
        third = ask(server, "/api/overview", If_None_Match=tag)
        assert third.code == 200
        assert third.headers["ETag"] != tag
        head = ask(server, "/api/overview", "HEAD")
        assert (head.code, head.body) == (200, b"")
        assert int(head.headers["Content-Length"]) == len(third.body)
        for answer in (first, again, head, ask(server, "/"), ask(server, "/nope")):
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cache-Control"] == "no-store"
            assert "Access-Control-Allow-Origin" not in answer.headers
        assert "'unsafe" not in ask(server, "/").headers["Content-Security-Policy"]


def test_who_goes_away_or_says_nothing_stops_nobody(
    outputs: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(outputs) as server:
        for said in (
            b"",
            b"GET / HT",
            b"\x16\x03\x01\x02\x00\n\n",
            b"GET /api/overview HTTP/1.0\r\n",
        ):
            with socket.create_connection(server.server_address) as one:
                one.sendall(said)
        with socket.create_connection(server.server_address):
            assert ask(server, "/").code == 200
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nope"], 2, "serve nope: no such folder; give the one with runs/ in it"),
        ([".", "--port", "TAKEN"], 1, "taken by another program; choose another from 1024 to"),
        ([".", "--port", "70000"], 2, "serve: invalid value for '--port'"),
    ],
)
def test_what_cannot_be_served_is_one_line(
    vitcli: Callable[..., Ended], outputs: Path, arguments: list[str], code: int, message: str
) -> None:
    with serving(outputs) as server:
        given = [str(server.server_port) if word == "TAKEN" else word for word in arguments]
        ended = vitcli("serve", *given)
    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1


def test_the_command_serves_until_ctrl_c(outputs: Path) -> None:
    process = start("serve", str(outputs), "--port", "0", cwd=outputs)
    assert process.stdout is not None
    said = process.stdout.readline()
    assert said.startswith("http://127.0.0.1:")
    assert said.endswith(f"/ shows {outputs}; Ctrl-C ends it\n")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_thousand_runs_are_all_shown_and_take_no_torch(tmp_path: Path) -> None:
    for number in range(20):
        write_run(tmp_path, f"r{number}", ["done", "running"][number % 10 == 0])
    for number in range(20, 1000):
        shutil.copytree(tmp_path / f"runs/r{number % 20}", tmp_path / f"runs/r{number}")
    code = (
        "import sys, json\nfrom pathlib import Path\n"
        "from vitcli.serve.shelf import Shelf\n"
        "import vitcli.serve.server\n"
        f"shelf = Shelf(Path({str(tmp_path)!r}).resolve())\n"
        "for _ in range(2):\n"
        "    found = json.loads(json.dumps(shelf.overview()))\n"
        "    assert len(found['runs']) == 1000\n"
        "assert not {'torch', 'numpy', 'matplotlib'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
