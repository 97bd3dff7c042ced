"""The commands. Thin: each imports what it needs when it is called, so that help is instant."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from vitcli import cli_again, cli_jobs, cli_look, cli_tools
from vitcli.cli_help import Commands, first
from vitcli.cli_jobs import say, say_undone, show_report, stoppable
from vitcli.cli_look import which_study
from vitcli.cli_options import RAW, ConfigDir, Json, Overrides, Source, Study
from vitcli.files import one_line
from vitcli.machine import check_alone, place
from vitcli.output import answer, be_lenient, console, lost_output, plural

# Of a notebook: it may name what is not installed here, and figures go to files.
os.environ.pop("MPLBACKEND", None)

app = typer.Typer(
    cls=Commands,
    rich_markup_mode=None,  # rich takes longer to import than all else
    pretty_exceptions_enable=False,
    help="What the design choices of a Vision Transformer do, on your own data and budget.",
)
app.callback(invoke_without_command=True)(first)
data_app = typer.Typer(cls=Commands, help="Look at a data set before training on it.")
app.add_typer(data_app, name="data")
new_app = typer.Typer(cls=Commands, help="Write a file to begin with.")
app.add_typer(new_app, name="new")
TRACEBACK = "VITCLI_TRACEBACK"


@app.command(context_settings=RAW, add_help_option=False)
def train(overrides: Overrides = None) -> None:
    """Train and evaluate one model. Takes Hydra's flags too (-m, --cfg job, --help)."""
    from vitcli.compose import hydra_main

    hydra_main(overrides or [], _train_one)


@app.command(context_settings=RAW)
def finetune(
    source: Source,
    overrides: Overrides = None,
) -> None:
    """Fine-tune a checkpoint under a new head. On digits at laptop scale, unless told otherwise."""
    from vitcli.argv import finetune_argv
    from vitcli.compose import hydra_main

    hydra_main(finetune_argv(source, overrides or []), _finetune_one)


@app.command(name="eval")
def evaluate(
    source: Source,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Evaluate a checkpoint. A run is evaluated on its own data, unless told otherwise."""
    from vitcli.evaluate import evaluate as evaluate_source

    folder, result = evaluate_source(source, overrides or [])
    if as_json:
        return answer("eval", {"folder": folder, **result})
    for line in result["notes"]:
        print(line)
    _show_metrics(result["metrics"], folder)


@app.command()
def ablate(
    study: Study = "",
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="On a cluster: queue the jobs and return.")
    ] = False,
) -> None:
    """Run a study: plan it, train what is missing, report.

    Settings follow the study's name, such as seeds=3, scale=gpu or hydra/launcher=slurm.

    notify=URL or notify=COMMAND is told of the end, a failed or a lost run: the URL by a POST of
    JSON (study, event, text, counts), the command by a text as its last argument.
    """
    if not study:
        which_study("ablate", config_dir)
    from vitcli.live import live
    from vitcli.notify import given_notify
    from vitcli.report.build import write_report
    from vitcli.study.board import watch
    from vitcli.study.launch import check, launch, missing, settle_finished
    from vitcli.study.plan import IN_PLACE, freeze, make_plan
    from vitcli.trackers.follow import track_report

    notify, rest = given_notify(overrides or [])
    if notify and detach:
        raise ValueError("notify: with --detach nobody waits for the study to tell of it")
    hydra = [o for o in rest if o.lstrip("+~").startswith(("hydra.", "hydra/"))]
    plan = make_plan(study, [o for o in rest if o not in hydra], config_dir)
    if IN_PLACE in plan.study.methods:
        say(plan.study.methods[IN_PLACE])
    if missing(plan):
        check(plan, hydra, detach)
    freeze(plan)
    settle_finished(plan)
    if missing(plan):
        with (
            stoppable("the same command resumes it"),
            watch(plan.folder),
            live(plan.folder, notify, say) as shown,
        ):
            shown.finished = launch(plan, hydra, detach)
        if not shown.finished:
            say(f"stopped; the same command resumes it ({len(missing(plan))} runs left)")
            raise typer.Exit(130)
    if detach and (left := missing(plan)):
        print(f"queued: {plural(len(left), 'run')}; without --detach the same command waits")
        return
    with stoppable("the report was not written; `vitcli report` writes it from the same files"):
        show_report(write_report(plan.folder, plan.outputs / "runs"))
        track_report(plan.folder, plan.tracker, say)
    if say_undone(plan.folder):
        raise typer.Exit(1)


@app.command()
def plan(
    study: Study = "",
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
    time: Annotated[bool, typer.Option("--time", help="Time a few steps of each model.")] = False,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Show the memory of each process, for a run of this many."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a study costs, and how many seeds its claims need. Runs nothing.

    flops_per_second=1.5e14 estimates times for a machine of that speed.
    """
    if not study:
        which_study("plan", config_dir)
    from vitcli.analysis.power import lines
    from vitcli.analysis.results import read_results
    from vitcli.study.estimate import estimate, given_speed, shown
    from vitcli.study.plan import make_plan

    speed, rest = given_speed(overrides or [])
    made = make_plan(study, rest, config_dir)
    found = estimate(made, speed, time, processes)
    seeds = lines(read_results(made.study, made.outputs / "runs"))
    if as_json:
        return answer("plan", {**found.answer(), "seeds_needed": seeds})
    console().print(shown(found))
    print(*seeds, sep="\n", end="\n" * bool(seeds))


app.command()(cli_jobs.status)
app.command()(cli_jobs.cancel)
app.command()(cli_jobs.logs)
app.command()(cli_jobs.report)
app.command()(cli_again.reproduce)
app.command()(cli_again.compare)
app.command()(cli_again.export)
app.command(name="list")(cli_look.show_list)
app.command()(cli_look.doctor)
app.command()(cli_look.serve)
app.command()(cli_tools.convert)
app.command(name="bench")(cli_tools.show_bench)
data_app.command(name="check")(cli_tools.check_data)
data_app.command(name="show")(cli_tools.show_data)
new_app.command(name="study")(cli_tools.new_study)


def main() -> None:
    """Runs the command line; bad input ends with one line and exit code 2, a failure with 1."""
    be_lenient()
    code = _ended()
    if lost := lost_output():
        say(lost)
        code = code or 1
    if code:
        raise SystemExit(code)


def _ended() -> int:
    """Runs the command line and returns its exit code, what went wrong said in one line."""
    try:
        check_alone(sys.argv[1:])
        app()
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        return end.code or 0
    except ValueError as error:
        say(str(error))
        return 2
    except (RuntimeError, OSError) as error:
        say(str(error) if _is_somewhere() else "the current folder does not exist any more")
        return 1
    except Exception as error:  # of a library, or a fault of ours
        if TRACEBACK in os.environ:
            raise
        *_, last = traceback.extract_tb(error.__traceback__)
        where = f"{last.filename}:{last.lineno}"
        what = one_line(f"{type(error).__name__}: {error}")
        say(f"{what} (at {where}; with {TRACEBACK}=1 in the environment all of it is shown)")
        return 1
    return 0


def _is_somewhere() -> bool:
    """Returns whether the current folder exists."""
    try:
        return bool(os.getcwd())
    except FileNotFoundError:
        return False


def _train_one(config: object) -> None:
    """Trains one config and prints what came of it; Hydra calls it for each job."""
    from vitcli.config import RunConfig
    from vitcli.runner import run

    assert isinstance(config, RunConfig)
    try:
        outcome = run(config)
    except KeyboardInterrupt as stopped:
        say(f"{str(stopped) or 'stopped'}; the same command resumes it")
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
