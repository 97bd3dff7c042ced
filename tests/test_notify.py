"""`notify=`: what is sent where, what is refused, and that no password comes into a file."""

from __future__ import annotations

import base64
import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from helpers import TWO_CELLS, Ended

from vitcli.notify import given_notify

SECRET = "hunter2"


class Hook(HTTPServer):
    """A server that keeps what it is sent, and answers with `code`."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], Any]] = []
        self.code = 200
        super().__init__(("127.0.0.1", 0), _Keep)


class _Keep(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers), json.loads(body)))
        self.send_response(self.server.code)
        if self.server.code == 302:
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def send(value: str) -> str | None:
    notify, rest = given_notify(["seeds=2", f"notify={value}"])
    assert rest == ["seeds=2"]
    assert notify is not None
    assert SECRET not in repr(notify)
    return notify.send("s-laptop", "failed", "1 failed: ä", {"done": 2, "failed": 1})


def test_a_url_is_sent_json(hook: Hook) -> None:
    at = f"127.0.0.1:{hook.server_port}"
    assert send(f"http://{at}/hook?a=b") is None
    assert send(f"http://me:{SECRET}%20@{at}/hook") is None
    (path, headers, sent), (other, theirs, _) = hook.got
    counts = {"done": 2, "failed": 1}
    assert sent == {"study": "s-laptop", "event": "failed", "text": "1 failed: ä", "counts": counts}
    assert (path, other) == ("/hook?a=b", "/hook")
    assert headers["Content-Type"] == "application/json"
    assert "Authorization" not in headers
    given = base64.b64decode(theirs["Authorization"].removeprefix("Basic "))
    assert given.decode() == f"me:{SECRET} "


@pytest.mark.parametrize("code", [302, 404, 500])
def test_what_a_server_refuses_is_said_without_the_url(hook: Hook, code: int) -> None:
    hook.code = code
    problem = send(f"http://me:{SECRET}@127.0.0.1:{hook.server_port}/{SECRET}")
    assert problem == f"127.0.0.1 answered {code}"
    assert len(hook.got) == 1  # a redirect is not followed: it would be given the password


def test_nobody_there_is_said_too(hook: Hook) -> None:
    with Hook() as gone:
        port = gone.server_port
    assert send(f"http://127.0.0.1:{port}/{SECRET}") == "127.0.0.1: Connection refused"


def test_a_command_is_given_the_text_and_no_shell(tmp_path: Path) -> None:
    out = tmp_path / "a b.txt"
    code = f"import sys; open({str(out)!r}, 'w').write(repr(sys.argv[1:]))"
    assert send(f'{sys.executable} -c "{code}" "x y" $HOME ;') is None
    assert out.read_text() == repr(["x y", "$HOME", ";", "1 failed: ä"])


def test_a_command_that_fails_or_hangs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert send(f"{sys.executable} -c 'raise SystemExit(3)'") == (
        f"{sys.executable} ended with exit code 3"
    )
    monkeypatch.setattr("vitcli.notify.TIMEOUT_SECONDS", 0.2)
    assert send("sleep 30 #") == "sleep ended with exit code 1"
    hanging = send(f"{sys.executable} -c 'import time; time.sleep(30)' {SECRET}")
    assert hanging == f"{sys.executable} took over 0.2 s and was ended"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "notify=: nothing is given"),
        ("''", "notify=: nothing is given"),
        ("mail 'me", "notify=...: not a command (No closing quotation)"),
        (f"nonesuch {SECRET}", "notify=nonesuch: there is no such command here"),
        (f"ftp://{SECRET}@host/x", "notify=ftp://...: not a URL that can be asked"),
        (f"https:///{SECRET}", "notify=https://...: not a URL that can be asked"),
        (f"https://host:{SECRET}/", "notify=https://...: not a URL that can be asked"),
        (f"https://host/{SECRET} x", "notify=https://...: letters beyond ASCII, or spaces"),
    ],
)
def test_what_is_neither_is_refused_before_anything_runs(
    vitcli: Callable[..., Ended], tmp_path: Path, value: str, message: str
) -> None:
    ended = vitcli("ablate", "pos-emb", f"notify={value}", f"outputs={tmp_path / 'o'}")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"vitcli: {message}")
    assert ended.err.count("\n") == 1
    assert SECRET not in ended.err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "pos-emb", f"notify=http://{SECRET}@h/"], "notify: only `vitcli ablate` has it"),
        (["ablate", "pos-emb", f"+notify=http://{SECRET}@h/"], "written notify=..."),
        (["ablate", "pos-emb", "notfy=x"], "did you mean 'notify'?"),
        (["ablate", "pos-emb", "notify=true", "--detach"], "notify: with --detach nobody waits"),
    ],
)
def test_where_it_has_no_place_is_said(
    vitcli: Callable[..., Ended], tmp_path: Path, arguments: list[str], message: str
) -> None:
    ended = vitcli(*arguments[:2], f"outputs={tmp_path / 'o'}", *arguments[2:])
    assert ended.code == 2
    assert message in ended.err
    assert SECRET not in ended.err
    assert not (tmp_path / "o").exists()


def test_a_study_tells_of_its_end_and_keeps_the_password_out_of_its_files(
    vitcli: Callable[..., Ended], tiny: list[str], tmp_path: Path, hook: Hook
) -> None:
    (tmp_path / "conf/study").mkdir(parents=True)
    (tmp_path / "conf/study/two.yaml").write_text(TWO_CELLS)
    url = f"http://me:{SECRET}@127.0.0.1:{hook.server_port}/{SECRET}"
    words = ["ablate", "two", "--config-dir", str(tmp_path / "conf"), *tiny]
    ended = vitcli(*words, f"notify={url}", "hydra/launcher=basic")
    assert ended.code == 0, ended.err
    ((_, _, sent),) = hook.got
    (folder,) = (tmp_path / "outputs/studies").iterdir()
    assert sent["event"] == "end"
    assert sent["text"] == f"vitcli, {folder.name}: ended: 2 done"
    assert (sent["study"], sent["counts"]) == (folder.name, {"done": 2})
    held = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(held) > 10
    for path in held:
        assert SECRET.encode() not in path.read_bytes(), path
    again = vitcli(*words)  # the same study, the same runs: nothing is left to do
    assert again.code == 0
    assert [path.name for path in (tmp_path / "outputs/studies").iterdir()] == [folder.name]
    assert len(list((tmp_path / "outputs/runs").iterdir())) == 2
    assert len(hook.got) == 1
