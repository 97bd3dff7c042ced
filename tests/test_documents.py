"""Each command in README and docs/ is one that works; links lead somewhere; the pages build."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, Ended
from PIL import Image

from vitcli.compose import compose
from vitcli.models.convert import read, write
from vitcli.runner import run

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TINY = [
    "data.size=64", "data.val_size=32", "train.images=null", "train.epochs=null", "train.steps=1",
    "train.batch_size=8", "threads=1", "train.precision=fp32",
]  # fmt: skip
# What is tried in another way, and where.
ELSEWHERE = {
    "make": "by .ci/run",
    ".ci/run": "itself",
    ".": "a shell's own",
    "cd": "a shell's own",
    "pip": "by `make packages`",
    "tensorboard": "a tracker's own",
    "wandb": "a tracker's own",
    "mlflow": "a tracker's own",
    "TRACKIO_DIR=outputs/trackers/trackio": "a tracker's own",
    "srun": "tests/test_slurm.py, with two tasks",
    "vitcli train model.family=mixer": "tests/test_plugins.py",
    "vitcli train data.name=stripes": "tests/test_plugins.py",
    "vitcli train 'evals.own=[entropy]'": "tests/test_plugins.py",
    "vitcli new study my-depth": "tests/test_own_configs.py",
    "vitcli plan my-depth": "tests/test_own_configs.py",
    "vitcli ablate my-depth": "tests/test_own_configs.py",
    "vitcli serve": "tests/test_serve.py",
    "vitcli bench": "tests/test_display.py",
    "vitcli plan pos-emb --time": "tests/test_study.py",
    "vitcli cancel pos-emb": "tests/test_slurm.py",
}
# What asks the network, or is too large, or needs a cluster: composed and planned, not run.
LARGE = (
    "hydra/launcher=slurm", "scale=paper", "scale=gpu", "data.download=true", "hf:", "tuning",
    "data=hfds",
)  # fmt: skip


def commands() -> list[str]:
    """Returns each command line of the documents' shell blocks, once, without its remark."""
    found: dict[str, None] = {}
    for path in DOCUMENTS:
        for block in re.findall(r"^```sh\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE):
            for line in block.replace("\\\n", " ").splitlines():
                if line.strip():
                    found[shlex.join(shlex.split(line, comments=True))] = None
    return list(found)


def elsewhere(command: str) -> bool:
    return any(command == each or command.startswith(f"{each} ") for each in ELSEWHERE)


def images(folder: Path, size: int) -> None:
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            (folder / part / name).mkdir(parents=True)
            for number in range(40):
                pixels = np.random.default_rng(number).integers(0, 256, (size, size, 3), np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{number}.png")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the documents speak of: runs, a study, photos, Google's weights."""
    folder = tmp_path_factory.mktemp("documents")
    outputs = f"outputs={folder / 'outputs'}"
    runs = folder / "outputs" / "runs"
    for name, seed in (("RUN", 0), ("OTHER", 1)):
        made = run(compose([*TINY, "model=pico", f"seed={seed}", outputs]), quiet=True).folder
        (runs / name).symlink_to(made.name)
    images(folder / "photos", 24)
    few = ["seeds=1", "evals.downstream=null", "hydra/launcher=basic", *TINY]
    words = [sys.executable, "-m", "vitcli", "ablate", "pos-emb", *few]
    subprocess.run(words, cwd=folder, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    write(read(str(runs / "RUN")), folder / "ViT-B_16.npz")
    return folder


def adapted(command: str, prepared: Path) -> list[str]:
    """Returns the words of the command, made small: what it writes after them wins."""
    words = shlex.split(command)[1:]
    words = [re.sub(r"outputs/runs/(RUN|OTHER)", lambda m: str(
        (prepared / m[0]).resolve()), word) for word in words]  # fmt: skip
    if any(mark in command for mark in LARGE):
        hydra = [w for w in words if w.startswith("hydra") or w == "--detach"]
        words = [w for w in words if w not in hydra]
        if words[0] == "ablate":
            return ["plan", *words[1:]]
        if words[0] == "train":
            return [*words, "--cfg", "job"]
    elif words[0] == "train":
        return [*words, *TINY]
    elif words[0] == "finetune":
        return [*words, *TINY, "evals.downstream=null"]
    elif words[0] == "ablate":
        few = ["seeds=1", "evals.downstream=null", "hydra/launcher=basic", *TINY]
        return [w for w in words if not w.startswith(("seeds", "train.images", "notify"))] + few
    return words


@pytest.mark.slow
# Of MLflow's own tables, under the newest SQLAlchemy; an error there would last for the process.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")
@pytest.mark.parametrize("command", [c for c in commands() if not elsewhere(c)])
def test_a_command_of_the_documents_works(
    command: str, prepared: Path, vitcli: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(prepared)
    if command.startswith("torchrun"):
        command = re.sub(r".*-m vitcli", "vitcli", command)
    assert command.startswith("vitcli "), f"{command}: say in ELSEWHERE where it is tried"
    words = adapted(command, prepared)
    ended = vitcli(*words)
    if "hf:" in command:
        assert ended.code in (1, 2)  # the network is asked, and there is none, or it is found
        assert len(ended.err.splitlines()) <= 3
        return
    assert ended.code == 0, f"{words}: {ended.err}"


def test_what_is_tried_elsewhere_is_in_the_documents() -> None:
    for each in ELSEWHERE:
        assert any(c == each or c.startswith(f"{each} ") for c in commands()), each


def test_links_within_the_documents_lead_somewhere() -> None:
    for path in DOCUMENTS:
        for link in re.findall(r"\]\((?!https?:|mailto:)([^)#]+)", path.read_text()):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


@pytest.mark.slow
def test_the_pages_build(tmp_path: Path) -> None:
    """No link, anchor or docstring is broken: a warning is an error there."""
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    page = (tmp_path / "python" / "index.html").read_text()
    assert "Trains and evaluates one model" in page
    outside = re.findall(r'(?:src|href)="(https?://[^"]+)"', page)
    assert not [link for link in outside if re.search(r"\.(js|css|woff2?)\b", link)]
