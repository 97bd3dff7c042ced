"""How a study's numbers were made: data, recipe, seeds, machines, cost. From files alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitcli.report.collect import Study
from vitcli.report.runs import Run

_RECIPE = ("recipe.", "train.", "finetune.")
_NOT_SETTINGS = ("seed", "outputs", "finetune.source", "finetune.weights")
_UNSET = ("None", "[]")


@dataclass(frozen=True)
class Totals:
    """Sums over runs."""

    runs: int
    done: int
    wall_s: float
    train_flops: float
    params: tuple[int, int] | None  # smallest and largest model; None: no run has finished
    environments: tuple[tuple[Mapping[str, str], int], ...]  # each with its number of runs


def totals(runs: list[Run]) -> Totals:
    """Returns the sums over these runs."""
    params = [run.params for run in runs if run.params is not None]
    environments = Counter(tuple(sorted(run.env.items())) for run in runs if run.env)
    return Totals(
        runs=len(runs),
        done=sum(run.state == "done" for run in runs),
        wall_s=sum(run.wall_s or 0.0 for run in runs),
        train_flops=sum(run.train_flops or 0.0 for run in runs),
        params=(min(params), max(params)) if params else None,
        environments=tuple((dict(env), count) for env, count in environments.most_common()),
    )


def methods(study: Study, runs_dir: Path) -> list[tuple[str, str]]:
    """Returns what was done, as terms and plain sentences."""
    seeds = ", ".join(str(seed) for seed in study.seeds)
    lines = [
        ("Setting", study.setting),
        ("Scale", f"{study.scale}; overrides: {', '.join(study.overrides) or 'none'}"),
        ("Metric", f"{study.metric} ({study.metric_label})"),
        (
            "Seeds",
            f"{seeds}; one training each, the same seeds in every cell, so that differences are "
            "taken seed by seed",
        ),
        *_of_runs(study.runs, runs_dir, ""),
    ]
    if study.sources:
        lines += _of_runs([run for run, _ in study.sources], runs_dir, " of the sources")
    return lines


def duration(seconds: float) -> str:
    """Returns `2 h 05 min` or `3 min 20 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _of_runs(runs: list[Run], runs_dir: Path, which: str) -> list[tuple[str, str]]:
    """Returns the recipe, number, cost, size and machines of these runs."""
    same, varied = _settings([runs_dir / run.id / "config.yaml" for run in runs])
    total = totals(runs)
    lines = [
        (f"Recipe{which}", ", ".join(f"{key} {value}" for key, value in same.items())),
        (f"What differs between runs{which}", ", ".join(varied)),
        (f"Runs{which}", f"{total.done} of {total.runs} finished"),
        (
            f"Cost{which}",
            f"{duration(total.wall_s)} of wall time added up over the finished runs, "
            f"{total.train_flops:.3g} training FLOPs ({total.train_flops / 1e18:.3g} exaFLOPs)",
        ),
    ]
    if total.params:
        smallest, largest = (f"{count:,}" for count in total.params)
        lines.append((f"Parameters{which}", smallest + f" to {largest}" * (smallest != largest)))
    for env, count in total.environments:
        machine = ", ".join(f"{key} {value}" for key, value in env.items())
        runs_word = f"{count} run{'s'[: count - 1]}"
        lines.append((f"Machine and versions{which} ({runs_word})", machine))
    return [(term, text) for term, text in lines if text]


def _settings(configs: list[Path]) -> tuple[dict[str, str], list[str]]:
    """Returns the recipe's settings that all these configs share, and every setting that varies."""
    flat = [_flat(_read(path)) for path in configs if path.exists()]
    if not flat:
        return {}, []
    keys = list(dict.fromkeys(key for config in flat for key in config))
    keys = [key for key in keys if key not in _NOT_SETTINGS]
    varied = [key for key in keys if len({config.get(key) for config in flat}) > 1]
    recipe = _RECIPE if flat[0].get("finetune.source", "None") != "None" else _RECIPE[:2]
    shared = [key for key in keys if key.startswith(recipe) and key not in varied]
    return {key: flat[0][key] for key in shared if flat[0][key] not in _UNSET}, varied


def _read(path: Path) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(OmegaConf.load(path))


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Returns the settings by dotted key, in order."""
    found: dict[str, str] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        found |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: str(value)}
    return found
