"""vitcli: what the design choices of a Vision Transformer do, measured on your data and budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

__all__ = ["create_model"]


def create_model(
    *overrides: str, img_size: int | tuple[int, int] = 224, num_classes: int = 1000
) -> nn.Module:
    """Returns the model that `overrides` describe, with fresh weights.

    `create_model("model=s", "pos_emb=relative", "model.patch_size=16")` takes images (B, 3, H, W)
    with values in [-1, 1] and gives logits (B, num_classes).

    Args:
        overrides: as for `vitcli train`: model, stem, pos_emb and recipe.dropout count.
        img_size: side in pixels, or (height, width).
        num_classes: width of the head's output.
    Raises:
        ValueError: an override or a combination that makes no sense.
    """
    from vitcli.compose import compose
    from vitcli.models import build_model
    from vitcli.rules import validate_fields

    size = (img_size, img_size) if isinstance(img_size, int) else img_size
    if num_classes < 1 or min(size) < 1:
        raise ValueError(f"img_size={img_size}, num_classes={num_classes}: must be at least 1")
    return build_model(compose(overrides, check=validate_fields), size, num_classes)
