"""Downloads: once for many processes, whole or not at all. A server of this machine is slow."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from helpers import ROOT, wait_for
from torchvision.datasets import CIFAR10

from vitcli.config import DataConfig
from vitcli.data import build_data, download

# What the fixtures change of torchvision, changed in another process.
ANOTHER = """
import json, sys
import torch
from torchvision.datasets import CIFAR10
root, changed = sys.argv[1:]
for name, value in json.loads(changed).items():
    setattr(CIFAR10, name, value)
from vitcli.config import DataConfig
from vitcli.data import build_data
config = DataConfig(name="cifar10", root=root, download=True, img_size=32, val_size=None)
print(build_data(config, torch.device("cpu")).train_size)
"""


class Archive:
    """CIFAR-10's archive of the fixture, on a server that sends it when it is told to."""

    def __init__(self, files: Path) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            tar.add(files / CIFAR10.base_folder, CIFAR10.base_folder)
        self.data, self.asked = packed.getvalue(), 0
        self.half, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def send(self, out: io.BufferedIOBase) -> None:
        self.asked += 1
        out.write(self.data[: len(self.data) // 2])
        out.flush()
        self.half.set()
        self.go_on.wait(60)
        out.write(self.data[len(self.data) // 2 :])


class Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, archive: Archive, *more: object) -> None:
        self._archive = archive
        super().__init__(*more)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self._archive.data)))
        self.end_headers()
        if self.headers.get("Method") != "HEAD":  # so torchvision asks where the file is
            try:
                self._archive.send(self.wfile)
            except OSError:  # the process was killed
                self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def archive(cifar: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    made = Archive(cifar)
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, made)
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/cifar-10-python.tar.gz"
        monkeypatch.setattr(CIFAR10, "url", url)
        monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(made.data).hexdigest())
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield made
        made.go_on.set()
        server.shutdown()


def images(root: Path) -> int:
    config = DataConfig(name="cifar10", root=str(root), download=True, img_size=32, val_size=None)
    return build_data(config, torch.device("cpu")).train_size


def another(root: Path) -> subprocess.Popen[str]:
    names = ("url", "tgz_md5", "train_list", "test_list", "meta")
    changed = json.dumps({name: getattr(CIFAR10, name) for name in names})
    return subprocess.Popen(
        [sys.executable, "-c", ANOTHER, str(root), changed],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left(root: Path) -> list[str]:
    """What is in the root besides the set and its lock."""
    known = {CIFAR10.base_folder, "cifar-10-python.tar.gz", ".CIFAR10.lock"}
    return sorted({path.name for path in root.iterdir()} - known)


def test_who_comes_late_waits_and_says_so(
    archive: Archive, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "root"
    archive.go_on.clear()
    with ThreadPoolExecutor(2) as pool:  # each locks for itself, as processes do
        first = pool.submit(images, root)
        assert archive.half.wait(60)
        assert not (root / CIFAR10.base_folder).exists()
        late = pool.submit(images, root)
        wait_for(lambda: "another process downloads it" in caplog.text)
        archive.go_on.set()
        assert [first.result(60), late.result(60)] == [50, 50]
    assert archive.asked == 1
    assert left(root) == []
    assert images(root) == 50
    assert archive.asked == 1


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_nothing_that_is_taken_for_the_set(
    archive: Archive, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    archive.go_on.clear()
    with another(root) as killed:
        assert archive.half.wait(120)
        late = another(root)
        killed.kill()
    assert left(root) == [".CIFAR10.part"]
    archive.go_on.set()
    out, err = late.communicate(timeout=120)
    assert (late.returncode, out) == (0, "50\n"), err
    assert archive.asked == 2
    assert left(root) == []


def test_files_that_are_damaged_are_fetched_again(archive: Archive, tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert images(root) == 50
    (root / CIFAR10.base_folder / "test_batch").write_bytes(b"cut off")
    (root / "cifar-10-python.tar.gz").write_bytes(archive.data)
    assert images(root) == 50
    assert archive.asked == 1  # the archive lies there, and is what it should be
    (root / CIFAR10.base_folder / "test_batch").write_bytes(b"cut off")
    (root / "cifar-10-python.tar.gz").write_bytes(b"cut off")
    assert images(root) == 50
    assert archive.asked == 2


def test_another_file_than_the_published_one_is_refused(archive: Archive, tmp_path: Path) -> None:
    archive.data = b"not the archive"
    with pytest.raises(ValueError, match=r"^data\.download=true: cifar10: .*corrupted"):
        images(tmp_path / "root")
    assert left(tmp_path / "root") == []


def test_a_file_system_without_locks_is_said(
    archive: Archive,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(download.FileLock, "acquire", refused)
    assert images(tmp_path / "root") == 50
    line, *_ = caplog.messages  # the others tell of the small number of images
    assert line.startswith(f"{tmp_path / 'root' / '.CIFAR10.lock'}: no lock ([Errno 95] ")
