"""Files as training code writes them: what lies around the weights is taken off, and said."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from helpers import Ended
from transformers import ViTConfig, ViTForImageClassification

import vitcli
from vitcli.models.convert import read

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
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "net.", "model.", "encoder."]
)
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
    config = ViTConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128,
        image_size=32, patch_size=8, num_labels=5,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = ViTForImageClassification(config).eval()
    torch.nn.init.normal_(theirs.classifier.weight)
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    assert not (tmp_path / "model.safetensors").exists()
    with torch.no_grad():
        expected = theirs(IMAGES).logits
        torch.testing.assert_close(vitcli.load(tmp_path)(IMAGES), expected, atol=1e-4, rtol=1e-4)
    gone = sorted(tmp_path.glob("model-*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(ValueError, match=rf"index\.json: {gone.name}, which it names, is not th"):
        read(str(tmp_path))


def test_timms_training_file_says_its_model(tmp_path: Path) -> None:
    sizes = {"patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 4}
    arch = "vit_tiny_patch16_224"
    theirs = timm.create_model(arch, img_size=32, num_classes=5, global_pool="avg", **sizes).eval()
    torch.nn.init.normal_(theirs.head.weight)
    given = {"model_kwargs": sizes, "gp": "avg", "img_size": 32, "mean": [0.4, 0.4, 0.4]}
    held = {"arch": arch, "state_dict": theirs.state_dict(), "args": argparse.Namespace(**given)}
    torch.save(held, tmp_path / "last.pth.tar")
    checkpoint = read(str(tmp_path / "last.pth.tar"))
    assert checkpoint.assumed == []
    assert checkpoint.preprocess.mean == (0.4, 0.4, 0.4)
    with torch.no_grad():
        torch.testing.assert_close(checkpoint.build()(IMAGES), theirs(IMAGES), atol=1e-5, rtol=1e-5)


def test_an_arch_that_does_not_fit_is_said(theirs: torch.nn.Module, tmp_path: Path) -> None:
    for arch in ("vit_tiny_patch16_224", "my_vit"):
        torch.save({"arch": arch, "state_dict": theirs.state_dict()}, tmp_path / "last.pth")
        assumed = read(str(tmp_path / "last.pth"), [HEADS]).assumed
        assert any(f"arch {arch} of the file is not used" in line for line in assumed)
