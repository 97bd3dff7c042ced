"""Tells a person how a study goes, by a URL or a command of theirs: `notify=URL|COMMAND`. No torch.

Both may hold a secret, so neither is written to a file of ours, nor whole to the terminal.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

KEY = "notify"
TIMEOUT_SECONDS = 10.0
_WANTED = "give http://HOST/..., https://HOST/... or a command"


@dataclass(frozen=True)
class Notify:
    """Where notices go; what it is made of is shown nowhere.

    Attributes:
        url: without name and password, which are in `headers`; None: a command.
        command: what is run, the notice's text after it.
    """

    url: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    command: tuple[str, ...] = field(default=(), repr=False)

    def send(self, study: str, event: str, text: str, counts: Mapping[str, int]) -> str | None:
        """Sends a notice, within about ten seconds; returns None, or in one line why it failed.

        Args:
            study: its folder's name.
            event: `end`, `failed` or `lost`.
            text: what there is to say, one line.
            counts: how many runs are in which state.
        """
        try:
            if self.url is None:
                self._run(text)
            else:
                self._post({"study": study, "event": event, "text": text, "counts": dict(counts)})
        except urllib.error.HTTPError as error:
            error.close()
            return f"{self._where} answered {error.code}"
        except subprocess.CalledProcessError as error:
            return f"{self._where} ended with exit code {error.returncode}"
        except subprocess.TimeoutExpired:
            return f"{self._where} took over {TIMEOUT_SECONDS:g} s and was ended"
        # A server may answer with anything, and no notice may end a study. An exception's own words
        # may hold the URL; the system's do not.
        except Exception as error:
            reason = getattr(error, "reason", error)
            return f"{self._where}: {getattr(reason, 'strerror', None) or type(reason).__name__}"
        return None

    def _run(self, text: str) -> None:
        nowhere = subprocess.DEVNULL  # the terminal has the study's board
        subprocess.run(
            [*self.command, text],
            stdin=nowhere,
            stdout=nowhere,
            stderr=nowhere,
            check=True,
            timeout=TIMEOUT_SECONDS,
        )

    def _post(self, facts: Mapping[str, Any]) -> None:
        assert self.url is not None
        headers = {"Content-Type": "application/json", **self.headers}
        request = urllib.request.Request(self.url, json.dumps(facts).encode(), headers)
        with urllib.request.build_opener(_Stay).open(request, timeout=TIMEOUT_SECONDS) as answer:
            answer.read(1)

    @property
    def _where(self) -> str:
        """Returns the host or the program: of a webhook's URL the path is the password."""
        if self.url is None:
            return self.command[0]
        return str(urlsplit(self.url).hostname)


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: another host would get the password, and a POST becomes a GET."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


def given_notify(overrides: Sequence[str]) -> tuple[Notify | None, list[str]]:
    """Returns where `notify=...` has notices go, None without it, and the other overrides.

    Raises:
        ValueError: it is neither a URL of http or https nor a command that there is here.
    """
    given = [o.partition("=")[2] for o in overrides if o.partition("=")[0] == KEY]
    rest = [o for o in overrides if o.partition("=")[0] != KEY]
    return (_read(given[-1]) if given else None), rest


def _read(value: str) -> Notify:
    """Returns where notices go. Raises ValueError, without what may be a password."""
    scheme, sign, _ = value.partition("://")
    if sign and not set(scheme) & set(" /='\""):  # in a command's argument, it is no URL of ours
        return _read_url(value, scheme)
    try:
        first, *rest = shlex.split(value) or [""]
    except ValueError as error:
        raise ValueError(f"{KEY}=...: not a command ({error}); {_WANTED}") from None
    if not first:
        raise ValueError(f"{KEY}=: nothing is given; {_WANTED}")
    program = os.path.expanduser(first)
    if shutil.which(program) is None:
        raise ValueError(f"{KEY}={first}: there is no such command here; {_WANTED}")
    return Notify(command=(program, *rest))


def _read_url(value: str, scheme: str) -> Notify:
    try:
        parts = urlsplit(value)
        known = scheme.lower() in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, brackets
        known = None
    if not known:
        raise ValueError(f"{KEY}={scheme}://...: not a URL that can be asked; {_WANTED}")
    if not value.isascii() or any(sign.isspace() for sign in value):
        raise ValueError(
            f"{KEY}={scheme}://...: letters beyond ASCII, or spaces; write them as %20"
        )
    return Notify(_bare(parts).geturl(), _login(parts))


def _bare(parts: SplitResult) -> SplitResult:
    """Returns the URL without name and password."""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="")


def _login(parts: SplitResult) -> dict[str, str]:
    """Returns the header that gives the URL's name and password, if it has them."""
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
