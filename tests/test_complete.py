"""What the shell offers on TAB, asked by a real bash and fish; zsh asks as they do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT, TWO_CELLS

from vitcli.catalog import options, studies
from vitcli.sets import HELD

RUNS = ("micro-3c4d", "nano-1a2b")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `vitcli` that says what it has loaded, in a folder with runs, plans and own configs."""
    folder = tmp_path_factory.mktemp("shell")
    for name in (*(f"runs/{run}" for run in RUNS), "studies/pos-emb-laptop-0123abcd"):
        (folder / "outputs" / name).mkdir(parents=True)
    for name, text in (("study/my_own", TWO_CELLS), ("model/mine", "depth: 2\n")):
        path = folder / "own" / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    path = folder / "bin" / "vitcli"
    path.parent.mkdir()
    path.write_text(
        f"#!{sys.executable}\nimport sys\nfrom vitcli.cli import main\ntry:\n    main()\nfinally:\n"
        "    print(*sys.modules, sep='\\n', file=open('loaded', 'w'))\n"
    )
    path.chmod(0o755)
    return path


def environment(program: Path, **more: str) -> dict[str, str]:
    own = {"PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(program.parent.parent)}
    return {**os.environ, **own, "PYTHONPATH": str(ROOT), **more}


def ask(program: Path, **asked: str) -> str:
    """Returns what the program prints to a shell that asks by these variables."""
    ended = subprocess.run(
        ["vitcli"], cwd=program.parent.parent, env=environment(program, **asked),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ended.stderr == ""
    return ended.stdout


@pytest.fixture(scope="module")
def script(program: Path) -> str:
    """The completion that `vitcli --show-completion` prints in bash."""
    return ask(program, _VITCLI_COMPLETE="source_bash")


def offered(program: Path, script: str, *words: str) -> list[str]:
    """Returns what bash offers for the last of the words, which it parts at `=`, too."""
    ask_bash = (
        "COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _vitcli_completion vitcli\n"
        "printf '%s\\n' \"${COMPREPLY[@]}\""
    )  # fmt: skip
    ended = subprocess.run(
        ["bash", "-c", f"{script}\n{ask_bash}", "bash", "vitcli", *words],
        cwd=program.parent.parent, env=environment(program),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ended.stderr == ""
    loaded = set((program.parent.parent / "loaded").read_text().split())
    assert "vitcli.complete" in loaded
    slow = {"torch", "hydra", "omegaconf", "pydantic", "rich", "numpy", "yaml"}
    assert not loaded & (slow if words[0] != "list" else slow - {"yaml"})
    return ended.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["abl"], ["ablate"]),
        (["data", ""], ["check", "show"]),
        (["list", "re"], ["recipes"]),
        (["ablate", "--de"], ["--detach"]),
        (["ablate", ""], list(studies())),
        (["plan", "pos"], ["pos-emb", "pos-emb-patch"]),
        (["plan", "--config-dir", "own", "my"], ["my-own"]),
        (["plan", "--config-dir", "~/own", "my"], ["my-own"]),
        (["status", "--outputs", "~/outputs", "pos-emb-"], ["pos-emb-laptop-0123abcd"]),
        (["status", ""], ["pos-emb", "pos-emb-laptop-0123abcd"]),
        (["status", "--outputs", "nowhere", ""], []),
        (["train", "model", "="], list(options("model"))),
        (["train", "seed", "=", "1", "model", "=", "bit_r5"], ["bit_r50x1", "bit_r50x2"]),
        (["train", "--config-dir", "own", "model", "=", "mi"], ["micro", "mine"]),
        (["train", "-cd", "own", "model", "=", "mi"], ["micro", "mine"]),
        (["ablate", "pos-emb", "scale", "=", ""], ["gpu", "laptop", "paper"]),
        (["data", "check", "data", "=", "mn"], ["mnist"]),
        (["train", "pos_e"], [f"pos_emb{key}=" for key in ("", ".kind", ".where", ".offsets")]),
        (["train", "train.st"], ["train.steps=", "train.steps=<int>"]),
        (["train", "train.steps", "=", ""], []),
        (["train", "stem.lay"], ["stem.layers=", "stem.layers=<dict>"]),
        (["train", "data.level", "=", "c"], ["colour", "clutter"]),
        (["train", "data.download", "=", ""], ["true", "false"]),
        (["ablate", "pos-emb", "see"], ["seeds=", "seeds=<int>"]),
        (["ablate", "pos-emb", "not"], ["notify=", "notify=<str>"]),
        (["plan", "pos-emb", "notify"], []),
        (["eval", "outputs/runs/na"], ["outputs/runs/nano-1a2b"]),
        (["finetune", "o"], ["outputs/runs/micro-3c4d", "outputs/runs/nano-1a2b"]),
        (["eval", "./outputs/runs/na"], ["./outputs/runs/nano-1a2b"]),
        (["eval", "own/../outputs/runs/"], [f"own/../outputs/runs/{name}" for name in RUNS]),
        (["eval", "other/runs/"], []),
        (["convert", "outputs/runs/nano-1a2b", ""], []),
    ],
)
def test_bash_offers(words: list[str], expected: list[str], program: Path, script: str) -> None:
    assert offered(program, script, *words) == expected


def test_without_a_beginning_only_groups_and_single_keys_are_offered(
    program: Path, script: str
) -> None:
    found = offered(program, script, "train", "")
    assert {"model=", "data=", "recipe=", "scale=", "experiment=", "seed=", "device="} <= set(found)
    assert not [key for key in found if "." in key]
    assert "train=" not in found  # no group of options
    assert "seed=" not in offered(program, script, "ablate", "pos-emb", "s")


def test_a_bash_without_equals_signs_among_its_word_breaks(program: Path, script: str) -> None:
    assert offered(program, script, "train", "model=mic") == ["model=micro"]


def test_zsh_and_fish_ask_for_whole_words(program: Path) -> None:
    asked = {"_TYPER_COMPLETE_ARGS": "vitcli train data=m"}
    assert ask(program, _VITCLI_COMPLETE="complete_zsh", **asked).strip() == (
        "_arguments '*: :((\"data=mnist\"))'"
    )
    fish = {"_VITCLI_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    assert ask(program, **fish, **asked).split() == ["data=mnist"]
    assert set(HELD) <= set(
        ask(program, **fish, _TYPER_COMPLETE_ARGS="vitcli train data=").replace("data=", "").split()
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell: str, program: Path) -> None:
    assert "_VITCLI_COMPLETE" in ask(program, _VITCLI_COMPLETE=f"source_{shell}")


@pytest.mark.slow
@pytest.mark.fish
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("abl", ["ablate"]),
        ("ablate pos", ["pos-emb", "pos-emb-patch"]),
        ("train data=m", ["data=mnist"]),
        ("ablate pos-emb scale=", ["scale=gpu", "scale=laptop", "scale=paper"]),
        ("eval outputs/runs/na", ["outputs/runs/nano-1a2b"]),
    ],
)
def test_fish_offers(typed: str, expected: list[str], program: Path) -> None:
    script = ask(program, _VITCLI_COMPLETE="source_fish")
    ended = subprocess.run(
        ["fish", "--no-config", "-c", f"{script}\ncomplete -C 'vitcli {typed}'"],
        cwd=program.parent.parent, env=environment(program),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (ended.stdout.split(), ended.stderr) == (expected, "")
