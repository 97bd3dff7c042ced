"""`vitcli list`: what conf/ offers, a row each. No torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vitcli.catalog import about, groups, options, studies
from vitcli.compose import compose
from vitcli.config import DataConfig, RunConfig, TrainConfig
from vitcli.files import conf_dir
from vitcli.perf import count, num_tokens
from vitcli.rules import validate_fields
from vitcli.sets import sizes
from vitcli.settings import walk
from vitcli.with_hydra import read_yaml

Value = str | int | float | None  # None: the images tell, or there is no such thing
Rows = Iterator[tuple[Value, ...]]
_KINDS = {"vit": "ViT", "resnet": "BiT"}
_SMALL_PATCH = 8  # pixels; a ViT with smaller patches is for small images


@dataclass(frozen=True)
class Kind:
    """What can be listed.

    Attributes:
        about: what there is to see, in a few words.
        headings: of the columns; those that begin with `#` are numbers.
        unknown: what stands for a number that is not known.
        gap: spaces between columns.
        rows: yields each as soon as it is known, given a user's own configs.
        notes: returns what is said below the table.
    """

    about: str
    headings: tuple[str, ...]
    rows: Callable[[Path | None], Rows]
    notes: Callable[[], str]
    unknown: str = ""
    gap: int = 2

    def shown(self, row: tuple[Value, ...]) -> list[str]:
        """Returns a row as it is printed."""
        return [_shown(value, self.unknown) for value in row]

    def answer(self, config_dir: Path | None) -> list[dict[str, Value]]:
        """Returns the rows for programs, by their headings."""
        keys = [heading.lstrip("#") for heading in self.headings]
        return [dict(zip(keys, row, strict=True)) for row in self.rows(config_dir)]


def _shown(value: Value, unknown: str) -> str:
    if value is None:
        return unknown
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3g}" if isinstance(value, float) else value


def _models(config_dir: Path | None) -> Rows:
    usual = {scale: _images_of(scale) for scale in ("laptop", "paper")}
    for name, path in options("model", config_dir).items():
        config = config_of("model", name, path, config_dir)
        model, family = config.model, config.model.family
        small = model.root == "small" if family == "resnet" else model.patch_size < _SMALL_PATCH
        data = usual["laptop" if small else "paper"]
        parameters, macs = count(config, data.height_width, data.num_classes or 2)
        height, patch = data.height_width[0], model.patch_size
        tokens = num_tokens(model, data.height_width)
        shape: list[Value] = [None] * 6  # of a family of another package
        if family == "vit":
            shape = [model.depth, model.embed_dim, model.mlp_dim, model.num_heads, patch, tokens]
        elif family == "resnet":  # ResNet-50's 50: three convolutions a unit, the first, the head
            shape = [3 * sum(model.layers) + 2, model.width, None, None, None, None]
        yield name, _KINDS.get(family, family), *shape, height, parameters, 6.0 * macs


def _notes_on_models() -> str:
    heads = " and ".join(
        f"{data.num_classes:,} classes at {data.height_width[0]} pixels"
        for data in map(_images_of, ("laptop", "paper"))
    )
    return (
        f"parameters with a head for {heads}; FLOPs: of training on one image, six times its "
        "multiply-adds. A BiT's width is the channels of its first convolution. "
        f"Hybrids: stem={', '.join(n for n in options('stem') if n != 'patch')} before a "
        f"ViT, or experiment={', '.join(options('experiment'))}"
    )


def _images_of(scale: str) -> DataConfig:
    """Returns the data that a scale trains on, as its file and the data's own have them."""
    chosen: dict[str, Any] = {}
    for choice in read_yaml(options("scale")[scale], ours=True)["defaults"]:
        chosen |= choice
    name = chosen["override /data"]
    return config_of("data", name, options("data")[name]).data


def _studies(config_dir: Path | None) -> Rows:
    from vitcli.study.estimate import cost
    from vitcli.study.plan import make_plan

    for name in studies(config_dir):
        plan = make_plan(name, (), config_dir)
        flops = sum(cost(config).flops for config in plan.configs.values())
        yield name, plan.study.title, plan.study.paper.where, len(plan.configs), flops


def _data(config_dir: Path | None) -> Rows:
    for name, path in options("data", config_dir).items():
        data = config_of("data", name, path, config_dir).data
        pixels = "x".join(str(side) for side in dict.fromkeys(data.height_width))
        yield name, *sizes(data), pixels, data.num_classes, about(path)


