"""Models of other code bases and ours with numbers that matter, and how logits are compared."""

from __future__ import annotations

import torch
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torch import Tensor, nn

from vitcli.config import RunConfig
from vitcli.models import build_model
from vitcli.models.convert import Checkpoint, Preprocess


def randomize(model: nn.Module) -> nn.Module:
    """Gives every parameter a value that matters: no zeros, no ones."""
    generator = torch.Generator().manual_seed(0)
    for name, p in model.named_parameters():
        p.data = torch.randn(p.shape, generator=generator) * (0.2 if p.ndim == 1 else 0.05)
        if "norm" in name and name.endswith("weight"):
            p.data += 1
        if "pos_embed" in name or "position_embeddings" in name:
            p.data *= 20
    return model.eval()


def images(height: int, width: int) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


def same_logits(a: nn.Module, b: nn.Module, size: tuple[int, int]) -> None:
    with torch.no_grad():
        expected = a(images(*size))
        assert expected.std() > 0.05
        torch.testing.assert_close(b(images(*size)), expected, atol=1e-5, rtol=1e-5)


def ours(run: RunConfig, img_size: tuple[int, int], classes: int = 7) -> Checkpoint:
    model = randomize(build_model(run, img_size, classes))
    return Checkpoint("vitcli", run, model.state_dict(), classes, Preprocess(img_size))


def timm_vit(**options: object) -> nn.Module:
    sizes = {"patch_size": 4, "embed_dim": 64, "depth": 2, "num_heads": 2, "mlp_ratio": 1.5}
    return randomize(TimmViT(**({"img_size": 16, "num_classes": 5} | sizes | options)))
