"""Checkpoints of every code base: logits there and here, what is inferred, what is refused."""

from __future__ import annotations

import itertools
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import images, ours, randomize, same_logits, timm_vit
from helpers import Ended
from safetensors.torch import load_file, save_file
from scipy.ndimage import zoom
from timm.models import create_model, save_for_hf
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torch import Tensor, nn
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor, ViTModel

import vitcli
from vitcli.checkpoint import save_weights
from vitcli.config import DataConfig, ModelConfig, PosEmbConfig, RunConfig, StemConfig, TrainConfig
from vitcli.frozen import dump
from vitcli.models import build_model
from vitcli.models.convert import Checkpoint, Preprocess, describe, read, write
from vitcli.models.convert.as_timm import timm_arguments

# What names do not say is a warning each time: one test has it.
pytestmark = pytest.mark.filterwarnings("ignore:.*checkpoint. (assumed|unused|missing)")

S16 = {"depth": 12, "embed_dim": 384, "mlp_dim": 1536, "num_heads": 6, "patch_size": 16}
TINY = {"depth": 2, "embed_dim": 64, "mlp_dim": 96, "num_heads": 2, "patch_size": 4}
R50_B16 = {"depth": 2, "embed_dim": 768, "mlp_dim": 3072, "num_heads": 12, "patch_size": 16}
R50 = StemConfig("resnet", {"16": [3, 4, 9]})


def google_arrays(model: nn.Module, big_vision: bool = False) -> dict[str, np.ndarray]:
    """Returns a timm model's weights as Google's code names and shapes them."""
    attention, mlp, norm2 = (0, 0, 1) if big_vision else (1, 3, 2)
    table = "pos_embedding" if big_vision else "Transformer/posembed_input/pos_embedding"
    arrays: dict[str, Tensor] = {table: model.pos_embed}

    def conv(name: str, layer: nn.Module) -> None:
        arrays[f"{name}/kernel"] = layer.weight.permute(2, 3, 1, 0)
        if layer.bias is not None:
            arrays[f"{name}/bias"] = layer.bias

    def dense(name: str, layer: nn.Module) -> None:
        arrays[f"{name}/kernel"], arrays[f"{name}/bias"] = layer.weight.T, layer.bias

    def norm(name: str, layer: nn.Module) -> None:
        arrays[f"{name}/scale"], arrays[f"{name}/bias"] = layer.weight, layer.bias

    if model.cls_token is not None:
        arrays["cls"] = model.cls_token
    conv("embedding", model.patch_embed.proj)
    norm("Transformer/encoder_norm", model.norm)
    dense("head", model.head)
    for i, block in enumerate(model.blocks):
        name, heads = f"Transformer/encoderblock_{i}", block.attn.num_heads
        norm(f"{name}/LayerNorm_0", block.norm1)
        norm(f"{name}/LayerNorm_{norm2}", block.norm2)
        dense(f"{name}/MlpBlock_{mlp}/Dense_0", block.mlp.fc1)
        dense(f"{name}/MlpBlock_{mlp}/Dense_1", block.mlp.fc2)
        name = f"{name}/MultiHeadDotProductAttention_{attention}"
        dim = len(block.attn.proj.weight)
        weights = block.attn.qkv.weight.chunk(3)
        for part, w, b in zip(
            ("query", "key", "value"), weights, block.attn.qkv.bias.chunk(3), strict=True
        ):
            arrays[f"{name}/{part}/kernel"] = w.T.reshape(dim, heads, -1)
            arrays[f"{name}/{part}/bias"] = b.reshape(heads, -1)
        arrays[f"{name}/out/kernel"] = block.attn.proj.weight.T.reshape(heads, -1, dim)
        arrays[f"{name}/out/bias"] = block.attn.proj.bias
    if hasattr(model.patch_embed, "backbone"):
        conv("conv_root", model.patch_embed.backbone.stem.conv)
        norm("gn_root", model.patch_embed.backbone.stem.norm)
        for s, stage in enumerate(model.patch_embed.backbone.stages):
            for u, unit in enumerate(stage.blocks):
                name = f"block{s + 1}/unit{u + 1}"
                for n in (1, 2, 3):
                    conv(f"{name}/conv{n}", getattr(unit, f"conv{n}"))
                    norm(f"{name}/gn{n}", getattr(unit, f"norm{n}"))
                if unit.downsample is not None:
                    conv(f"{name}/conv_proj", unit.downsample.conv)
                    norm(f"{name}/gn_proj", unit.downsample.norm)
    return {name: t.detach().numpy() for name, t in arrays.items()}


# Google's files.


