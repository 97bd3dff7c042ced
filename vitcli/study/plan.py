"""A study's file + overrides -> a plan whose every run is frozen in its own folder. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vitcli.analysis.check import check_claims
from vitcli.choices import nearest, nearest_key
from vitcli.compose import known_keys
from vitcli.config import RunConfig
from vitcli.files import check_writable, is_name, read_record, write_record
from vitcli.frozen import check_frozen, write_config
from vitcli.notify import KEY as NOTIFY
from vitcli.perf import train_flops
from vitcli.schema import Scale, Study
from vitcli.sets import published
from vitcli.study.cells import Composed, compose_cells, refuse, refuse_alike
from vitcli.study.describe import methods, setting, with_settings
from vitcli.study.file import check_seeds, file_of, key_of, read_study
from vitcli.study.fill import filled, replaced
from vitcli.trackers.follow import keep_group
from vitcli.words import whole_numbers

SETTINGS = ("scale", "seeds")
SPEED = "flops_per_second"  # a setting of `vitcli plan` alone
_MOST_SEEDS = 1000  # of a number of seeds; a larger one is a seed, as 20251130
IN_PLACE = "In place of another metric"  # of the methods
_PLACES = ("outputs=", "tracker=")  # where a study goes: it is the same study elsewhere


@dataclass(frozen=True)
class Plan:
    """A study made concrete: `study` is plan.json, `configs` all runs by id, sources first."""

    folder: Path
    study: Study
    configs: dict[str, RunConfig]

    @property
    def outputs(self) -> Path:
        """Returns the folder of all runs and studies."""
        return self.folder.parent.parent

    @property
    def tracker(self) -> str:
        """Returns who is told of the study's runs, by name; all of them have the same."""
        return next(iter(self.configs.values())).tracker


def make_plan(name: str, overrides: Sequence[str] = (), config_dir: Path | None = None) -> Plan:
    """Returns the plan of a study; writes nothing.

    Args:
        name: `pos-emb` for conf/study/pos_emb.yaml.
        overrides: `scale=`, `seeds=` (a list or a number), and overrides of every cell's config;
            those of the runs that the cells fine-tune are written `source.KEY=VALUE`.
        config_dir: a user's own configs, `study/*.yaml` among them.
    Raises:
        ValueError: unknown study, scale or key; a key that the study itself sets; a metric that
            its runs do not measure, or a claim that cannot be formed of them.
    """
    if bare := [o for o in overrides if o in SETTINGS]:
        raise ValueError(f"{bare[0]}: a setting is written key=value")
    settings = dict(o.split("=", 1) for o in overrides if o.split("=")[0] in SETTINGS)
    rest = [o for o in overrides if o.split("=")[0] not in SETTINGS]
    file, study = read_study(name, config_dir, settings.get("scale", "laptop"))
    if "seeds" in settings:
        study = replace(study, seeds=_seeds(settings["seeds"]))
    _check_keys(rest, config_dir)
    refuse(study, rest)
    added = _untransferred(rest)
    study = _within_the_set(study, rest)
    scale = file.scales[study.scale]
    composed = _composed(study, scale, [*rest, *added], config_dir)
    refuse_alike(study, scale, rest, composed, config_dir)
    _check_together(composed)
    try:
        study = _described(study, composed, [*overrides, *added])
        check_claims(study, _flops(composed))
    except ValueError as error:
        raise ValueError(f"{file_of(name)}: {error}") from None
    outputs = Path(composed.first(study.cells[0]).outputs)
    changes = [o for o in overrides if not o.startswith("scale=")]
    folder = outputs / "studies" / f"{name}-{study.scale}{_digest(changes)}"
    return Plan(folder, study, composed.sources | composed.configs)


def freeze(plan: Plan) -> None:
    """Writes plan.json and the config of each run that has no result yet.

    A config that is there already has the same run id, so it can differ only in what is no part of
    a run's identity (workers, device, checkpoints, ...): that is as the latest command says.

    Raises:
        ValueError: one that is there was edited, to be another run's.
    """
    check_writable(plan.outputs)
    for name, config in plan.configs.items():
        folder = Path(config.outputs) / "runs" / name
        check_frozen(folder, config)
        if not (folder / "result.json").exists():
            write_config(folder, config)
            if config.tracker != "none":
                keep_group(folder, plan.folder.name)
    path, facts = plan.folder / "plan.json", plan.study.to_plan()
    try:
        same = path.exists() and read_record(path) == facts
    except ValueError:
        same = False
    if same:
        path.touch()  # it is the newest plan of its study again
    else:
        write_record(path, facts, durable=True)


def read_plan(folder: Path) -> Study:
    """Returns the study planned in the folder. Raises ValueError, naming the file and the key."""
    return Study.from_plan(folder / "plan.json")


def newest(name: str, outputs: Path) -> Path:
    """Returns the folder of that name, else the newest plan's of that study. Raises ValueError."""
    root = outputs / "studies"
    if is_name(name) and (root / name / "plan.json").exists():
        return root / name
    plans = sorted(root.glob("*/plan.json"), key=lambda path: path.stat().st_mtime)
    for path in reversed(plans):
        try:
            if read_record(path).get("name") == name:
                return path.parent
        except ValueError:  # another study's; its own folder's name was asked for above
            continue
    if Path(name).is_file():
        raise ValueError(f"{name}: an exported file; `vitcli report FILE` opens it first")
    known = [path.parent.name for path in plans]
    are = "there is" if len(known) == 1 else "there are"
    there = f"{are} {', '.join(known)}" if known else f"nothing is planned in {root}"
    raise ValueError(f"no plan of '{name}': {there}{nearest(name, known)}")


