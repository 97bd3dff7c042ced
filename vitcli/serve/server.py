"""The server: pages for browsers of this machine, read-only. Standard library. No torch.

Who asks must call this machine by a name of its own, so that no page of the web can have the name
of its host lead here and read the answers (DNS rebinding).
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import socketserver
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import vitcli.report
from vitcli.files import is_name
from vitcli.serve.shelf import Shelf

_HERE = Path(__file__).with_name("static")
_PAGES = {
    "/": _HERE / "index.html",
    "/compare": _HERE / "compare.html",
    **{f"/{name}": _HERE / name for name in ("common.js", "index.js", "compare.js", "serve.css")},
    "/style.css": Path(vitcli.report.__file__).parent / "templates" / "style.css",
}
_TYPES = {
    ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8", ".md": "text/plain; charset=utf-8",
    ".tex": "text/plain; charset=utf-8", ".csv": "text/csv; charset=utf-8",
    ".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png",
    ".pdf": "application/pdf",
}  # fmt: skip
_HOSTS = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?", re.IGNORECASE)
_NO_MORE = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_OURS = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    f"img-src data:; {_NO_MORE}"
)
# A report has its styles in it, and figures as pictures; nothing in it runs.
_REPORT = f"default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; {_NO_MORE}"
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_PATIENCE = 0.25  # seconds of an answer for the settings of 100 runs
_WAIT_SECONDS = 10.0  # for a request that somebody has begun


class Refused(Exception):
    """What is asked for is not given: a code of HTTP, and why."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class Server(ThreadingHTTPServer):
    """Answers at 127.0.0.1 alone."""

    daemon_threads = True

    def __init__(self, shelf: Shelf, port: int) -> None:
        self.shelf = shelf
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        """Binds without asking for this machine's name, which takes seconds where DNS is slow."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of a browser that went away, one line of all else."""
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError):
            print(f"vitcli: serve: {type(error).__name__}: {error}", file=sys.stderr)


def listen(outputs: Path, port: int) -> Server:
    """Returns the server of the folder; `serve_forever` answers.

    Raises:
        ValueError: there is no such folder.
        RuntimeError: the port is taken, or not for this user.
    """
    if not outputs.is_dir():
        raise ValueError(f"serve {outputs}: no such folder; give the one with runs/ in it")
    shelf = Shelf(outputs.resolve())
    shelf.overview()  # the first page is not to wait for it: half a second of 1,000 runs
    try:
        return Server(shelf, port)
    except OSError as error:
        why = {errno.EADDRINUSE: "taken by another program", errno.EACCES: "not for this user"}
        raise RuntimeError(
            f"--port {port}: {why.get(error.errno or 0, error.strerror)}; choose another from 1024 "
            "to 65535, or 0 for any that is free"
        ) from None


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = _WAIT_SECONDS
    server_version, sys_version = "vitcli", ""

    def do_GET(self) -> None:
        """Answers with a page, a file of a report or JSON."""
        try:
            if not _HOSTS.fullmatch(self.headers.get("Host", "")):
                raise Refused(403, "this is for browsers of this machine: http://127.0.0.1")
            self._answer(*self.path.partition("?")[::2])
        except Refused as refused:
            self.send_error(refused.code, str(refused))

    do_HEAD = do_GET

    def _answer(self, path: str, query: str) -> None:
        if path in _PAGES:
            self._send(_PAGES[path].read_bytes(), _PAGES[path].suffix, _OURS)
        elif path == "/api/overview":
            metric = parse_qs(query).get("metric", [""])[0]
            # A first page waits for no settings; they come with the next looks.
            patience = _PATIENCE if self.headers.get("If-None-Match") else 0.0
            self._send_json(self.server.shelf.overview(metric, patience))
        elif path == "/api/compare":
            names = parse_qs(query).get("run", [])
            if not 1 <= len(names) <= 2:
                raise Refused(400, "name one or two runs: /compare?run=NAME&run=NAME")
            try:
                self._send_json(self.server.shelf.compare(names))
            except KeyError as error:
                raise Refused(404, f"there is no run {error.args[0]}") from None
        else:
            found = report_file(self.server.shelf.outputs, path)
            try:
                data = found.read_bytes()
            except OSError:  # gone by now, or not ours to read
                raise Refused(404, "there is no such file") from None
            self._send(data, found.suffix, _REPORT)

    def _send_json(self, value: Any) -> None:
        """Sends the value, or only that it is what the browser has."""
        data = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
        tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
        if self.headers.get("If-None-Match") == tag:
            self.send_response(304)
            self.send_header("ETag", tag)
            self.end_headers()
            return
        self._send(data, ".json", _OURS, {"ETag": tag})

    def _send(
        self,
        data: bytes,
        suffix: str,
        policy: str,
        more: dict[str, str] | None = None,
        code: int = 200,
    ) -> None:
        self.send_response(code)
        headers = {"Content-Type": _TYPES[suffix], "Content-Length": str(len(data))}
        headers |= {"Content-Security-Policy": policy, **(more or {})}
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def end_headers(self) -> None:
        """Adds what every answer says."""
        for key, value in _ALWAYS.items():
            self.send_header(key, value)
        super().end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers with one line; what is neither GET nor HEAD is refused as that."""
        if code == 501:
            code, message = 405, "only GET and HEAD: nothing is changed from here"
        allow = {"Allow": "GET, HEAD"} if code == 405 else {}
        data = f"{code}: {message or 'refused'}\n".encode()
        self._send(data, ".md", _REPORT, {"Connection": "close", **allow}, code)

    def log_message(self, format: str, *args: Any) -> None:
        """Writes nothing: a page asks every few seconds."""


def report_file(outputs: Path, path: str) -> Path:
    """Returns the file of a study's report that a URL's path names.

    Raises Refused for what is none, is of a kind that reports have not, or leads out of `outputs`.
    """
    parts = [unquote(part, errors="surrogateescape") for part in path.split("/")[1:]]
    if len(parts) < 4 or not all(map(is_name, parts)):
        raise Refused(404, "there is no such page")
    found = outputs.joinpath(*parts)
    if (parts[0], parts[2]) != ("studies", "report") or found.suffix not in _TYPES:
        raise Refused(403, "only reports are shown: studies/STUDY/report/...")
    try:
        real = found.resolve(strict=True)
    except (OSError, RuntimeError):  # none, or links in a circle
        raise Refused(404, "there is no such file") from None
    if not real.is_relative_to(outputs):
        raise Refused(403, "it leads out of outputs")
    if real.suffix not in _TYPES or not real.is_file():
        raise Refused(404, "there is no such file")
    return real