@pytest.mark.parametrize("big_vision", [False, True])
@pytest.mark.parametrize("pool", ["token", "gap"])
def test_googles_files_give_the_logits_they_give_in_timm(
    pool: str, big_vision: bool, tmp_path: Path
) -> None:
    options: dict[str, object] = {"act_layer": "gelu_tanh", "no_embed_class": big_vision}
    if pool == "gap":
        options |= {"global_pool": "avg", "class_token": False, "fc_norm": False}
    path = tmp_path / "vit.npz"
    np.savez(path, **google_arrays(timm_vit(**options), big_vision))
    theirs = TimmViT(
        img_size=16, patch_size=4, embed_dim=64, depth=2, num_heads=2, mlp_ratio=1.5,
        num_classes=5, **options,
    )  # fmt: skip
    theirs.load_pretrained(path)
    model = vitcli.load(path)
    same_logits(theirs.eval(), model, (16, 16))
    assert model.preprocess == Preprocess((16, 16), (0.5,) * 3, (0.5,) * 3, "bilinear")
    assert not model.training


@pytest.mark.parametrize(
    "depth", [1, pytest.param(12, marks=pytest.mark.slow)], ids=["1_layer", "12_layers"]
)
def test_googles_hybrids_give_the_logits_they_give_in_timm(depth: int, tmp_path: Path) -> None:
    options = {"img_size": 64, "num_classes": 7, "depth": depth, "act_layer": "gelu_tanh"}
    path = tmp_path / "R50+ViT-B_16.npz"
    np.savez(path, **google_arrays(randomize(create_model("vit_base_r50_s16_224", **options))))
    theirs = create_model("vit_base_r50_s16_224", **options)
    theirs.load_pretrained(path)
    same_logits(theirs.eval(), vitcli.load(path), (64, 64))
    checkpoint = read(str(path))
    assert checkpoint.config.stem.layers == {"16": [3, 4, 9]}
    assert not checkpoint.unused + checkpoint.missing


def test_big_visions_scanned_layers_and_prefix_and_bfloat16(tmp_path: Path) -> None:
    arrays = google_arrays(timm_vit(no_embed_class=True), big_vision=True)
    np.savez(tmp_path / "plain.npz", **arrays)
    first = {n: a for n, a in arrays.items() if "encoderblock_0" in n}
    scanned = {n: a for n, a in arrays.items() if "encoderblock_" not in n}
    for name, array in first.items():
        both = [array, arrays[name.replace("block_0", "block_1")]]
        scanned[name.replace("encoderblock_0", "encoderblock")] = np.stack(both)
    np.savez(tmp_path / "scan.npz", **{f"params/{n}": a for n, a in scanned.items()})
    same_logits(vitcli.load(tmp_path / "plain.npz"), vitcli.load(tmp_path / "scan.npz"), (16, 16))
    half = {n: torch.from_numpy(a.copy()).bfloat16() for n, a in arrays.items()}
    np.savez(
        tmp_path / "half.npz",
        **{n: t.view(torch.int16).numpy().view("V2") for n, t in half.items()},
    )
    np.savez(tmp_path / "full.npz", **{n: t.float().numpy() for n, t in half.items()})
    same_logits(vitcli.load(tmp_path / "full.npz"), vitcli.load(tmp_path / "half.npz"), (16, 16))


@pytest.mark.parametrize("place", ["params/", "opt/target/", "params/img/", ""])
def test_an_optimizers_moments_are_no_weights(place: str, tmp_path: Path) -> None:
    """JAX sorts names: "opt/..." is before "params/..."."""
    theirs = timm_vit(act_layer="gelu_tanh")
    arrays = google_arrays(theirs)
    moments = {f"opt/1/0/mu/{name}": 0.1 * array for name, array in arrays.items()}
    weights = {f"{place}{name}": array for name, array in arrays.items()}
    np.savez(tmp_path / "vit.npz", **moments, **weights)
    same_logits(theirs, vitcli.load(tmp_path / "vit.npz"), (16, 16))
    said = read(str(tmp_path / "vit.npz")).assumed
    assert (f"{place!r} taken off the names" in said) == bool(place)
    again = {f"opt/1/0/nu/{name}": array for name, array in arrays.items()}
    np.savez(tmp_path / "vit.npz", **moments, **again)
    with pytest.raises(ValueError, match="several networks, opt/1/0/mu/, opt/1/0/nu/: save the"):
        read(str(tmp_path / "vit.npz"))


