"""Prints how much memory each process of a run takes to train, beside what `plan` says of it.

torchrun --nproc-per-node 2 tests/measure_memory.py model=h model.patch_size=14 data.img_size=224
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

from vitcli.bench import Fixed
from vitcli.compose import compose
from vitcli.machine import cores, place
from vitcli.memory import needed
from vitcli.models import build_model
from vitcli.trainer import Trainer
from vitcli.world import join


def resident() -> int:
    """Returns how many bytes this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    config = compose([*sys.argv[1:], "train.precision=fp32", "compile=off", "device=cpu"])
    torch.set_num_threads(cores())
    processes, size = place().size, config.train.batch_size
    with join(torch.device("cpu")) as world:
        classes = config.data.num_classes or 1000
        images = torch.rand(size, 3, *config.data.height_width)
        data = Fixed(classes, (images[: size // processes], torch.arange(size // processes)))
        data.train_size = size
        warm = compose(["model=pico", "compile=off", "train.precision=fp32", "device=cpu"])
        small = torch.rand(8, 3, *warm.data.height_width)
        model = build_model(warm, warm.data.height_width, 10)
        one = Fixed(10, (small, torch.arange(8)))
        trained = Trainer(warm, model, one, Path(), world)
        trained.train_step()  # what a library needs for itself
        before = resident()
        model = build_model(config, config.data.height_width, classes)
        trainer = Trainer(config, model, data, Path(), world)
        for _ in range(2):
            trainer.train_step()
        took = resident() - before
    said = needed(config, size // processes, processes, bf16=False)
    assert said is not None
    print(f"{took / 1e6:.0f} MB, predicted {said / 1e6:.0f} MB, ratio {said / took:.2f}")
