"""The only assembler: a config in, a folder with weights and a result out."""

from __future__ import annotations

import copy
import logging
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vitcli import perf
from vitcli.analysis.settled import MOVED
from vitcli.checkpoint import save_weights
from vitcli.config import RunConfig, num_steps
from vitcli.data import build_data
from vitcli.environment import environment
from vitcli.evals import Evaluator, build_evals, measure, said_by
from vitcli.evals.classification import OF_BOTH, Classification
from vitcli.files import check_writable, read_record, sweep, write_record
from vitcli.frozen import check_frozen, write_config
from vitcli.identity import run_id
from vitcli.models import build_model
from vitcli.optim import all_warmup
from vitcli.progress import progress
from vitcli.status import Status, drop_state, only_one, read_status, settle
from vitcli.step import NotCompiled, compiles
from vitcli.stops import Interrupted, StopSignal, stop_signal
from vitcli.trackers import check_installed
from vitcli.trackers.follow import Follower, follow
from vitcli.trainer import Trainer, find_device, use_threads
from vitcli.transfer import pick_lr, transferred
from vitcli.world import World, check_processes, join

_log = logging.getLogger(__name__)


class RunFailed(RuntimeError):
    """The run ended with an error; its status holds the traceback."""


@dataclass(frozen=True)
class Outcome:
    """A finished run: where it is, what it gave, and whether this call trained it."""

    folder: Path
    result: dict[str, Any]
    trained: bool


def run(config: RunConfig, quiet: bool = False) -> Outcome:
    """Trains and evaluates what `config` describes, or returns the result it has already.

    Raises:
        ValueError: the config cannot be built; nothing was written.
        RunFailed: training or evaluation failed; the folder says where and why.
        status.Busy: another process trains this very run.
        stops.Interrupted: a signal came; the same call resumes it.
    """
    source = config.finetune.source
    if source is not None and config.finetune.weights is None:
        raise ValueError(f"finetune.source={source}: use `vitcli finetune {source}` instead")
    folder = Path(config.outputs) / "runs" / run_id(config)
    check_installed(config.tracker)
    device = find_device(config)
    with join(device) as world:
        world.check_same(folder.name)
        check_processes(config, world.size)
        done = world.agree(lambda: _finished(folder, config))
        if done is not None:
            if world.first:
                settle(folder)
            return Outcome(folder, done, trained=False)
        return _run(config, folder, world, world.device(device), quiet or not world.first)


def _finished(folder: Path, config: RunConfig) -> dict[str, Any] | None:
    """Returns the run's result, None if there is none. Raises ValueError: its config was edited."""
    check_frozen(folder, config)
    path = folder / "result.json"
    return read_record(path) if path.exists() else None


def _run(
    config: RunConfig, folder: Path, world: World, device: torch.device, quiet: bool
) -> Outcome:
    """Trains and evaluates; of several processes the first one writes the files."""
    check_writable(config.outputs)
    use_threads(config)
    torch.manual_seed(config.seed)
    data = world.in_turn(lambda: build_data(config.data, device))
    fresh, transfer = _fresh(config, data.num_classes, device)
    model = fresh()
    evaluators = build_evals(config, data, device)
    with only_one(folder) if world.first else nullcontext(), stop_signal() as stop:
        # Another process may have ended the run while the data were read here.
        if (done := world.agree(lambda: _finished(folder, config))) is not None:
            return Outcome(folder, done, trained=False)
        before = read_status(folder).get("train_seconds", 0.0)
        steps = num_steps(config, data.train_size)
        if world.first:
            sweep(folder)
            write_config(folder, config)  # a study's may have other workers
            write_record(folder / "env.json", environment(config, device, steps, world.size))
        status, say = Status(folder, silent=not world.first), _silent if quiet else print
        with status.running(), _told(status, folder), world.watched():
            search, tuned, began = None, config, time.perf_counter()
            if config.finetune.lr_grid:
                with stop.waits():
                    search = pick_lr(config, data, fresh, folder, stop, say, world)
                tuned = replace(config, recipe=replace(config.recipe, lr=search["lr"]))
            references = measure(evaluators, lambda e: e.references(model), folder.name, quiet)
            _announce(tuned, steps, device, world.size, say)
            trainer = Trainer(tuned, model, data, folder, world)
            said = trainer.resume()
            if said is not None:
                status.note(note=said)
                say(said)
            earlier = before if trainer.step else 0.0
            with _followed(trainer) as follower:
                seconds = _train(trainer, status, earlier, quiet, stop, follower)
                result = _result(trainer, evaluators, references, quiet)
                result["notes"] = [*(transfer or []), *result["notes"]]
                wall = earlier + time.perf_counter() - began
                result |= {"train_s": seconds, "wall_s": wall}
                result |= {"transfer": transfer, "lr_grid": search}
                result |= {} if said is None else {"note": said}
                trained = trainer.trained
                if world.first:
                    save_weights(folder, trained, config, data.class_names())
                    write_record(folder / "result.json", result, durable=True)
                    drop_state(folder)
                if follower is not None:
                    follower.end("done", result["metrics"])
    return Outcome(folder, result, trained=True)


