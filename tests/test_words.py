"""Paths and names are taken as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from vitcli.compose import compose
from vitcli.words import as_typed, text_keys

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


def test_a_sweep_parts_text_at_commas() -> None:
    assert as_typed(["data.path=a,b"], sweeps=True) == ["data.path=a,b"]
    assert as_typed(["data.path=a,b"]) == ["data.path='a,b'"]


def test_other_keys_are_hydra_s() -> None:
    words = ["model=b", "recipe.lr=1e-3", "data.splits=[a,b]", "data.level=colour", "+x.y=1"]
    assert as_typed(words) == words
    assert {"data.path", "outputs", "finetune.source"} < text_keys()
    assert "data.level" not in text_keys()
