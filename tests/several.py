"""Trains runs one after the other, as torchrun starts it: `several.py OUTPUTS 'overrides' ...`."""

from __future__ import annotations

import sys
import warnings

from vitcli.compose import compose
from vitcli.runner import run

if __name__ == "__main__":
    warnings.simplefilter("error")
    for words in sys.argv[2:]:
        run(compose([*words.split(), f"outputs={sys.argv[1]}"]), quiet=True)
