"""What a model costs, written out: parameters, and multiply-adds by the paper's rule. No torch.

Written out and not counted on a model, so that a study's cost is known before torch is imported.
"""

from __future__ import annotations

from vitcli.config import ModelConfig, RunConfig, backbone_stride, num_steps
from vitcli.sets import UNKNOWN_CLASSES, sizes

Cost = tuple[int, int]  # parameters, and multiply-adds of one image's forward pass


def train_flops(config: RunConfig) -> tuple[int, float]:
    """Returns (parameters, training FLOPs by the paper's rule) of a run, trials of rates included.

    A result's `train_flops` are of the training alone, without those trials.

    Raises:
        ValueError: a length in epochs of a set whose size only its images tell.
    """
    data, train = config.data, config.train
    parameters, macs = count(config, data.height_width, data.num_classes or UNKNOWN_CLASSES)
    images, _ = sizes(data)
    if train.epochs is not None and images is None:
        raise ValueError(
            f"train.epochs={train.epochs:g} with data.size=null: the number of images of "
            f"data.name={data.name} is not known before it is read, set data.size"
        )
    # A trial of a rate in epochs is shorter, by the dev split.
    share = 1.0 if train.epochs is None else 1 - config.finetune.dev_share
    trainings = 1 + len(config.finetune.lr_grid) * share
    steps = num_steps(config, images or 0)
    return parameters, 6.0 * macs * steps * train.batch_size * trainings


def count(config: RunConfig, img_size: tuple[int, int], num_classes: int) -> Cost:
    """Returns (parameters, multiply-adds of one image's forward pass) of the run's model.

    A training's exaFLOPs are 6 x multiply-adds x images (the paper's Table 6, within 5 %).
    Multiply-adds are those of matrix products and convolutions.

    Args:
        img_size: height and width of the images, in pixels.
    """
    if config.model.family == "resnet":
        return _bit(config.model, img_size, num_classes)
    if config.model.family != "vit":
        from vitcli.counted import counted  # with torch: it is not written out

        return counted(config, img_size, num_classes)
    return _vit(config, img_size, num_classes)


def num_tokens(model: ModelConfig, img_size: tuple[int, int]) -> int:
    """Returns how many tokens a ViT makes of an image (H, W), the class token included."""
    height, width = (side // model.patch_size for side in img_size)
    return height * width + int(model.has_class_token)


def block_parameters(model: ModelConfig) -> int:
    """Returns the parameters of one block of a ViT."""
    dim, mlp = model.embed_dim, model.mlp_dim
    return 4 * (dim * dim + dim) + 4 * dim + 2 * dim * mlp + mlp + dim


def _vit(config: RunConfig, img_size: tuple[int, int], num_classes: int) -> Cost:
    model, stem, dim = config.model, config.stem, config.model.embed_dim
    grid = (img_size[0] // model.patch_size, img_size[1] // model.patch_size)
    patches, has_class = grid[0] * grid[1], int(model.has_class_token)
    tokens = num_tokens(model, img_size)
    parameters, macs, channels, side = 0, 0, 3, model.patch_size
    if stem.layers:
        layers = stem.layers[str(model.patch_size)]
        parameters, macs, channels = _resnet(layers, stem.width, stem.root, img_size, preact=False)
        side //= backbone_stride(stem, model.patch_size)
    patch = channels * side * side * dim
    blocks = model.depth * block_parameters(model)
    parameters += patch + dim + has_class * dim + blocks + 2 * dim
    attention = 2 * tokens * tokens * dim
    if config.pos_emb.kind == "relative":  # the queries' product with the relative keys
        attention += tokens * tokens * dim
    macs += patches * patch
    macs += model.depth * (tokens * (4 * dim * dim + 2 * dim * model.mlp_dim) + attention)
    parameters += _tables(config, grid, has_class)
    if model.head_hidden:
        hidden = model.head_hidden_dim or dim
        parameters, macs, dim = parameters + (dim + 1) * hidden, macs + dim * hidden, hidden
    return parameters + num_classes * (dim + 1), macs + num_classes * dim


def _tables(config: RunConfig, grid: tuple[int, int], has_class: int) -> int:
    """Returns the parameters of the position embedding."""
    pos_emb, dim, (height, width) = config.pos_emb, config.model.embed_dim, grid
    tables = config.model.depth if pos_emb.where == "every_layer" else 1
    if pos_emb.kind == "learned_1d":
        return tables * (height * width + has_class) * dim
    if pos_emb.kind == "learned_2d":
        return tables * ((height + width) * dim // 2 + has_class * dim)
    if pos_emb.kind == "relative":
        flat = pos_emb.offsets == "1d"
        offsets = 2 * height * width - 1 if flat else (2 * height - 1) * (2 * width - 1)
        return config.model.depth * (offsets + 3 * has_class) * dim // config.model.num_heads
    return 0


def _bit(model: ModelConfig, img_size: tuple[int, int], num_classes: int) -> Cost:
    parameters, macs, features = _resnet(
        model.layers, model.width, model.root, img_size, preact=True
    )
    return parameters + num_classes * (features + 1), macs + num_classes * features


def _resnet(
    layers: list[int], width: int, root: str, img_size: tuple[int, int], *, preact: bool
) -> tuple[int, int, int]:
    """Returns parameters, multiply-adds and output channels of bottleneck stages and their root.

    A convolution has no bias; a group norm has two numbers for each of its channels.
    """
    large = root == "imagenet"
    height, width_px = (_half(side) if large else side for side in img_size)
    first = 3 * width * (49 if large else 9)
    parameters, macs, channels = first, first * height * width_px, width
    parameters += 0 if preact else 2 * width
    if large:  # max pooling
        height, width_px = _half(height), _half(width_px)
    for stage, units in enumerate(layers):
        out = 4 * width * 2**stage
        inner = out // 4
        for unit in range(units):
            before = height * width_px
            if unit == 0 and stage > 0:
                height, width_px = _half(height), _half(width_px)
            after = height * width_px
            reduce, inside, expand = channels * inner, 9 * inner * inner, inner * out
            shortcut = channels * out if unit == 0 else 0
            macs += reduce * before + (inside + expand + shortcut) * after
            norms = channels if preact else out + (out if shortcut else 0)
            parameters += reduce + inside + expand + shortcut + 2 * (2 * inner + norms)
            channels = out
    return parameters + (2 * channels if preact else 0), macs, channels


def _half(side: int) -> int:
    return (side + 1) // 2
