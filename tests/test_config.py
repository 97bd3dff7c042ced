"""The schema's rules and the run's identity."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from vitcli.choices import nearest
from vitcli.compose import compose
from vitcli.config import DataConfig, EvalsConfig, RunConfig, TrainConfig, num_steps
from vitcli.identity import identity, run_id
from vitcli.rules import validate


def config(**changes: Any) -> RunConfig:
    base = RunConfig(train=TrainConfig(steps=10))
    base.model = replace(base.model, depth=1, embed_dim=8, mlp_dim=16, num_heads=2, patch_size=4)
    return replace(base, **changes)


def test_a_plain_config_is_valid() -> None:
    validate(config())


def test_identity_is_what_is_computed_not_where() -> None:
    same = config(outputs="elsewhere", device="cpu", threads=2)
    same.checkpoint.every = 7
    assert run_id(same) == run_id(config())


@pytest.mark.parametrize(
    ("group", "key", "value"),
    [
        ("model", "depth", 2), ("pos_emb", "kind", "relative"), ("data", "size", 99),
        ("data", "seed", 1), ("recipe", "lr", 0.5), ("train", "steps", 11), ("evals", "l2", 1.0),
        ("data", "max_pixels", 9),
    ],
)  # fmt: skip
def test_every_setting_that_counts_gives_another_run(group: str, key: str, value: object) -> None:
    changed = config()
    setattr(changed, group, replace(getattr(changed, group), **{key: value}))
    assert run_id(changed) != run_id(config())


def test_a_square_is_one_run_however_it_is_written() -> None:
    def named(img_size: object) -> str:
        return run_id(config(data=DataConfig(img_size=img_size)))

    assert named([16, 16]) == named(16) == run_id(config())
    assert len({named([16, 24]), named([24, 16]), named(16), named(24)}) == 4
    assert DataConfig(img_size=[16, 24]).height_width == (16, 24)
    assert DataConfig(img_size=16).height_width == (16, 16)


def test_a_later_field_is_part_of_the_identity_unless_it_has_its_default() -> None:
    known = identity(config())
    assert "keep" not in known["train"]
    assert "shifts" not in known["evals"]
    assert known["train"]["batch_size"] == 64
    kept = config(train=TrainConfig(steps=10, keep="best"))
    assert identity(kept)["train"]["keep"] == "best"
    translated = config(evals=EvalsConfig(shifts=[1]))
    assert len({run_id(c) for c in (config(), kept, translated)}) == 3


def test_one_downstream_set_is_the_same_run_in_a_list_or_alone() -> None:
    def named(downstream: Any) -> str:
        return run_id(config(evals=EvalsConfig(downstream=downstream)))

    assert named("digits") == named(["digits"]) != named(["digits", "letters"])
    assert named(None) == named([])
    assert EvalsConfig(downstream=["digits", "letters"]).sets == ["digits", "letters"]
    assert EvalsConfig().sets == []


def test_seed_gives_another_run_with_a_readable_name() -> None:
    assert run_id(config(seed=1)) != run_id(config())
    assert run_id(config(seed=1)).startswith("nano-p4-learned_1d-glyphs-s1-")


@pytest.mark.parametrize(
    ("train", "steps"),
    [
        (TrainConfig(steps=7), 7),
        (TrainConfig(images=640, batch_size=64), 10),
        (TrainConfig(epochs=2.5, batch_size=10), 25),
        (TrainConfig(images=1, batch_size=64), 1),
    ],
)
def test_durations_become_steps(train: TrainConfig, steps: int) -> None:
    assert num_steps(config(train=train), train_size=100) == steps


def test_batch_must_split_into_micro_batches() -> None:
    with pytest.raises(ValueError, match=r"train.accumulate=3 .* train.batch_size=64"):
        validate(config(train=TrainConfig(steps=1, accumulate=3)))


def test_endless_data_has_no_epochs() -> None:
    with pytest.raises(ValueError, match=r"train.epochs=1 with data.size=null"):
        validate(config(train=TrainConfig(epochs=1.0)))


@pytest.mark.parametrize(
    ("overrides", "refused"),
    [
        (["train.images=null", "train.epochs=0"], "train.epochs=0: must be above 0"),
        (["train.images=63"], "train.images=63: less than a batch, train.batch_size=64"),
        ([f"seed={2**63}"], f"seed={2**63}: must be below 2^63"),
        ([f"data.seed={2**64}"], f"data.seed={2**64}: must be below"),
        (["evals.shots=[]"], "evals.shots=[]: at least one number"),
    ],
)
def test_what_would_train_or_measure_nothing(overrides: list[str], refused: str) -> None:
    with pytest.raises(ValueError, match=re.escape(refused)):
        compose(overrides)
    assert compose(["evals.shots=[]", "evals.downstream=null"]).evals.shots == []


@pytest.mark.parametrize("blocks", [[], [1, 0]])
def test_a_stem_has_a_block_in_each_stage(blocks: list[int]) -> None:
    found = compose(["stem=resnet_nano"])
    found.stem.layers["4"] = blocks
    with pytest.raises(ValueError, match=re.escape(f"stem.layers.4={blocks} with stem=resnet_na")):
        validate(found)


def test_nearest_names_close_words_only() -> None:
    assert nearest("modle", ["model", "data"]) == "; did you mean 'model'?"
    assert nearest("zzz", ["model", "data"]) == ""


@pytest.mark.parametrize(
    ("overrides", "refused"),
    [
        (["model.name=../../evil"], "model.name=../../evil: letters, digits, _ . and - only"),
        (["stem=resnet_nano", "stem.name=a/b"], "stem.name=a/b: letters, digits"),
        (["data=imagefolder", "data.path=x", "data.alias=../x"], "data.alias=../x: letters"),
        (["data=wds", "data.path=https://me:secret@host/x"], "data.path: a URL with a password"),
        (["data=wds", "data.path='//[x'"], "data.path=//[x: Invalid IPv6 URL"),
        (["evals.downstream=wds", "evals.path=s3://me:secret@host/x"], "evals.path: a URL with a"),
        (["evals.downstream=wds", "evals.path=https://host/x"], "evaluation needs files, not a U"),
    ],
)
def test_no_name_leaves_its_folder_and_no_secret_enters_a_file(
    overrides: list[str], refused: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(refused)) as raised:
        compose(overrides)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("group", ["data", "evals"])
def test_no_secret_of_a_file_enters_another(group: str) -> None:
    found = compose(["data=wds", "data.path=x", "evals.downstream=wds", "evals.path=x"])
    validate(found)
    getattr(found, group).path = "https://me:secret@host/x"
    with pytest.raises(ValueError, match=rf"^{group}\.path: a URL with a password") as raised:
        validate(found)
    assert "secret" not in str(raised.value)


def test_how_a_run_is_executed_is_no_part_of_its_name() -> None:
    how = ["parallel=fsdp", "recompute=true", "train.auto_batch=true", "threads=3", "compile=off"]
    assert run_id(compose(how)) == run_id(compose([]))
    assert run_id(compose(["train.on_nan=skip"])) != run_id(compose([]))
