"""What makes sense in a config beyond types: ranges, choices, and what excludes what."""

from __future__ import annotations

import math
import os
import re
from dataclasses import fields, is_dataclass
from typing import Any
from urllib.parse import urlsplit

from vitcli.choices import choose
from vitcli.config import AugmentConfig, DataConfig, RunConfig, resnet_stride
from vitcli.files import is_name
from vitcli.model_rules import FAMILIES, validate_model
from vitcli.plugins import EVALS, found, load
from vitcli.sets import HELD

NUM_CLASSES = {"digits": 10} | dict.fromkeys(HELD, 10) | {"cifar100": 100}  # where they are known
OWN = ("imagefolder", "imagenet", "hfds", "wds")  # sets of encoded images at data.path
_PLACELESS = ("glyphs", "digits", *HELD)  # sets that are at no data.path
STREAMED = ("hfds", "wds")  # those that can be read as streams
_DOWNSTREAM = ("digits", "letters", *HELD, *OWN)
_WORD = re.compile(r"\w[\w.-]*")  # what may be a part of a folder's name
_OF_A_WORD = "letters, digits, _ . and - only, and not . or - first"
# As timm reads it: what it would leave out without a word is no match.
_RANDAUGMENT = re.compile(r"rand(-(m|n|mmax)\d+|-inc[01]|-(p|mstd)\d+(\.\d+)?|-t(weights|3aw?))*")


def validate(config: RunConfig) -> None:
    """Raises ValueError, naming keys and values, for the first thing that makes no sense."""
    validate_fields(config)
    given = [k for k in ("steps", "epochs", "images") if getattr(config.train, k) is not None]
    if len(given) != 1:
        keys = " and ".join(f"train.{k}" for k in given) or "none of train.steps, epochs, images"
        raise ValueError(f"{keys} set: give exactly one of train.steps, train.epochs, train.images")
    if config.train.epochs == 0:
        raise ValueError("train.epochs=0: must be above 0")
    for key, seed in (("seed", config.seed), ("data.seed", config.data.seed)):
        if seed >= 2**63:
            raise ValueError(f"{key}={seed}: must be below 2^63")
    if config.train.images is not None and config.train.images < config.train.batch_size:
        raise ValueError(
            f"train.images={config.train.images}: less than a batch, "
            f"train.batch_size={config.train.batch_size}"
        )
    if config.train.batch_size % config.train.accumulate:
        raise ValueError(
            f"train.accumulate={config.train.accumulate} does not divide "
            f"train.batch_size={config.train.batch_size}"
        )
    if config.data.class_map is not None:
        raise ValueError(f"data.class_map={config.data.class_map}: only `vitcli eval` reads it")
    validate_data(config)
    if len(config.recipe.betas) != 2 or max(config.recipe.betas) >= 1:
        raise ValueError(f"recipe.betas={config.recipe.betas}: two numbers in [0, 1)")
    for key in ("dropout", "label_smoothing", "polyak"):
        if getattr(config.recipe, key) >= 1:
            raise ValueError(f"recipe.{key}={getattr(config.recipe, key)}: a number in [0, 1)")
    mixes = config.recipe.mixup > 0 or config.recipe.cutmix > 0
    if mixes and config.train.batch_size // config.train.accumulate % 2:
        raise ValueError(
            f"train.batch_size={config.train.batch_size} with train.accumulate="
            f"{config.train.accumulate}: recipe.mixup and recipe.cutmix mix images in pairs"
        )
    if config.train.auto_batch and config.recipe.dropout > 0:
        raise ValueError(
            f"train.auto_batch=true with recipe.dropout={config.recipe.dropout}: in smaller "
            "micro-batches dropout draws other values, and the run is another; set train.accumulate"
        )
    endless = config.data.name == "glyphs" and config.data.size is None
    if endless and config.train.epochs is not None:
        raise ValueError(
            f"train.epochs={config.train.epochs:g} with data.size=null: glyphs has no end, "
            "set data.size, train.steps or train.images"
        )
    if config.train.val_every is not None and config.train.keep != "best":
        raise ValueError(
            f"train.val_every={config.train.val_every} with train.keep={config.train.keep}: only "
            "train.keep=best validates more than once"
        )
    validate_evals(config)
    _validate_finetune(config)
    if config.finetune.source is not None and config.finetune.weights is None:
        return  # the model is the source's, which is not read yet
    validate_model(config, config.data.height_width)
    validate_shifts(config.evals.shifts, config, config.data.height_width)