def _recipes(config_dir: Path | None) -> Rows:
    for name, path in options("recipe", config_dir).items():
        config = config_of("recipe", name, path, config_dir)
        recipe = config.recipe
        yield (
            name, recipe.optimizer, recipe.lr, recipe.schedule, recipe.weight_decay,
            recipe.dropout, _length(config.train), config.train.batch_size, about(path),
        )  # fmt: skip


def _length(train: TrainConfig) -> str:
    given = {"steps": train.steps, "epochs": train.epochs, "images": train.images}
    return ", ".join(f"{value:,} {unit}" for unit, value in given.items() if value is not None)


def _claims(config_dir: Path | None) -> Rows:
    from vitcli.study.file import read_study

    for name in studies(config_dir):
        for claim in read_study(name, config_dir)[0].claims:
            yield name, claim.id, claim.where, claim.statement


def _settings(config_dir: Path | None) -> Rows:
    for each in walk(compose((), config_dir)):
        value = each.value if isinstance(each.value, str) else json.dumps(each.value)
        yield each.key, value, each.kind, each.meaning


def title(path: Path) -> str:
    """Returns a study's title, without one what its comment says. Raises ValueError: no YAML."""
    written = read_yaml(path, ours=True)
    given = written.get("title") if isinstance(written, dict) else None
    return str(given) if given else about(path)


def config_of(group: str, option: str, path: Path, config_dir: Path | None = None) -> RunConfig:
    """Returns a config in which what an option sets is set; of the rest, read nothing.

    Our own files are read as they are, without Hydra, which takes 0.1 s for each; a user's may
    build on others, and is composed. Lists of a group within a group (data.augment) are left out.

    Raises:
        ValueError: a user's file that cannot be read.
    """
    if path.parent.parent != conf_dir():
        return compose([f"{group}={option}"], config_dir, check=validate_fields)
    written: dict[str, Any] = read_yaml(path, ours=True)
    parts = written if "recipe" in written else {group: written}
    config = RunConfig()
    for part, values in parts.items():
        plain = {key: v for key, v in values.items() if key != "defaults" and type(v) is not dict}
        setattr(config, part, replace(getattr(config, part), **plain))
    return config


def in_brief(config_dir: Path | None) -> Iterator[str]:
    """Yields a line for each study once it is counted: name, title, runs and FLOPs of all runs."""
    known = {name: title(path) for name, path in studies(config_dir).items()}
    widths = max(map(len, known)), max(map(len, known.values()))
    for name, said, _, runs, flops in _studies(config_dir):
        yield f"{name:{widths[0]}}  {said:{widths[1]}} {runs:>3} runs {flops:.1e}"


KINDS = {
    "models": Kind(
        "depth, width, parameters, tokens, FLOPs",
        (
            "model", "kind", "#depth", "#width", "#MLP", "#heads", "#patch", "#tokens",
            "#pixels", "#parameters", "#FLOPs",
        ),
        _models,
        _notes_on_models,
        gap=1,  # a terminal has 80
    ),
    "studies": Kind(
        "what each asks, its runs and FLOPs: some seconds",
        ("study", "title", "paper", "#runs", "#FLOPs"),
        _studies,
        lambda: (
            "at laptop scale, evaluations included; `vitcli plan STUDY --time` says how long that "
            "takes here, `vitcli plan STUDY scale=paper` what it costs there"
        ),
    ),
    "data": Kind(
        "images, pixels, classes, where they are from",
        ("data", "#training", "#validation", "#pixels", "#classes", "about"),
        _data,
        lambda: "?: the images tell; `vitcli data check data=NAME` reads them",
        unknown="?",
    ),
    "recipes": Kind(
        "optimizer, rate, schedule, weight decay, where they are from",
        (
            "recipe", "optimizer", "#rate", "schedule", "#decay", "#dropout", "#length", "#batch",
            "about",
        ),
        _recipes,
        lambda: (
            "each is recipe=NAME; rates of other models at laptop scale: "
            f"{', '.join(options('tuned'))}"
        ),
    ),
    "claims": Kind(
        "the paper's statements that studies judge, and where they are in it",
        ("study", "claim", "paper", "statement"),
        _claims,
        lambda: "`vitcli ablate STUDY` judges them",
    ),
    "settings": Kind(
        "what each setting of a run means, and can be",
        ("setting", "default", "values", "meaning"),
        _settings,
        lambda: (
            "default: of `vitcli train`; each is KEY=VALUE. Options of a group, as in model=b, set "
            f"several at once ({', '.join(groups())}): `vitcli train model=b --cfg job` shows them"
        ),
    ),
}  # fmt: skip
