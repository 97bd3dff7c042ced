"""The commands on runs that are there: again, beside one another, elsewhere."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from vitcli import complete
from vitcli.cli_jobs import say, stoppable
from vitcli.cli_options import Outputs, Planned, expanded
from vitcli.output import console, plural

if TYPE_CHECKING:
    from vitcli.reproduce import Again

Run = Annotated[str, typer.Argument(help="A run's folder.", autocompletion=complete.sources)]


def reproduce(
    what: Annotated[
        str,
        typer.Argument(
            help="A run's folder; a study, its folder, or what `vitcli export` wrote.",
            autocompletion=complete.sources,
        ),
    ],
    outputs: Outputs = Path("outputs"),
) -> None:
    """Train finished runs again, and say if the same came out. Exit code 1: it did not."""
    from vitcli.reproduce import again, compared

    folder = Path(what).absolute()  # whose name is the run's, also of `.`
    if (folder / "config.yaml").exists():
        from vitcli.runner import run

        config = again(folder, outputs / "reproduced")
        with stoppable("the same command resumes it"):
            new = run(config).folder
        words = [_say(compared(folder, new))]
    else:
        words = _study_again(what, outputs)
    if "not equal" in words:
        raise typer.Exit(1)


def _study_again(what: str, outputs: Path) -> list[str]:
    """Trains the study's runs again and returns a word for each."""
    from vitcli.reproduce import compared, plan_again
    from vitcli.study.board import watch
    from vitcli.study.launch import check, launch, missing
    from vitcli.study.plan import freeze

    folder = _study(what, outputs)
    runs_dir = folder.parent.parent / "runs"
    plan = plan_again(folder, runs_dir)
    check(plan)
    freeze(plan)
    with stoppable("the same command resumes it"), watch(plan.folder):
        finished = launch(plan)
    if not finished:
        say(f"stopped; the same command resumes it ({len(missing(plan))} runs left)")
        raise typer.Exit(130)
    if left := missing(plan):
        raise RuntimeError(
            f"{len(left)} runs failed: `vitcli status {plan.folder.name} --outputs "
            f"{plan.outputs}` says why"
        )
    words = [_say(compared(runs_dir / run, plan.outputs / "runs" / run)) for run in plan.configs]
    counts = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
    print(f"{len(words)} runs: {counts}")
    return words


def _study(what: str, outputs: Path) -> Path:
    """Returns the folder of a study that is named, or whose folder or archive is given."""
    from vitcli.study.archive import unpack
    from vitcli.study.plan import newest

    path = Path(what)
    if path.is_file():
        return unpack(path, outputs)
    for folder in (path, path.parent):
        if (folder / "plan.json").exists() and folder.parent.name == "studies":
            return folder.absolute()
    return newest(what, outputs)


def _say(found: Again) -> str:
    """Prints how a run compares, and returns the word."""
    print(f"{found.word}: {found.run}")
    for what, then, now in found.changed:
        print(f"  {what}: {then}, now {now}")
    for name, (then, now) in found.differing.items():
        line = f"  {name}: {then:.6g}, now {now:.6g}"
        if name in found.outside:
            low, high = found.outside[name]
            line += f"; its seeds say {low:.4g} to {high:.4g}"
        elif name in found.unknown:
            line += "; fewer than three seeds are here to compare with"
        print(line)
    if not found.same_log:
        print("  the logged losses differ")
    return found.word


def compare(first: Run, second: Run, outputs: Outputs = Path("outputs")) -> None:
    """Show two runs side by side. Settings, metrics with intervals over their seeds, losses."""
    from vitcli.compare import draw_losses, shown

    for run in (first, second):
        if not (Path(run) / "result.json").exists():
            raise ValueError(f"{run}: not the folder of a finished run")
    a, b = Path(first).absolute(), Path(second).absolute()
    console(whole_lines=True).print(shown(a, b))
    print(draw_losses(a, b, outputs))


def export(
    study: Planned,
    outputs: Outputs = Path("outputs"),
    out: Annotated[
        Path | None,
        typer.Option(callback=expanded, help="The archive to write; else NAME.tar.gz here."),
    ] = None,
) -> None:
    """Write a study into one file, to be opened elsewhere. Its runs are in it without weights."""
    from vitcli.study.archive import export as write_archive
    from vitcli.study.plan import newest, read_plan

    folder = newest(study, outputs)
    target = out or Path()
    if target.is_dir():
        target /= f"{folder.name}.tar.gz"
    if not target.name.endswith((".tar.gz", ".tgz")):
        raise ValueError(f"--out {out}: a name that ends in .tar.gz or .tgz, or a folder")
    count = write_archive(folder, outputs / "runs", target)
    left = len(read_plan(folder).run_ids) - count
    without = f" ({plural(left, 'run')} without a result left out)" if left else ""
    opens = f"`vitcli report {quote(str(target))}` opens it elsewhere"
    print(f"{target}: {plural(count, 'run')}{without}; {opens}")
