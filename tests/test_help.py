"""First contact: what is shown to who does not know the commands, and what a typo gets."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version

import pytest
from helpers import Ended
from typer.main import get_command

from vitcli.catalog import studies
from vitcli.cli import app
from vitcli.compose import prepare
from vitcli.listing import title
from vitcli.study.plan import SETTINGS, SPEED, make_plan
from vitcli.words import as_typed

ROOT_COMMAND: object = get_command(app)


def commands(group: object = ROOT_COMMAND, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Returns each command as it is typed."""
    found = list[tuple[str, ...]]()
    for name, command in group.commands.items():
        inside = hasattr(command, "commands")
        found += commands(command, (*above, name)) if inside else [(*above, name)]
    return found


def test_alone_it_shows_five_commands_and_a_way_on(vitcli: Callable[..., Ended]) -> None:
    ended = vitcli()
    assert ended.code == 0
    shown = re.findall(r"^  vitcli (\w+)", ended.out, re.MULTILINE)
    assert shown == ["train", "eval", "ablate", "status", "report"]
    assert "vitcli --help" in ended.out
    for name in re.findall(r"^ *vitcli (\w+)", ended.out, re.MULTILINE):
        assert (name,) in commands()
    assert all(len(line) <= 100 for line in ended.out.splitlines())


def test_what_each_command_does_is_said_whole(vitcli: Callable[..., Ended]) -> None:
    listed = vitcli("--help").out.partition("Commands:")[2].strip().splitlines()
    assert len(listed) == 19
    assert all(line.endswith(".") and not line.endswith("...") for line in listed)


def test_version(vitcli: Callable[..., Ended]) -> None:
    ended = vitcli("--version")
    assert (ended.code, ended.out) == (0, f"vitcli {version('vitcli')}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ablte"], "no command 'ablte'; did you mean 'ablate'?"),
        (["xyzzy"], "no command 'xyzzy'; `vitcli --help` lists all"),
        (["data", "chck"], "data: no command 'chck'; did you mean 'check'?"),
        (["data", "xyzzy"], "data: no command 'xyzzy'; `vitcli data --help` lists all"),
        (["data"], "data: choose from check, show"),
        (["list", "modles"], "settings; did you mean 'models'?"),
        (["status"], "status: missing argument 'study'"),
        (["status", "a", "b"], "status: got unexpected extra argument(s) (b)"),
        (["status", "--outputz=x"], "no such option: --outputz; did you mean '--outputs'?"),
        (["plan", "pos-emb", "--processes", "0"], "plan: invalid value for '--processes': "),
        (["plan", "pos-emb", "--processes"], "option '--processes' requires an argument"),
        (["--versoin"], "no such option: --versoin; did you mean '--version'?"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(
    vitcli: Callable[..., Ended], arguments: list[str], message: str
) -> None:
    ended = vitcli(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert ended.err.startswith("vitcli: ")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("command", ["ablate", "plan"])
def test_without_a_study_they_are_listed(vitcli: Callable[..., Ended], command: str) -> None:
    ended = vitcli(command)
    assert ended.code == 2
    assert ended.err == f"vitcli: {command}: which study? For instance `vitcli {command} pos-emb`\n"
    for name, path in studies().items():
        cost = r" +\d+ runs \d\.\de\+1\d"
        assert re.search(f"^{name} +{re.escape(title(path))}{cost}$", ended.out, re.MULTILINE)


def examples(help_: str) -> list[str]:
    """Returns the commands that a help shows below `Examples:`."""
    return [line.strip() for line in help_.partition("Examples:\n")[2].splitlines() if line.strip()]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_each_command_s_help_has_two_examples_that_can_be_typed(
    vitcli: Callable[..., Ended], command: tuple[str, ...]
) -> None:
    ended = vitcli(*command, "--help")
    assert ended.code == 0
    shown = examples(ended.out)
    assert len(shown) == 2
    for line in shown:
        program, *words = shlex.split(line, comments=True)
        assert (program, *words[: len(command)]) == ("vitcli", *command)
        check(words, vitcli)


def check(words: list[str], vitcli: Callable[..., Ended]) -> None:
    """Fails unless the command line is understood: its options, settings and study."""
    ctx = ROOT_COMMAND.make_context("vitcli", list(words))
    given = [*ctx._protected_args, *ctx.args]
    while given:
        name, command, given = ctx.command.resolve_command(ctx, given)
        ctx = command.make_context(name, given, parent=ctx)
        given = [*ctx._protected_args, *ctx.args] if hasattr(command, "commands") else []
    overrides = ctx.params.get("overrides") or []
    assert not [word for word in overrides if word.startswith("-")]
    of_runs = [o for o in overrides if o.partition("=")[0] not in (*SETTINGS, SPEED)]
    prepare(as_typed(of_runs))
    if words[0] in ("ablate", "plan"):
        make_plan(ctx.params["study"], [o for o in overrides if not o.startswith("hydra")])
    if words[0] == "train":
        assert vitcli(*words, "--cfg", "job").code == 0
    if words[0] == "logs":
        assert ctx.params["cell"] in [cell.id for cell in make_plan("pos-emb").study.cells]


@pytest.mark.parametrize("arguments", [["--help"], ["ablate", "--help"]])
def test_help_imports_little(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['vitcli', *{arguments!r}]\n"
        "from vitcli.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(*sys.modules, sep='\\n', file=sys.stderr)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(ended.stderr.splitlines())
    assert "vitcli.cli" in loaded
    assert not loaded & {"torch", "hydra", "numpy", "rich"}
    assert arguments != ["--help"] or not loaded & {"yaml", "pydantic", "vitcli.config"}
