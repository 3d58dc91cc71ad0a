"""Devices and processes of a training: one, or several that Accelerate finds, places and joins.

Accelerate reads what torchrun (or SLURM through it) sets, starts the process group, chooses each process's device and
wraps the network for parallel training. Mixed precision and accumulation are left to torch and the loop: Accelerate's
take the mean of means, where the loop divides by the count over all processes, and its precision is a setting of the
whole Python process, where ours is one of a run.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from saccade.devices import find_device
from saccade.errors import InputError, require

_BEAT = 5.0  # seconds between two signs of life


class Distributed(Protocol):
    """Processes that the loop runs in."""

    device: torch.device
    processes: int
    index: int

    def wrap(self, model: nn.Module) -> nn.Module:
        """The network as the training step calls it."""

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes; every process must ask."""

    def share(self, tensor: Tensor) -> None:
        """Make a tensor what it is in process 0; every process must ask."""

    def gather(self, tensor: Tensor) -> Tensor:
        """The rows of all processes one after another; every process must ask."""

    def no_sync(self, wrapped: nn.Module) -> AbstractContextManager[Any]:
        """A context in which gradients stay in their process."""

    def wait(self) -> None:
        """Wait for all processes (barrier)."""


class SingleProcess:
    """One process, one device."""

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self.processes, self.index = 1, 0

    def wrap(self, model: nn.Module) -> nn.Module:
        return model

    def sum(self, tensor: Tensor) -> Tensor:
        return tensor

    def share(self, tensor: Tensor) -> None:
        pass

    def gather(self, tensor: Tensor) -> Tensor:
        return tensor

    def no_sync(self, wrapped: nn.Module) -> AbstractContextManager[Any]:
        return nullcontext()

    def wait(self) -> None:
        pass


class MultiProcess:
    """One of several processes, by Accelerate."""

    def __init__(self, device: str) -> None:
        accelerate: Any = require("accelerate", extra="train")
        _meet_again(device)
        self.accelerator = accelerate.Accelerator(cpu=device == "cpu")
        self.device: torch.device = self.accelerator.device
        self.processes: int = self.accelerator.num_processes
        self.index: int = self.accelerator.process_index

    def wrap(self, model: nn.Module) -> nn.Module:
        """Batch norms are those of the whole batch where the devices can do that: GPUs."""
        if self.device.type == "cuda":
            from saccade.insertion import verify

            nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
            verify(model)  # the conversion drops hooks
        wrapped: nn.Module = self.accelerator.prepare_model(model, evaluation_mode=False)
        return wrapped

    def sum(self, tensor: Tensor) -> Tensor:
        reduced: Tensor = self.accelerator.reduce(tensor.to(self.device), reduction="sum")
        return reduced

    def share(self, tensor: Tensor) -> None:
        torch.distributed.broadcast(tensor, src=0)

    def gather(self, tensor: Tensor) -> Tensor:
        """Processes may have different numbers of rows: all are padded to the largest."""
        rows = torch.zeros(self.processes, dtype=torch.int64)
        rows[self.index] = len(tensor)
        counts = [int(count) for count in self.sum(rows).tolist()]
        padded = tensor.new_zeros(max(counts), *tensor.shape[1:]).to(self.device)
        padded[: len(tensor)] = tensor.to(self.device)
        every: Tensor = self.accelerator.gather(padded)
        parts = every.view(self.processes, max(counts), *tensor.shape[1:]).cpu()
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    def no_sync(self, wrapped: nn.Module) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = self.accelerator.no_sync(wrapped)
        return context

    def wait(self) -> None:
        self.accelerator.wait_for_everyone()


def distributed(device: str = "auto") -> Distributed:
    """Together with the other processes if torchrun started several, else alone on `device`.

    Args:
        device: See :func:`saccade.devices.find_device`.

    Raises:
        InputError: A device that torch does not have, or one GPU by number for several processes.
    """
    kind = find_device(device)
    if _world_size() == 1:
        return SingleProcess(kind)
    if ":" in device:
        raise InputError(
            f"device {device!r} is one device, and torchrun started {_world_size()} processes", "use --device cuda"
        )
    return MultiProcess(kind.type)


def by_the_first(where: Distributed, work: Callable[[], None]) -> None:
    """Do some work in process 0, for which the others wait as long as it takes.

    A barrier gives up after some minutes; process 0 therefore joins the others every few seconds while it works.

    Args:
        where: This process; every process must call.
        work: Work of process 0; if it raises, so does the call there.
    """
    if where.processes == 1:
        work()
        return
    finished, failures = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            work()
        except BaseException as cause:  # raised below, where the caller sees it
            failures.append(cause)
        finished.set()

    if where.index == 0:
        threading.Thread(target=run, daemon=True).start()
    done = False
    while not done:
        if where.index == 0:
            finished.wait(_BEAT)
            if failures:
                raise failures[0]
        done = bool(where.sum(torch.tensor(float(where.index == 0 and finished.is_set()))) > 0)


def _meet_again(device: str) -> None:
    """Begin the process group after a restart by torchrun (``--max-restarts``).

    torchrun keeps one store for all attempts, and in it the addresses of the processes that are gone: without a prefix
    of its own an attempt may wait for those. The first attempt is left to Accelerate.
    """
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    if attempt == "0" or torch.distributed.is_initialized():
        return
    backend: Any = torch.distributed
    store, rank, size = next(backend.rendezvous("env://"))
    backend.init_process_group(
        "gloo" if device == "cpu" else "nccl",
        store=backend.PrefixStore(f"attempt {attempt}", store), rank=rank, world_size=size,
    )  # fmt: skip


def lost_process(error: RuntimeError) -> bool:
    """Return whether the error means that a peer was lost."""
    return isinstance(error, torch.distributed.DistError) or bool(re.search(r"(?i)gloo|closed by peer", str(error)))


def _world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))