def validate_evals(config: RunConfig) -> None:
    """Raises ValueError if the few-shot sets are unknown, or do not fit the data."""
    evals = config.evals
    if evals.sets and not evals.shots:
        raise ValueError("evals.shots=[]: at least one number (evals.downstream=null: no few-shot)")
    if evals.l2 <= 0:
        raise ValueError(f"evals.l2={evals.l2}: must be above 0, for one solution")
    if any(name not in _DOWNSTREAM for name in evals.sets):
        allowed = ", ".join((*_DOWNSTREAM, "null"))
        raise ValueError(f"evals.downstream={evals.downstream}: choose from {allowed}")
    if len(set(evals.sets)) < len(evals.sets):
        raise ValueError(f"evals.downstream={evals.downstream}: each set once")
    for name in evals.own:
        load(EVALS, name)
    refuse_login("evals.path", evals.path)
    if "://" in (evals.path or ""):
        raise ValueError(f"evals.path={evals.path}: few-shot evaluation needs files, not a URL")
    own = [name for name in evals.sets if name in OWN]
    if len(own) != (evals.path is not None):
        raise ValueError(
            f"evals.path={evals.path} with evals.downstream={evals.downstream}: "
            f"one of {', '.join(OWN)} needs a path, other sets have none"
        )
    if "letters" in evals.sets and (config.data.name != "glyphs" or config.finetune.source):
        raise ValueError(
            f"evals.downstream={evals.downstream} with data.name={config.data.name}, "
            f"finetune.source={config.finetune.source}: letters are classes of glyphs that a model "
            "trained from scratch on glyphs has not seen"
        )


def validate_shifts(shifts: list[int], config: RunConfig, img_size: tuple[int, int]) -> None:
    """Raises ValueError if images (H, W) of a valid model are too small to be translated so far.

    What the map of the image and that of the translated image both show must be a cell or more.
    """
    if not shifts:
        return
    model = config.model
    stride = model.patch_size
    if model.family not in FAMILIES:
        raise ValueError(
            f"evals.shifts={shifts} with model.family={model.family}: shifts are measured on "
            "vitcli's own ViTs and ResNets only"
        )
    if model.family == "resnet":
        stride = resnet_stride(model.root, model.layers)
        if any(side % stride for side in img_size):
            raise ValueError(
                f"evals.shifts={shifts}: model.layers={model.layers} has a stride of {stride} "
                f"pixels, which does not divide images of {img_size[0]}x{img_size[1]}"
            )
    if max(shifts) > min(img_size) - stride:
        raise ValueError(
            f"evals.shifts={shifts}: at most {min(img_size) - stride} pixels, the image's side "
            f"({min(img_size)}) less one cell of the feature map ({stride})"
        )


def _validate_finetune(config: RunConfig) -> None:
    finetune = config.finetune
    if finetune.weights is not None and (finetune.source is None or not is_name(finetune.weights)):
        raise ValueError(
            f"finetune.weights={finetune.weights}: do not set it, vitcli reads it from "
            "finetune.source"
        )
    if finetune.lr_grid and finetune.source is None:
        raise ValueError(
            f"finetune.lr_grid={finetune.lr_grid} without finetune.source: only `vitcli finetune` "
            "picks a rate"
        )
    if finetune.preprocess == "source" and finetune.source is None:
        raise ValueError("finetune.preprocess=source without finetune.source")
    if config.evals.zero_shot and finetune.source is None:
        raise ValueError("evals.zero_shot=true without finetune.source: it measures the source")
    if not 0 < finetune.dev_share < 1:
        raise ValueError(f"finetune.dev_share={finetune.dev_share}: a number between 0 and 1")
    if finetune.lr_grid and config.data.stream:
        raise ValueError(
            f"finetune.lr_grid={finetune.lr_grid} with data.stream=true: "
            "a stream has no dev split; set recipe.lr"
        )
    if finetune.lr_grid and config.data.size is None and config.data.name == "glyphs":
        raise ValueError("finetune.lr_grid with data.size=null: glyphs has no end to split")


def validate_data(config: RunConfig) -> None:
    """Raises ValueError if the settings of the data do not fit together."""
    data, augment = config.data, config.data.augment
    if data.size is not None and data.num_classes is not None and data.size < data.num_classes:
        raise ValueError(
            f"data.size={data.size} is below data.num_classes={data.num_classes}: "
            "a subset holds at least one image of each class"
        )
    classes = NUM_CLASSES.get(data.name)
    if classes is not None and data.num_classes not in (classes, None):
        raise ValueError(
            f"data.num_classes={data.num_classes}: data.name={data.name} has {classes}"
        )
    for key in ("num_classes", "val_size"):
        if data.name == "glyphs" and getattr(data, key) is None:
            raise ValueError(f"data.{key}=null: data.name=glyphs has no number of its own")
    if data.name in ("glyphs", "digits") and augment != AugmentConfig():
        raise ValueError(f"data.augment with data.name={data.name}: this set has no augmentation")
    _validate_own(data)
    crops = ("none", "inception") if data.name in OWN else ("none", "pad")
    if data.name in (*OWN, *_PLACELESS) and augment.crop not in crops:
        raise ValueError(
            f"data.augment.crop={augment.crop} with data.name={data.name}: "
            f"choose from {', '.join(crops)}"
        )
    for key in ("min_area", "erasing"):
        if getattr(augment, key) > 1:
            raise ValueError(f"data.augment.{key}={getattr(augment, key)}: a number in [0, 1]")
    if augment.randaugment is not None and not _RANDAUGMENT.fullmatch(augment.randaugment):
        raise ValueError(
            f"data.augment.randaugment={augment.randaugment}: written as timm has it, "
            "for instance rand-m9-n2-mstd0.5"
        )


