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
_AVERAGE = re.compile(r"(^|[._])ema([._]|$)", re.IGNORECASE)
# A network's first weight in timm's names and ours (of a hybrid, its ResNet's is another),
# torchvision's and Hugging Face's. What is before it is the network's place among others.
_ANCHOR = re.compile(
    r"(?P<place>(?:.+?\.)??)(?:patch_embed\.proj|(?<!patch_embed\.backbone\.)stem\.conv|conv_proj"
    r"|(?:vit\.)?embeddings\.patch_embeddings\.projection)\.weight"
)


def unwrap(held: Any, which: str | None) -> tuple[dict[str, Tensor], list[str]]:
    """Returns the set of weights in what a file holds, and what is to be said of the choice.

    Args:
        held: the file's content: weights by name, or dicts of them among other things.
        which: a word of the set's name, as `ema`; None: the usual one.
    Raises:
        ValueError: there is no set of weights, or none or several of that name; or several
            networks in one set.
    """
    sets = dict(_sets(held, ""))
    if not sets:
        raise ValueError("not a dict of tensors")
    if which is None:
        name = min(sets, key=lambda name: _rank(name, sets[name]))
        if len(places := _places(sets[name])) > 1:
            raise ValueError(f"several networks, {listing(places)}: which=... takes one")
    else:
        sets = dict(_networks(sets))
        name = _named(which, [*sets])
    said = []
    if others := [other for other in sets if other != name]:
        said.append(f"the weights of {name}, not of {listing(others)} (which=... takes another)")
    tensors = {str(k): v for k, v in sets[name].items() if isinstance(v, Tensor)}
    left = [str(k) for k, v in sets[name].items() if not isinstance(v, Tensor | Mapping)]
    if left:
        said.append(f"no tensors of numbers, left out: {listing(left)}")
    tensors, place = _bare(tensors)
    if place:
        said.append(f"{place!r} taken off the names")
    return tensors, said


def timms_arguments(held: Any) -> dict[str, Any] | None:
    """Returns what timm's train.py keeps of its model, as a config.json of timm's; None: nothing.

    The number of classes is not in it. `whole` is whether all arguments of the model are.
    """
    if not isinstance(held, Mapping) or not isinstance(held.get("arch"), str):
        return None
    args = vars(held["args"]) if isinstance(held.get("args"), Namespace) else {}
    options = args.get("model_kwargs")
    whole = isinstance(options, Mapping)  # older versions of train.py keep none
    options = dict(options) if isinstance(options, Mapping) else {}
    if args.get("gp"):
        options["global_pool"] = args["gp"]
    images = ("mean", "std", "interpolation", "crop_pct", "crop_mode", "input_size")
    said = {key: args[key] for key in images if args.get(key)}  # "": the model's own
    for key in ("mean", "std"):
        if isinstance(said.get(key), list | tuple) and len(said[key]) == 1:
            said[key] = [*said[key]] * 3
    if args.get("img_size") and "input_size" not in said:
        said["input_size"] = (3, args["img_size"], args["img_size"])
    return {
        "architecture": held["arch"], "model_args": options, "pretrained_cfg": said, "whole": whole
    }  # fmt: skip


def _sets(
    held: Any, name: str, above: tuple[int, ...] = ()
) -> Iterable[tuple[str, Mapping[Any, Any]]]:
    """Yields each dict that holds weights, by its place."""
    if not isinstance(held, Mapping) or id(held) in above or len(above) > 20:
        return
    tensors = [str(key) for key, value in held.items() if isinstance(value, Tensor)]
    # An optimizer's averages are no weights: exp_avg, momentum_buffer.
    if any(n.endswith(("weight", "kernel")) for n in tensors) or (tensors and not name):
        yield name, held
    for key, value in held.items():
        yield from _sets(value, f"{name}.{key}" if name else str(key), (*above, id(held)))


def _rank(name: str, held: Mapping[Any, Any]) -> tuple[bool, bool, int, int]:
    """Returns how early a set is taken: a known network, the usual names, averages last."""
    last = name.rpartition(".")[2]
    usual = _SETS.index(last) if last in _SETS else len(_SETS)
    return not _places(held), bool(_AVERAGE.search(name)), usual, len(name)


def _named(which: str, names: list[str]) -> str:
    """Returns the one of that name, or else of that last part, or with that in its name."""
    for fitting in (
        [name for name in names if name == which],
        [name for name in names if name.rpartition(".")[2] == which],
        [name for name in names if which in name],
    ):
        if len(fitting) == 1:
            return fitting[0]
    if not any(names):
        raise ValueError(f"which={which}: there is one set of weights alone, leave it out")
    what = f"{len(fitting)} of its sets of weights" if fitting else "no set of weights"
    raise ValueError(f"which={which}: {what} have that in their names: {listing(names)}")


def _places(held: Mapping[Any, Any]) -> list[str]:
    """Returns what is before the names of each known network; of one without, it is that alone."""
    found = {match["place"] for key in held if (match := _ANCHOR.fullmatch(str(key)))}
    return [""] if "" in found else sorted(found)


def _networks(
    sets: Mapping[str, Mapping[Any, Any]],
) -> Iterable[tuple[str, Mapping[Any, Any]]]:
    """Yields the sets, and in place of one with several networks it without all but one, each."""
    for name, held in sets.items():
        places = _places(held)
        if len(places) < 2:
            yield name, held
            continue
        for place in places:
            kept = {str(k): v for k, v in held.items() if _owner(str(k), places) in ("", place)}
            yield f"{name}.{place}".strip("."), kept


def _owner(name: str, places: list[str]) -> str:
    """Returns the innermost place that the name is in; empty: in none."""
    return max((place for place in places if name.startswith(place)), key=len, default="")


def _bare(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Returns the weights without what is before the network's names, and that.

    What lies beside the network, as a head, loses as much of it as it has.

    Raises:
        ValueError: two weights would be of one name.
    """
    place = min(_places(tensors), key=len, default="")
    ends = [i + 1 for i, sign in enumerate(place) if sign == "."]
    bare: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        shared = max((end for end in ends if name.startswith(place[:end])), default=0)
        own = name[shared:]
        if own in bare:
            raise ValueError(
                f"{own} is in {place.removesuffix('.')} and beside it: two networks in one, save "
                "the weights of one alone"
            )
        bare[own] = tensor
    return bare, place
