"""The commands that look at what there is: conf/ and this machine. Each imports what it needs."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from vitcli import complete
from vitcli.cli_options import ConfigDir, Json, Outputs
from vitcli.output import answer, console


def show_list(
    what: Annotated[
        str,
        typer.Argument(
            help="models, studies, data, recipes, claims or settings.",
            autocompletion=complete.kinds,
        ),
    ] = "",
    config_dir: ConfigDir = None,
    as_json: Json = False,
) -> None:
    """List models, studies, data, recipes, claims or settings."""
    from rich.live import Live
    from rich.table import Table

    from vitcli.choices import nearest
    from vitcli.listing import KINDS
    from vitcli.with_hydra import check_config_dir

    if as_json and not what:
        raise ValueError(f"list --json: of what? Choose from {', '.join(KINDS)}")
    if not what:
        for name, kind in KINDS.items():
            print(f"vitcli list {name:8}   {kind.about}")
        return
    if what not in KINDS:
        raise ValueError(f"list {what}: choose from {', '.join(KINDS)}{nearest(what, KINDS)}")
    check_config_dir(config_dir)
    kind, shown = KINDS[what], console(whole_lines=True)
    if as_json:
        return answer("list", {what: kind.answer(config_dir)})
    table = Table(box=None, pad_edge=False, padding=(0, kind.gap, 0, 0))
    for heading in kind.headings:
        number = heading.startswith("#")
        table.add_column(heading.lstrip("#"), justify="right" if number else "left")
    with Live(table, console=console(), transient=True):  # studies take seconds
        for row in kind.rows(config_dir):
            table.add_row(*kind.shown(row))
    shown.print(table)
    print(f"\n{kind.notes()}")


def doctor(outputs: Outputs = Path("outputs"), as_json: Json = False) -> None:
    """Check this machine, and say what to do. Exit code 1: nothing can run here."""
    from vitcli.doctor import CHECKS

    found = [check(outputs) for check in CHECKS]
    if as_json:
        answer("doctor", {"checks": found})
    for each in found if not as_json else ():
        print(f"{'look' if each.todo else 'ok':4}  {each.name:9}  {each.says}")
        if each.todo:
            print(f"{'':17}-> {each.todo}")
    if any(each.stops for each in found):
        raise typer.Exit(1)


def serve(
    outputs: Annotated[Path, typer.Argument(help="Where runs and studies are kept.")] = Path(
        "outputs"
    ),
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port on this machine; 0: any that is free.")
    ] = 8000,
) -> None:
    """Show runs and studies in a browser, also while they run. For this machine, read-only."""
    from vitcli.serve.server import listen

    with suppress(KeyboardInterrupt), listen(outputs, port) as server:
        print(f"http://127.0.0.1:{server.server_port}/ shows {outputs}; Ctrl-C ends it", flush=True)
        server.serve_forever()


def which_study(command: str, config_dir: Path | None) -> None:
    """Prints the studies there are, a line each. Raises ValueError: one is to be named."""
    from vitcli.listing import in_brief
    from vitcli.with_hydra import check_config_dir

    check_config_dir(config_dir)
    for line in in_brief(config_dir):
        print(line, flush=True)
    print(
        "\nthe last number: FLOPs at laptop scale; `vitcli plan STUDY --time`: how long that takes"
    )
    raise ValueError(f"{command}: which study? For instance `vitcli {command} pos-emb`")