def test_big_visions_only_model_without_a_table_is_sincos(tmp_path: Path) -> None:
    arrays = google_arrays(timm_vit(no_embed_class=True), big_vision=True)
    del arrays["pos_embedding"]
    np.savez(tmp_path / "vit.npz", **arrays)
    checkpoint = read(str(tmp_path / "vit.npz"))
    assert checkpoint.config.pos_emb.kind == "sincos_2d"
    assert checkpoint.img_size == (224, 224)
    assert vitcli.load(tmp_path / "vit.npz", img_size=(8, 12)).grid_size == (2, 3)


def test_attention_pooling_is_refused(tmp_path: Path) -> None:
    arrays = google_arrays(timm_vit(no_embed_class=True), big_vision=True)
    np.savez(tmp_path / "vit.npz", **arrays, **{"MAPHead_0/probe": np.zeros((1, 1, 64))})
    with pytest.raises(ValueError, match="no model of the paper has: MAPHead_0/probe"):
        vitcli.load(tmp_path / "vit.npz")


def test_googles_table_is_resized_as_in_googles_code(tmp_path: Path) -> None:
    arrays = google_arrays(timm_vit())
    np.savez(tmp_path / "vit.npz", **arrays)
    model = vitcli.load(tmp_path / "vit.npz", img_size=28)
    table = arrays["Transformer/posembed_input/pos_embedding"][0]
    expected = zoom(table[1:].reshape(4, 4, 64), (7 / 4, 7 / 4, 1), order=1).reshape(49, 64)
    np.testing.assert_allclose(model.pos_embed[0, 1:].detach(), expected, atol=1e-5)
    np.testing.assert_array_equal(model.pos_embed[0, 0].detach(), table[0])
    assert model.preprocess.size == (28, 28)


def test_other_sizes_must_fit_the_patches_and_methods_can_be_chosen(tmp_path: Path) -> None:
    np.savez(tmp_path / "vit.npz", **google_arrays(timm_vit()))
    for size in (18, 2, 0):
        with pytest.raises(ValueError, match="img_size"):
            vitcli.load(tmp_path / "vit.npz", img_size=size)
    checkpoint = read(str(tmp_path / "vit.npz"))
    assert checkpoint.resize((8, 28))[1].endswith("4x4 -> 2x7, bilinear_corners")
    assert checkpoint.resize((8, 28), "bicubic")[1].endswith("4x4 -> 2x7, bicubic")


# Ours to the others and back.


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
@pytest.mark.parametrize(
    ("run", "size"),
    [
        (RunConfig(ModelConfig(**S16)), (64, 64)),
        (RunConfig(ModelConfig(**TINY, pool="gap", gelu="erf", norm_eps=1e-4)), (16, 24)),
        (RunConfig(ModelConfig(**TINY, head_hidden=True)), (16, 16)),
        (RunConfig(ModelConfig(**(R50_B16 | {"depth": 1})), stem=R50), (64, 64)),
        pytest.param(RunConfig(ModelConfig(**R50_B16), stem=R50), (64, 64), marks=pytest.mark.slow),
    ],
    ids=["s16", "gap_erf_rectangle", "hidden", "r50_b16_1_layer", "r50_b16"],
)
def test_ours_come_back(run: RunConfig, size: tuple[int, int], suffix: str, tmp_path: Path) -> None:
    checkpoint = ours(run, size)
    path = tmp_path / f"vit{suffix}"
    write(checkpoint, path)
    once = path.read_bytes()
    write(checkpoint, path)
    assert path.read_bytes() == once
    back = read(str(path))
    assert (back.config.model, back.config.stem) == (run.model, run.stem)
    assert back.preprocess == checkpoint.preprocess
    assert not back.unused + back.missing + back.assumed
    same_logits(checkpoint.build(), back.build(), size)
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]
    (tmp_path / "any").touch()
    assert path.stat().st_mode == (tmp_path / "any").stat().st_mode


