"""Files as training code writes them: what lies around the weights is taken off, and said."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from helpers import Ended
from safetensors.torch import load_file
from timm.layers.std_conv import StdConv2d
from timm.models.resnetv2 import ResNetV2
from torchvision.models import VisionTransformer
from transformers import ViTConfig, ViTForImageClassification

import vitcli
from vitcli.models.convert import read, write

# What names do not say is a warning each time: one test has it.
pytestmark = pytest.mark.filterwarnings("ignore:.*checkpoint. (assumed|unused|missing)")

HEADS = "model.num_heads=2"
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def made(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=64, depth=2, num_heads=2,
        num_classes=5,
    )  # fmt: skip
    torch.nn.init.normal_(model.head.weight)
    return model.eval()


@pytest.fixture(scope="module")
def theirs() -> torch.nn.Module:
    return made(0)


def same(path: Path, model: torch.nn.Module, *overrides: str) -> None:
    with torch.no_grad():
        found = vitcli.load(path, HEADS, *overrides)(IMAGES)
        torch.testing.assert_close(found, model(IMAGES), atol=1e-4, rtol=1e-4)


def inside(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    "prefix",
    [
        "module.", "_orig_mod.", "module._orig_mod.", "net.", "model.", "encoder.", "vit.",
        "trunk.", "visual.", "momentum_encoder.", "model_ema.module.", "pl_module.0.",
    ],
)  # fmt: skip
def test_what_wrappers_put_before_names_is_taken_off(
    prefix: str, theirs: torch.nn.Module, tmp_path: Path
) -> None:
    torch.save(inside(prefix, theirs.state_dict()), tmp_path / "x.pth")
    same(tmp_path / "x.pth", theirs)
    assert f"'{prefix}' taken off the names" in read(str(tmp_path / "x.pth"), [HEADS]).assumed


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_ema", "teacher", "network"])
def test_weights_lie_among_other_things(
    wrapper: str, theirs: torch.nn.Module, tmp_path: Path
) -> None:
    optimizer = torch.optim.AdamW(theirs.parameters(), 1e-9)
    sum(p.sum() for p in theirs.parameters()).backward()
    optimizer.step()
    held = {"epoch": 3, wrapper: theirs.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(held, tmp_path / "x.ckpt")
    same(tmp_path / "x.ckpt", theirs)


def test_a_backbone_is_taken_and_what_lies_beside_it_is_unused(
    theirs: torch.nn.Module, tmp_path: Path
) -> None:
    backbone = inside("module.backbone.", theirs.state_dict())
    projector = {"module.head.mlp.0.weight": torch.ones(3, 3)}
    torch.save({"teacher": backbone | projector}, tmp_path / "dino.pth")
    found = read(str(tmp_path / "dino.pth"), [HEADS])
    assert found.unused == ["head.mlp.0.weight"]
    same(tmp_path / "dino.pth", theirs)


class Outer(torch.nn.Module):
    """A backbone of timm's, what is given to the head, and a head."""

    def __init__(self, backbone: torch.nn.Module, **parts: torch.nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        for name, part in parts.items():
            self.add_module(name, part)


def test_a_backbone_with_parts_of_the_same_name_beside_it_is_refused(tmp_path: Path) -> None:
    whole, headless = made(0), made(0)
    headless.reset_classifier(0)
    norm, head = torch.nn.LayerNorm(64), torch.nn.Linear(64, 5)
    for name, model in (
        ("norm", Outer(headless, norm=norm, head=head)),
        ("head", Outer(whole, head=torch.nn.Linear(5, 3))),
    ):
        torch.save(model.state_dict(), tmp_path / "x.pth")
        with pytest.raises(ValueError, match=f"{name}.weight is in backbone and beside it"):
            read(str(tmp_path / "x.pth"), [HEADS])
    plain = Outer(headless, head=head)
    torch.save(plain.state_dict(), tmp_path / "x.pth")
    same(tmp_path / "x.pth", torch.nn.Sequential(headless, head))


def hugging_faces(seed: int) -> ViTForImageClassification:
    torch.manual_seed(seed)
    config = ViTConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128,
        image_size=32, patch_size=8, num_labels=5,
    )  # fmt: skip
    model = ViTForImageClassification(config).eval()
    torch.nn.init.normal_(model.classifier.weight)
    return model


