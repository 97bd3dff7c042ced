"""Worker processes: orders go in, and what a data set makes of each comes out, in their order."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from vitcli.config import DataConfig
from vitcli.stops import stops

_SHARED = "/dev/shm"
_AHEAD = 2  # batches of a worker that wait: DataLoader's own default
_PATIENCE_SECONDS = 600.0  # for a batch: of a worker that died, or found no memory later on
_T = TypeVar("_T")


def worked(
    dataset: Dataset[_T], orders: Iterable[Any], config: DataConfig, pin: bool = False
) -> Generator[_T, None, None]:
    """Yields what `dataset` makes of each order, made by data.workers processes ahead of time.

    They end with it: who leaves it before its end closes it.

    Args:
        dataset: indexed by an order.
        orders: of each the first entry is a list, an entry for each image.
        config: workers and size of the images.
        pin: tensors that come out are in memory that a GPU reads beside its work.
    Raises:
        RuntimeError: what the workers make does not fit into shared memory, or one of them died.
    """
    workers, orders = config.workers, iter(orders)
    first = list(itertools.islice(orders, 1))
    if workers and first:
        height, width = config.height_width
        _check_shared(workers, len(first[0][0]) * 3 * height * width)
    loader = DataLoader(
        dataset,
        batch_size=None,  # an order is a batch
        sampler=itertools.chain(first, orders),
        num_workers=workers,
        timeout=_PATIENCE_SECONDS if workers else 0,
        multiprocessing_context=_context() if workers else None,
        collate_fn=_unchanged,
        pin_memory=pin,
        worker_init_fn=_leave_signals_to_the_parent,
        generator=torch.Generator(),  # by default it would draw from the global one
    )
    try:
        yield from loader
    except Exception as error:
        traceback.clear_frames(error.__traceback__)  # they keep the workers
        raise


def _check_shared(workers: int, batch: int) -> None:
    """Raises RuntimeError if the workers' batches, of so many bytes each, do not fit into /dev/shm.

    They would wait for room, and this process for them.
    """
    if not os.path.isdir(_SHARED):
        return
    there = os.statvfs(_SHARED)
    free, need = there.f_bavail * there.f_frsize, workers * _AHEAD * batch
    if free < need:
        raise RuntimeError(
            f"data.workers={workers}: their batches need {need / 1e6:.3g} MB of {_SHARED}, where "
            f"{free / 1e6:.3g} MB are free; enlarge it (docker run --shm-size=1g) or data.workers=0"
        )


def _context() -> str:
    """Returns how workers are started: as this process is told to, else as the system does.

    joblib's workers are told to use a way of joblib's own, which starts no other processes.
    """
    there = multiprocessing.get_all_start_methods()  # the system's own first
    wanted = multiprocessing.get_start_method(allow_none=True)
    if wanted in there:
        return wanted
    # From Python 3.14 on the system's own is a server, which a signal to all of a group ends.
    return "fork" if sys.platform == "linux" else there[0]


def _unchanged(made: Any) -> Any:
    return made


def _leave_signals_to_the_parent(worker: int) -> None:
    """Ignores what a terminal sends to the whole group: the parent ends the workers, in order."""
    for number in stops():
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
