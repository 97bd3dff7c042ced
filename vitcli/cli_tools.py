"""The commands beside studies: data sets, checkpoints, speed. Each imports what it needs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitcli.cli_options import Json, Overrides, Source, expanded
from vitcli.output import answer, console

if TYPE_CHECKING:
    from vitcli.config import RunConfig


def check_data(overrides: Overrides = None, as_json: Json = False) -> None:
    """Read every image of a data set: classes, broken files, modes, sizes, what is there twice."""
    from vitcli.data.inspect import check, print_checked

    checked = check(_of_data(overrides).data)
    if as_json:
        answer("data check", vars(checked))
    else:
        print_checked(checked, console())
    if checked.bad:
        raise typer.Exit(1)


def show_data(
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(callback=expanded, help="The PNG to write.")] = Path(
        "sheet.png"
    ),
) -> None:
    """Write a contact sheet: images as the model sees them, augmented, then as in validation."""
    from vitcli.data.inspect import show

    if out.suffix.lower() != ".png":
        raise ValueError(f"--out {out}: a PNG is written, give a name that ends in .png")
    show(_of_data(overrides), out)
    print(out)


def _of_data(overrides: list[str] | None) -> RunConfig:
    """Returns the config whose data are looked at; no model need fit them. Raises ValueError."""
    from vitcli.compose import compose
    from vitcli.rules import validate_data, validate_fields

    config = compose(overrides or [], check=validate_fields)
    validate_data(config)
    return config


def convert(
    source: Source,
    target: Annotated[
        Path,
        typer.Argument(help="x.npz: Google's; x: Hugging Face's; x.safetensors: ours, timm's."),
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="What names do not say: model.num_heads=8 ...")
    ] = None,
) -> None:
    """Convert a checkpoint: Google's, timm's, Hugging Face's or ours."""
    from vitcli.models.convert import describe, read, write

    checkpoint = read(source, overrides or [])
    for word, text in describe(checkpoint):
        print(f"{word:10} {text}")
    how = write(checkpoint, target)
    print(f"{'wrote':10} {target}\n{'load with':10} {how}")


def show_bench(
    what: Annotated[str, typer.Argument(help="train, or data; all without it.")] = "",
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Time training steps and data loaders beside timm's. All, or `train model=micro ...`."""
    from vitcli import bench, bench_data

    if what not in ("", "train", "data"):
        raise ValueError(f"bench {what}: choose from train, data")
    if any(word.startswith("compile=") for word in overrides or []):
        raise ValueError("compile=: bench times a step both compiled and not")
    if what == "data" and overrides:
        raise ValueError("bench data: takes no settings")
    found = dict[str, dict[str, dict[str, float]]]()
    if what != "data":
        shapes = {" ".join(overrides): overrides} if overrides else bench.SHAPES
        found["train"] = {name: bench.bench_step(name, words) for name, words in shapes.items()}
        if not as_json:
            bench.show(found["train"], console())
    if what != "train":
        found["data"] = bench_data.bench_data()
        if not as_json:
            bench_data.show(found["data"], console())
    if as_json:
        answer("bench", found)


def new_study(
    name: Annotated[str, typer.Argument(help="The study's name, such as my-depth.")],
    config_dir: Annotated[Path, typer.Option(callback=expanded, help="Your own configs.")] = Path(
        "my_conf"
    ),
) -> None:
    """Write a study of your own, small and commented. It runs as it is."""
    from vitcli.study.new import write_study

    print(write_study(name, config_dir))
    print(f"run it with `vitcli ablate {name} --config-dir {shlex.quote(str(config_dir))}`")
