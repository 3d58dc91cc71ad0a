"""Progress of a run: a bar on a terminal, a plain line now and then anywhere else. Always on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from types import TracebackType
from typing import Any, Self

import torch

from saccade.training.log import Row

_PLAIN_EVERY = 15.0  # seconds


class Lines:
    """Output of progress: a console with bars, or plain lines.

    Args:
        shown: False: nothing at all.
    """

    def __init__(self, *, shown: bool) -> None:
        self.shown = shown
        self.spoken = time.monotonic()
        self.bars: Any = None

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bars is not None:
            self.bars.stop()

    def say(self, text: str) -> None:
        """A line of its own."""
        if self.bars is not None:
            self.bars.console.print(text, highlight=False, markup=False)
        elif self.shown:
            with contextlib.suppress(OSError):  # without a reader nothing is said, and the work continues
                print(text, file=sys.stderr, flush=True)

    def _is_time(self) -> bool:
        """Return True if the last plain line is old enough for another."""
        late = time.monotonic() - self.spoken > _PLAIN_EVERY
        if late:
            self.spoken = time.monotonic()
        return late


class Counting(Lines):
    """Preparations: how many files are read, how many scenes are drawn."""

    def __init__(self, *, shown: bool) -> None:
        super().__init__(shown=shown)
        self.tasks: dict[Any, Any] = {}

    def __enter__(self) -> Self:
        if self.shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            self.bars = Bars(
                TextColumn("{task.description:<28}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TimeRemainingColumn(), console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self.bars.start()
        return self

    def counting(self, done: int, total: int, what: str) -> None:
        """Show preparations, reported as `what` `done` of `total`."""
        if self.bars is not None:
            if what not in self.tasks:
                self.tasks[what] = self.bars.add_task(what, total=total)
            self.bars.update(self.tasks[what], completed=done)
        elif done == total or self._is_time():
            self.say(f"{what}: {done}/{total}")


class TrainingProgress(Lines):
    """Loss, score, images per second, the fraction of time spent waiting for data, memory, and the time left.

    Args:
        shown: False: nothing at all.
        steps: Number of steps of the run.
        batch: Images a step.
        device: Device whose memory is shown (process memory on a CPU).
    """

    def __init__(self, *, shown: bool, steps: int, batch: int, device: torch.device) -> None:
        super().__init__(shown=shown)
        self.steps, self.batch, self.device = steps, batch, device
        self.started = self.spoken
        self.first: Row | None = None
        self.score = ""
        self.loss: float | None = None
        self.bar: Any = None

    def __enter__(self) -> TrainingProgress:
        if self.shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
            from rich.progress import Progress as Bars

            self.bars = Bars(
                BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"),
                console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self.bars.start()
            self.bar = self.bars.add_task("starting", total=self.steps)
        return self

    def on_step(self, row: Row) -> None:
        """A step is done."""
        if self.first is None:
            self.first, self.started = row, time.monotonic()
        self.loss = row.loss if self.loss is None else 0.9 * self.loss + 0.1 * row.loss
        if row.scores:
            self.score = ", ".join(f"{name} {value:.4f}" for name, value in row.scores.items())
        if self.bars is not None:
            self.bars.update(self.bar, completed=row.step, description=self.describe(row))
        elif row.step == self.steps or self._is_time():
            self.say(f"step {row.step}/{self.steps}: {self.describe(row)}")

    def describe(self, row: Row) -> str:
        """A line on how it goes."""
        parts = [f"loss {self.loss:.4g}"] + ([self.score] if self.score else [])
        if self.first is not None and row.step > self.first.step:
            seconds = row.seconds - self.first.seconds
            done = row.step - self.first.step
            waiting = (row.waiting - self.first.waiting) / max(seconds, 1e-9)
            left = (self.steps - row.step) * (time.monotonic() - self.started) / done
            parts += [f"{done * self.batch / max(seconds, 1e-9):.1f} images/s", f"{waiting:.0%} waiting for data"]
            parts += [f"{duration(left)} left"] if left else []
        return ", ".join([*parts, f"{peak_mib(self.device):,.0f} MiB"])


def peak_mib(device: torch.device) -> float:
    """The most memory held so far: of a GPU by torch, of a CPU by the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / (2**20 if sys.platform == "darwin" else 2**10)


def duration(seconds: float) -> str:
    """``75 s``, ``12 min``, ``3.4 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
