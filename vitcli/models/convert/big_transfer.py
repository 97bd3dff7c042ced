"""Google's names of BiT's ResNets, `big_transfer`, in npz files."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from vitcli.models.convert.checkpoint import Checkpoint, Found, refuse_parts, units_per_stage
from vitcli.models.convert.google import CONV, VECTOR, Layout, place_of

ANCHOR = "root_block/standardized_conv2d/kernel"


def read_big_transfer(tensors: dict[str, Tensor]) -> Found:
    """Returns what a file with the names of `big_transfer` holds.

    Raises:
        ValueError: it has parts of a network that ours has not.
    """
    prefix, said = place_of(tensors, ANCHOR, own="resnet/")
    named = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    state = {}
    for ours, theirs, layout in _pairs(units_per_stage(named, r"block(\d+)/unit(\d+)/")):
        if theirs in named:
            state[ours] = layout.read([named.pop(theirs)])
    refuse_parts([name for name in named if not name.startswith("head/")])
    outside = [n for n in tensors if not n.startswith(prefix)]
    assumed = [*said, "pixels in [-1, 1], bilinear (Google's code)"]
    return Found("google", state, [*named, *outside], {}, assumed=assumed)


def write_big_transfer(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Returns a BiT ResNet's weights under the names of `big_transfer`.

    Raises:
        ValueError: its root or its groups are none that this code has.
    """
    model, state = checkpoint.config.model, dict(checkpoint.state)
    if model.root != "imagenet":
        raise ValueError(f"model.root={model.root}: big_transfer has imagenet only")
    if model.groups not in (0, 32) or model.width < 64:
        raise ValueError(f"model.width={model.width}, model.groups={model.groups}: not 32 groups")
    tensors = {}
    for ours, theirs, layout in _pairs(model.layers):
        if ours in state:
            tensors[f"resnet/{theirs}"] = layout.write(state.pop(ours), 1)[0]
    assert not state, f"no name for {list(state)}"
    return tensors


def _pairs(stages: list[int]) -> Iterator[tuple[str, str, Layout]]:
    """Yields each name of ours, its name in Google's code, and the layout there."""
    yield "stem.conv.weight", ANCHOR, CONV
    yield from _norm("norm", "group_norm")
    yield "head.fc.weight", "head/conv2d/kernel", CONV
    yield "head.fc.bias", "head/conv2d/bias", VECTOR
    for stage, units in enumerate(stages):
        for unit in range(units):
            ours, theirs = f"stages.{stage}.blocks.{unit}", f"block{stage + 1}/unit{unit + 1:02d}"
            for number, letter in enumerate("abc", 1):
                conv = f"{theirs}/{letter}/standardized_conv2d/kernel"
                yield f"{ours}.conv{number}.weight", conv, CONV
                yield from _norm(f"{ours}.norm{number}", f"{theirs}/{letter}/group_norm")
            conv = f"{theirs}/a/proj/standardized_conv2d/kernel"
            yield f"{ours}.downsample.conv.weight", conv, CONV


def _norm(ours: str, theirs: str) -> Iterator[tuple[str, str, Layout]]:
    yield f"{ours}.weight", f"{theirs}/gamma", VECTOR
    yield f"{ours}.bias", f"{theirs}/beta", VECTOR
