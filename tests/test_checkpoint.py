"""States and weights on disk: damage and mix-ups are noticed, the older state is resumed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import Ended
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vitcli.checkpoint import load_state, save_state, save_weights
from vitcli.compose import compose
from vitcli.config import RunConfig
from vitcli.files import write_text
from vitcli.frozen import dump
from vitcli.identity import run_id
from vitcli.models import build_model
from vitcli.models.convert import read
from vitcli.models.convert.tensors import read_tensors


def parts(value: float) -> dict[str, nn.Linear]:
    """A model whose weights are all `value`."""
    model = nn.Linear(16, 16)
    nn.init.constant_(model.weight, value)
    nn.init.constant_(model.bias, value)
    return {"model": model}


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    path.write_bytes(data)


def flip_tensor(path: Path, value: float) -> None:
    """Flips a bit of the first tensor whose numbers are all `value`."""
    flip(path, 8 * path.read_bytes().index(torch.full((16,), value).numpy().tobytes()) + 5)


def states(folder: Path) -> tuple[Path, Path]:
    save_state(folder, "a", 1, parts(1.0))
    save_state(folder, "a", 2, parts(2.0))
    return folder / "checkpoints" / "state.pt", folder / "checkpoints" / "state.before.pt"


@given(bit=st.integers(0, 8 * 3000))
@settings(max_examples=60, deadline=None)
def test_a_flipped_bit_never_changes_what_a_state_gives(
    bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("run")
    newer, _ = states(folder)
    flip(newer, bit)
    found = parts(0.0)
    step, said = load_state(folder, "a", found)
    assert torch.equal(found["model"].weight, torch.full((16, 16), float(step)))
    assert step in (1, 2)
    assert (said is None) == (step == 2)  # a bit of padding is no damage


def test_the_older_state_is_taken_where_the_newer_is_damaged(tmp_path: Path) -> None:
    newer, older = states(tmp_path)
    flip_tensor(newer, 2.0)
    step, said = load_state(tmp_path, "a", parts(0.0))
    assert (step, said is not None) == (1, True)
    assert str(newer) in str(said)
    assert "is damaged" in str(said)
    assert "resumed from the older state, of step 1" in str(said)
    flip_tensor(older, 1.0)
    with pytest.raises(
        ValueError, match=r"state\.pt is damaged.*state\.before\.pt is damaged.*remove"
    ):
        load_state(tmp_path, "a", parts(0.0))


def test_a_bit_that_says_that_an_entry_is_compressed_is_damage(tmp_path: Path) -> None:
    newer, _ = states(tmp_path)
    held = newer.read_bytes()
    flip(newer, 8 * (held.index(b"PK\x01\x02") + 10) + 3)  # stored, 0, becomes deflated, 8
    assert load_state(tmp_path, "a", parts(0.0))[0] == 1


@pytest.mark.parametrize("size", [0, 1, 100, 1000])
def test_a_state_cut_short_is_damaged(size: int, tmp_path: Path) -> None:
    newer, _ = states(tmp_path)
    newer.write_bytes(newer.read_bytes()[:size])
    assert load_state(tmp_path, "a", parts(0.0))[0] == 1


def test_a_kill_between_the_renames_leaves_the_older_state(tmp_path: Path) -> None:
    newer, _ = states(tmp_path)
    newer.unlink()
    assert load_state(tmp_path, "a", parts(0.0)) == (1, None)


def test_the_state_of_another_run_is_refused(tmp_path: Path) -> None:
    states(tmp_path)
    with pytest.raises(ValueError, match="is the state of another run, a: remove it, and this one"):
        load_state(tmp_path, "b", parts(0.0))


def a_run(folder: Path, *overrides: str) -> tuple[RunConfig, Path]:
    """The folder of a run of random weights."""
    config = compose(["model=pico", *overrides])
    save_weights(folder, build_model(config, (16, 16), 10), config)
    write_text(folder / "config.yaml", dump(config))
    return config, folder / "checkpoints" / "model.safetensors"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's file of weights, in a folder of its own."""
    return a_run(tmp_path_factory.mktemp("run"))[1]


@given(bit=st.integers(0, 1 << 40))
@settings(max_examples=60, deadline=None)
def test_a_flipped_bit_in_weights_is_noticed(bit: int, weights: Path) -> None:
    read_tensors(weights)
    path = Path(shutil.copy(weights, weights.with_name("flipped.safetensors")))
    flip(path, bit)
    with pytest.raises(ValueError, match="damaged"):
        read_tensors(path)


def test_a_flipped_bit_of_the_checksum_itself_is_noticed(tmp_path: Path) -> None:
    _, path = a_run(tmp_path, "model.depth=1")
    whole = path.read_bytes()
    start = whole.index(b'\\"format')
    for bit in range(8 * start, 8 * (whole.index(b"crc32") + 24)):
        path.write_bytes(whole)
        flip(path, bit)
        with pytest.raises(ValueError, match="damaged"):
            read_tensors(path)


def test_the_weights_of_another_run_are_refused(
    tmp_path: Path, vitcli: Callable[..., Ended]
) -> None:
    first, theirs = a_run(tmp_path / "a")
    _, own = a_run(tmp_path / "b", "seed=1")
    assert read(str(tmp_path / "b")).code_base == "vitcli"
    shutil.copy(theirs, own)
    ended = vitcli("eval", str(tmp_path / "b"))
    assert ended.code == 2
    assert (
        f"is of the run {run_id(first)}, and the config.yaml there describes another" in ended.err
    )
    assert len(ended.err.splitlines()) == 1


def test_a_state_or_weights_of_a_newer_vitcli_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("vitcli.checkpoint.FORMAT", 2)
        patch.setattr("vitcli.models.convert.tensors.FORMAT", 2)
        states(tmp_path)
        _, path = a_run(tmp_path / "run")
    with pytest.raises(ValueError, match="format 2 of another version of vitcli"):
        load_state(tmp_path, "a", parts(0.0))
    with pytest.raises(ValueError, match="format 2 of another version of vitcli"):
        read_tensors(path)