def test_names_without_our_record_are_enough_for_the_papers_models(tmp_path: Path) -> None:
    run = RunConfig(ModelConfig(**S16, head_hidden=True))
    write(ours(run, (64, 64)), tmp_path / "ours.npz")
    with np.load(tmp_path / "ours.npz") as file:
        np.savez(tmp_path / "google.npz", **{n: file[n] for n in file.files if n != "vitcli"})
    same_logits(vitcli.load(tmp_path / "ours.npz"), vitcli.load(tmp_path / "google.npz"), (64, 64))
    assert read(str(tmp_path / "google.npz")).config.model.head_hidden


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_small_patch16_224", {"img_size": (64, 64)}),
        ("vit_tiny_patch16_224", {"img_size": (32, 48), "act_layer": "gelu_tanh"}),
        (
            "vit_small_patch16_224",
            {"img_size": (64, 64), "depth": 2, "num_heads": 3, "global_pool": "avg"}
            | {"class_token": False, "fc_norm": False, "mlp_ratio": 2},
        ),
        ("vit_base_r50_s16_224", {"img_size": (64, 64), "depth": 1}),
        pytest.param("vit_base_r50_s16_224", {"img_size": (64, 64)}, marks=pytest.mark.slow),
    ],
    ids=["s16", "rectangle_tanh", "gap_heads", "r50_b16_1_layer", "r50_b16"],
)
def test_timms_come_back(
    name: str, options: dict[str, object], suffix: str, tmp_path: Path
) -> None:
    theirs = randomize(create_model(name, num_classes=7, **options))
    save_file(theirs.state_dict(), tmp_path / "timm.safetensors")
    overrides = [f"model.num_heads={options['num_heads']}"] if "num_heads" in options else []
    overrides += ["model.gelu=tanh"] if "act_layer" in options else []
    checkpoint = read(str(tmp_path / "timm.safetensors"), overrides, options["img_size"])
    assert checkpoint.preprocess.interpolation == "bicubic"
    path = tmp_path / f"vit{suffix}"
    how = write(checkpoint, path)
    called, arguments = timm_arguments(checkpoint)
    if suffix == ".npz":
        back = create_model(called, **arguments)
        back.load_pretrained(path)
    else:
        back = create_model(called, checkpoint_path=str(path), **arguments)
        assert how.startswith(f"timm.create_model('{called}', ")
    same_logits(theirs, back.eval(), options["img_size"])
    same_logits(theirs, vitcli.load(path), options["img_size"])


def test_timms_config_says_what_names_do_not(tmp_path: Path) -> None:
    theirs = randomize(
        create_model(
            "vit_tiny_patch16_224", img_size=32, num_classes=3, depth=2, num_heads=6,
            act_layer="gelu_tanh", no_embed_class=True,
        )
    )  # fmt: skip
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    config = {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": 3,
        "model_args": {"img_size": 32, "depth": 2, "num_heads": 6, "act_layer": "gelu_tanh"}
        | {"no_embed_class": True},
        "pretrained_cfg": {"mean": [0.485, 0.456, 0.406], "std": [0.2, 0.3, 0.4]}
        | {"interpolation": "bilinear", "crop_pct": 0.9},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = vitcli.load(tmp_path)
    same_logits(theirs, model, (32, 32))
    expected = Preprocess(
        (32, 32), (0.485, 0.456, 0.406), (0.2, 0.3, 0.4), "bilinear", 0.9, "center"
    )
    assert model.preprocess == expected


@pytest.mark.parametrize(
    "key", ["blocks.0.ls1.gamma", "reg_token", "attn_pool.q.weight", "norm_pre.bias"]
)
def test_what_would_change_the_logits_is_refused(key: str, tmp_path: Path) -> None:
    save_file({**timm_vit().state_dict(), key: torch.ones(64)}, tmp_path / "vit.safetensors")
    with pytest.raises(ValueError, match=f"no model of the paper has: {key}"):
        read(str(tmp_path / "vit.safetensors"))


def hf_config(**options: object) -> ViTConfig:
    sizes = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6}
    return ViTConfig(**(sizes | {"intermediate_size": 1536, "image_size": 64} | options))


