"""The processes that train one run together, under torchrun or srun; alone, all of it is trivial.

Each has its share of every batch. What they decide, they decide together: the first one's word
counts, or a sum over all. Numbers and words go over gloo; gradients too on CPUs, on GPUs over NCCL.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from vitcli.config import RunConfig
from vitcli.machine import Place, meeting_point, place
from vitcli.stops import Interrupted

# For what does not come: a process that hangs. One that ends closes its connection, which the
# others notice at once.
_PATIENCE = timedelta(minutes=10)
_OF_ANOTHER = re.compile(r"closed by peer|reset by peer|gloo|NCCL|[Tt]imed out|Broken pipe")
_OWN = "DataLoader timed out"  # of this process's workers
_POLL_SECONDS = 0.2
_ALONE = Place()
_T = TypeVar("_T")
Loss = Callable[[Tensor, Tensor], Tensor]


class ProcessLost(RuntimeError):
    """Another process of this run ended, and said why or not."""


class World:
    """The processes of a run, and this one's place among them."""

    def __init__(self, where: Place = _ALONE, store: Store | None = None) -> None:
        self.rank, self.size = where.rank, where.size
        self._local, self._store = where.local_rank, store

    @property
    def first(self) -> bool:
        """Returns whether this is the process that writes files and speaks."""
        return self.rank == 0

    def device(self, device: torch.device) -> torch.device:
        """Returns this process's own device of that kind."""
        if self.size == 1 or device.type != "cuda":
            return device
        # SLURM's --gpus-per-task shows each process its own GPU alone, as number 0.
        mine = torch.device("cuda", self._local % torch.cuda.device_count())
        torch.cuda.set_device(mine)
        return mine

    def share(self, rows: Tensor) -> Tensor:
        """Returns this process's rows of a batch: every `size`-th one."""
        return rows if self.size == 1 else rows[self.rank :: self.size]

    def sum(self, values: Sequence[float]) -> list[float]:
        """Returns the sum of each value over the processes."""
        if self.size == 1 or not values:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(summed)
        return summed.tolist()

    def asked(self, stop: Callable[[], bool]) -> Callable[[], bool]:
        """Returns what tells, after a step, whether any process is to stop.

        Of several processes each is asked before the step, and their answers come beside it.
        """
        if self.size == 1:
            return stop
        flags = torch.tensor([float(stop())])
        going = dist.all_reduce(flags, async_op=True)

        def answer() -> bool:
            going.wait()
            return bool(flags)

        return answer

    def agree(self, make: Callable[[], _T]) -> _T:
        """Returns to all what `make` returns to the first."""
        if self.size == 1:
            return make()
        made: list[Any] = [make() if self.first else None]
        dist.broadcast_object_list(made, src=0)
        agreed: _T = made[0]
        return agreed

    def in_turn(self, make: Callable[[], _T]) -> _T:
        """Returns what `make` returns here; the first's is done before the others': a download.

        However long that takes.

        Raises:
            ProcessLost: another process ended while this one waited.
            stops.Interrupted: a signal stopped it.
        """
        if self.size == 1:
            return make()
        assert self._store is not None
        if self.first:
            made = make()
            self._store.set("ready", "")
            return made
        while not self._store.check(["ready"]):
            if self._store.check(["ended"]):
                raise self._of_another()
            time.sleep(_POLL_SECONDS)
        return make()

    def gather(self, value: _T) -> list[_T]:
        """Returns each process's value, in order."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def check_same(self, run: str) -> None:
        """Raises ValueError if the processes are not of one run: srun starts any command."""
        if len(runs := set(self.gather(run))) > 1:
            raise ValueError(
                f"{self.size} processes were started together, for one run, but they are of "
                f"{len(runs)} runs, {', '.join(sorted(runs)[:2])} among them: give all the same "
                "settings, or each a step of its own (srun --ntasks 1)"
            )

    def joined(self, model: nn.Module, loss: Loss) -> Loss:
        """Returns the loss, whose gradients are then the mean over the processes.

        Divided weights (sharded.py) see to that themselves.
        """
        divided = any(isinstance(p, DTensor) for p in model.parameters())
        if self.size == 1 or divided:
            return loss
        device = next(model.parameters()).device
        on = [device] if device.type == "cuda" else None
        return DistributedDataParallel(
            _Step(model, loss), device_ids=on, gradient_as_bucket_view=True
        )

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Tells the others of an error in the block, and raises theirs here.

        Raises:
            ProcessLost: another process ended.
            stops.Interrupted: a signal stopped another process.
        """
        try:
            yield
        except BaseException as error:
            if self._store is None:
                raise
            lost = type(error) is RuntimeError or isinstance(error, dist.DistError)
            lost = lost and _OF_ANOTHER.search(str(error)) is not None and _OWN not in str(error)
            if not lost:
                self._tell(error)
            if not (lost or isinstance(error, KeyboardInterrupt)):
                raise
            # A signal: torchrun and srun send one to the others where one has failed.
            if not lost and self._told()[1] != "failed":
                raise
            raise self._of_another(error if lost else None) from None

    def _tell(self, error: BaseException) -> None:
        """Leaves to the others why this process ends, unless another had said so before."""
        if isinstance(error, ProcessLost):
            return
        assert self._store is not None
        how = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
        line = f"{str(error) or type(error).__name__}".splitlines()[0]
        try:
            self._store.compare_set("ended", "", f"{self.rank} {how} {line}")
        except RuntimeError:  # the process that keeps the store is gone
            return

    def _of_another(self, seen: BaseException | None = None) -> ProcessLost | Interrupted:
        """Returns the end of another process as an error of this one.

        Args:
            seen: what was noticed of it here, which is said where that process said nothing.
        """
        who, how, line = self._told()
        if how == "stopped":
            return Interrupted(f"{who}: {line}")
        if how == "killed" and seen is not None:
            line += f" ({str(seen).splitlines()[0]})"
        return ProcessLost(f"{who} ended: {line}")

    def _told(self) -> tuple[str, str, str]:
        """Returns which process ended, how, and its last words."""
        assert self._store is not None
        try:
            if self._store.check(["ended"]):
                rank, how, line = self._store.get("ended").decode().split(" ", 2)
                return f"process {rank} of {self.size}", how, line
        except RuntimeError:
            first = f"process 0 of {self.size}"
            return first, "killed", "it keeps what the others say, and does not answer"
        who = f"another of the {self.size} processes"
        return who, "killed", "killed, or out of memory: it said nothing"


