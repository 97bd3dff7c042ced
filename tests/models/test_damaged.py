"""Files that are damaged, or something else: one line that says what, or what was left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import randomize, same_logits, timm_vit
from safetensors.torch import save_file
from timm.models import create_model, save_for_hf
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.prune import l1_unstructured

import vitcli
from vitcli.models.convert import read, write

pytestmark = pytest.mark.filterwarnings("ignore:.*checkpoint. (assumed|unused|missing)")
HEADS = "model.num_heads=2"
Shape = tuple[int, ...]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("pos_embed", ()),
        ("pos_embed", (64,)),
        ("pos_embed", (1, 0, 64)),
        ("pos_embed_x", (3,)),
        ("stem.conv.weight", ()),
        ("head.weight", ()),
        ("head.weight", (0, 64)),
        ("pre_logits.fc.weight", ()),
        ("patch_embed.proj.weight", (64, 3, 0, 0)),
        ("blocks.0.mlp.fc1.weight", ()),
    ],
)
def test_weights_without_sizes_are_one_line(name: str, shape: Shape, tmp_path: Path) -> None:
    torch.save({**timm_vit().state_dict(), name: torch.zeros(shape)}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=rf"{name} is .*: must have \d axes, none empty"):
        vitcli.load(tmp_path / "x.pth", HEADS)


@pytest.mark.parametrize(
    "tensor", [torch.eye(5, 64).to_sparse(), torch.zeros(5, 64, device="meta")]
)
def test_tensors_without_numbers_are_refused(tensor: torch.Tensor, tmp_path: Path) -> None:
    torch.save({**timm_vit().state_dict(), "head.weight": tensor}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"head.weight is no plain tensor"):
        vitcli.load(tmp_path / "x.pth", HEADS)


@pytest.mark.parametrize(
    "array", [np.array("hello"), np.zeros(3, "S2"), np.zeros(2, np.longdouble)]
)
def test_arrays_that_are_no_numbers_are_left_out(array: Any, tmp_path: Path) -> None:
    theirs = timm_vit()
    arrays = {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}
    np.savez(tmp_path / "x.npz", note=array, **arrays)
    assert "no tensors of numbers, left out: note" in read(str(tmp_path / "x.npz"), [HEADS]).assumed
    same_logits(theirs, vitcli.load(tmp_path / "x.npz", HEADS), (16, 16))


def test_numbers_of_the_other_byte_order_are_numbers(tmp_path: Path) -> None:
    theirs = timm_vit()
    state = theirs.state_dict().items()
    np.savez(tmp_path / "x.npz", **{name: tensor.numpy().astype(">f4") for name, tensor in state})
    same_logits(theirs, vitcli.load(tmp_path / "x.npz", HEADS), (16, 16))


def test_one_array_is_no_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    (tmp_path / "x.npy").rename(tmp_path / "x.npz")
    with pytest.raises(ValueError, match=r"not what its suffix says \(one array, of .npy\)"):
        read(str(tmp_path / "x.npz"))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of git-lfs"),
        (b"<!DOCTYPE html><html>404</html>", "a page of HTML or XML"),
        (None, "safetensors by its content: name it .safetensors"),
    ],
)
def test_what_is_often_saved_as_weights_is_named(
    content: bytes | None, what: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.pth"
    if content is None:
        save_file(timm_vit().state_dict(), path)
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=what):
        read(str(path))


@pytest.fixture
def ours(tmp_path: Path) -> dict[str, Any]:
    torch.save(timm_vit().state_dict(), tmp_path / "theirs.pth")
    write(read(str(tmp_path / "theirs.pth"), [HEADS]), tmp_path / "ours.pth")
    held: dict[str, Any] = torch.load(tmp_path / "ours.pth")
    return held


@pytest.mark.parametrize("record", ["[]", "null", "5", "{", 5, torch.zeros(2), "{}"])
def test_an_entry_that_is_no_record_is_refused(
    record: Any, ours: dict[str, Any], tmp_path: Path
) -> None:
    torch.save({**ours, "vitcli": record}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"no record of ours|its record: code_base=None"):
        vitcli.load(tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("group", "key", "value"),
    [
        ("model", "gelu", "x"),
        ("model", "pool", "max"),
        ("model", "num_heads", "2"),
        ("model", "num_heads", True),
        ("model", "depth", "2"),
        ("model", "depth", 10**30),
        ("model", "embed_dim", 10**30),
        ("model", "patch_size", 0),
        ("model", "norm_eps", "x"),
        ("model", "layers", ["x"]),
        ("model", "foo", 1),
        ("stem", "layers", []),
        ("stem", "layers", {"8": "x"}),
        ("stem", "layers", {"8": 5}),
        ("preprocess", "size", [32]),
        ("preprocess", "size", 32),
        ("preprocess", "mean", 0.5),
        ("preprocess", "foo", 1),
        (None, "model", []),
        (None, "preprocess", []),
        (None, "code_base", 5),
        (None, "classes", ["a", "b"]),
        (None, "classes", "abcde"),
    ],
)
def test_a_record_of_other_values_is_refused(
    group: str | None, key: str, value: Any, ours: dict[str, Any], tmp_path: Path
) -> None:
    record = json.loads(ours["vitcli"])
    (record[group] if group else record)[key] = value
    torch.save({**ours, "vitcli": json.dumps(record)}, tmp_path / "x.pth")
    with pytest.raises(
        ValueError, match=rf"{key}|its record|preprocessing of no|in the config"
    ) as raised:
        vitcli.load(tmp_path / "x.pth")
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["null", "[]", "5"])
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_a_config_without_keys_is_not_none(name: str, text: str, tmp_path: Path) -> None:
    save_file(timm_vit().state_dict(), tmp_path / "model.safetensors")
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=f"{name} holds no keys"):
        read(str(tmp_path), [HEADS])


def test_images_of_no_size_at_all_are_refused(tmp_path: Path) -> None:
    state = {n: t for n, t in timm_vit().state_dict().items() if n != "pos_embed"}
    save_file(state, tmp_path / "x.safetensors")
    words = [HEADS, "pos_emb.kind=none"]
    with pytest.raises(ValueError, match="preprocessing of no known kind: size"):
        read(str(tmp_path / "x.safetensors"), words, (10**30, 10**30))


@pytest.mark.parametrize("parametrized", [False, True])
def test_a_head_of_other_parts_is_named(parametrized: bool, tmp_path: Path) -> None:
    theirs = timm_vit()
    if parametrized:
        weight_norm(theirs.head)
    else:
        l1_unstructured(theirs.head, "weight", 0.5)
    torch.save(theirs.state_dict(), tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"head.bias; unused: head\.(weight_orig|parametr)"):
        read(str(tmp_path / "x.pth"), [HEADS])


@pytest.mark.parametrize(
    ("names", "kept"),
    [(list("abc"), True), (list("ab"), False), ([1, 2, 3], False), ({"0": "a"}, False)],
)
def test_timm_s_names_of_classes_fit_the_head(names: Any, kept: bool, tmp_path: Path) -> None:
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 1, "num_heads": 2}
    theirs = randomize(create_model("vit_tiny_patch16_224", num_classes=3, **sizes))
    save_for_hf(theirs, tmp_path, model_args={**sizes, "num_classes": 3})
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"label_names": names}))
    found = read(str(tmp_path))
    assert found.classes == (names if kept else None)
    assert [line.startswith("names of ") for line in found.assumed] == [True] * (not kept)