class Logits(nn.Module):
    """Hugging Face's model, called like ours."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        output = self.model(x)
        return output.logits if hasattr(output, "logits") else output.pooler_output


@pytest.mark.parametrize(
    "options",
    [
        {"num_labels": 7},
        {"num_labels": 2, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-3}
        | {"num_hidden_layers": 2, "num_attention_heads": 4, "image_size": [32, 64]},
    ],
    ids=["s16", "rectangle_tanh_eps_heads"],
)
def test_hugging_faces_classifiers_come_back(options: dict[str, object], tmp_path: Path) -> None:
    theirs = randomize(ViTForImageClassification(hf_config(**options)))
    theirs.save_pretrained(tmp_path / "theirs")
    size = (32, 64) if "image_size" in options else (64, 64)
    checkpoint = read(str(tmp_path / "theirs"))
    assert not checkpoint.unused + checkpoint.missing
    same_logits(Logits(theirs), checkpoint.build(), size)
    how = write(checkpoint, tmp_path / "back")
    assert how.startswith("transformers.ViTForImageClassification.from_pretrained(")
    back, found = ViTForImageClassification.from_pretrained(
        tmp_path / "back", output_loading_info=True
    )
    assert not any(found.values())
    same_logits(Logits(theirs), Logits(back.eval()), size)


def test_a_pooler_beside_a_classifier_is_unused(tmp_path: Path) -> None:
    """As in transformers: a classifier sits on the class token."""
    theirs = randomize(ViTForImageClassification(hf_config(num_hidden_layers=2, num_labels=7)))
    theirs.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors |= {
        "vit.pooler.dense.weight": torch.randn(384, 384),
        "vit.pooler.dense.bias": torch.ones(384),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    checkpoint = read(str(tmp_path))
    assert checkpoint.unused == ["pooler.dense.weight", "pooler.dense.bias"]
    same_logits(Logits(theirs), checkpoint.build(), (64, 64))


@pytest.mark.parametrize("said", [True, False])
def test_biases_that_are_not_there_are_0_only_where_the_config_says_so(
    said: bool, tmp_path: Path
) -> None:
    theirs = randomize(ViTForImageClassification(hf_config(num_hidden_layers=2, qkv_bias=False)))
    theirs.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"qkv_bias": said}))
    if said:
        with pytest.raises(ValueError, match=r"blocks\.0\.attn\.qkv\.bias"):
            read(str(tmp_path))
        return
    checkpoint = read(str(tmp_path))
    assert "qkv_bias=false: biases of 0" in checkpoint.assumed
    same_logits(Logits(theirs), checkpoint.build(), (64, 64))


def test_hugging_faces_model_comes_back_with_its_pooler(tmp_path: Path) -> None:
    theirs = randomize(ViTModel(hf_config(num_hidden_layers=2)))
    theirs.save_pretrained(tmp_path / "theirs")
    checkpoint = read(str(tmp_path / "theirs"))
    assert checkpoint.config.model.head_hidden
    assert checkpoint.missing == ["head.weight", "head.bias"]
    same_logits(Logits(theirs), checkpoint.build(), (64, 64))
    write(checkpoint, tmp_path / "back")
    back = ViTModel.from_pretrained(tmp_path / "back").eval()
    same_logits(Logits(theirs), Logits(back), (64, 64))


def test_hugging_faces_names_in_memory_and_its_preprocessing(tmp_path: Path) -> None:
    theirs = randomize(ViTForImageClassification(hf_config(num_hidden_layers=2)))
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    theirs.config.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps(
            {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "resample": 3, "size": 64}
        )
    )
    model = vitcli.load(tmp_path)
    same_logits(Logits(theirs), model, (64, 64))
    shown = ("bicubic", 1.0, "squash")  # to height and width, as transformers resizes
    expected = Preprocess((64, 64), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), *shown)
    assert model.preprocess == expected
    write(read(str(tmp_path)), tmp_path / "x.safetensors")
    assert vitcli.load(tmp_path / "x.safetensors").preprocess == expected
    bare = tmp_path / "bare.safetensors"
    save_file(theirs.state_dict(), bare)
    assert read(str(bare)).config.model.norm_eps == 1e-12


# Runs of ours.


def run_folder(run: RunConfig, folder: Path) -> nn.Module:
    run.train = TrainConfig(steps=1)
    model = randomize(build_model(run, run.data.height_width, run.data.num_classes))
    folder.mkdir()
    (folder / "config.yaml").write_text(dump(run))
    save_weights(folder, model, run)
    return model


@pytest.mark.parametrize(
    "run",
    [
        RunConfig(ModelConfig(**TINY), PosEmbConfig("relative")),
        RunConfig(ModelConfig(**TINY), PosEmbConfig("learned_2d", "every_layer")),
        RunConfig(ModelConfig(**TINY, pool="gap"), PosEmbConfig("sincos_2d")),
        RunConfig(
            ModelConfig(family="resnet", layers=[1, 1], width=16, root="small"),
            PosEmbConfig("none"),
        ),
    ],
    ids=["relative", "every_layer", "sincos", "bit"],
)
def test_a_run_is_loaded_from_its_folder_its_file_and_a_converted_file(
    run: RunConfig, tmp_path: Path
) -> None:
    run.data = DataConfig(img_size=8)
    folder = tmp_path / "run"
    model = run_folder(run, folder)
    same_logits(model, vitcli.load(folder), (8, 8))
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes((folder / "checkpoints" / "model.safetensors").read_bytes())
    same_logits(model, vitcli.load(moved), (8, 8))
    torch.save({"model": model.state_dict()}, folder / "checkpoints" / "state.pt")
    same_logits(model, vitcli.load(folder / "checkpoints" / "state.pt"), (8, 8))
    write(read(str(folder)), tmp_path / "one.safetensors")
    same_logits(model, vitcli.load(tmp_path / "one.safetensors"), (8, 8))
    larger = vitcli.load(folder, img_size=(12, 16))
    assert larger(images(12, 16)).shape == (2, 10)
    with pytest.raises(ValueError, match=r"can be exported|model.root=small"):
        write(read(str(folder)), tmp_path / "one.npz")
    with pytest.raises(ValueError, match="can be exported"):
        write(read(str(folder)), tmp_path / "folder")


@pytest.mark.parametrize(
    "run",
    [
        RunConfig(ModelConfig(**TINY, head_hidden=True), data=DataConfig(img_size=8)),
        RunConfig(
            ModelConfig(family="resnet", layers=[1], width=16, root="small"), PosEmbConfig("none")
        ),
    ],
    ids=["vit", "bit"],
)
def test_a_new_head_is_zero_and_the_hidden_layer_dropped(run: RunConfig, tmp_path: Path) -> None:
    run_folder(run, tmp_path / "run")
    checkpoint = read(str(tmp_path / "run")).with_new_head(3)
    logits = checkpoint.build()(images(8, 8))
    assert logits.shape == (2, 3)
    assert not logits.any()
    assert not checkpoint.config.model.head_hidden
    assert len(checkpoint.resize((12, 8))[0].build()(images(12, 8))) == 2


# What cannot be.


def test_what_cannot_be_inferred_names_its_override(tmp_path: Path) -> None:
    path = tmp_path / "vit.safetensors"
    state = timm_vit(embed_dim=48).state_dict()
    save_file(state, path)
    with pytest.raises(ValueError, match=r"width 48 .* give model.num_heads=\.\.\."):
        vitcli.load(path)
    assert vitcli.load(path, "model.num_heads=2").blocks[0].attn.num_heads == 2
    with pytest.raises(ValueError, match="give single keys"):
        vitcli.load(path, "model=h")
    with pytest.raises(ValueError, match=r"unknown key 'model.heads'"):
        vitcli.load(path, "model.heads=2")
    for word in ("recipe.lr=9", "data.interpolation=bicubic"):
        with pytest.raises(ValueError, match=f"{word}: is not read here; only keys of model,"):
            vitcli.load(path, "model.num_heads=2", word)
    write(read(str(path), ["model.num_heads=2"]), tmp_path / "ours.safetensors")
    with pytest.raises(ValueError, match=r"data.img_size=8: is not read here, the file itself"):
        vitcli.load(tmp_path / "ours.safetensors", "data.img_size=8")
    without = {name: t for name, t in state.items() if name != "pos_embed"}
    save_file(without, path)
    with pytest.raises(ValueError, match=r"give pos_emb.kind=none or pos_emb.kind=sincos_2d"):
        vitcli.load(path, "model.num_heads=2")
    vitcli.load(path, "model.num_heads=2", "pos_emb.kind=sincos_2d")
    save_file(timm_vit(img_size=(16, 28)).state_dict(), path)
    with pytest.raises(ValueError, match=r"28 patches, .* data.img_size=\[height,width\]"):
        vitcli.load(path, "model.num_heads=2")
    assert vitcli.load(path, "model.num_heads=2", img_size=(28, 16)).grid_size == (7, 4)


def test_heads_of_h_are_80_wide(tmp_path: Path) -> None:
    save_file(
        timm_vit(embed_dim=1280, depth=1, num_heads=16).state_dict(), tmp_path / "h.safetensors"
    )
    assert read(str(tmp_path / "h.safetensors")).config.model.num_heads == 16


def test_keys_that_were_not_used_or_not_found_are_listed(tmp_path: Path) -> None:
    state = dict(timm_vit(qkv_bias=False, num_classes=0).state_dict())
    save_file({**state, "mask_token": torch.zeros(1)}, tmp_path / "vit.safetensors")
    checkpoint = read(str(tmp_path / "vit.safetensors"), ["model.num_heads=2"])
    biases = ["blocks.0.attn.qkv.bias", "blocks.1.attn.qkv.bias"]
    assert checkpoint.unused == ["mask_token"]
    assert checkpoint.missing == ["head.weight", "head.bias", *biases]
    said = dict(describe(checkpoint))
    assert said["unused"] == "mask_token"
    assert said["missing"] == ", ".join(checkpoint.missing)
    same_logits(timm_vit(qkv_bias=False, num_classes=0), checkpoint_with_heads(tmp_path), (16, 16))
    del state["blocks.1.mlp.fc2.weight"]
    save_file(state, tmp_path / "vit.safetensors")
    with pytest.raises(ValueError, match=r"not in the file: blocks.1.mlp.fc2.weight"):
        read(str(tmp_path / "vit.safetensors"), ["model.num_heads=2"])


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (RunConfig(ModelConfig(**TINY)), "norm_eps=1e-06 pos_emb=learned_1d num_classes=0"),
        (
            RunConfig(ModelConfig(**TINY), PosEmbConfig("learned_2d", where="shared")),
            "pos_emb=learned_2d pos_emb.where=shared num_classes=0",
        ),
        (
            RunConfig(ModelConfig(**TINY), PosEmbConfig("relative", offsets="2d")),
            "pos_emb=relative pos_emb.offsets=2d num_classes=0",
        ),
        (
            RunConfig(ModelConfig(**TINY), stem=StemConfig("x", {"4": [1]}, 32, "small", 8)),
            "stem=[1] stem.width=32 stem.root=small stem.groups=8 num_classes=0",
        ),
        (
            RunConfig(ModelConfig(family="resnet", layers=[2], groups=8)),
            "layers=[2] width=64 root=imagenet groups=8 num_classes=0",
        ),
        (
            RunConfig(ModelConfig(family="mixer", options={"mlp": 32})),
            "family=mixer options={'mlp': 32} num_classes=0",
        ),
    ],
)
def test_what_is_not_the_default_is_described(run: RunConfig, said: str) -> None:
    found = dict(describe(Checkpoint("vitcli", run, {}, 0, Preprocess((16, 16)))))["model"]
    assert found.endswith(said)
    assert found.startswith("depth=2 ") == (run.model.family == "vit")


def checkpoint_with_heads(folder: Path) -> nn.Module:
    return vitcli.load(folder / "vit.safetensors", "model.num_heads=2")


def test_shapes_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    state = timm_vit().state_dict()
    state["blocks.1.mlp.fc2.weight"] = torch.zeros(64, 95)
    save_file(state, tmp_path / "vit.safetensors")
    line = r"blocks.1.mlp.fc2.weight is \(64, 95\) in the file, \(64, 96\) in the model"
    with pytest.raises(ValueError, match=line):
        vitcli.load(tmp_path / "vit.safetensors", "model.num_heads=2")


class Malicious:
    """Would leave a file behind if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".npz"])
