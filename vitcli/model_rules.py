"""Which settings of a model fit together, and which images they fit. No torch."""

from __future__ import annotations

from vitcli.config import RunConfig, backbone_stride

FAMILIES = ("vit", "resnet")  # ours; a family of another package has rules of its own


def validate_model(config: RunConfig, img_size: tuple[int, int]) -> None:
    """Raises ValueError if the model's settings do not fit together, or not the images (H, W)."""
    family, options = config.model.family, config.model.options
    if options is not None and family in FAMILIES:
        raise ValueError(f"model.options={options} with model.family={family}: it has none")
    if not isinstance(options, dict | None):
        raise ValueError(f"model.options={options}: names and values, such as {{mlp: 128}}")
    if config.recompute and family != "vit":
        raise ValueError(
            f"recompute=true with model.family={family}: only a ViT's blocks can be recomputed"
        )
    if family == "resnet":
        _validate_resnet(config)
    elif family == "vit":
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
    for key in ("head_hidden", "fc_norm"):
        if getattr(config.model, key):
            raise ValueError(f"model.{key}=true with model.family=resnet: only a ViT has it")
    _validate_groups("model.groups", config.model.groups, config.model.width)
    if config.pos_emb.kind != "none":
        raise ValueError(
            f"pos_emb.kind={config.pos_emb.kind} with model.family=resnet: "
            "a ResNet has no position embedding, use pos_emb=none"
        )
    if config.stem.layers:
        raise ValueError(
            f"stem={config.stem.name} with model.family=resnet: "
            "a hybrid needs a ViT behind its stem, use stem=patch or another model"
        )


def _validate_vit(config: RunConfig, img_size: tuple[int, int]) -> None:
    model = config.model
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
    if model.fc_norm and model.pool == "token":
        raise ValueError(
            "model.fc_norm=true with model.pool=token: a norm of the class token alone is what "
            "model.fc_norm=false computes"
        )
    if model.head_hidden_dim and not model.head_hidden:
        raise ValueError(
            f"model.head_hidden_dim={model.head_hidden_dim} with model.head_hidden=false: there is "
            "no hidden layer"
        )
    _validate_pos_emb(config)
    _validate_stem(config)


def _validate_pos_emb(config: RunConfig) -> None:
    model, pos_emb = config.model, config.pos_emb
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


def _validate_stem(config: RunConfig) -> None:
    model, stem = config.model, config.stem
    _validate_groups("stem.groups", stem.groups, stem.width)
    if not stem.layers:
        return
    if str(model.patch_size) not in stem.layers:
        raise ValueError(
            f"model.patch_size={model.patch_size} with stem={stem.name}: this ResNet's total "
            f"stride is one of {', '.join(stem.layers)} pixels (stem.layers)"
        )
    if min(stem.layers[str(model.patch_size)], default=0) < 1:
        raise ValueError(
            f"stem.layers.{model.patch_size}={stem.layers[str(model.patch_size)]} with "
            f"stem={stem.name}: at least one stage, and one block in each"
        )
    if model.patch_size % backbone_stride(stem, model.patch_size):
        raise ValueError(
            f"stem.layers.{model.patch_size}={stem.layers[str(model.patch_size)]} with "
            f"stem.root={stem.root} has a stride of {backbone_stride(stem, model.patch_size)}, "
            f"which does not divide model.patch_size={model.patch_size}"
        )
    if stem.width % 8:
        raise ValueError(f"stem.width={stem.width}: must be a multiple of 8")


def _validate_groups(key: str, groups: int, width: int) -> None:
    if groups and width % groups:
        raise ValueError(f"{key}={groups}: must divide the width {width}")