def _announce(
    config: RunConfig, steps: int, device: torch.device, processes: int, say: Callable[[str], None]
) -> None:
    """Says what a user would wonder about before the first step."""
    if processes > 1:
        say(f"{processes} processes, {config.parallel}")
        if config.recipe.dropout > 0:
            say(f"recipe.dropout: {processes} processes draw other masks than one process")
    for line in all_warmup(steps, config.recipe):
        say(line)
    if compiles(config, steps, device):
        say(
            "compiling the step: up to a minute, once for each model and batch size "
            "(compile=off: not compiled)"
        )


def _silent(line: str) -> None:
    """Says nothing: a study's board speaks for its runs."""


def _fresh(
    config: RunConfig, num_classes: int, device: torch.device
) -> tuple[Callable[[], nn.Module], list[str] | None]:
    """Returns what makes the untrained model, and what is to be said of its origin."""
    img_size = config.data.height_width
    if config.finetune.source is None:
        return lambda: build_model(config, img_size, num_classes).to(device), None
    source, said = transferred(config, num_classes)
    return lambda: copy.deepcopy(source).to(device), said


@contextmanager
def _followed(trainer: Trainer) -> Iterator[Follower | None]:
    """Gives what tells the run's tracker of it, in the first process; ends it if the block fails.

    A block that succeeds has ended it.
    """
    follower = None
    if trainer.world.first:
        follower = follow(trainer.config, trainer.folder, trainer.step, _log.warning)
    try:
        yield follower
    except BaseException as error:
        if follower is not None:
            stopped = isinstance(error, KeyboardInterrupt | SystemExit)
            follower.end("interrupted" if stopped else "failed")
        raise


def _train(
    trainer: Trainer,
    status: Status,
    before: float,
    quiet: bool,
    stop: StopSignal,
    follower: Follower | None,
) -> float:
    """Returns the seconds spent in training, `before` this call included."""
    status.update(step=trainer.step, num_steps=trainer.num_steps, train_seconds=before)
    name = trainer.folder.name
    shown = nullcontext() if quiet else progress(name, trainer.step, trainer.num_steps)
    began = time.perf_counter()
    with shown as show:

        def observe(record: dict[str, Any]) -> None:
            if not (trainer.folder / "config.yaml").exists():
                raise RunFailed(f"{trainer.folder} was removed while the run was going on")
            status.note(**record, train_seconds=before + time.perf_counter() - began)
            if show is not None:
                show(record)
            if follower is not None:
                follower.send(record)

        with stop.waits():
            try:
                trainer.train(observe, stop)
            except NotCompiled:
                if stop():  # the compiler catches a signal
                    raise Interrupted("stopped while the step was compiled") from None
                raise
    return before + time.perf_counter() - began


def _result(
    trainer: Trainer, evaluators: list[Evaluator], references: dict[str, float], quiet: bool
) -> dict[str, Any]:
    """Evaluates the trained model and returns what there is to know of it."""
    config, device = trainer.config, trainer.device
    metrics = measure(evaluators, lambda e: e.run(trainer.trained), trainer.folder.name, quiet)
    looks, last = trainer.looks, metrics
    if looks.best is not None:
        if looks.best_step < trainer.num_steps:
            last = dict(Classification(trainer.data, device).run(trainer.last))
        metrics |= {f"last/{name}": last[name] for name in OF_BOTH}
    if looks.late is not None:
        metrics[MOVED] = last["val/top1"] - looks.late
    size, classes = config.data.height_width, trainer.data.num_classes
    parameters, macs = perf.count(config, size, classes)
    images = trainer.num_steps * config.train.batch_size
    return {
        "run_id": trainer.folder.name,
        "metrics": metrics | references,
        "evals": [evaluator.protocol() for evaluator in evaluators],
        "params": parameters,
        # The paper's rule, forward and backward; of this training, without trials of rates.
        "train_flops": 6.0 * macs * images,
        "steps": trainer.num_steps,
        "kept_step": trainer.num_steps if looks.best is None else looks.best_step,
        "classes": trainer.data.class_names(),
        "notes": [*_notes(trainer), *said_by(evaluators)],
        "left_out_steps": trainer.losses.left_out,
        "micro_batch": trainer.gradients.micro_batch,
        "images": images,
        "skipped": trainer.data.skipped(),
        "env": environment(config, device, trainer.num_steps, trainer.world.size),
    }


def _notes(trainer: Trainer) -> list[str]:
    """Returns what was left out, assumed or converted, a line each."""
    notes = trainer.data.said() + all_warmup(trainer.num_steps, trainer.config.recipe)
    if trainer.losses.left_out:
        notes.append(f"{trainer.losses.left_out} steps without a finite loss were left out")
    return notes


@contextmanager
def _told(status: Status, folder: Path) -> Iterator[None]:
    """Writes how the block ended."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        ended = (folder / "result.json").exists()  # while its tracker was waited for
        status.update(state="done" if ended else "interrupted")
        raise
    except RunFailed:  # there is no folder to say it in
        raise
    except Exception as error:
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        status.update(state="failed", error=line, traceback=traceback.format_exc())
        where = f" (traceback in {folder / 'status.json'})" if status.writes else ""
        raise RunFailed(f"{line}{where}") from error
    status.update(state="done")
