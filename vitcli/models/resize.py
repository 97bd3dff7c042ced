"""Position embeddings for another grid of patches (paper, section 3.2).

The paper interpolates its one table in 2-D and says nothing of the other kinds. As decided here:
- `learned_1d` is a grid of h x w vectors, in each of its layers;
- `learned_2d` has a row of w and a column of h vectors, each resized along its own axis;
- `relative` with 2-D offsets is a grid of (2h-1) x (2w-1) offsets;
- `relative` with raster offsets is read on that grid, offset (dy, dx) at raster offset dy w + dx,
  resized there, and gathered again. Two places of the grid share a raster offset, (dy, dx) and
  (dy+1, dx-w): theirs is the mean, weighted by how many pairs of patches are that far apart, which
  is the least-squares choice;
- what belongs to the class token is not touched; `sincos_2d` and `none` have nothing to resize.

Shapes: L layers with a table, h x w and H x W grids, D width, C = D/2, O offsets, d = D/heads.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitcli.choices import nearest
from vitcli.config import PosEmbConfig

METHODS = ("bilinear_corners", "bicubic", "bicubic_plain", "bicubic_corners", "nearest", "reinit")
_MODES: dict[str, dict[str, Any]] = {
    "bilinear_corners": {"mode": "bilinear", "align_corners": True},
    "bicubic": {"mode": "bicubic", "antialias": True},
    "bicubic_plain": {"mode": "bicubic"},
    "bicubic_corners": {"mode": "bicubic", "align_corners": True},
    "nearest": {"mode": "nearest-exact"},  # by the centres of the places, so symmetric
}

Grid: TypeAlias = tuple[int, int]


def resize_pos_emb(
    state: dict[str, Tensor], pos_emb: PosEmbConfig, old: Grid, new: Grid, method: str
) -> tuple[dict[str, Tensor], str]:
    """Returns the state dict with its position tables for the grid `new`, and a line that says so.

    Args:
        state: a whole model's, by name; not changed.
        old: rows and columns of patches that the tables are for.
        method: "bilinear_corners": corners stay corners, one row or column is the first (the
            official code, scipy's zoom of order 1); "bicubic": antialiased (timm);
            "bicubic_plain": Hugging Face's; "bicubic_corners": torchvision's; "nearest"; "reinit":
            as before training.

    Raises:
        ValueError: an unknown method, or tables that are not for `old`.

    Source: paper, section 3.2; vision_transformer, checkpoint.py; timm, resample_abs_pos_embed.
    """
    if method not in METHODS:
        hint = nearest(method, METHODS)
        raise ValueError(f"resize={method}: choose from {', '.join(METHODS)}{hint}")
    change = f"position embedding {pos_emb.kind}: {old[0]}x{old[1]} -> {new[0]}x{new[1]}"
    if old == new:
        return state, f"{change}, unchanged"
    if pos_emb.kind in ("none", "sincos_2d"):
        return state, f"{change}, nothing learned"
    state = dict(state)
    if pos_emb.kind == "learned_1d":
        class_rows = int("cls_token" in state)
        table_LND = _take(state, "pos_embed", class_rows + old[0] * old[1])
        cls_LcD, grid_LND = table_LND[:, :class_rows], table_LND[:, class_rows:]
        grid_LND = _resize(grid_LND, old, new, method, std=0.02)
        state["pos_embed"] = torch.cat((cls_LcD, grid_LND), 1)
    elif pos_emb.kind == "learned_2d":
        for name, axis in (("pos_embed_y", 0), ("pos_embed_x", 1)):
            table_LnC = _take(state, name, old[axis])
            state[name] = _resize(table_LnC, (1, old[axis]), (1, new[axis]), method, std=0.02)
    else:
        state["rel_pos_embed"] = _resize_offsets(state, pos_emb.offsets, old, new, method)
    return state, f"{change}, {method}"


def _resize_offsets(
    state: dict[str, Tensor], offsets: str, old: Grid, new: Grid, method: str
) -> Tensor:
    """Returns the relative table (L, O, d) for the grid `new`."""
    on_old, on_new = _offset_grid(old), _offset_grid(new)
    if offsets == "2d":
        table_LOd = _take(state, "rel_pos_embed", on_old[0] * on_old[1])
        return _resize(table_LOd, on_old, on_new, method, std=0.0)
    table_LOd = _take(state, "rel_pos_embed", 2 * old[0] * old[1] - 1)
    on_grid_LOd = table_LOd[:, _raster_offsets(old)[0]]
    return _gather_raster(_resize(on_grid_LOd, on_old, on_new, method, std=0.0), new)


def _take(state: dict[str, Tensor], name: str, rows: int) -> Tensor:
    table = state[name]
    if table.shape[1] != rows:
        raise ValueError(f"{name} has {table.shape[1]} rows, its grid asks for {rows}")
    return table


def _resize(table_LND: Tensor, old: Grid, new: Grid, method: str, std: float) -> Tensor:
    """Returns (L, H W, D) of (L, h w, D), computed in float32; `std` is that of fresh tables."""
    if method == "reinit":
        shape = (len(table_LND), new[0] * new[1], table_LND.shape[-1])
        return nn.init.normal_(table_LND.new_empty(shape), std=std)
    grid_LDhw = table_LND.float().transpose(1, 2).reshape(len(table_LND), -1, *old)
    grid_LDHW = F.interpolate(grid_LDhw, new, **_MODES[method])
    return grid_LDHW.flatten(2).transpose(1, 2).to(table_LND.dtype).contiguous()


def _offset_grid(grid: Grid) -> Grid:
    return 2 * grid[0] - 1, 2 * grid[1] - 1


def _raster_offsets(grid: Grid) -> tuple[Tensor, Tensor]:
    """Returns for each (dy, dx) the row of its raster offset, and how many pairs are that far."""
    h, w = grid
    dy, dx = torch.arange(1 - h, h).unsqueeze(1), torch.arange(1 - w, w)
    rows_O = (dy * w + dx + h * w - 1).flatten()
    return rows_O, ((h - dy.abs()) * (w - dx.abs())).flatten()


def _gather_raster(on_grid_LOd: Tensor, grid: Grid) -> Tensor:
    """Returns the raster table (L, 2 H W - 1, d) nearest to one over the grid's offsets."""
    rows_O, pairs_O = _raster_offsets(grid)
    num_rows = 2 * grid[0] * grid[1] - 1
    weights_O = pairs_O.float()
    total = torch.zeros(num_rows).index_add(0, rows_O, weights_O)
    share_O1 = (weights_O / total[rows_O]).unsqueeze(1)
    weighted_LOd = on_grid_LOd.float() * share_O1
    table = weighted_LOd.new_zeros(len(on_grid_LOd), num_rows, on_grid_LOd.shape[-1])
    return table.index_add(1, rows_O, weighted_LOd).to(on_grid_LOd.dtype)
