"""Which images a position table is for, and whether it has a row for the class token."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from vitcli.config import RunConfig
from vitcli.models.resize import Grid

_GIVE = "give `vitcli convert` data.img_size=[height,width] of the images that it is for"


def settle_table(
    state: dict[str, Tensor],
    config: RunConfig,
    known: tuple[int, int] | None,
    wanted: tuple[int, int] | None,
) -> tuple[tuple[int, int] | None, list[str]]:
    """Returns (height, width) in pixels that the table is for, and what that assumes.

    None: there is no table. One without a row for the class token gets a row of zeros in the
    state, with which our model computes the same.

    Args:
        known: (height, width) that the file, its config or the user says.
        wanted: those of the images to come; count only where nothing else does.
    Raises:
        ValueError: the table is for no such images, or nothing tells for which.
    """
    patch, table = config.model.patch_size, state.get("pos_embed")
    if "pos_embed_x" in state and "pos_embed_y" in state:
        height, width = (state[f"pos_embed_{axis}"].shape[1] for axis in "yx")
        return known or (height * patch, width * patch), []
    if table is None:
        return known, []
    rows, has_class = table.shape[1], "cls_token" in state
    found: list[tuple[int, Grid]] = []  # rows of the class token, patches
    for class_rows in (1, 0) if has_class else (0,):
        places = rows - class_rows
        square = (math.isqrt(places),) * 2
        grids = {_grid(size, patch): 0 for size in (known or wanted,) if size}
        grids |= {} if known else {square: 0}
        found += [(class_rows, g) for g in grids if g[0] * g[1] == places > 0]
    if not found and known:
        there = "{}x{}".format(*_grid(known, patch))
        raise ValueError(
            f"pos_embed has {rows} rows, images of {known[0]}x{known[1]} have {there} patches"
        )
    if not found:
        raise ValueError(
            f"pos_embed is for {rows - has_class} patches, which is no square: {_GIVE}"
        )
    if len(found) > 1:
        readings = " or ".join(
            f"{height}x{width} patches" + " and the class token" * class_rows
            for class_rows, (height, width) in found
        )
        raise ValueError(f"pos_embed has {rows} rows, which can be {readings}: {_GIVE}")
    ((class_rows, grid),) = found
    size = known or (grid[0] * patch, grid[1] * patch)
    said = []
    if not known and size[0] != size[1]:
        said.append(f"a table of {rows} rows for images of {size[0]}x{size[1]}, as wanted")
    if has_class and not class_rows:
        state["pos_embed"] = F.pad(table, (0, 0, 1, 0))
        said.append(f"no place for the class token in a table of {rows} rows")
    return size, said


def _grid(size: tuple[int, int], patch: int) -> Grid:
    return size[0] // patch, size[1] // patch
