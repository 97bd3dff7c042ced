"""Position embeddings: the learned tables, and what a forward pass reads from them (paper, D.4).

The tables are parameters of the model itself, so that `pos_embed` is where timm has it. Every table
has a leading axis of layers, of length 1 unless each layer has its own.

What the paper leaves open, as decided here:
- `every_layer` and `shared` add to the residual stream before every block, the first included;
- a class token has a row of its own in learned_2d, and zeros in sincos_2d;
- `relative` has a table for each layer, shared by its heads; a class token has three entries in it.

Shapes: L layers with a table, N tokens, D width, C = D/2, h x w grid of patches, O offsets,
B images, H heads, d = D/H, Z = B H.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitcli.config import PosEmbConfig

CLASS_PAIRS = 3  # query to key: class to class, class to patch, patch to class


def init_tables(
    pos_emb: PosEmbConfig,
    grid: tuple[int, int],
    dim: int,
    head_dim: int,
    depth: int,
    class_token: bool,
) -> dict[str, nn.Parameter]:
    """Returns the learned tables of a position embedding by name; `none` and `sincos_2d` have none.

    Absolute tables start as N(0, 0.02), as in the official code, which has no relative embedding.
    Relative tables start at zero, where the model is exactly the one without positions: whatever
    sets the two apart is learned. (Queries differ from the start, so zero is no symmetric point.)

    Args:
        grid: rows and columns of patches.
        head_dim: width of the relative keys.
        class_token: whether a class token precedes the patches.

    Source: paper, D.4.
    """
    h, w = grid
    layers = depth if pos_emb.where == "every_layer" else 1
    if pos_emb.kind == "learned_1d":
        return {"pos_embed": _normal(layers, class_token + h * w, dim)}
    if pos_emb.kind == "learned_2d":
        tables = {
            "pos_embed_x": _normal(layers, w, dim // 2),
            "pos_embed_y": _normal(layers, h, dim // 2),
        }
        if class_token:
            tables["pos_embed_cls"] = _normal(layers, 1, dim)
        return tables
    if pos_emb.kind == "relative":
        num_offsets = 2 * h * w - 1 if pos_emb.offsets == "1d" else (2 * h - 1) * (2 * w - 1)
        tables = {"rel_pos_embed": nn.Parameter(torch.zeros(depth, num_offsets, head_dim))}
        if class_token:
            tables["rel_pos_cls"] = nn.Parameter(torch.zeros(depth, CLASS_PAIRS, head_dim))
        return tables
    return {}


def absolute_2d(x_LwC: Tensor, y_LhC: Tensor, cls_L1D: Tensor | None) -> Tensor:
    """Returns the table (L, N, D) in which patch (y, x) has the vector concat(X[x], Y[y]).

    Args:
        x_LwC: (L, w, D/2), one vector for each column.
        y_LhC: (L, h, D/2), one vector for each row.
        cls_L1D: (L, 1, D), the class token's row, put first; None: no class token.

    Source: paper, D.4.
    """
    h, w = y_LhC.shape[1], x_LwC.shape[1]
    grid_LhwD = torch.cat(
        (x_LwC.unsqueeze(1).expand(-1, h, -1, -1), y_LhC.unsqueeze(2).expand(-1, -1, w, -1)), -1
    )
    table_LND = grid_LhwD.flatten(1, 2)
    return table_LND if cls_L1D is None else torch.cat((cls_L1D, table_LND), 1)


def sincos_2d(grid: tuple[int, int], dim: int, class_token: bool) -> Tensor:
    """Returns the fixed table (1, N, D) of [sin x, cos x, sin y, cos y], zero for a class token.

    Each quarter has D/4 frequencies, from 1 down to 1/10000 radians a patch. Source: big_vision.
    """
    h, w = grid
    frequencies = 1e-4 ** torch.linspace(0, 1, dim // 4)
    x_wC = torch.arange(w).unsqueeze(1) * frequencies
    y_hC = torch.arange(h).unsqueeze(1) * frequencies
    cls_11D = torch.zeros(1, 1, dim) if class_token else None
    return absolute_2d(
        torch.cat((x_wC.sin(), x_wC.cos()), -1).unsqueeze(0),
        torch.cat((y_hC.sin(), y_hC.cos()), -1).unsqueeze(0),
        cls_11D,
    )


def relative_index(grid: tuple[int, int], offsets: str, class_token: bool) -> Tensor:
    """Returns for each query and key (N, N) the table's row of their offset, query minus key.

    The last rows are the class token's: class to class, class to patch, patch to class.

    Args:
        offsets: "1d": of raster indices, 2hw-1 rows; "2d": of grid places, (2h-1)(2w-1) rows.
    """
    h, w = grid
    if offsets == "1d":
        raster = torch.arange(h * w)
        index = raster.unsqueeze(1) - raster + h * w - 1
        num_offsets = 2 * h * w - 1
    else:
        y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        y, x = y.flatten(), x.flatten()
        dy, dx = y.unsqueeze(1) - y + h - 1, x.unsqueeze(1) - x + w - 1
        index = dy * (2 * w - 1) + dx
        num_offsets = (2 * h - 1) * (2 * w - 1)
    if class_token:
        index = F.pad(index, (1, 0, 1, 0))
        index[0, 0], index[0, 1:], index[1:, 0] = num_offsets, num_offsets + 1, num_offsets + 2
    return index


def relative_logits(q_BHNd: Tensor, keys_NNd: Tensor) -> Tensor:
    """Returns the product (B, H, N, N) of each content query with its relative keys.

    One matmul with the queries' positions as its batch: the gradient of the keys is then (N, N, d),
    and that is all that is scattered into the table, never a (B, H, N, N) tensor.

    Source: paper, D.4.
    """
    B, H, N, d = q_BHNd.shape
    q_NZd = q_BHNd.permute(2, 0, 1, 3).reshape(N, B * H, d)
    logits_NZN = q_NZd @ keys_NNd.transpose(1, 2)
    return logits_NZN.view(N, B, H, N).permute(1, 2, 0, 3)


def _normal(*shape: int) -> nn.Parameter:
    return nn.Parameter(nn.init.normal_(torch.empty(shape), std=0.02))
