"""Hydra beside a program's own: composing leaves its state alone, and takes nothing from it."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import pytest
from helpers import TWO_CELLS, Ended
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.version import VersionBase
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vitcli import create_model
from vitcli.compose import compose, hydra_main
from vitcli.config import RunConfig
from vitcli.study.plan import make_plan
from vitcli.with_hydra import composed, parsed


@dataclass
class Foreign:
    """A program's own config, under names that we have too."""

    speed: int = 3


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program that uses Hydra with a folder of its own, whose `model` is another."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "nano.yaml").write_text("layers: 3\n")
    (tmp_path / "config.yaml").write_text("defaults: [_self_, {model: nano}]\nx: 1\n")
    return tmp_path


def state() -> dict[str, Any]:
    runtime, config = JobRuntime.instance(), HydraConfig.instance().cfg
    return {
        "global": GlobalHydra.instance().hydra,
        "job": None if config is None else config.hydra.job.name,
        "runtime": deepcopy(runtime.conf),
        "version": VersionBase.instance().getbase(),
        "stored": sorted(ConfigStore.instance().repo),
        "argv": list(sys.argv),
        "environment": dict(os.environ),
    }


def test_composing_inside_a_program_s_hydra(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def job(config: Any) -> None:
        before = state()
        assert composed("config", ["model=ti"]).model.embed_dim == 192
        model: Any = create_model("model=ti", img_size=32, num_classes=3)
        assert state() == before
        seen.append((config.x, config.model.layers, model.head.out_features))
        with pytest.raises(ValueError, match="unknown key 'x'"):
            compose(["x=1"])

    monkeypatch.setattr(sys, "argv", ["program", f"hydra.run.dir={program}"])
    # Python 3.14 refuses Hydra's parser; the program is not ours.
    monkeypatch.setattr(argparse.ArgumentParser, "_check_help", lambda *_: None, raising=False)
    hydra.main(version_base="1.2", config_path=str(program), config_name="config")(job)()
    with hydra.initialize_config_dir(str(program), version_base=None):
        job(hydra.compose("config"))
    assert seen == [(1, 3, 3)] * 2


@pytest.mark.parametrize(("group", "name"), [(None, "schema"), (None, "config"), ("model", "nano")])
def test_a_program_s_stored_configs_are_not_ours(
    group: str | None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ConfigStore.instance()
    monkeypatch.setattr(store, "repo", deepcopy(store.repo))
    store.store(group=group, name=name, node=Foreign)
    assert composed("config", ["model=nano"]).model.embed_dim == 64
    assert store.load(f"{group or ''}/{name}.yaml".lstrip("/")).node.speed == 3


def test_composing_without_a_version_of_hydra_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(Singleton._instances, VersionBase)
    assert composed("config", []).seed == 0
    assert VersionBase not in Singleton._instances or not hasattr(
        VersionBase.instance().getbase(), "major"
    )


def test_threads_compose_each_its_own() -> None:
    start = threading.Barrier(4)

    def dropout(number: int) -> tuple[float, int]:
        start.wait()
        config = compose([f"recipe.dropout=0.{number}", f"model={'nano' if number % 2 else 'b'}"])
        return config.recipe.dropout, config.model.embed_dim

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(dropout, range(1, 5)))
    assert found == [(0.1, 64), (0.2, 768), (0.3, 64), (0.4, 768)]


# Groups and keys of ours and of a user's, keys that refer to others, nested and forced ones.
WORDS = [
    "data=cifar10", "recipe=mine", "data.augment.crop=none", "data.augment={crop: pad}",
    "data.size=64", "++data.size=65", "+data.size=66", "data.seed=${seed}",
    "data.root=${outputs}/x",
    "seed=${model.depth}", "seed=3", "seed=${recipe.lr}", "model.depth=7", "train.steps=20",
    "train={steps: 5, images: null}", "outputs=out-${data.size}", "outputs=here",
    "data.val_size=${train.batch_size}", "model.options={a: 1}", "experiment=null", "train=null",
    "train.batch_size=${nothing}", "recipe.warmup_steps=null",
]  # fmt: skip


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("user") / "my_conf"
    (folder / "recipe").mkdir(parents=True)
    recipe = "defaults: [laptop]\nwarmup_steps: ${train.steps}\n"
    (folder / "recipe" / "mine.yaml").write_text(recipe)
    return folder


@given(words=st.lists(st.sampled_from(WORDS), max_size=6))
@example(words=["data.size=64", "++data.size=65"])
@example(words=["outputs=out-${data.size}", "data.size=64"])
@example(words=["seed=${model.depth}", "model.depth=7"])
@example(words=["recipe=mine", "train.steps=20"])
@example(words=["data.val_size=${train.batch_size}"])
@example(words=["data=cifar10", "data.augment={crop: pad}", "data.augment.crop=none"])
@example(words=["seed=abc"])
@example(words=["experiment=null", "seed=${recipe.lr}"])
@settings(max_examples=15, deadline=None, derandomize=True)
def test_python_composes_what_the_command_line_does(words: list[str], mine: Path) -> None:
    found = list[RunConfig | str]()
    with contextlib.chdir(mine.parent):
        for how in (
            lambda: found.append(compose(words, mine)),
            lambda: hydra_main([*words, f"--config-dir={mine}"], found.append),
        ):
            try:
                how()
            except ValueError as error:
                found.append(str(error))
    assert found[0] == found[1]


def test_a_study_s_row_may_refer_to_other_keys(mine: Path) -> None:
    rows = "{a: {label: A, overrides: ['model.depth=${seed}', 'data.size=1${train.batch_size}']}}"
    (mine / "study").mkdir()
    (mine / "study" / "linked.yaml").write_text(
        f"title: T\nmetric: val/top1\nrows: {rows}\ncolumns: {{c: C}}\n"
        "paper: {where: none, metric: none}\nscales: {laptop: {overrides: [recipe=mine]}}\n"
        "seeds: [1, 2]\n"
    )
    plan = make_plan("linked", ["train.steps=20", "train.batch_size=555"], mine)
    found = [(c.model.depth, c.data.size, c.recipe.warmup_steps) for c in plan.configs.values()]
    assert found == [(1, 1555, 20), (2, 1555, 20)]


@pytest.mark.parametrize("full", [None, "0"])
def test_a_command_leaves_arguments_and_environment(
    full: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    if full is not None:
        monkeypatch.setenv("HYDRA_FULL_ERROR", full)
    before = list(sys.argv), os.environ.get("HYDRA_FULL_ERROR")
    seeds = list[int]()
    for words in (["seed=3"], ["-m", "seed=range(4,6)"]):
        hydra_main([*words, f"outputs={tmp_path}"], lambda config: seeds.append(config.seed))
    assert seeds == [3, 4, 5]
    with pytest.raises(ValueError, match=r"Could not override 'hydra\.foo'\. To append"):
        hydra_main(["hydra.foo=1"], lambda config: None)
    assert (list(sys.argv), os.environ.get("HYDRA_FULL_ERROR")) == before


def test_a_parser_that_checks_helps_as_python_3_14_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add_argument = argparse.ArgumentParser.add_argument

    def strict(self: Any, *names: str, **options: Any) -> argparse.Action:
        action = add_argument(self, *names, **options)
        self._check_help(action)
        return action

    def check(self: Any, action: argparse.Action) -> None:
        if not isinstance(action.help, str | None):
            raise ValueError("badly formed help string")

    whole = argparse.ArgumentParser.__mro__[2]  # where add_argument is
    monkeypatch.setattr(whole, "_check_help", check, raising=False)
    monkeypatch.setattr(whole, "add_argument", strict)
    seeds = list[int]()
    hydra_main(["seed=3", f"outputs={tmp_path}"], lambda config: seeds.append(config.seed))
    assert seeds == [3]
    with pytest.raises(ValueError, match="badly formed"):
        get_args_parser()


@pytest.mark.parametrize(
    ("word", "kinds"),
    [
        ("pos_emb=glob(learned*)", ["learned_1d", "learned_2d"]),
        ("pos_emb=glob([l*,n*],exclude=*2d)", ["learned_1d", "none"]),
        ("pos_emb=glob(n*),relative", ["none", "relative"]),
        ("pos_emb=glob(sin*)", ["sincos_2d"]),
        ("pos_emb=choice(none,relative)", ["none", "relative"]),
        ("pos_emb=sort(relative,none)", ["none", "relative"]),
        ("pos_emb=tag(a,choice(none))", ["none"]),
    ],
)
def test_a_sweep_has_the_options_that_fit(word: str, kinds: list[str], tmp_path: Path) -> None:
    seen = list[str]()
    hydra_main(["-m", word, f"outputs={tmp_path}"], lambda config: seen.append(config.pos_emb.kind))
    assert seen == kinds


def test_a_sweep_over_a_user_s_options(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for name in ("mine_a", "mine_b"):
        text = f"name: {name}\ndepth: 1\nembed_dim: 32\nmlp_dim: 64\nnum_heads: 2\npatch_size: 4\n"
        (tmp_path / "model" / f"{name}.yaml").write_text(text)
    seen = list[str]()
    words = ["-m", "--config-dir", str(tmp_path), "model=glob(mine*)", f"outputs={tmp_path}"]
    hydra_main(words, lambda config: seen.append(config.model.name))
    assert seen == ["mine_a", "mine_b"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pos_emb=glob(x*)"], "pos_emb=glob(x*): fits none of learned_1d, learned_2d, none"),
        (["seed=glob(*)"], "seed=glob(*): glob() picks options of a group: data, evals"),
        (["data.path=glob(/x/*)"], "data.path=glob(/x/*): glob() picks options"),
        (["pos_emb=shuffle(glob(*))"], "pos_emb=shuffle(glob(*)): TypeError"),
        (["seed=range(3,0)"], "seed=range(3,0): a sweep over nothing"),
        (["seed=range(0,3,0)"], "seed=range(0,3,0): range() arg 3 must not be zero"),
        (["seed=interval(0,1)"], "BasicSweeper does not support sweep type : INTERVAL_SWEEP"),
        (["pos_emb=none,learned"], "pos_emb=learned: choose from learned_1d"),
        (["~seed"], "~seed: no key can be taken away, only set"),
    ],
)
def test_a_bad_sweep_is_one_line(
    words: list[str], message: str, vitcli: Callable[..., Ended], tmp_path: Path
) -> None:
    ended = vitcli("train", "-m", *words, f"outputs={tmp_path / 'outputs'}")
    assert ended.code == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert not list(tmp_path.rglob("config.yaml"))


def test_no_experiment_is_a_choice_too(tmp_path: Path) -> None:
    seen = list[str]()
    for words in (["experiment=null"], ["-m", "experiment=null,r26_s_32"]):
        hydra_main([*words, f"outputs={tmp_path}"], lambda config: seen.append(config.stem.name))
    assert seen == ["patch", "patch", "resnet26"]


def test_a_run_is_not_moved_to_where_nobody_looks(
    vitcli: Callable[..., Ended], tiny: list[str], tmp_path: Path
) -> None:
    mine = tmp_path / "my_conf"
    for place, text in (
        ("experiment/moved.yaml", "# @package _global_\nhydra: {job: {chdir: true}}\n"),
        ("study/two.yaml", TWO_CELLS),
    ):
        (mine / place).parent.mkdir(parents=True)
        (mine / place).write_text(text)
    for words in (
        ["train", *tiny, "hydra.job.chdir=true"],
        ["train", *tiny, "-m", "hydra.job.chdir=true"],
        ["train", *tiny, "experiment=moved", f"--config-dir={mine}"],
        ["finetune", "some.npz", "hydra.job.chdir=true"],
        ["ablate", "two", *tiny, "hydra.job.chdir=true", f"--config-dir={mine}"],
    ):
        ended = vitcli(*words)
        assert (ended.code, ended.err.count("\n")) == (2, 1), (words, ended.err)
        assert "hydra.job.chdir=true: not supported, `outputs` says" in ended.err
    assert not list(tmp_path.rglob("result.json"))


@pytest.mark.parametrize("rates", ["nan,0.1", "0.1,nan"])
def test_a_sweep_of_which_one_was_trained_has_failed(
    rates: str, vitcli: Callable[..., Ended], tiny: list[str], tmp_path: Path
) -> None:
    ended = vitcli("train", "-m", f"recipe.lr={rates}", *tiny)
    assert len(list(tmp_path.rglob("result.json"))) == 1
    assert ended.code == 1
    assert "1 of 2 jobs failed; the first: recipe.lr=nan: must be" in ended.err


def test_parsing_says_where_in_a_text_of_two_lines() -> None:
    with pytest.raises(ValueError, match=r"seed=\['a\nb'\^\}: cannot be read from"):
        parsed("seed=['a\nb'}")
