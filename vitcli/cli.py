"""The commands. Thin: each imports what it needs when it is called, so that help is instant."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from vitcli import cli_jobs
from vitcli.cli_jobs import Study, say, show_report, stoppable
from vitcli.machine import check_alone, place
from vitcli.output import be_lenient

# Before torch is loaded. Threads that spin long while they wait starve the one they wait for where
# another process is busy: a step of ViT nano on two threads then takes 380 ms, with few spins 78;
# alone 25, with few spins 32. The one-thread runs of a study wait for nobody.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
# Of a notebook: it may name what is not installed here, and figures go to files.
os.environ.pop("MPLBACKEND", None)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="What the design choices of a Vision Transformer do, on your own data and budget.",
)
data_app = typer.Typer(no_args_is_help=True, help="Look at a data set before training on it.")
app.add_typer(data_app, name="data")
RAW = {"ignore_unknown_options": True}
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Settings: model=micro train.steps=100 seed=1 ...")
]
ConfigDir = Annotated[
    Path | None, typer.Option(help="Your own configs: model/, study/, ... beside ours.")
]


@app.command(context_settings=RAW, add_help_option=False)
def train(overrides: Overrides = None) -> None:
    """Train and evaluate one model; takes every flag of Hydra's too (-m, --cfg job, --help)."""
    from vitcli.compose import hydra_main

    hydra_main(overrides or [], _train_one)


@app.command(context_settings=RAW)
def finetune(
    source: Annotated[
        str, typer.Argument(help="A run's folder, a checkpoint, timm:NAME or hf:REPO.")
    ],
    overrides: Overrides = None,
) -> None:
    """Fine-tune a checkpoint under a new head: on digits at laptop scale, unless told otherwise."""
    from vitcli.argv import finetune_argv
    from vitcli.compose import hydra_main

    hydra_main(finetune_argv(source, overrides or []), _finetune_one)


@app.command(name="eval")
def evaluate(
    source: Annotated[
        str, typer.Argument(help="A run's folder, a checkpoint, timm:NAME or hf:REPO.")
    ],
    overrides: Overrides = None,
) -> None:
    """Evaluate a checkpoint: a run on its own data, unless told otherwise."""
    from vitcli.evaluate import evaluate as evaluate_source

    folder, result = evaluate_source(source, overrides or [])
    for line in result["notes"]:
        print(line)
    _show_metrics(result["metrics"], folder)


@app.command()
def ablate(
    study: Study,
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="On a cluster: queue the jobs and return.")
    ] = False,
) -> None:
    """Run a study: plan it, train what is missing, report. scale=gpu, hydra/launcher=slurm, ..."""
    from vitcli.report.build import write_report
    from vitcli.status import by_whom
    from vitcli.study.board import states, watch
    from vitcli.study.launch import launch, missing, settle_finished
    from vitcli.study.plan import freeze, make_plan

    hydra = [o for o in overrides or [] if o.lstrip("+~").startswith(("hydra.", "hydra/"))]
    plan = make_plan(study, [o for o in overrides or [] if o not in hydra], config_dir)
    freeze(plan)
    settle_finished(plan)
    if missing(plan):
        with stoppable("the same command goes on from there"), watch(plan.folder):
            finished = launch(plan, hydra, detach)
        if not finished:
            say(f"stopped; the same command goes on from there ({len(missing(plan))} runs left)")
            raise typer.Exit(130)
    if detach and (left := missing(plan)):
        print(f"{len(left)} runs are queued; the same command without --detach waits and reports")
        return
    with stoppable("the report was not written; `vitcli report` writes it from the same files"):
        show_report(write_report(plan.folder, plan.outputs / "runs"))
    undone = [run for run in states(plan.folder).values() if run.state != "done"]
    for run in undone:
        if run.state == "running":
            say(f"{run.id} is {by_whom(run.status)}: the same command goes on when it has ended")
        else:
            say(f"{run.id}: {run.state}: {run.error or 'no result'}")
    if undone:
        raise typer.Exit(1)


@app.command()
def plan(
    study: Study,
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
    time: Annotated[bool, typer.Option("--time", help="Time a few steps of each model.")] = False,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Show what each needs, so many to a run.")
    ] = None,
) -> None:
    """Show a study's cost and seeds needed; run nothing. flops_per_second=1.5e14: elsewhere."""
    from rich.console import Console

    from vitcli.analysis.power import lines
    from vitcli.analysis.results import read_results
    from vitcli.study.estimate import estimate, given_speed
    from vitcli.study.plan import make_plan

    speed, rest = given_speed(overrides or [])
    made = make_plan(study, rest, config_dir)
    Console().print(estimate(made, speed, time, processes))
    for line in lines(read_results(made.study, made.outputs / "runs")):
        print(line)


