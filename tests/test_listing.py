"""`vitcli list`: what conf/ offers, against what Hydra composes of it and what the paper prints."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from helpers import TWO_CELLS, Ended

from vitcli import listing
from vitcli.catalog import about, groups, options, studies
from vitcli.compose import compose, known_keys
from vitcli.config import AugmentConfig, RunConfig
from vitcli.files import conf_dir
from vitcli.listing import config_of
from vitcli.rules import validate_fields
from vitcli.settings import walk


def test_groups_are_those_that_a_run_has(tmp_path: Path) -> None:
    (tmp_path / "kind").mkdir()
    (tmp_path / "kind/x.yaml").touch()
    assert set(groups(tmp_path)) == {*groups(), "kind"}
    assert set(groups()) <= set(known_keys())
    assert set(groups(tmp_path)) <= set(known_keys(tmp_path))


FIG_4 = "In Fig. 4 a line and a half."


def table(ended: Ended) -> dict[str, list[str]]:
    """Returns the cells of each row by its first one; columns are two spaces apart, or more."""
    assert ended.code == 0, ended.err
    rows = [re.split(" {2,}", line.strip()) for line in ended.out.partition("\n\n")[0].splitlines()]
    return {row[0]: row[1:] for row in rows[1:]}


@pytest.mark.parametrize(
    ("group", "option"),
    [(group, option) for group in ("model", "data", "recipe") for option in options(group)],
)
def test_an_option_is_read_as_hydra_composes_it(group: str, option: str) -> None:
    read = config_of(group, option, options(group)[option])
    composed = compose([f"{group}={option}"], check=validate_fields)
    if group == "recipe":
        assert read.train == composed.train
    if group == "data":
        composed.data = replace(composed.data, augment=AugmentConfig())
    assert getattr(read, group) == getattr(composed, group)


def test_without_a_word_it_says_what_can_be_listed(vitcli: Callable[..., Ended]) -> None:
    ended = vitcli("list")
    assert ended.code == 0
    assert re.findall(r"^vitcli list (\w+)", ended.out, re.MULTILINE) == list(listing.KINDS)


def test_models_are_those_of_the_papers(vitcli: Callable[..., Ended]) -> None:
    ended = vitcli("list", "models")
    rows = {row[0]: row[1:] for row in map(str.split, ended.out.splitlines()[1:20])}
    assert rows.keys() == options("model").keys()
    assert all(len(line.rstrip()) <= 80 for line in ended.out.splitlines()[:20])
    # Table 1; tokens of 224 / 16 squared and a class token; parameters as timm has them; 17.6e9
    # multiply-adds, thrice two for each.
    expected = ["ViT", "12", "768", "3,072", "12", "16", "197", "224", "86,567,656", "1.05e+11"]
    assert rows["b"] == expected
    assert rows["bit_r50x1"] == ["BiT", "50", "64", "224", "25,549,352", "2.45e+10"]
    assert rows["nano"][6:8] == ["17", "16"]


def test_data_and_recipes(vitcli: Callable[..., Ended]) -> None:
    data = table(vitcli("list", "data"))
    assert data.keys() == options("data").keys()
    assert data["cifar10"][:4] == ["50,000", "10,000", "32", "10"]
    assert data["imagefolder"][:4] == ["?", "?", "64", "?"]
    assert data["digits"][-1].startswith("The 1,797 handwritten digits")
    recipes = table(vitcli("list", "recipes"))
    assert recipes.keys() == options("recipe").keys()
    table_3 = ["adamw", "0.003", "cosine", "0.3", "0.1", "300 epochs", "4,096"]  # of the paper
    assert recipes["imagenet"][:7] == table_3
    assert recipes["imagenet"][-1].endswith("(Table 3).")


def test_claims_are_all_that_are_in_the_files(vitcli: Callable[..., Ended]) -> None:
    ended = vitcli("list", "claims")
    written = [
        [path.stem.replace("_", "-"), claim["id"], claim["where"], claim["statement"]]
        for path in sorted((conf_dir() / "study").glob("*.yaml"))
        for claim in yaml.safe_load(path.read_text()).get("claims", [])
    ]
    lines = ended.out.partition("\n\n")[0].splitlines()[1:]
    assert [re.split(" {2,}", line.strip()) for line in lines] == written


def test_a_study_costs_what_its_plan_says(
    vitcli: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    one = {"pos-emb": studies()["pos-emb"]}
    monkeypatch.setattr(listing, "studies", lambda config_dir: one)
    (row,) = table(vitcli("list", "studies")).values()
    said = re.search(r"of (\d+) runs to go: (\S+) FLOPs", vitcli("plan", "pos-emb").out)
    assert said is not None
    assert row == ["Position embedding: kind and place", "Table 8", *said.groups()]


def test_settings_are_all_that_a_run_has_with_what_they_can_be(
    vitcli: Callable[..., Ended],
) -> None:
    rows = table(vitcli("list", "settings"))
    nodes = {key.rpartition(".")[0] for key in known_keys()}  # data, data.augment
    assert rows.keys() == set(known_keys()) - nodes - set(groups())
    assert rows["recipe.lr"] == ["0.003", "float >= 0", "the peak of the schedule"]
    assert rows["train.precision"][:2] == ["auto", "auto, fp32, bf16"]
    assert rows["train.steps"][:2] == ["null", "int >= 1, null"]
    assert rows["data.img_size"][:2] == ["16", "int >= 4, [int >= 4, int >= 4]"]
    assert rows["evals.shots"][:2] == ["[5, 10]", "[int >= 1, ...]"]
    assert rows["data.augment.flip"][:2] == ["false", "true, false"]
    assert rows["data.path"][:2] == ["null", "str, null"]


def test_each_setting_has_a_meaning_from_the_comments_on_it() -> None:
    said = {each.key: each.meaning for each in walk(RunConfig())}
    assert [key for key, meaning in said.items() if len(meaning.split()) < 2] == []
    assert said["stem.width"] == "of a hybrid: channels after its first convolution"  # beside it
    assert said["pos_emb.kind"] == "how a token is told where it is"  # above it
    assert said["model.pool"].startswith("what stands for an image")  # two lines
    assert said["model.pool"].endswith("beside one (gap_class)")
    # Whose field has several lines.
    assert said["finetune.resize"].startswith("how the position embedding is resized")


@pytest.mark.slow
def test_all_studies_have_a_cost(vitcli: Callable[..., Ended]) -> None:
    assert table(vitcli("list", "studies")).keys() == studies().keys()


def test_a_user_s_own_are_listed_too(vitcli: Callable[..., Ended], tmp_path: Path) -> None:
    for group in ("model", "study", "recipe"):
        (tmp_path / group).mkdir()
    (tmp_path / "model/deep.yaml").write_text("# Nano, deeper.\ndefaults: [nano]\ndepth: 12\n")
    (tmp_path / "recipe/mine.yaml").write_text("# @package _global_\nrecipe: {lr: 0.25}\n")
    claim = {
        "id": "a-is-better", "statement": "A is better.", "where": "nowhere",
        "pairs": [["a-c", "b-c"]], "at_least": {"laptop": 0.1},
    }  # fmt: skip
    text = yaml.safe_dump(yaml.safe_load(TWO_CELLS) | {"claims": [claim]})
    (tmp_path / "study/own.yaml").write_text(text)

    def row(kind: str, name: str) -> list[str]:
        return table(vitcli("list", kind, "--config-dir", str(tmp_path)))[name]

    deep = vitcli("list", "models", "--config-dir", str(tmp_path)).out
    assert re.search(r"^deep +ViT +12 +64 +256 +4 +4 ", deep, re.MULTILINE)
    assert row("recipes", "mine")[:2] == ["adamw", "0.25"]
    assert row("claims", "own") == ["a-is-better", "nowhere", "A is better."]
    ended = vitcli("ablate", "--config-dir", str(tmp_path))
    assert re.search(r"^own +Two +\d+ runs ", ended.out, re.MULTILINE)


def test_a_user_s_folder_that_is_none_is_one_line(
    vitcli: Callable[..., Ended], tmp_path: Path
) -> None:
    for words in (["list", "models"], ["list", "claims"], ["plan"]):
        ended = vitcli(*words, "--config-dir", str(tmp_path / "nowhere"))
        assert (ended.code, ended.out) == (2, "")
        assert ended.err == f"vitcli: --config-dir {tmp_path / 'nowhere'}: no such folder\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# One line.\nname: x\n", "One line."),
        ("# @package _global_\n# In Fig. 4 a line\n# and a half. And more.\nx: 1\n", FIG_4),
        ("# As 1.5 or a.b, no stop\n", "As 1.5 or a.b, no stop"),
        ("name: x  # not the first\n", ""),
    ],
)
def test_a_file_says_its_first_sentence(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert about(path) == said