class Logits(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> Any:
        return self.model(x).logits


def torchvisions(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    model = VisionTransformer(32, 8, 2, 2, 64, 128, num_classes=5).eval()
    torch.nn.init.normal_(model.heads.head.weight)
    return model


def bit(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    conv = partial(StdConv2d, eps=1e-8)
    options = {"stem_type": "fixed", "conv_layer": conv, "num_classes": 5}
    model = ResNetV2([1], (256,), stem_chs=64, **options).eval()
    torch.nn.init.normal_(model.head.fc.weight)
    return model


MAKERS: dict[str, Callable[[int], torch.nn.Module]] = {
    "timm": made, "hf": hugging_faces, "torchvision": torchvisions, "bit": bit
}  # fmt: skip


@pytest.mark.parametrize("code", MAKERS)
def test_a_network_among_others_is_found_by_its_names(code: str, tmp_path: Path) -> None:
    one, other = MAKERS[code](0), MAKERS[code](1)
    overrides = [] if code == "bit" else [HEADS]
    path = tmp_path / "x.ckpt"
    beside = {"criterion.weight": torch.ones(5)}
    torch.save({"state_dict": inside("net.", one.state_dict()) | beside}, path)
    found = read(str(path), overrides)
    assert found.unused == ["criterion.weight"]
    assert "'net.' taken off the names" in found.assumed
    two = inside("net.", one.state_dict()) | inside("ema.module.", other.state_dict())
    torch.save({"state_dict": two}, path)
    with pytest.raises(ValueError, match=r"several networks, ema.module., net.: which="):
        read(str(path), overrides)
    with torch.no_grad():
        for which, model in (("net", one), ("ema", other)):
            expected = (Logits(model) if code == "hf" else model)(IMAGES)
            found = read(str(path), [*overrides, f"which={which}"])
            torch.testing.assert_close(found.build()(IMAGES), expected, atol=1e-4, rtol=1e-4)


def test_a_network_inside_another_s_name_can_be_taken(tmp_path: Path) -> None:
    both = inside("net.", made(0).state_dict()) | inside("net.teacher.", made(1).state_dict())
    torch.save({"state_dict": both}, tmp_path / "x.ckpt")
    same(tmp_path / "x.ckpt", made(0), "which=net")
    same(tmp_path / "x.ckpt", made(1), "which=teacher")


@pytest.mark.parametrize(
    ("names", "which", "taken"),
    [
        (["weights", "ema"], None, "weights"),
        (["model_ema", "model"], None, "model"),
        (["student", "student_ema"], "student", "student"),
        (["a.model", "model"], "model", "model"),
        (["a.model", "b.model"], "model", None),
        (["student.model", "teacher.model"], "teacher", "teacher.model"),
    ],
)
def test_which_of_several_sets(
    names: list[str], which: str | None, taken: str | None, tmp_path: Path
) -> None:
    held: dict[str, Any] = {}
    for seed, name in enumerate(names):
        place = held
        *above, last = name.split(".")
        for word in above:
            place = place.setdefault(word, {})
        place[last] = made(seed).state_dict()
    torch.save(held, tmp_path / "x.pth")
    words = [] if which is None else [f"which={which}"]
    if taken is None:
        with pytest.raises(ValueError, match="2 of its sets of weights"):
            read(str(tmp_path / "x.pth"), [HEADS, *words])
    else:
        same(tmp_path / "x.pth", made(names.index(taken)), *words)


def test_one_set_alone_is_not_chosen(tmp_path: Path) -> None:
    torch.save(made(0).state_dict(), tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"which=ema: there is one set of weights alone"):
        read(str(tmp_path / "x.pth"), [HEADS, "which=ema"])


def test_a_head_beside_one_of_several_backbones_is_its_own(tmp_path: Path) -> None:
    both: dict[str, Any] = {}
    for seed, name in enumerate(("student", "teacher")):
        parts = {
            n if "head." in n else f"backbone.{n}": t for n, t in made(seed).state_dict().items()
        }
        both |= inside(f"{name}.", parts)
    torch.save(both, tmp_path / "x.pth")
    for seed, (which, other) in enumerate((("student", "teacher"), ("teacher", "student"))):
        same(tmp_path / "x.pth", made(seed), f"which={which}")
        found = read(str(tmp_path / "x.pth"), [HEADS, f"which={which}"])
        assert found.unused == [f"{other}.head.weight", f"{other}.head.bias"]


def test_a_head_that_is_saved_apart_is_no_network(theirs: torch.nn.Module, tmp_path: Path) -> None:
    head = {"weight": torch.zeros(5, 64), "bias": torch.zeros(5)}
    held: dict[str, Any] = {"head": head, "backbone": theirs.state_dict()}
    held["self"] = held
    torch.save(held, tmp_path / "x.pth")
    same(tmp_path / "x.pth", theirs)
    said = read(str(tmp_path / "x.pth"), [HEADS]).assumed
    assert "the weights of backbone, not of head (which=... takes another)" in said


@pytest.mark.parametrize("target", ["x.npz", "x.safetensors", "x.pth", "folder"])
@pytest.mark.parametrize("kind", ["parameters", "tied", "views"])
def test_tensors_of_all_kinds_are_written(
    kind: str, target: str, theirs: torch.nn.Module, tmp_path: Path
) -> None:
    model = made(0)
    if kind == "tied":
        model.blocks[1] = model.blocks[0]
    state: dict[str, torch.Tensor] = dict(model.state_dict())
    if kind == "parameters":
        state = dict(model.named_parameters())
    elif kind == "views":
        flat = torch.cat([tensor.flatten() for tensor in state.values()])
        parts = flat.split([tensor.numel() for tensor in state.values()])
        state = {n: p.view(t.shape) for (n, t), p in zip(state.items(), parts, strict=True)}
    torch.save(state, tmp_path / "in.pth")
    write(read(str(tmp_path / "in.pth"), [HEADS]), tmp_path / target)
    with torch.no_grad():
        found = vitcli.load(tmp_path / target)(IMAGES)
        torch.testing.assert_close(found, model(IMAGES), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["last.pth.tar", "last.pth", "last.ckpt"])
def test_timms_training_files(name: str, theirs: torch.nn.Module, tmp_path: Path) -> None:
    average = made(1)
    sets = {"state_dict": theirs.state_dict(), "state_dict_ema": average.state_dict()}
    torch.save({"epoch": 1, **sets, "args": argparse.Namespace(lr=1.0)}, tmp_path / name)
    same(tmp_path / name, theirs)
    same(tmp_path / name, average, "which=ema")
    (said,) = (line for line in read(str(tmp_path / name), [HEADS]).assumed if "which" in line)
    assert said == "the weights of state_dict, not of state_dict_ema (which=... takes another)"
    for which, many in (("ema2", "no set"), ("state", "2 of its sets")):
        with pytest.raises(
            ValueError, match=f"which={which}: {many} .*: state_dict, state_dict_ema"
        ):
            read(str(tmp_path / name), [f"which={which}"])


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch pwned",)


def test_a_file_that_would_run_code_is_refused(
    vitcli: Callable[..., Ended], theirs: torch.nn.Module, tmp_path: Path
) -> None:
    held = {"state_dict": theirs.state_dict(), "args": argparse.Namespace(evil=Evil())}
    torch.save(held, tmp_path / "evil.pth.tar")
    ended = vitcli("convert", str(tmp_path / "evil.pth.tar"), str(tmp_path / "x.npz"), HEADS)
    assert (ended.code, "could run code" in ended.err) == (2, True)
    assert not Path("pwned").exists()


def test_shards_are_read_by_their_index(tmp_path: Path) -> None:
    theirs = hugging_faces(0)
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    assert not (tmp_path / "model.safetensors").exists()
    with torch.no_grad():
        expected = theirs(IMAGES).logits
        torch.testing.assert_close(vitcli.load(tmp_path)(IMAGES), expected, atol=1e-4, rtol=1e-4)
    gone = sorted(tmp_path.glob("model-*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(ValueError, match=rf"index\.json: {gone.name}, which it names, is not th"):
        read(str(tmp_path))


@pytest.mark.parametrize("prefix", ["", "module."])
def test_shards_are_unwrapped_as_one(prefix: str, tmp_path: Path) -> None:
    """All names of one shard begin with `encoder.`, which is no wrapper's."""
    theirs = hugging_faces(0)
    theirs.config.save_pretrained(tmp_path)
    state = theirs.vit.state_dict()
    theirs.vit.save_pretrained(tmp_path / "whole")
    state = load_file(tmp_path / "whole" / "model.safetensors")
    placed = {}
    for name, tensor in state.items():
        shard = "1.bin" if name.startswith("encoder.") else "2.bin"
        placed.setdefault(shard, {})[prefix + name] = tensor
    for shard, tensors in placed.items():
        torch.save(tensors, tmp_path / shard)
    names = {name: shard for shard, tensors in placed.items() for name in tensors}
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    with torch.no_grad():
        expected = theirs.vit(IMAGES).last_hidden_state[:, 0]
        torch.testing.assert_close(vitcli.load(tmp_path)(IMAGES), expected, atol=1e-4, rtol=1e-4)
    said = read(str(tmp_path)).assumed
    assert ("'module.' taken off the names" in said) == bool(prefix)
    for text in ("[]", "null", "{}"):
        index.write_text(text)
        with pytest.raises(ValueError, match="no weight_map of names and files"):
            read(str(tmp_path))


def test_our_record_does_not_silence_which_set_was_taken(tmp_path: Path) -> None:
    torch.save(made(0).state_dict(), tmp_path / "x.pth")
    write(read(str(tmp_path / "x.pth"), [HEADS]), tmp_path / "ours.pth")
    assert read(str(tmp_path / "ours.pth")).assumed == []
    held = torch.load(tmp_path / "ours.pth")
    torch.save({**held, "state_dict_ema": made(1).state_dict()}, tmp_path / "both.pth")
    (said,) = read(str(tmp_path / "both.pth")).assumed
    assert said == "the weights of state_dict, not of state_dict_ema (which=... takes another)"
    same(tmp_path / "both.pth", made(1), "which=ema")