app.command()(cli_jobs.status)
app.command()(cli_jobs.cancel)
app.command()(cli_jobs.logs)
app.command()(cli_jobs.report)


@data_app.command()
def check(overrides: Overrides = None) -> None:
    """Read every image of a data set: size, classes, balance, broken files, speed."""
    from rich.console import Console

    from vitcli.compose import compose
    from vitcli.data.inspect import check as check_data

    if check_data(compose(overrides or []).data, Console()):
        raise typer.Exit(1)


@data_app.command()
def show(
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="The PNG to write.")] = Path("sheet.png"),
) -> None:
    """Write a contact sheet: images as the model sees them, augmented, then for validation."""
    from vitcli.compose import compose
    from vitcli.data.inspect import show as show_data

    show_data(compose(overrides or []), out)
    print(out)


@app.command()
def convert(
    source: Annotated[
        str, typer.Argument(help="A run's folder, a checkpoint, timm:NAME or hf:REPO.")
    ],
    target: Annotated[
        Path,
        typer.Argument(help="x.npz: Google's; x: Hugging Face's; x.safetensors: ours, timm's."),
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="What names do not say: model.num_heads=8 ...")
    ] = None,
) -> None:
    """Convert a checkpoint between Google's, timm's, Hugging Face's code and ours."""
    from vitcli.models.convert import describe, read, write

    checkpoint = read(source, overrides or [])
    for word, text in describe(checkpoint):
        print(f"{word:10} {text}")
    how = write(checkpoint, target)
    print(f"{'wrote':10} {target}\n{'load with':10} {how}")


@app.command(context_settings=RAW)
def bench(
    what: Annotated[str, typer.Argument(help="train, or data; all without it.")] = "",
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Steps as one object.")] = False,
) -> None:
    """Time training steps and data loaders against timm's: all, or `train model=micro ...`."""
    from rich.console import Console

    from vitcli.bench import SHAPES, bench_step, show
    from vitcli.bench_data import bench_data

    if what not in ("", "train", "data"):
        raise ValueError(f"bench {what}: choose from train, data")
    if what == "data" and (overrides or as_json):
        raise ValueError("bench data: takes no settings, and has no --json")
    shapes = {" ".join(overrides): overrides} if overrides else SHAPES
    if what != "data":
        found = {name: bench_step(name, words, as_json) for name, words in shapes.items()}
        if as_json:
            print(json.dumps(next(iter(found.values())) if overrides else found))
            return
        show(found, Console())
    if what != "train":
        bench_data(Console())


def main() -> None:
    """Runs the command line; bad input ends with one line and exit code 2, a failure with 1."""
    be_lenient()
    try:
        check_alone(sys.argv[1:])
        app()
    except ValueError as error:
        say(str(error))
        raise SystemExit(2) from None
    except (RuntimeError, OSError) as error:
        say(str(error))
        raise SystemExit(1) from None


def _train_one(config: object) -> None:
    """Trains one config and prints what came of it; Hydra calls it for each job."""
    from vitcli.config import RunConfig
    from vitcli.run import run

    assert isinstance(config, RunConfig)
    try:
        outcome = run(config)
    except KeyboardInterrupt as stopped:
        say(f"{str(stopped) or 'stopped'}; the same command goes on from there")
        raise SystemExit(130) from None
    if place().rank > 0:
        return
    if not outcome.trained:
        print(f"{outcome.folder.name} is trained already")
    for line in outcome.result["transfer"] or []:
        print(line)
    if search := outcome.result["lr_grid"]:
        print(f"rate {search['lr']:g}, the best on a dev split of {search['dev_size']}")
    _show_metrics(outcome.result["metrics"], outcome.folder)


def _finetune_one(config: object) -> None:
    """Fine-tunes by one config; Hydra calls it for each job."""
    from vitcli.config import RunConfig
    from vitcli.transfer import describe_source

    assert isinstance(config, RunConfig)
    _train_one(describe_source(config))


def _show_metrics(metrics: dict[str, float], folder: Path) -> None:
    width = max(28, *map(len, metrics))
    for name, value in metrics.items():
        print(f"{name:{width}} {value:.4f}")
    print(folder)
