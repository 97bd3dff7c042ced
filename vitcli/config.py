"""The schema of every run, one dataclass per config group.

`conf/` fills these classes, `compose.py` makes them, `rules.py` checks them, all else reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from vitcli.choices import at_least, choice, word

CROP_MODES = ("center", "squash", "border")  # timm's


@dataclass
class ModelConfig:
    """Sizes of a Vision Transformer (paper, Table 1) or of a BiT ResNet."""

    name: str = word("nano")
    family: str = choice("vit", "resnet", group="vitcli.models")
    depth: int = at_least(0, 0)
    embed_dim: int = at_least(0, 0)
    mlp_dim: int = at_least(0, 0)
    num_heads: int = at_least(0, 0)
    patch_size: int = at_least(1, 1)  # pixels; of a hybrid: its total stride
    # What stands for an image: the class token, or the mean of the patch tokens; gap: there is no
    # class token, gap_class: there is one beside them.
    pool: str = choice("token", "gap", "gap_class")
    fc_norm: bool = field(
        default=False, metadata={"later": True}
    )  # norm after the mean, not before
    head_hidden: bool = False  # tanh hidden layer in the head, as in the paper's pre-training
    head_hidden_dim: int = at_least(0, 0, later=True)  # its width; 0: embed_dim
    gelu: str = choice("tanh", "erf")  # Google's code: tanh; timm and Hugging Face: erf
    norm_eps: float = at_least(0.0, 1e-6)
    layers: list[int] = at_least(1, [])  # of a ResNet: bottleneck units in each stage
    width: int = at_least(1, 64)  # of a ResNet: channels after the first convolution
    root: str = choice("imagenet", "small")  # of a ResNet: 7x7/2 and max pool, or 3x3/1
    # Of a ResNet's group norms; 0: 32, or as many as leave two channels or more in each.
    groups: int = at_least(0, 0, later=True)
    # Of a family of another package: whatever it wants to know, by name.
    options: Any = field(default=None, metadata={"later": True})

    @property
    def has_class_token(self) -> bool:
        """Returns whether a class token goes before the patch tokens."""
        return self.pool != "gap"


@dataclass
class PosEmbConfig:
    """Kind and place of the position embedding (paper, D.4 and Table 8)."""

    kind: str = choice("learned_1d", "none", "learned_2d", "relative", "sincos_2d")
    where: str = choice("stem", "every_layer", "shared")
    offsets: str = choice("1d", "2d")  # of `relative`: raster offsets (the paper's) or grid offsets


@dataclass
class StemConfig:
    """What makes tokens of an image: a patch projection, or a ResNet before it (the hybrid)."""

    name: str = word("patch")
    # Units in each stage, by the total stride in pixels; empty: no ResNet.
    layers: dict[str, list[int]] = field(default_factory=dict)
    width: int = at_least(1, 64)
    root: str = choice("imagenet", "small")
    groups: int = at_least(0, 0, later=True)  # as model.groups


@dataclass
class AugmentConfig:
    """How training images are varied, by (seed, epoch, index)."""

    crop: str = choice("none", "pad", "inception")  # none: as for evaluation
    pad: int = at_least(1, 4)  # pixels around an image of 32, of crop=pad
    min_area: float = at_least(0.0, 0.05)  # of crop=inception, as a share of the image
    flip: bool = False  # left to right, every other image
    randaugment: str | None = None  # as timm writes it: rand-m9-n2-mstd0.5
    erasing: float = at_least(0.0, 0.0)  # probability of a grey rectangle


@dataclass
class DataConfig:
    """A data set and how much of it to train on."""

    name: str = choice(
        "glyphs",
        "digits",
        "cifar10",
        "cifar100",
        "mnist",
        "fashion_mnist",
        "kmnist",
        "imagefolder",
        "imagenet",
        "hfds",
        "wds",
        group="vitcli.data",
    )
    path: str | None = None  # of a set of your own
    alias: str | None = None  # your name for it: then its path is not part of a run's identity
    root: str = "data"  # where downloads are kept
    download: bool = False  # if it is not in root
    size: int | None = at_least(1, None)  # training images: a nested prefix; null: all there are
    val_size: int | None = at_least(1, 2000)  # null: all there are
    img_size: Any = field(default=16, metadata={"sides": 4})  # pixels; or [height, width]
    num_classes: int | None = at_least(2, 10)  # null: those that the images have
    level: str = choice("plain", "colour", "clutter")  # of glyphs
    seed: int = at_least(0, 0)  # which images there are; the run's own seed does not change them
    # Of hfds, wds: read in order, shuffled in a buffer; size: the first so many.
    stream: bool = field(default=False, metadata={"later": True})
    # Of imagefolder, imagenet. torchvision: 1, 10, 2, B, a; natural, as timm: 1, 2, 10, a, B.
    class_order: str = choice("torchvision", "natural", later=True)
    # Of `eval`: a file with a line for each class of the head, in its order.
    class_map: str | None = field(default=None, metadata={"later": True})
    # Of hfds, wds their splits, of folders their names: then val/ comes before validation/.
    splits: list[str] = field(default_factory=lambda: ["train", "validation"])
    # Share of each class held out for validation where the set has no validation part.
    val_share: float | None = at_least(0.0, None, later=True)
    columns: list[str] = field(default_factory=lambda: ["image", "label"])  # of hfds
    # Of hfds: which configuration of a set of the Hub that has several.
    config_name: str | None = field(default=None, metadata={"later": True})
    workers: int = at_least(0, 2)  # processes that decode; 0: this one
    max_bad: int = at_least(0, 0)  # images that may fail to decode, and are left out
    # Of an image; a larger one counts as bad.
    max_pixels: int = at_least(1, 100_000_000, later=True)
    interpolation: str = choice("bilinear", "bicubic")
    crop_pct: float = at_least(0.0, 0.875)  # of the shorter side that evaluation sees
    # center: its middle; squash: all of it, in other proportions; border: padded to a square.
    crop_mode: str = choice(*CROP_MODES, later=True)
    real_labels: str | None = None  # of imagenet: the file real.json, for val/real
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        size = self.img_size
        if isinstance(size, list) and len(size) == 2 and size[0] == size[1]:
            self.img_size = size[0]  # one run, one identity

    @property
    def height_width(self) -> tuple[int, int]:
        """Returns height and width of the images (pixels): all that img_size is read by."""
        size = self.img_size
        return (size[0], size[1]) if isinstance(size, list) else (size, size)


@dataclass
class RecipeConfig:
    """Optimizer, schedule and regularisation (paper, Tables 3 and 4)."""

    optimizer: str = choice("adamw", "sgd")
    lr: float = at_least(0.0, 1e-3)
    betas: list[float] = at_least(0.0, [0.9, 0.999])  # of adamw
    momentum: float = at_least(0.0, 0.9)  # of sgd
    weight_decay: float = at_least(0.0, 0.0)  # decoupled, times the learning rate; matrices only
    schedule: str = choice("cosine", "linear")
    warmup_steps: int | None = at_least(0, None)  # null: a tenth of the steps
    grad_clip: float = at_least(0.0, 1.0)  # global norm; 0: off
    dropout: float = at_least(0.0, 0.0)
    polyak: float = at_least(0.0, 0.0)  # what a step keeps of the average of weights; 0: no average
    label_smoothing: float = at_least(0.0, 0.0)
    mixup: float = at_least(0.0, 0.0)  # alpha; with cutmix, a batch has the one or the other
    cutmix: float = at_least(0.0, 0.0)


@dataclass
class FinetuneConfig:
    """Transfer: whose weights training starts from, under a new head (paper, 3.2 and B.1.1)."""

    source: str | None = None  # a run's folder, a checkpoint, timm:NAME, hf:REPO; null: nobody's
    # Which they are, found when the run is described: the id of a run of ours, else their hash.
    weights: str | None = None
    resize: str = choice(
        "auto", "bilinear_corners", "bicubic", "bicubic_plain", "bicubic_corners",
        "nearest", "reinit",
    )  # fmt: skip
    # Whose interpolation and crop: those of data, or the source's, found when the run is described.
    preprocess: str = choice("data", "source", later=True)
    lr_grid: list[float] = at_least(0.0, [])  # rates to try on a dev split; empty: recipe.lr
    dev_share: float = at_least(0.0, 0.1)  # of the training images


@dataclass
class TrainConfig:
    """How long, in which batches and which numbers. One of steps, epochs, images is set."""

    steps: int | None = at_least(1, None)
    epochs: float | None = at_least(0.0, None)
    images: int | None = at_least(1, None)
    batch_size: int = at_least(1, 64)
    accumulate: int = at_least(1, 1)  # micro-batches in a batch
    # Smaller micro-batches where memory runs out.
    auto_batch: bool = field(default=False, metadata={"later": True})
    # A step whose gradient is not finite ends the run, or is left out and counted.
    on_nan: str = choice("stop", "skip", later=True)
    precision: str = choice("auto", "fp32", "bf16")
    # best: early stopping, the weights of the step with the best validation top-1 (Fig. 4).
    keep: str = choice("last", "best", later=True)
    val_every: int | None = at_least(1, None, later=True)  # steps, of keep=best; null: a tenth


@dataclass
class EvalsConfig:
    """What is measured after training, besides upstream validation."""

    # Data set of the few-shot linear evaluation, or a list of them; null: none.
    downstream: Any = None
    path: str | None = None  # of `downstream`, if it is a set of your own
    shots: list[int] = at_least(1, [5, 10])
    draws: int = at_least(1, 20)
    l2: float = at_least(0.0, 1024.0)
    zero_shot: bool = field(default=False, metadata={"later": True})  # of a source run's own head
    shifts: list[int] = at_least(1, [], later=True)  # pixels to translate by; empty: no such test
    own: list[str] = field(default_factory=list, metadata={"later": True})  # of other packages

    def __post_init__(self) -> None:
        if isinstance(self.downstream, list) and len(self.downstream) < 2:
            self.downstream = self.downstream[0] if self.downstream else None  # one identity

    @property
    def sets(self) -> list[str]:
        """Returns the names in `downstream`."""
        if self.downstream is None:
            return []
        return self.downstream if isinstance(self.downstream, list) else [self.downstream]


@dataclass
class CheckpointConfig:
    """How often the training state is saved: by steps or minutes, whichever comes first."""

    every: int = at_least(1, 500)  # steps
    minutes: float = at_least(0.0, 10.0)


@dataclass
class RunConfig:
    """One run, whole."""

    model: ModelConfig = field(default_factory=ModelConfig)
    pos_emb: PosEmbConfig = field(default_factory=PosEmbConfig)
    stem: StemConfig = field(default_factory=StemConfig)
    data: DataConfig = field(default_factory=DataConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    evals: EvalsConfig = field(default_factory=EvalsConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    seed: int = at_least(0, 0)
    device: str = choice("auto", "cpu", "cuda", "mps", "xpu")
    compile: str = choice("auto", "on", "off")  # the step, by torch.compile; auto: where it pays
    threads: int = at_least(0, 0)  # CPU threads; 0: one per core
    parallel: str = choice("ddp", "fsdp")  # of more processes than one; fsdp divides the weights
    recompute: bool = False  # a ViT's blocks again in the backward pass: less memory, more time
    # Who else is told of the run, through its own library (docs/trackers.md).
    tracker: str = choice("none", "tensorboard", "wandb", "mlflow", "trackio")
    outputs: str = "outputs"


def under_new_head(config: RunConfig, source: RunConfig, weights: str) -> RunConfig:
    """Returns the config with the model of `source`, less its hidden head, and whose weights."""
    return replace(
        config,
        model=replace(source.model, head_hidden=False, head_hidden_dim=0),
        pos_emb=source.pos_emb,
        stem=source.stem,
        finetune=replace(config.finetune, weights=weights),
    )


def weights_record(
    config: RunConfig, code_base: str, preprocess: dict[str, Any], classes: list[str] | None
) -> dict[str, Any]:
    """Returns what goes into a file of weights with them, as names and shapes do not say it."""
    described = {group: asdict(getattr(config, group)) for group in ("model", "pos_emb", "stem")}
    named = {} if classes is None else {"classes": classes}
    return {"code_base": code_base, "preprocess": preprocess, **described, **named}


def num_steps(config: RunConfig, train_size: int) -> int:
    """Returns the run's length in optimizer steps, from whichever duration is set."""
    train = config.train
    if train.steps is not None:
        return train.steps
    images = train.images if train.images is not None else (train.epochs or 0) * train_size
    return max(1, round(images / train.batch_size))


def backbone_stride(stem: StemConfig, patch_size: int) -> int:
    """Returns the stride (pixels) of a hybrid's feature map."""
    return resnet_stride(stem.root, stem.layers[str(patch_size)])


def resnet_stride(root: str, layers: Sequence[int]) -> int:
    """Returns the stride (pixels) of a ResNet's feature map: each stage after the first halves."""
    return int((4 if root == "imagenet" else 1) * 2 ** (len(layers) - 1))
