"""An outputs folder made up for `vitcli serve`, its server, and what it answers."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitcli.config import RunConfig
from vitcli.files import write_record, write_text
from vitcli.frozen import write_config
from vitcli.serve.server import Server, listen


def write_run(outputs: Path, name: str, state: str = "done", seed: int = 0, **more: Any) -> Path:
    """Writes a run as it leaves its files, of 100 steps; `lr`, `top1`, `step` can be told."""
    folder, config, step = outputs / "runs" / name, RunConfig(seed=seed), more.get("step", 100)
    config.recipe.lr = more.get("lr", 0.001)
    write_config(folder, config)
    lines = [{"step": s, "loss": 3 - s / 50, "lr": 0.1} for s in range(10, step + 1, 10)]
    write_text(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    status = {"host": socket.gethostname(), "pid": 1, "state": state, "beat": time.time()}
    status |= {"step": step, "num_steps": 100, "images_per_s": 500.0 + step, "loss": 3 - step / 50}
    if state == "running":
        status["host"] = "elsewhere"  # where the beat counts, not a lock
    write_record(folder / "status.json", status | more.get("status", {}))
    if state == "done":
        metrics = {"val/top1": more.get("top1", 0.5), "val/loss": 1.0}
        write_record(folder / "result.json", {"metrics": metrics, "params": 1000, "wall_s": 30.0})
    return folder


@dataclass
class Answer:
    """What a server answers."""

    code: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Returns the body's value."""
        return json.loads(self.body)


@contextmanager
def serving(outputs: Path) -> Iterator[Server]:
    """Gives a server of the folder that answers in a thread."""
    with listen(outputs, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: Server, path: str, method: str = "GET", host: str = "", **headers: str) -> Answer:
    """Returns what the server answers to a path that is sent as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
    for key, value in headers.items():
        connection.putheader(key.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    found = Answer(answer.status, dict(answer.getheaders()), answer.read())
    connection.close()
    return found