def refuse_login(key: str, path: str | None) -> None:
    """Raises ValueError, which does not show it, for a path that is a URL with a login in it."""
    if re.search("://[^/]*@", path or ""):
        raise ValueError(f"{key}: a URL with a password in it would be written into files")


def _validate_own(data: DataConfig) -> None:
    placeless = data.name in _PLACELESS  # what another package's set takes, it says itself
    if data.name in OWN and data.path is None:
        raise ValueError(f"data.path=null: data.name={data.name} needs the place of its images")
    if placeless and (data.path is not None or data.alias is not None):
        raise ValueError(
            f"data.path={data.path}, data.alias={data.alias}: data.name={data.name} is not a set "
            "at a path"
        )
    if placeless and (data.augment.randaugment is not None or data.augment.erasing):
        raise ValueError(
            f"data.augment.randaugment={data.augment.randaugment}, "
            f"data.augment.erasing={data.augment.erasing}: only for data.name={', '.join(OWN)}"
        )
    refuse_login("data.path", data.path)
    try:
        urlsplit(data.path or "")
    except ValueError as error:
        raise ValueError(f"data.path={data.path}: {error}") from None
    if data.alias is not None and not _WORD.fullmatch(data.alias):
        raise ValueError(f"data.alias={data.alias}: {_OF_A_WORD}")
    for key in ("splits", "columns"):
        names = getattr(data, key)
        if len(names) != 2 or names[0] == names[1] or "" in names:
            raise ValueError(f"data.{key}={names}: two names, not the same")
    if data.val_share is not None:
        _validate_val_share(data)
    if not 0 < data.crop_pct <= 1:
        raise ValueError(f"data.crop_pct={data.crop_pct}: above 0, at most 1")
    if data.stream and data.name not in STREAMED:
        raise ValueError(
            f"data.stream=true with data.name={data.name}: only for {', '.join(STREAMED)}"
        )
    if data.config_name is not None and data.name != "hfds":
        raise ValueError(f"data.config_name={data.config_name}: only for data.name=hfds")
    if data.real_labels is not None and data.name != "imagenet":
        raise ValueError(f"data.real_labels={data.real_labels}: only for data.name=imagenet")


def _validate_val_share(data: DataConfig) -> None:
    share = f"data.val_share={data.val_share:g}"
    if not 0 < (data.val_share or 0) < 1:
        raise ValueError(f"{share}: a number between 0 and 1")
    if data.name not in OWN:
        raise ValueError(f"{share} with data.name={data.name}: only for {', '.join(OWN)}")
    if data.stream:
        raise ValueError(f"{share} with data.stream=true: a stream is not divided")


def validate_fields(node: Any, prefix: str = "") -> None:
    """Raises ValueError for the first value outside its choices or below its minimum."""
    for f in fields(node):
        key, value = prefix + f.name, getattr(node, f.name)
        if is_dataclass(value):
            validate_fields(value, key + ".")
        if isinstance(value, str) and value.encode(errors="replace").decode() != value:
            escaped = os.fsencode(value).decode(errors="backslashreplace")
            raise ValueError(
                f"{key}={escaped}: not UTF-8, so config.yaml cannot hold it: give a symbolic "
                "link to it"
            )
        if "sides" in f.metadata:
            _validate_sides(key, value, f.metadata["sides"])
        if "word" in f.metadata and not _WORD.fullmatch(value):
            raise ValueError(f"{key}={value}: {_OF_A_WORD}")
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and "\0" in text:
                raise ValueError(f"{key}={value!r}: no path or name has the character 0")
        choices = f.metadata.get("choices")
        if choices and value not in choices:
            known = [*choices, *(found(f.metadata["group"]) if f.metadata["group"] else ())]
            choose(key, str(value), known)
        if "min" in f.metadata and value is not None:
            for number in value if isinstance(value, list) else [value]:
                if not math.isfinite(number) or number < f.metadata["min"]:
                    raise ValueError(f"{key}={value}: must be at least {f.metadata['min']}")


def _validate_sides(key: str, value: Any, least: int) -> None:
    sides = value if isinstance(value, list) else [value, value]
    if len(sides) != 2 or any(type(side) is not int or side < least for side in sides):
        raise ValueError(
            f"{key}={value!r}: a side or [height, width] in whole pixels, at least {least}"
        )
