"""Study files from before claims had sizes, in the words of now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vitcli.choices import SCALES


def in_words_of_now(written: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a file's content, with claims from before they had sizes in the words of now.

    `test: greater` is `at_least: 0`: any difference counts, and the verdict says so. `equivalent`
    with a `margin` is `within` it. Keys that are null are not given.
    """
    found = {key: value for key, value in written.items() if value is not None}
    if "modes" in found:
        raise ValueError("modes: each is a study file of its own, with `like: NAME`")
    if isinstance(claims := found.get("claims"), list):
        found["claims"] = [_claim_now(c) if isinstance(c, Mapping) else c for c in claims]
    return found


def _claim_now(claim: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(claim)
    test = found.pop("test", None)
    if test == "greater":
        found.setdefault("at_least", dict.fromkeys(SCALES, 0.0))
    elif test == "equivalent":
        found["within"] = found.pop("margin", None)
    elif test is not None:
        raise ValueError(f"claims.test={test}: write at_least or within, the threshold")
    return found