def _composed(
    study: Study, scale: Scale, overrides: Sequence[str], config_dir: Path | None
) -> Composed:
    """Returns all runs of the study. Raises ValueError, naming the file if the mistake is its."""
    try:
        return compose_cells(study, scale, overrides, config_dir)
    except ValueError as error:
        why = str(error)
    try:
        compose_cells(study, scale, [], config_dir)
    except ValueError as error:
        if str(error) == why:  # without the user's overrides, too
            why = f"{file_of(study.name)}: {why}"
    raise ValueError(why)


def _check_together(composed: Composed) -> None:
    """Raises ValueError unless all runs go to one place."""
    configs = [*composed.sources.values(), *composed.configs.values()]
    for key in ("outputs", "tracker"):
        if len(there := dict.fromkeys(getattr(config, key) for config in configs)) > 1:
            raise ValueError(f"{key}={', '.join(there)}: the same for all runs of a study")


def _described(study: Study, composed: Composed, overrides: Sequence[str]) -> Study:
    """Returns the study with all that planning fills in."""
    cells = with_settings(composed)
    sources = list(composed.sources.values())
    firsts = [composed.first(cell) for cell in cells]
    found = filled(study, firsts, sources[0] if sources else None, overrides)
    said = methods(composed, cells, study.seeds)
    if in_place := replaced(study, firsts[0]):
        said = {IN_PLACE: in_place, **said}
    return replace(
        found,
        cells=cells,
        overrides=[o for o in overrides if not o.startswith(_PLACES)],
        setting=setting(composed),
        methods=said,
        sources=composed.names,
    )


def _untransferred(overrides: Sequence[str]) -> list[str]:
    """Returns what is added to `data=` of a set that has no other to be transferred to.

    Letters are transferred to digits; photos or clothes are judged by their own validation images,
    unless the user says otherwise. The plan lists it with the user's overrides.
    """
    given = {key_of(override): override.partition("=")[2] for override in overrides}
    alone = not given.get("data", "glyphs").startswith(("glyphs", "digits"))
    asked = "evals" in given or "evals.downstream" in given
    return ["evals.downstream=null"] if alone and not asked else []


def _within_the_set(study: Study, overrides: Sequence[str]) -> Study:
    """Returns the study with a column of more images than the user's set has of all there are.

    Raises:
        ValueError: that would make two columns the same.
    """
    of_source = study.source is not None  # then columns say what the sources are trained on
    key, part = ("source.data", "source") if of_source else ("data", "overrides")
    name = {key_of(o): o.partition("=")[2] for o in overrides}.get(key, "")
    there, columns, said = published(name)[0], dict(study.columns), list[str]()
    if there is None:
        return study
    for column, axis in study.columns.items():
        words: list[str] = getattr(axis, part)
        given = [whole_numbers(o.partition("=")[2]) for o in words if key_of(o) == "data.size"]
        if not given or not given[0].isdecimal() or int(given[0]) < there:
            continue
        if said:
            raise ValueError(
                f"{key}={name}: it has {there:,} training images, and more than one column of "
                f"{study.name} asks for as many or more"
            )
        words = [f"data.size={there}" if key_of(o) == "data.size" else o for o in words]
        columns[column] = replace(axis, label=f"{there:,}", value=there, **{part: words})
        said.append(
            f"{name} has {there:,} training images: all of them stand where the study has "
            f"{axis.label}."
        )
    return replace(study, columns=columns, differences=[*study.differences, *said])


def _flops(composed: Composed) -> dict[str, float]:
    """Returns the training FLOPs of each cell's runs, 1, 2, 3, ... where only the data tell."""
    found: dict[str, float] = {}
    for number, cell in enumerate(composed.cells, 1):
        try:
            found[cell.id] = train_flops(composed.first(cell))[1]
        except ValueError:
            found[cell.id] = float(number)
    return found


def _check_keys(overrides: Sequence[str], config_dir: Path | None) -> None:
    """Raises ValueError for an override of what is no key, naming the nearest that can be set."""
    known = known_keys(config_dir)
    here = [*SETTINGS, SPEED, NOTIFY, *(key for key in known if key != "seed")]
    for override in overrides:
        key = override.split("=")[0].lstrip("+~").removeprefix("source.")
        if key == SPEED:
            raise ValueError(f"{override}: only `vitcli plan` has it, it changes no run")
        if key in SETTINGS:
            before, _, value = override.partition(key)
            raise ValueError(f"{override}: write {key}{value}, without {before}")
        if key == NOTIFY:  # its value may hold a password
            raise ValueError(f"{NOTIFY}: only `vitcli ablate` has it, written {NOTIFY}=...")
        if key.startswith(("hydra.", "hydra/")):
            raise ValueError(f"{override}: only `vitcli ablate` has it, it changes no run")
        if key not in known:
            raise ValueError(f"unknown key '{key}'{nearest_key(key, here)}")


def _seeds(text: str) -> list[int]:
    try:
        value = json.loads(whole_numbers(text))
    except ValueError:
        value = None
    if type(value) is int and value > _MOST_SEEDS:
        raise ValueError(
            f"seeds={text}: so many seeds, {_MOST_SEEDS:,} at most; this seed alone is "
            f"seeds=[{text}]"
        )
    if type(value) is int:
        value = list(range(value))
    if not isinstance(value, list) or not value:
        raise ValueError(
            f"seeds={text}: a number of seeds of at least 1, or a list such as [0,1,2]"
        )
    check_seeds(value)
    return value


def _digest(overrides: list[str]) -> str:
    """Returns `-` and a hash of the user's overrides, places left out; nothing without any.

    Of a key that is given twice the last counts.
    """
    last = {key_of(o): o for o in overrides if not o.startswith(_PLACES)}
    words = sorted(last.values())
    return f"-{hashlib.sha256(json.dumps(words).encode()).hexdigest()[:8]}" if words else ""
