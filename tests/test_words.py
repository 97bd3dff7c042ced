"""Paths and names are taken as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from vitcli.compose import compose, hydra_main, override
from vitcli.study.plan import make_plan
from vitcli.with_hydra import parsed
from vitcli.words import as_typed, kinds, whole_numbers

SIGNS = [
    "été", "a&b", "o'neil", "a,b", "x=1", "with space", "[1]", "{a}", "a(b)", "50%", "a;b", "#1",
    r"C:\x", r"ends\\", r"o\'n", '"', "2024_01", "1.10", "true", "1e6", "null-ish",
    "*", "a:b", "$HOME",
]  # fmt: skip


@pytest.mark.parametrize("typed", SIGNS)
@pytest.mark.parametrize("key", ["data.path", "data.root", "outputs"])
def test_text_is_taken_as_it_is_typed(key: str, typed: str) -> None:
    config = compose(["data=imagefolder", "data.path=photos", f"{key}={typed}"])
    found = {"data.path": config.data.path, "data.root": config.data.root}
    assert found.get(key, config.outputs) == typed


def test_what_is_quoted_or_null_or_refers_to_another_key_stays() -> None:
    words = ["data.path='a b'", 'data.path="a b"', "data.path=null", "outputs=${data.name}/x"]
    assert as_typed(words) == words
    assert compose(["data=imagefolder", words[0]]).data.path == "a b"


def test_the_home_of_a_person_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for typed in ("~/a b", '"~/a b"', "'~/a b'"):
        config = compose(["data=imagefolder", f"data.path={typed}"])
        assert config.data.path == f"{tmp_path}/a b"


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("a", ["a"]), ("a,b", ["a", "b"]), ("a, b", ["a", "b"]), ("choice(a,b)", ["a", "b"]),
        ("2024_01,1.10", ["2024_01", "1.10"]), ("choice('2024_01',b)", ["2024_01", "b"]),
        ("true,1e3", ["true", "1e3"]), ("a&b,c", ["a&b", "c"]), ("été,b", ["été", "b"]),
        ("x=1,x=2", ["x=1", "x=2"]), ("'a,b',c", ["a,b", "c"]), ('"a,b",\'c\'', ["a,b", "c"]),
        ("a(b,c),d", ["a(b,c)", "d"]), ("[1],{a,b}", ["[1]", "{a,b}"]),
        ("o'neil,b", ["o'neil", "b"]),
        ("null,a", [None, "a"]), ("~/a,~/b", ["HOME/a", "HOME/b"]),
        ("choice('~/a',c)", ["HOME/a", "c"]),
        ("'~/a','~/b'", ["HOME/a", "HOME/b"]), ("${data.name}/a,b", ["${data.name}/a", "b"]),
        (r"'it\'s',b", ["it's", "b"]), ("sort(b,a)", ["a", "b"]),
    ],
)  # fmt: skip
def test_a_sweep_over_text_takes_each_as_it_is_typed(
    typed: str, values: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "HOME")
    (word,) = as_typed([f"data.path={typed}"], sweeps=True)
    made = parsed(word)
    each = made.sweep_string_iterator() if made.is_sweep_override() else [word.partition("=")[2]]
    assert [parsed(f"data.path={one}").value() for one in each] == values


def test_each_text_of_a_sweep_makes_a_run(tmp_path: Path) -> None:
    found = list[str | None]()
    words = ["-m", "data=imagefolder", f"outputs={tmp_path}", "data.path=1.10,1.1,été,x=1"]
    hydra_main(words, lambda config: found.append(config.data.path))
    assert found == ["1.10", "1.1", "été", "x=1"]


def test_one_text_has_commas() -> None:
    assert as_typed(["data.path=a,b"]) == ["data.path='a,b'"]
    assert as_typed(["data.path='a' b'"]) == [r"data.path='\'a\' b\''"]


@pytest.mark.parametrize(
    "word",
    ["outputs=", "data.root=", "outputs=''", 'data.root=""', "data.path=", "data.class_map=''"],
)
def test_an_empty_folder_is_none(word: str) -> None:
    with pytest.raises(ValueError, match=f"{word}: it is empty, name a folder or file"):
        compose([word])


def test_other_keys_are_hydra_s() -> None:
    words = ["model=b", "recipe.lr=1e-3", "data.level=colour", "+x.y=1", "train.epochs=1e1"]
    assert as_typed(words) == words
    assert {k for k, kind in kinds().items() if kind == "texts"} == {
        "data.splits", "data.columns", "evals.own"
    }  # fmt: skip
    assert kinds()["data.path"] == kinds()["outputs"] == kinds()["finetune.source"] == "text"
    assert kinds()["data.img_size"] == kinds()["stem.layers"] == "whole"
    assert "data.level" not in kinds()


def test_text_in_a_list_is_taken_as_it_is_typed() -> None:
    for typed in ("2024_01, 1.10", "true,a b", "null,x=1"):
        config = compose(["data=hfds", "data.path=x", f"data.splits=[{typed}]"])
        assert config.data.splits == [part.strip() for part in typed.split(",")]
    for word in ("data.splits=['1.10', \"a,b\"]", "data.splits=[]"):
        assert as_typed([word]) == [word]
    swept = as_typed(["data.splits=[1,2],[3,4]"], sweeps=True)
    assert swept == ["data.splits=['1','2'],['3','4']"]


@pytest.mark.parametrize(
    ("typed", "whole"),
    [
        ("1e6", "1000000"), ("64.0", "64"), ("1.5e1", "15"), ("-2E0", "-2"), ("1e1,2e1", "10,20"),
        ("[1e1,5]", "[10,5]"), ("range(1e0,1e1,3)", "range(1,10,3)"), ("1_0e2", "1000"),
        ("1.5", "1.5"), ("1e-1", "1e-1"), ("1e999", "1e999"), ("1000", "1000"), ("1e6x", "1e6x"),
        ("a1e6", "a1e6"), ("1.2.3e4", "1.2.3e4"), ("null", "null"), ("", ""),
    ],
)  # fmt: skip
def test_a_number_that_is_whole_is_written_out(typed: str, whole: str) -> None:
    assert whole_numbers(typed) == whole


def test_whole_numbers_may_be_typed_with_an_exponent() -> None:
    given = ["train.steps=1e3", "data.size=1e5", "seed=2.0", "evals.shots=[1e1,5]"]
    config = compose([*given, "data.img_size=[1.6e1,3.2e1]"])
    assert (config.train.steps, config.data.size, config.seed) == (1000, 100_000, 2)
    assert (config.evals.shots, config.data.img_size) == ([10, 5], [16, 32])
    assert override(config, ["model.num_heads=1e0"]).model.num_heads == 1
    assert make_plan("pos-emb", ["seeds=2e0"]).study.seeds == [0, 1]
    for word in ("train.steps=1.5", "seed=1e-1", "data.size=1e999"):
        with pytest.raises(ValueError, match=word.partition("=")[0]):
            compose([word])


@pytest.mark.parametrize("typed", SIGNS)
def test_a_single_key_is_replaced_by_what_is_typed(typed: str) -> None:
    config = compose(["data=imagefolder", "data.path=photos"])
    assert override(config, [f"data.path={typed}"]).data.path == typed
    assert config.data.path == "photos"
    with pytest.raises(ValueError, match="model=b: give single keys here"):
        override(config, ["model=b"])
