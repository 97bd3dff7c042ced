"""The schema of every run, one dataclass per config group.

`conf/` fills these classes, `compose.py` makes them, `rules.py` checks them, all else reads them.
What is said of a field in comments, beside or above it, is what `vitcli list settings` prints.
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

    name: str = word("nano")  # of the size: a part of the names of runs
    family: str = choice("vit", "resnet", group="vitcli.models")  # vit, of hybrids too; resnet: BiT
    depth: int = at_least(0, 0)  # of a ViT: encoder blocks
    embed_dim: int = at_least(0, 0)  # of a ViT: width of the tokens
    mlp_dim: int = at_least(0, 0)  # of a ViT: hidden width of a block's MLP
    num_heads: int = at_least(0, 0)  # of a ViT: heads of attention; they divide embed_dim
    patch_size: int = at_least(1, 1)  # of a ViT: pixels a side; of a hybrid: its total stride
    # what stands for an image: the class token (token), or the mean of the patch tokens, without a
    # class token (gap) or beside one (gap_class)
    pool: str = choice("token", "gap", "gap_class")
    # the last norm comes after the mean over tokens, not before it
    fc_norm: bool = field(default=False, metadata={"later": True})
    head_hidden: bool = False  # tanh hidden layer in the head, as in the paper's pre-training
    head_hidden_dim: int = at_least(0, 0, later=True)  # width of that layer; 0: embed_dim
    gelu: str = choice("tanh", "erf")  # tanh: as Google's code; erf: as timm and Hugging Face
    norm_eps: float = at_least(0.0, 1e-6)  # what norms add to the variance
    layers: list[int] = at_least(1, [])  # of a ResNet: bottleneck units in each stage
    width: int = at_least(1, 64)  # of a ResNet: channels after the first convolution
    # of a ResNet: begins with 7x7/2 and a max pool, or with 3x3/1
    root: str = choice("imagenet", "small")
    # of a ResNet: groups of its norms; 0: 32, or as many as leave two channels or more in each
    groups: int = at_least(0, 0, later=True)
    # of a family of another package: whatever it wants to know, by name
    options: Any = field(default=None, metadata={"later": True})

    @property
    def has_class_token(self) -> bool:
        """Returns whether a class token goes before the patch tokens."""
        return self.pool != "gap"


@dataclass
class PosEmbConfig:
    """Kind and place of the position embedding (paper, D.4 and Table 8)."""

    # how a token is told where it is
    kind: str = choice("learned_1d", "none", "learned_2d", "relative", "sincos_2d")
    # where that is added: before the first layer, or at every layer from its own or a shared table
    where: str = choice("stem", "every_layer", "shared")
    offsets: str = choice("1d", "2d")  # of `relative`: raster offsets (the paper's) or grid offsets


@dataclass
class StemConfig:
    """What makes tokens of an image: a patch projection, or a ResNet before it (the hybrid)."""

    name: str = word("patch")  # a part of the names of runs
    # of a hybrid, in a file of stem/: {stride: [units in each stage]}, by total stride in pixels
    layers: dict[str, list[int]] = field(default_factory=dict)
    width: int = at_least(1, 64)  # of a hybrid: channels after its first convolution
    root: str = choice("imagenet", "small")  # of a hybrid, as model.root
    groups: int = at_least(0, 0, later=True)  # of a hybrid, as model.groups


@dataclass
class AugmentConfig:
    """How training images are varied, by (seed, epoch, index)."""

    # of training; none: as for evaluation; pad: moved; inception: a random area
    crop: str = choice("none", "pad", "inception")
    pad: int = at_least(1, 4)  # of crop=pad: pixels around an image of 32
    min_area: float = at_least(0.0, 0.05)  # of crop=inception: smallest share of the image
    flip: bool = False  # mirror every other image, left to right
    randaugment: str | None = None  # RandAugment, as timm writes it: rand-m9-n2-mstd0.5
    erasing: float = at_least(0.0, 0.0)  # probability of a grey rectangle


@dataclass
class DataConfig:
    """A data set and how much of it to train on."""

    # which set, or which kind of set of your own; data=NAME also sets what belongs to it
    name: str = choice(
        "glyphs", "digits", "cifar10", "cifar100", "mnist", "fashion_mnist", "kmnist",
        "imagefolder", "imagenet", "hfds", "wds", group="vitcli.data",
    )  # fmt: skip
    path: str | None = None  # of a set of your own: where it is
    alias: str | None = None  # your name for it: then its path is not part of a run's identity
    root: str = "data"  # where downloads are kept
    download: bool = False  # fetch the set if it is not in data.root
    size: int | None = at_least(1, None)  # training images: a nested prefix; null: all there are
    val_size: int | None = at_least(1, 2000)  # validation images; null: all there are
    img_size: Any = field(default=16, metadata={"sides": 4})  # pixels a side, or [height, width]
    num_classes: int | None = at_least(2, 10)  # classes; null: those that the images have
    level: str = choice("plain", "colour", "clutter")  # of glyphs: their look
    seed: int = at_least(0, 0)  # which images there are; the run's own seed does not change them
    # of hfds, wds: read in order, shuffled in a buffer; data.size: the first so many
    stream: bool = field(default=False, metadata={"later": True})
    # of imagefolder, imagenet: how folders are sorted; torchvision: 1, 10, 2, B, a; natural, as
    # timm: 1, 2, 10, a, B
    class_order: str = choice("torchvision", "natural", later=True)
    # of `vitcli eval`: a file with a line for each class of the head, in its order
    class_map: str | None = field(default=None, metadata={"later": True})
    # of training and validation: splits (hfds, wds) or folders (val/ is taken if it is there)
    splits: list[str] = field(default_factory=lambda: ["train", "validation"])
    # share of each class held out for validation where the set has no validation part
    val_share: float | None = at_least(0.0, None, later=True)
    # of hfds: the columns of images and of labels
    columns: list[str] = field(default_factory=lambda: ["image", "label"])
    # of hfds: which configuration of a set of the Hub that has several
    config_name: str | None = field(default=None, metadata={"later": True})
    workers: int = at_least(0, 2)  # processes that decode; 0: this one
    max_bad: int = at_least(0, 0)  # images that may fail to decode, and are left out
    # of an image; a larger one counts as bad
    max_pixels: int = at_least(1, 100_000_000, later=True)
    interpolation: str = choice("bilinear", "bicubic")  # how images are resized
    crop_pct: float = at_least(0.0, 0.875)  # share of the shorter side that evaluation sees
    # center: its middle; squash: all of it, in other proportions; border: padded to a square
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

    optimizer: str = choice("adamw", "sgd")  # adamw: Adam with decoupled weight decay
    lr: float = at_least(0.0, 1e-3)  # the peak of the schedule
    betas: list[float] = at_least(0.0, [0.9, 0.999])  # of adamw: of its two running means
    momentum: float = at_least(0.0, 0.9)  # of sgd
    weight_decay: float = at_least(0.0, 0.0)  # decoupled, times the learning rate; matrices only
    schedule: str = choice("cosine", "linear")  # how the rate falls to zero after the warm-up
    warmup_steps: int | None = at_least(0, None)  # null: a tenth of the steps
    grad_clip: float = at_least(0.0, 1.0)  # global norm; 0: off
    dropout: float = at_least(0.0, 0.0)  # of a ViT: probability
    polyak: float = at_least(0.0, 0.0)  # decay of the moving average of weights; 0: none
    label_smoothing: float = at_least(0.0, 0.0)  # share of the target spread over all classes
    mixup: float = at_least(0.0, 0.0)  # alpha; 0: off; with cutmix a batch has one of them
    cutmix: float = at_least(0.0, 0.0)  # alpha of CutMix; 0: off


@dataclass
class FinetuneConfig:
    """Transfer: whose weights training starts from, under a new head (paper, 3.2 and B.1.1)."""

    source: str | None = None  # a run's folder, a checkpoint, timm:NAME, hf:REPO; null: new weights
    # set by vitcli: which weights these are, a run's id or a file's hash
    weights: str | None = None
    # how the position embedding is resized to another grid; auto: as the source's code does
    resize: str = choice(
        "auto", "bilinear_corners", "bicubic", "bicubic_plain", "bicubic_corners",
        "nearest", "reinit",
    )  # fmt: skip
    # whose interpolation and crop images have: those of data, or the source's
    preprocess: str = choice("data", "source", later=True)
    lr_grid: list[float] = at_least(0.0, [])  # rates to try on a dev split; empty: recipe.lr
    dev_share: float = at_least(0.0, 0.1)  # of that dev split, as a share of the training images


@dataclass
class TrainConfig:
    """How long, in which batches and which numbers. One of steps, epochs, images is set."""

    steps: int | None = at_least(1, None)  # length of training in optimizer steps
    epochs: float | None = at_least(0.0, None)  # or its length in passes over the images
    images: int | None = at_least(1, None)  # or its length in images seen
    batch_size: int = at_least(1, 64)  # images in a step, of all processes together
    accumulate: int = at_least(1, 1)  # micro-batches that a batch is divided into
    # smaller micro-batches where memory runs out
    auto_batch: bool = field(default=False, metadata={"later": True})
    # a step whose gradient is not finite ends the run, or is left out and counted
    on_nan: str = choice("stop", "skip", later=True)
    precision: str = choice("auto", "fp32", "bf16")  # auto: bf16 where it is faster
    # best: early stopping, the weights of the step with the best validation top-1 (Fig. 4).
    keep: str = choice("last", "best", later=True)
    # of keep=best: steps between two validations; null: a tenth of all
    val_every: int | None = at_least(1, None, later=True)


@dataclass
class EvalsConfig:
    """What is measured after training, besides upstream validation."""

    # data of the few-shot linear evaluation: letters, digits, a name in data; a list; null: none
    downstream: Any = None
    path: str | None = None  # of evals.downstream, if it is a set of your own: where it is
    shots: list[int] = at_least(1, [5, 10])  # few-shot: labelled images of each class
    draws: int = at_least(1, 20)  # few-shot: random sets of them, whose accuracies are averaged
    l2: float = at_least(0.0, 1024.0)  # few-shot: strength of the ridge regression's penalty
    # of a fine-tuned run: measure the source with its own head at the new size, before training
    zero_shot: bool = field(default=False, metadata={"later": True})
    shifts: list[int] = at_least(1, [], later=True)  # translations to measure, in pixels
    # evaluators of other packages, by name
    own: list[str] = field(default_factory=list, metadata={"later": True})

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

    every: int = at_least(1, 500)  # steps between two saved states
    minutes: float = at_least(0.0, 10.0)  # or minutes, if these pass first


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
    seed: int = at_least(0, 0)  # of new weights, the order of images, augmentation and dropout
    device: str = choice("auto", "cpu", "cuda", "mps", "xpu")  # auto: cuda, where there is one
    compile: str = choice("auto", "on", "off")  # whether steps are compiled; auto: where it pays
    threads: int = at_least(0, 0)  # CPU threads; 0: one per core
    parallel: str = choice("ddp", "fsdp")  # several processes: weights in each, or divided
    recompute: bool = False  # compute a ViT's blocks again in the backward pass: less memory
    # tracker that is also told of the run, through its own library (docs/trackers.md)
    tracker: str = choice("none", "tensorboard", "wandb", "mlflow", "trackio")
    outputs: str = "outputs"  # the folder of runs, studies and logs


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
