"""Hugging Face's preprocessor_config.json: what it does to images, read and written.

transformers resizes to height and width, or the shorter side, then takes the middle. Bytes are
multiplied by the rescale factor, then normalised: of pixels in [0, 1] that is a mean and a std.
"""

from __future__ import annotations

import math
import re
from typing import Any

from vitcli.models.convert.preprocess import INTERPOLATIONS, Preprocess

_KIND = re.compile(r"(ViT|DeiT)(FeatureExtractor|ImageProcessor(Fast|Pil)?)")
_DEFAULTS: dict[str, dict[str, Any]] = {  # where they differ; of a file that says no kind, ViT's
    "ViT": {"size": 224},
    "DeiT": {"size": 256, "crop_size": 224, "do_center_crop": True, "resample": 3},
}
_SWITCHES = ("do_rescale", "do_normalize", "do_resize", "do_center_crop")


def read_processor(
    processor: dict[str, Any], img_size: tuple[int, int] | None
) -> tuple[dict[str, Any], list[str]]:
    """Returns the fields of `Preprocess` that the file says, and what of it is not understood.

    Args:
        img_size: (height, width) that the model takes, where its config says so.
    Raises:
        ValueError: values that no image can go through.
    """
    kind = processor.get("image_processor_type") or processor.get("feature_extractor_type", "ViT")
    match = _KIND.fullmatch(str(kind))
    processor = _DEFAULTS[match[1] if match else "ViT"] | processor
    for key in _SWITCHES:
        if not isinstance(processor.get(key, True), bool | None):
            raise ValueError(f"{key}={processor[key]!r} in preprocessor_config.json: true or false")
    factor = processor.get("rescale_factor", 1 / 255) if processor.get("do_rescale", True) else 1
    mean, std = [0.0] * 3, [1.0] * 3
    if processor.get("do_normalize", True):
        mean, std = (_channels(processor.get(key, 0.5)) for key in ("image_mean", "image_std"))
    # Rounded: 255 / 255 is not 1 for all of the ways in which files write 1 / 255.
    scaled = (tuple(round(v / (255 * factor), 9) for v in values) for values in (mean, std))
    found: dict[str, Any] = dict(zip(("mean", "std"), scaled, strict=True))
    if (resample := processor.get("resample")) is not None:
        if isinstance(resample, bool) or resample not in range(len(INTERPOLATIONS)):
            raise ValueError(
                f"resample={resample!r} in preprocessor_config.json: Pillow has 0 to 5"
            )
        found["interpolation"] = INTERPOLATIONS[int(resample)]
    crop = _crop(processor, img_size) if match or kind == "ViT" else f"what {kind} does"
    if isinstance(crop, str):
        return found, [f"{crop}: its resize and crop are not read (preprocessor_config.json)"]
    return found | crop, []


def _crop(processor: dict[str, Any], img_size: tuple[int, int] | None) -> dict[str, Any] | str:
    """Returns `crop_pct` and `crop_mode`, or in words what is done to images that has none."""
    if not processor.get("do_resize", True):
        return "images are not resized (do_resize=false)"
    size = processor["size"]
    edge = size.get("shortest_edge") if isinstance(size, dict) else None
    resized = (edge, edge) if edge else _sides(size)
    cropped = resized
    if processor.get("do_center_crop"):
        cropped = _sides(processor.get("crop_size", size))
    if resized is None or cropped is None:
        return f"size={size!r}, crop_size={processor.get('crop_size')!r}"
    if edge and not processor.get("do_center_crop"):
        return f"images of all proportions, the shorter side {edge}"
    if img_size not in (None, cropped):
        there, taken = ("x".join(map(str, s)) for s in (cropped, img_size or ()))
        return f"images of {there} for a model that takes {taken}"
    shares = {_share(side, whole) for side, whole in zip(cropped, resized, strict=True)}
    share = min(shares)
    fits = all(_whole(s, share) == r for s, r in zip(cropped, resized, strict=True))
    if max(shares) > 1 or not fits or (edge and cropped[0] != cropped[1]):
        return f"{cropped} of {resized} pixels"
    return {"crop_pct": share, "crop_mode": "center" if edge else "squash"}


def write_processor(preprocess: Preprocess) -> tuple[dict[str, Any], list[str]]:
    """Returns the preprocessor_config.json of images that are prepared so, and what it cannot say.

    Where it cannot say the crop, images are squashed.
    """
    height, width = preprocess.size
    share, mode = preprocess.crop_pct, preprocess.crop_mode
    lost, whole = [], (height, width)
    size: dict[str, Any] = {"height": height, "width": width}
    crop = {"do_center_crop": True, "crop_size": size}
    if share is None:
        lost.append("how images are cropped is not known: there, they are squashed")
    elif mode == "squash" or (mode in (None, "center") and height == width):
        whole = _whole(height, share), _whole(width, share)
    else:
        lost.append(
            f"crop {share:g} {mode or 'center'} of {height}x{width} pixels cannot be said there: "
            "images are squashed"
        )
    if not lost and mode != "squash":
        size = {"shortest_edge": whole[0]}
    elif whole == preprocess.size:
        crop = {}
    else:
        size = {"height": whole[0], "width": whole[1]}
    if share and crop and not math.isclose(share, height / whole[0], rel_tol=1e-4):
        lost.append(f"crop {share:g} is written in whole pixels, {height} of {whole[0]}")
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": size,
        **crop,
        "resample": INTERPOLATIONS.index(preprocess.interpolation),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocess.mean),
        "image_std": list(preprocess.std),
    }
    return processor, lost


def _whole(side: int, share: float) -> int:
    """Returns the side that is resized to, of which `side` is the share (timm)."""
    return math.floor(side / share)


def _share(side: int, whole: int) -> float:
    """Returns the share that gives this whole again, rounded or not."""
    share = side / whole
    return share if _whole(side, share) == whole else math.nextafter(share, 0.0)


def _sides(size: Any) -> tuple[int, int] | None:
    """Returns height and width, of a side, two or a dict of them; None: it is none of these."""
    if isinstance(size, dict):
        sides = [size.get("height"), size.get("width")]
    else:
        sides = size if isinstance(size, list) else [size, size]
    whole = [side for side in sides if type(side) is int and side > 0]
    return (whole[0], whole[1]) if len(whole) == len(sides) == 2 else None


def _channels(value: Any) -> list[float]:
    return [float(v) for v in value] if isinstance(value, list) else [float(value)] * 3
