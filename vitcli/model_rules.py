"""Which settings of a model fit together, and which images they fit. No torch."""

from __future__ import annotations

from vitcli.config import RunConfig, backbone_stride


def validate_model(config: RunConfig, img_size: tuple[int, int]) -> None:
    """Raises ValueError if the model's settings do not fit together, or not the images (H, W)."""
    if config.model.family == "resnet":
        _validate_resnet(config)
    else:
        _validate_vit(config, img_size)


def _validate_resnet(config: RunConfig) -> None:
    if not config.model.layers:
        raise ValueError("model.layers=[]: a ResNet (model.family=resnet) needs at least one stage")
    if config.model.width % 8:
        raise ValueError(f"model.width={config.model.width}: must be a multiple of 8")
    if config.recipe.dropout:
        raise ValueError(
            f"recipe.dropout={config.recipe.dropout} with model.family=resnet: "
            "BiT has no dropout, use recipe.dropout=0"
        )
    if config.model.head_hidden:
        raise ValueError(
            "model.head_hidden=true with model.family=resnet: only a ViT has this hidden layer"
        )
    if config.pos_emb.kind != "none":
        raise ValueError(
            f"pos_emb.kind={config.pos_emb.kind} with model.family=resnet: "
            "a ResNet has no position embedding, use pos_emb=none"
        )
    if config.recompute:
        raise ValueError("recompute=true with model.family=resnet: only a ViT's blocks are")
    if config.stem.layers:
        raise ValueError(
            f"stem={config.stem.name} with model.family=resnet: "
            "a hybrid needs a ViT behind its stem, use stem=patch or another model"
        )


def _validate_vit(config: RunConfig, img_size: tuple[int, int]) -> None:
    model, pos_emb, stem = config.model, config.pos_emb, config.stem
    for key in ("depth", "embed_dim", "mlp_dim", "num_heads"):
        if getattr(model, key) < 1:
            raise ValueError(f"model.{key}={getattr(model, key)}: a ViT needs at least 1")
    if model.embed_dim % model.num_heads:
        raise ValueError(
            f"model.num_heads={model.num_heads} does not divide model.embed_dim={model.embed_dim}"
        )
    if any(side % model.patch_size for side in img_size):
        height, width = img_size
        given = height if height == width else [height, width]
        raise ValueError(
            f"model.patch_size={model.patch_size} does not divide data.img_size={given}"
        )
    learned = pos_emb.kind in ("learned_1d", "learned_2d")
    if pos_emb.where != "stem" and not learned:
        raise ValueError(
            f"pos_emb.where={pos_emb.where} with pos_emb.kind={pos_emb.kind}: "
            "only learned_1d and learned_2d can be added anywhere but at the stem"
        )
    if pos_emb.offsets != "1d" and pos_emb.kind != "relative":
        raise ValueError(
            f"pos_emb.offsets={pos_emb.offsets} with pos_emb.kind={pos_emb.kind}: "
            "offsets belong to pos_emb.kind=relative"
        )
    divisor = {"learned_2d": 2, "sincos_2d": 4}.get(pos_emb.kind, 1)
    if model.embed_dim % divisor:
        raise ValueError(
            f"model.embed_dim={model.embed_dim} with pos_emb.kind={pos_emb.kind}: "
            f"must be a multiple of {divisor}"
        )
    if stem.layers and str(model.patch_size) not in stem.layers:
        raise ValueError(
            f"model.patch_size={model.patch_size} with stem={stem.name}: this ResNet's total "
            f"stride is one of {', '.join(stem.layers)} pixels (stem.layers)"
        )
    if stem.layers and model.patch_size % backbone_stride(stem, model.patch_size):
        raise ValueError(
            f"stem.layers.{model.patch_size}={stem.layers[str(model.patch_size)]} with "
            f"stem.root={stem.root} has a stride of {backbone_stride(stem, model.patch_size)}, "
            f"which does not divide model.patch_size={model.patch_size}"
        )
    if stem.layers and stem.width % 8:
        raise ValueError(f"stem.width={stem.width}: must be a multiple of 8")
