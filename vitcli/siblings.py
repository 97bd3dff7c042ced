"""The runs beside a run that differ from it in the seed alone. No torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vitcli.config import RunConfig
from vitcli.frozen import read_config, read_own
from vitcli.identity import run_id
from vitcli.records import Run, read_run

Seeds = tuple[int, int]  # a run's, and its data's


def siblings(folder: Path) -> dict[Seeds, Run]:
    """Returns by its seeds the run and those that differ from it in these alone.

    Seeds draw the data anew or keep them: the kind with more runs is returned.

    Raises:
        ValueError: its config.yaml is damaged, or was edited, to be another run's.
    """
    return max(both_kinds(folder), key=len)


def both_kinds(folder: Path) -> tuple[dict[Seeds, Run], dict[Seeds, Run]]:
    """Returns the runs whose data were drawn anew with each seed, and those of the same data.

    A study's seed draws the data anew, and that of a source; `vitcli train seed=1` does not. Runs
    of the one kind are not mixed with runs of the other; the run itself is in both.

    Raises:
        ValueError: its config.yaml is damaged, or was edited, to be another run's.
    """
    runs, own = folder.parent, read_own(folder)
    start = folder.name.partition("-from-")[0] if own.finetune.weights else _named(folder)
    drawn: dict[Seeds, Run] = {}
    same: dict[Seeds, Run] = {}
    for other in sorted(runs.glob(f"{start}*")):
        try:
            its = read_own(other)
            if _seedless(its, runs) == _seedless(own, runs):
                seeds = its.seed, its.data.seed
                if its.data.seed - its.seed == own.data.seed - own.seed:
                    drawn[seeds] = read_run(other.name, runs)
                if its.data.seed == own.data.seed:
                    same[seeds] = read_run(other.name, runs)
        except (ValueError, OSError):  # damaged, edited, or no run
            continue
    its_own = {(own.seed, own.data.seed): read_run(folder.name, runs)}
    return drawn | its_own, same | its_own


def _named(folder: Path) -> str:
    """Returns the name up to its seed: what follows has no s, it is hexadecimal."""
    return folder.name.rpartition("-s")[0] + "-s"


def _seedless(config: RunConfig, runs: Path) -> str:
    """Returns the name of the run that the config is with seed 0, as is its source."""
    weights = config.finetune.weights
    if weights is not None and (runs / weights / "config.yaml").exists():
        weights = _seedless(read_config(runs / weights / "config.yaml"), runs)
    finetune = replace(config.finetune, source=None, weights=weights)
    data = replace(config.data, seed=0)
    return run_id(replace(config, seed=0, data=data, finetune=finetune))