def test_a_checkpoint_that_would_run_code_is_refused(
    suffix: str, tmp_path: Path, vitcli: Callable[..., Ended]
) -> None:
    path, trace = tmp_path / f"evil{suffix}", tmp_path / "trace"
    if suffix == ".npz":
        np.savez(path, **{"embedding/kernel": np.array([Malicious(trace)], dtype=object)})
    elif suffix == ".pt":
        torch.save({"head.weight": Malicious(trace)}, path)
    else:
        path.write_bytes(pickle.dumps(Malicious(trace)))
    ended = vitcli("convert", str(path), str(tmp_path / "out.safetensors"))
    assert ended.code == 2
    assert ended.err.startswith(f"vitcli: {path}: refused, as it holds more than tensors")
    assert len(ended.err.splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt", ".bin"])
@pytest.mark.parametrize("kept", [0, 5, 2000])
def test_a_truncated_file_gives_one_line(
    suffix: str, kept: int, tmp_path: Path, vitcli: Callable[..., Ended]
) -> None:
    path = tmp_path / f"vit{suffix}"
    write(ours(RunConfig(ModelConfig(**TINY)), (16, 16)), path)
    path.write_bytes(path.read_bytes()[:kept])
    ended = vitcli("convert", str(path), str(tmp_path / "out.safetensors"))
    assert ended.code == 2
    assert ended.err.startswith(f"vitcli: {path}: damaged, or not what its suffix says")
    assert len(ended.err.splitlines()) == 1


def test_a_file_of_something_else_gives_one_line(
    tmp_path: Path, vitcli: Callable[..., Ended]
) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    (tmp_path / "a.txt").write_text("x")
    for name, line in (
        ("a.safetensors", "no names of a model in Google's, timm's, Hugging Face's or our code"),
        (
            "a.txt",
            "the name must end in one of .safetensors, .npz, .bin, .pt, .pth, .ckpt, .pth.tar, "
            ".pt.tar",
        ),
        ("b.npz", "no such file"),
    ):
        ended = vitcli("convert", str(tmp_path / name), str(tmp_path / "out.npz"))
        assert (ended.code, ended.err) == (2, f"vitcli: {tmp_path / name}: {line}\n")


def test_what_another_code_base_cannot_be_is_not_written(tmp_path: Path) -> None:
    hidden = ours(RunConfig(ModelConfig(**TINY, head_hidden=True)), (16, 16))
    with pytest.raises(ValueError, match=r"model.head_hidden=true"):
        write(hidden, tmp_path / "hf")
    assert "not for timm: model.head_hidden=true" in write(hidden, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"model.pool=gap"):
        write(ours(RunConfig(ModelConfig(**TINY, pool="gap")), (16, 16)), tmp_path / "hf")
    with pytest.raises(ValueError, match=r"must end in one of .*, or in none"):
        write(hidden, tmp_path / "a.gguf")
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_the_command_says_what_it_read_and_how_to_load_what_it_wrote(
    tmp_path: Path, vitcli: Callable[..., Ended]
) -> None:
    save_file(timm_vit().state_dict(), tmp_path / "vit.safetensors")
    target = tmp_path / "out" / "vit.safetensors"
    ended = vitcli("convert", str(tmp_path / "vit.safetensors"), str(target), "model.num_heads=2")
    assert ended.code == 0, ended.err
    lines = dict(line.split(None, 1) for line in ended.out.splitlines())
    assert "num_heads=2" in lines["model"]
    assert lines["assumed"].startswith("GELU erf")
    assert "timm.create_model('vit_base_patch16_224', depth=2, embed_dim=64" in ended.out
    assert load_file(target)["head.weight"].shape == (5, 64)


def test_names_on_a_hub_are_fetched_by_their_own_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = randomize(create_model("vit_base_r50_s16_224", img_size=64, num_classes=3, depth=1))
    asked: list[object] = []

    def pretrained(*arguments: object, **options: object) -> nn.Module:
        asked.append((arguments, options))
        return theirs

    def snapshot(*arguments: object, **options: object) -> str:
        asked.append(arguments)
        return str(tmp_path)

    monkeypatch.setattr("timm.models.create_model", pretrained)
    same_logits(theirs, vitcli.load("timm:vit_base_r50_s16_224.orig_in21k"), (64, 64))
    randomize(ViTModel(hf_config(num_hidden_layers=1))).save_pretrained(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert vitcli.load("hf:google/vit").preprocess.size == (64, 64)
    assert asked == [(("vit_base_r50_s16_224.orig_in21k",), {"pretrained": True}), ("google/vit",)]
    other = create_model("beit_base_patch16_224", depth=1)
    monkeypatch.setattr("timm.models.create_model", lambda *_, **__: other)
    with pytest.raises(ValueError, match="timm's Beit is no ViT or BiT of ours"):
        read("timm:beit_base_patch16_224")


OTHERS = [None, "x", "224", [], {}, -1, 0, 1.5, True, [1, 2, 3], {"a": 1}, float("nan")]
SAID = {
    "config.json": [
        "num_attention_heads", "image_size", "hidden_act", "layer_norm_eps", "id2label",
    ],
    "preprocessor_config.json": [
        "image_mean", "image_std", "rescale_factor", "do_rescale", "resample", "size",
    ],
}  # fmt: skip


def test_values_of_other_kinds_in_hugging_faces_files_are_one_line(tmp_path: Path) -> None:
    sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 96, "image_size": 32, "patch_size": 8, "num_labels": 3}
    ViTForImageClassification(ViTConfig(**sizes)).save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    said = []
    for name, keys in SAID.items():
        path = tmp_path / name
        whole = path.read_text()
        for key, value in itertools.product(keys, OTHERS):
            path.write_text(json.dumps(json.loads(whole) | {key: value}))
            try:
                read(str(tmp_path)).for_our_pixels()
            except ValueError as error:  # any other exception fails the test
                said.append(str(error))
        path.write_text(whole)
    assert len(said) > 80
    assert all(len(line.splitlines()) == 1 for line in said)


@pytest.mark.parametrize(
    ("key", "value"), [("num_hidden_layers", 2), ("hidden_size", 32), ("patch_size", 8)]
)
def test_a_config_of_other_weights_is_refused(key: str, value: int, tmp_path: Path) -> None:
    theirs = ViTForImageClassification(hf_config(num_hidden_layers=1, num_labels=3))
    theirs.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ValueError, match=f"{key}={value} in config.json: the weights have"):
        read(str(tmp_path))


def test_a_timm_config_of_other_weights_is_refused(tmp_path: Path) -> None:
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 96, "depth": 1, "num_classes": 3}
    save_for_hf(create_model("vit_tiny_patch16_224", **sizes), tmp_path, model_args=sizes)
    path = tmp_path / "config.json"
    said = json.loads(path.read_text())
    for wrong in ({"embed_dim": 192}, {"num_heads": 7}, {"global_pool": "none"}):
        path.write_text(json.dumps(said | {"model_args": sizes | wrong}))
        with pytest.raises(ValueError, match=r"config.json: ") as raised:
            read(str(tmp_path))
        assert len(str(raised.value).splitlines()) == 1