class _Step(nn.Module):
    """A loss as a module, for DDP; compiled or not."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model, self._loss = model, loss

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self._loss(images, labels)


def unsynced(loss: Loss, last: bool) -> AbstractContextManager[None]:
    """Returns the context of a part of a batch: gradients are exchanged after the last part."""
    if last or not isinstance(loss, DistributedDataParallel):
        return nullcontext()
    waits: AbstractContextManager[None] = loss.no_sync()
    return waits


def check_processes(config: RunConfig, size: int) -> None:
    """Raises ValueError if the config is not one that so many processes can train together."""
    if size == 1:
        return
    micro = config.train.batch_size // config.train.accumulate
    if micro < size:
        raise ValueError(f"train.batch_size: micro-batches of {micro} images for {size} processes")
    if config.train.auto_batch:
        raise ValueError(f"train.auto_batch=true with {size} processes: set train.accumulate")
    if config.parallel != "fsdp":
        return
    refused = {
        f"model.family={config.model.family}": config.model.family != "vit",
        f"recipe.polyak={config.recipe.polyak}": config.recipe.polyak > 0,
        "train.keep=best": config.train.keep == "best",
        "compile=on": config.compile == "on",
    }
    for key in (key for key, found in refused.items() if found):
        raise ValueError(f"parallel=fsdp with {key}: only parallel=ddp can do that")


_joined = 0  # times that this process joined others: a multirun does so for each of its runs


@contextmanager
def join(device: torch.device) -> Iterator[World]:
    """Gives the processes of a run, met when the block begins.

    Raises:
        RuntimeError: the others did not come.
        ValueError: there are others, and the device is neither a CPU nor a CUDA GPU.
    """
    global _joined
    where = place()
    if where.size == 1:
        yield World()
        return
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device={device.type}: one process alone; {where.size} were started")
    host, port = meeting_point()
    os.environ |= {"MASTER_ADDR": host, "MASTER_PORT": str(port)}
    os.environ |= {"RANK": str(where.rank), "WORLD_SIZE": str(where.size)}
    try:
        base, *_ = next(rendezvous("env://", timeout=_PATIENCE))
        _joined += 1
        store = PrefixStore(f"vitcli-{_joined}", base)
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(
            backend, store=store, rank=where.rank, world_size=where.size, timeout=_PATIENCE
        )
    except RuntimeError as error:  # of which the first line tells
        line = str(error).splitlines()[0]
        raise RuntimeError(
            f"{where.size} processes were to meet at {host}:{port}: {line}"
        ) from None
    world = World(where, store)
    try:
        with world.watched():
            yield world
    finally:
        dist.destroy_process_group()
