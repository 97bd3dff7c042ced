"""What a person meets first: five commands, two examples of each command, one line for a typo."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperGroup, TyperOption
from typer.exceptions import TyperException

FIRST = """\
vitcli: what the design choices of a Vision Transformer do, on your own data and budget.

  vitcli train                    train and evaluate one small ViT: about a minute on two cores
  vitcli eval outputs/runs/RUN    measure a trained run, or any checkpoint, on this or other data
  vitcli ablate pos-emb           repeat a table of the paper: train what is missing, then judge it
  vitcli status pos-emb           how far its runs are
  vitcli report pos-emb           its verdicts, table and figures, as report.html

vitcli list       the models, studies, data, recipes, claims and settings there are
vitcli doctor     is this machine ready?
vitcli --help     all commands; `vitcli COMMAND --help` has two examples of each
"""
# Of `vitcli train`, whose help is Hydra's, they are in conf/config.yaml.
EXAMPLES = {
    "finetune": """
        vitcli finetune outputs/runs/RUN data.img_size=32   # digits, at twice the resolution
        vitcli finetune ViT-B_16.npz data=cifar10 recipe=finetune_cifar data.img_size=224""",
    "eval": """
        vitcli eval outputs/runs/RUN   # on the run's own data
        vitcli eval ViT-B_16-224.npz data=imagenet data.path=/data/imagenet""",
    "ablate": """
        vitcli ablate pos-emb seeds=3   # Ctrl-C: the same command resumes
        vitcli ablate pos-emb scale=gpu hydra/launcher=slurm --detach""",
    "plan": """
        vitcli plan pos-emb --time   # how long it takes here, by a few timed steps
        vitcli plan model-size scale=paper parallel=fsdp --processes 8   # memory of each, too""",
    "status": """
        vitcli status pos-emb   # the newest plan of the study
        vitcli status pos-emb-laptop --outputs /shared/outputs   # one plan, kept elsewhere""",
    "cancel": """
        vitcli cancel pos-emb
        vitcli cancel pos-emb-gpu --outputs /shared/outputs""",
    "logs": """
        vitcli logs pos-emb none-stem
        vitcli logs pos-emb-gpu none-stem --outputs /shared/outputs""",
    "report": """
        vitcli report pos-emb
        vitcli report --all   # and outputs/studies/index.html""",
    "reproduce": """
        vitcli reproduce outputs/runs/RUN   # trained again, below outputs/reproduced
        vitcli reproduce pos-emb   # each run of the study""",
    "compare": """
        vitcli compare outputs/runs/RUN_A outputs/runs/RUN_B
        vitcli compare outputs/runs/RUN_A elsewhere/outputs/runs/RUN_B""",
    "export": """
        vitcli export pos-emb   # pos-emb-laptop.tar.gz
        vitcli export pos-emb-gpu --outputs /shared/outputs --out table8.tar.gz""",
    "list": """
        vitcli list models
        vitcli list studies --config-dir my_conf   # yours beside ours""",
    "doctor": """
        vitcli doctor
        vitcli doctor --outputs /scratch/outputs   # is there room for runs?""",
    "serve": """
        vitcli serve   # http://127.0.0.1:8000/, of ./outputs
        vitcli serve /shared/outputs --port 8123   # another folder, at another port""",
    "data check": """
        vitcli data check data=imagefolder data.path=photos
        vitcli data check data=cifar10 data.download=true   # fetches it first""",
    "data show": """
        vitcli data show data=glyphs_clutter --out letters.png
        vitcli data show data=imagefolder data.path=photos data.img_size=64""",
    "new study": """
        vitcli new study my-depth   # my_conf/study/my_depth.yaml
        vitcli new study my-depth --config-dir configs""",
    "convert": """
        vitcli convert ViT-B_16.npz vit_b16.safetensors   # Google's -> ours, which timm loads too
        vitcli convert outputs/runs/RUN my_vit   # a folder for Hugging Face's transformers""",
    "bench": """
        vitcli bench   # training steps and data loaders beside timm's
        vitcli bench train model=micro --json   # one of them""",
}


class Commands(TyperGroup):
    """Commands with their examples; a mistake in a command line is a ValueError of one line."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, command in self.commands.items():
            examples = EXAMPLES.get(name) or EXAMPLES.get(f"{self.name} {name}")
            if examples:
                lines = [f"  {line.strip()}" for line in examples.strip().splitlines()]
                command.epilog = "\n".join(["\b", "Examples:", *lines])  # \b: not to be wrapped

    def __call__(self, *arguments: Any, **settings: Any) -> None:
        """Runs the command line, and exits where the command says so. Raises ValueError."""
        if "_VITCLI_COMPLETE" in os.environ:
            _take_words_as_they_are()  # in this process, which only completes
        try:
            code = self.main(prog_name="vitcli", standalone_mode=False)
        except TyperException as error:
            raise ValueError(_one_line(error)) from None
        if code:
            raise SystemExit(code)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Returns commands and options without their help: to show it, rich would be imported."""
        found = super().shell_complete(ctx, incomplete)
        for item in found:
            item.help = None
        return found

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Returns what is left of the arguments. Raises ValueError: a command is to be chosen."""
        if not (args or self.invoke_without_command or ctx.resilient_parsing):
            raise ValueError(f"{_path(ctx)}choose from {', '.join(self.commands)}")
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Returns the command's name, itself, its arguments. Raises ValueError: there is none."""
        if not ctx.resilient_parsing and args[0] not in self.commands:
            from vitcli.choices import nearest

            near = nearest(args[0], self.commands) or f"; `{ctx.command_path} --help` lists all"
            raise ValueError(f"{_path(ctx)}no command '{args[0]}'{near}")
        return super().resolve_command(ctx, args)


def _take_words_as_they_are() -> None:
    """Has Typer check no value, as nobody reads them: for that it imports pydantic, in 0.1 s."""
    kinds: tuple[Any, ...] = (TyperArgument, TyperOption)
    for kind in kinds:
        kind.process_value = lambda self, ctx, value: value


def first(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Shows the version, or without a command what to begin with."""
    if version:
        from importlib.metadata import version as version_of

        print(f"vitcli {version_of('vitcli')}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        print(FIRST, end="")


def _path(ctx: Any) -> str:
    """Returns the command and a colon, as `data check: `; nothing where no command is named."""
    names = str(ctx.command_path).split()[1:]
    return f"{' '.join(names)}: " if names else ""


def _one_line(error: Any) -> str:
    """Returns the mistake, the nearest option for one that is unknown, and where to read on."""
    near, ctx = getattr(error, "possibilities", None), error.ctx
    said = " ".join((error.message if near else error.format_message()).split()).rstrip(".")
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"{_path(ctx) if ctx else ''}{said[0].lower()}{said[1:]}{hint}"
