"""vitcli: what the design choices of a Vision Transformer do, measured on your data and budget."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from vitcli.report.notebook import Runs
    from vitcli.runner import Outcome

# Read when torch is loaded. Threads that spin long while they wait starve the one they wait for
# where another process is busy: a step of ViT nano on two threads then takes 380 ms, with few spins
# 78; alone 25, with few spins 32. The one-thread runs of a study wait for nobody.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")

__all__ = ["create_model", "load", "results", "run"]


def run(*overrides: str) -> Outcome:
    """Trains and evaluates one model as `vitcli train` does; returns the result, old or new.

    `vitcli.run("model=pico", "data.size=5000").result["metrics"]["val/top1"]`. Ctrl-C saves; the
    same call resumes it.

    Returns:
        `folder` of the run, `result` (what its result.json has), `trained` (False: it was there).

    Raises:
        ValueError: an override that makes no sense; nothing was written.
        RuntimeError: training failed; the run's status.json says where and why.
    """
    from vitcli.compose import compose
    from vitcli.runner import run as run_config

    return run_config(compose(overrides))


def create_model(
    *overrides: str, img_size: int | Sequence[int] = 224, num_classes: int = 1000
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

    size, classes = _pair(img_size), _whole("num_classes", num_classes)
    return build_model(compose(overrides, check=validate_fields), size, classes)


def load(
    source: str | Path, *overrides: str, img_size: int | Sequence[int] | None = None
) -> nn.Module:
    """Returns the model of a checkpoint in eval mode, its preprocessing as `model.preprocess`.

    `load("ViT-B_16.npz", img_size=384)` takes images (B, 3, 384, 384) that went through
    `model.preprocess` (size, mean, std, interpolation). Without a head in the file it gives the
    representation (B, D) in place of logits. What the file does not say, and so was assumed, is a
    warning.

    Args:
        source: a run's folder, a checkpoint file or folder (Google's, timm's, Hugging Face's or
            ours), `timm:NAME` or `hf:REPO`; only the last two use the network.
        overrides: single keys that the file does not tell, as `model.num_heads=8`.
        img_size: side in pixels, or (height, width); another than the file's resizes the position
            embedding the way of the file's own code base.

    Raises:
        ValueError: a source that cannot be read, or what cannot be inferred and which override
            says it.
    """
    import warnings

    from vitcli.models.convert import notes, read
    from vitcli.words import check_texts

    check_texts(overrides)
    size = None if img_size is None else _pair(img_size)
    checkpoint = read(os.path.expanduser(str(source)), overrides, size)
    for line in notes(checkpoint):
        warnings.warn(f"{source}: {line}", stacklevel=2)
    return (checkpoint if size is None else checkpoint.resize(size)[0]).build()


def results(study: str, outputs: str | Path = "outputs") -> Runs:
    """Returns a study's runs so far, a list of one dict each: the rows of its runs.csv.

    A notebook shows the study's figure and verdicts for it.
    `pandas.DataFrame(vitcli.results("pos-emb"))` is a table of cell, seed, x, FLOPs, parameters,
    the settings that vary, every metric, seconds, state and path.

    Args:
        study: its name, for the newest plan of it, or its folder's in `outputs`/studies.

    Raises:
        ValueError: nothing of that name is planned there, or its plan is not one.
    """
    from vitcli.analysis.load import load as load_results
    from vitcli.report.notebook import Runs
    from vitcli.study.plan import newest

    if not isinstance(study, str):
        raise ValueError(f"study={study!r}: the name of a study, as text")
    place = Path(outputs).expanduser()
    return Runs(load_results(newest(study, place), place / "runs"))


def _pair(img_size: int | Sequence[int]) -> tuple[int, int]:
    """Returns height and width. Raises ValueError: no whole numbers of pixels, or not two."""
    given: Any = img_size
    try:
        sides = tuple(given)
    except TypeError:  # one number
        sides = (given, given)
    if isinstance(img_size, str) or len(sides) != 2:
        raise ValueError(f"img_size={img_size!r}: a side in pixels, or (height, width)")
    return _whole("img_size", sides[0]), _whole("img_size", sides[1])


def _whole(key: str, given: Any) -> int:
    """Returns a whole number of any kind, NumPy's too. Raises ValueError if it is none above 0."""
    try:
        number = operator.index(given)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(f"{key}={given!r}: a whole number of at least 1")
    return number
