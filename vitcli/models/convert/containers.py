"""What training code packs around a set of weights: taken off, and said. Tensors and names only."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from vitcli.models.convert.checkpoint import listing

# Where training code keeps the weights among other things, the one to take first.
_SETS = ("state_dict", "model", "model_state_dict", "network", "encoder", "teacher", "student")
# What wrappers put before every name: DDP, torch.compile, Lightning, DINO, students' own modules.
_PREFIX = re.compile(r"(module|_orig_mod|net|network|model|encoder|backbone|teacher|student)\.")
_ANCHORS = ("patch_embed.proj.weight",)  # of timm's names, which are ours


def unwrap(held: Any, which: str | None) -> tuple[dict[str, Tensor], list[str]]:
    """Returns the set of weights in what a file holds, and what is to be said of the choice.

    Args:
        held: the file's content: weights by name, or dicts of them among other things.
        which: a word of the set's name, as `ema`; None: the usual one.
    Raises:
        ValueError: there is no set of weights, or none or several of that name.
    """
    sets = dict(_sets(held, ""))
    if not sets:
        raise ValueError("not a dict of tensors")
    if which is None:
        name = min(sets, key=_rank)
    else:
        fitting = [name for name in sets if which in name]
        if len(fitting) != 1:
            what = f"{len(fitting)} of its sets of weights" if fitting else "no set of weights"
            raise ValueError(f"which={which}: {what} have that in their names: {listing([*sets])}")
        (name,) = fitting
    said = []
    if others := [other for other in sets if other != name]:
        said.append(f"the weights of {name}, not of {listing(others)} (which=... takes another)")
    tensors, prefix = _bare(sets[name])
    if prefix:
        said.append(f"{prefix!r} taken off the names")
    return tensors, said


def timms_arguments(held: Any) -> dict[str, Any] | None:
    """Returns what timm's train.py keeps of its model, as a config.json of timm's; None: nothing.

    The number of classes is not in it.
    """
    if not isinstance(held, Mapping) or not isinstance(held.get("arch"), str):
        return None
    args = vars(held["args"]) if isinstance(held.get("args"), Namespace) else {}
    options = args.get("model_kwargs")
    options = dict(options) if isinstance(options, Mapping) else {}
    for key, theirs in (("global_pool", "gp"), ("img_size", "img_size")):
        if args.get(theirs) is not None:
            options[key] = args[theirs]
    images = ("mean", "std", "interpolation", "crop_pct", "crop_mode")
    said = {key: args[key] for key in images if args.get(key) is not None}
    return {"architecture": held["arch"], "model_args": options, "pretrained_cfg": said}


def _sets(held: Any, name: str) -> Iterable[tuple[str, dict[str, Tensor]]]:
    """Yields each dict of tensors, by its place."""
    if not isinstance(held, Mapping):
        return
    tensors = {str(k): v for k, v in held.items() if isinstance(v, Tensor)}
    if tensors and len(tensors) == len(held):
        # An optimizer's averages are no weights: exp_avg, momentum_buffer.
        if not name or any(n.endswith(("weight", "kernel")) for n in tensors):
            yield name, tensors
        return
    for key, value in held.items():
        yield from _sets(value, f"{name}.{key}" if name else str(key))


def _rank(name: str) -> tuple[int, int]:
    """Returns how early a set is taken: the usual names first, averages after what they are of."""
    last = name.rpartition(".")[2]
    return (_SETS.index(last) if last in _SETS else len(_SETS), len(name))


def _bare(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Returns the weights without what a wrapper put before their names, and that.

    Where a network is one part of several, as a backbone with a head beside it, its part is taken.
    """
    prefix = ""
    while (first := _PREFIX.match(next(iter(tensors)))) and all(
        name.startswith(first[0]) for name in tensors
    ):
        prefix += first[0]
        tensors = {name.removeprefix(first[0]): tensor for name, tensor in tensors.items()}
    anchored = [name for name in tensors if name.endswith(_ANCHORS)]
    if len(anchored) == 1 and _PREFIX.match(anchored[0]):
        part = anchored[0].removesuffix(_ANCHORS[0])
        inside = {n.removeprefix(part): t for n, t in tensors.items() if n.startswith(part)}
        beside = {n: t for n, t in tensors.items() if not n.startswith(part)}
        return {**beside, **inside}, prefix + part
    return tensors, prefix
