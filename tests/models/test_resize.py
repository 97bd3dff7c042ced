"""Resized position embeddings against scipy's zoom, timm's resampling, and loops over offsets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor

from vitcli.config import ModelConfig, PosEmbConfig, RunConfig
from vitcli.models import build_model
from vitcli.models.resize import METHODS, resize_pos_emb

LEARNED_1D = PosEmbConfig("learned_1d")
GRIDS = [((4, 4), (7, 7)), ((7, 7), (4, 4)), ((3, 5), (6, 4)), ((2, 6), (3, 4)), ((4, 4), (1, 9))]
every_grid = pytest.mark.parametrize(("old", "new"), GRIDS)
KINDS = [
    PosEmbConfig("learned_1d"),
    PosEmbConfig("learned_1d", "every_layer"),
    PosEmbConfig("learned_1d", "shared"),
    PosEmbConfig("learned_2d"),
    PosEmbConfig("learned_2d", "every_layer"),
    PosEmbConfig("relative"),
    PosEmbConfig("relative", offsets="2d"),
    PosEmbConfig("sincos_2d"),
    PosEmbConfig("none"),
]
every_kind = pytest.mark.parametrize(
    "pos_emb", KINDS, ids=lambda p: f"{p.kind}-{p.where}-{p.offsets}"
)


def table(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def learned_1d(
    old: tuple[int, int], layers: int = 1, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    rows = 1 + old[0] * old[1]
    return {"cls_token": table(1, 1, 8), "pos_embed": table(layers, rows, 8).to(dtype)}


@every_grid
def test_bilinear_corners_is_the_official_zoom(old: tuple[int, int], new: tuple[int, int]) -> None:
    state = learned_1d(old)
    resized, _ = resize_pos_emb(state, LEARNED_1D, old, new, "bilinear_corners")
    grid = state["pos_embed"][0, 1:].view(*old, 8).numpy()
    expected = zoom(grid, (new[0] / old[0], new[1] / old[1], 1), order=1).reshape(-1, 8)
    np.testing.assert_allclose(resized["pos_embed"][0, 1:], expected, atol=1e-5)
    assert torch.equal(resized["pos_embed"][:, 0], state["pos_embed"][:, 0])


@every_grid
def test_bicubic_is_timms(old: tuple[int, int], new: tuple[int, int]) -> None:
    state = learned_1d(old)
    resized, _ = resize_pos_emb(state, LEARNED_1D, old, new, "bicubic")
    expected = resample_abs_pos_embed(state["pos_embed"], list(new), list(old))
    torch.testing.assert_close(resized["pos_embed"], expected)
    assert torch.equal(resized["pos_embed"][:, 0], state["pos_embed"][:, 0])


def test_nearest_repeats_places_when_the_grid_doubles() -> None:
    state = learned_1d((2, 3))
    resized, _ = resize_pos_emb(state, LEARNED_1D, (2, 3), (4, 6), "nearest")
    grid = state["pos_embed"][0, 1:].view(2, 3, 8)
    expected = grid.repeat_interleave(2, 0).repeat_interleave(2, 1).flatten(0, 1)
    assert torch.equal(resized["pos_embed"][0, 1:], expected)


@pytest.mark.parametrize("method", METHODS)
def test_each_layer_is_resized_by_itself_in_its_own_precision(method: str) -> None:
    state = learned_1d((4, 4), layers=3, dtype=torch.bfloat16)
    torch.manual_seed(0)
    resized, _ = resize_pos_emb(state, LEARNED_1D, (4, 4), (6, 5), method)
    assert resized["pos_embed"].shape == (3, 31, 8)
    assert resized["pos_embed"].dtype == torch.bfloat16
    assert torch.equal(resized["pos_embed"][:, 0], state["pos_embed"][:, 0])
    if method != "reinit":
        in_float32 = {k: v.float() for k, v in state.items()}
        for i in range(3):
            layer = in_float32 | {"pos_embed": in_float32["pos_embed"][i : i + 1]}
            alone, _ = resize_pos_emb(layer, LEARNED_1D, (4, 4), (6, 5), method)
            assert torch.equal(resized["pos_embed"][i], alone["pos_embed"][0].bfloat16())


def test_reinit_starts_afresh() -> None:
    torch.manual_seed(0)
    state = learned_1d((4, 4))
    resized, _ = resize_pos_emb(state, LEARNED_1D, (4, 4), (16, 16), "reinit")
    assert resized["pos_embed"][0, 1:].std().item() == pytest.approx(0.02, rel=0.1)
    offsets = {"rel_pos_embed": table(2, 31, 8)}
    resized, _ = resize_pos_emb(offsets, PosEmbConfig("relative"), (4, 4), (5, 5), "reinit")
    assert not resized["rel_pos_embed"].any()


def test_two_dimensional_tables_are_resized_along_their_own_axis() -> None:
    state = {"pos_embed_y": table(2, 3, 8), "pos_embed_x": table(2, 5, 8)}
    state["pos_embed_cls"] = table(2, 1, 16)
    pos_emb = PosEmbConfig("learned_2d", "every_layer")
    resized, _ = resize_pos_emb(state, pos_emb, (3, 5), (6, 4), "bilinear_corners")
    for name, factor in (("pos_embed_y", 6 / 3), ("pos_embed_x", 4 / 5)):
        expected = zoom(state[name].numpy(), (1, factor, 1), order=1)
        np.testing.assert_allclose(resized[name], expected, atol=1e-5)
    assert torch.equal(resized["pos_embed_cls"], state["pos_embed_cls"])


def test_grid_offsets_are_resized_as_the_grid_they_are() -> None:
    state = {"rel_pos_embed": table(2, 5 * 7, 8), "rel_pos_cls": table(2, 3, 8)}
    pos_emb = PosEmbConfig("relative", offsets="2d")
    resized, _ = resize_pos_emb(state, pos_emb, (3, 4), (5, 4), "bilinear_corners")
    grid = state["rel_pos_embed"].view(2, 5, 7, 8).numpy()
    expected = zoom(grid, (1, 9 / 5, 1, 1), order=1).reshape(2, 63, 8)
    np.testing.assert_allclose(resized["rel_pos_embed"], expected, atol=1e-5)
    assert torch.equal(resized["rel_pos_cls"], state["rel_pos_cls"])


def test_raster_offsets_are_the_mean_over_the_pairs_that_share_them() -> None:
    old, new = (3, 4), (4, 5)
    state = {"rel_pos_embed": table(1, 23, 2)}
    resized, _ = resize_pos_emb(state, PosEmbConfig("relative"), old, new, "bilinear_corners")
    grid = np.zeros((5, 7, 2))
    for dy in range(-2, 3):
        for dx in range(-3, 4):
            grid[dy + 2, dx + 3] = state["rel_pos_embed"][0, dy * 4 + dx + 11]
    grid = zoom(grid, (7 / 5, 9 / 7, 1), order=1)
    places = [(y, x) for y in range(4) for x in range(5)]
    total, pairs = np.zeros((39, 2)), np.zeros((39, 1))
    for yq, xq in places:
        for yk, xk in places:
            row = (yq * 5 + xq) - (yk * 5 + xk) + 19
            total[row] += grid[yq - yk + 3, xq - xk + 4]
            pairs[row] += 1
    np.testing.assert_allclose(resized["rel_pos_embed"][0], total / pairs, atol=1e-5)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "reinit"])
@every_kind
def test_every_kind_fits_the_model_of_its_new_grid(pos_emb: PosEmbConfig, method: str) -> None:
    sizes = ModelConfig(depth=3, embed_dim=16, mlp_dim=24, num_heads=2, patch_size=2)
    run = RunConfig(model=sizes, pos_emb=pos_emb)
    old = build_model(run, (4, 6), 5).state_dict()
    resized, line = resize_pos_emb(old, pos_emb, (2, 3), (3, 2), method)  # as many tokens
    model = build_model(run, (6, 4), 5)
    model.load_state_dict(resized)
    assert "2x3 -> 3x2" in line
    learned = pos_emb.kind in ("learned_1d", "learned_2d")
    assert line.endswith(method) or not (learned or pos_emb.kind == "relative")
    assert any(not torch.equal(old[k], v) for k, v in resized.items()) or not learned


@pytest.mark.parametrize("method", METHODS)
@every_kind
def test_the_same_grid_changes_nothing(pos_emb: PosEmbConfig, method: str) -> None:
    sizes = ModelConfig(depth=3, embed_dim=16, mlp_dim=24, num_heads=2, patch_size=2)
    state = build_model(RunConfig(model=sizes, pos_emb=pos_emb), (4, 6), 5).state_dict()
    same, line = resize_pos_emb(state, pos_emb, (2, 3), (2, 3), method)
    assert same == state
    assert line.endswith("unchanged")


def test_what_cannot_be_names_itself() -> None:
    with pytest.raises(ValueError, match=r"resize=bicubical: choose from .*did you mean 'bicubic'"):
        resize_pos_emb(learned_1d((4, 4)), LEARNED_1D, (4, 4), (5, 5), "bicubical")
    with pytest.raises(ValueError, match="pos_embed has 17 rows, its grid asks for 26"):
        resize_pos_emb(learned_1d((4, 4)), LEARNED_1D, (5, 5), (6, 6), "bicubic")
