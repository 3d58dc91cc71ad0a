"""Progress of a comparison: bars on a terminal, a plain line now and then anywhere else. Always on stderr."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from saccade.comparison.pool import Event

_PLAIN_EVERY = 15.0  # seconds


class Progress:
    """Arms, seeds, steps and the time left.

    Args:
        shown: False: nothing at all.
        steps: All steps there will be, of all runs and starts.
        done: Of these, how many an earlier call did.
    """

    def __init__(self, *, shown: bool, steps: int, done: int = 0) -> None:
        self.shown = shown
        self.steps = max(1, steps)
        self.finished = self.finished_before = done
        self.running: dict[int, tuple[str, int, int]] = {}
        self.spoken = time.monotonic()
        self.started: float | None = None
        self.bars: Any = None
        self.tasks: dict[int, Any] = {}

    def __enter__(self) -> Progress:
        if self.shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            self.bars = Bars(
                TextColumn("{task.description:<28}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TimeRemainingColumn(), console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self.bars.start()
            self.total = self.bars.add_task("all steps", total=self.steps, completed=self.finished)
        return self

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
            print(text, file=sys.stderr, flush=True)

    def counting(self, done: int, total: int, what: str) -> None:
        """Preparations, reported as `what` `done` of `total`."""
        if done in (total, 0) or time.monotonic() - self.spoken > _PLAIN_EVERY:
            self.spoken = time.monotonic()
            if done == total and self.shown:
                self.say(f"{what}: {done}")

    def on_event(self, event: Event) -> None:
        """A worker said something."""
        if event["event"] == "step":
            if self.started is None:  # the rate is that of the steps: how long workers took to start says nothing
                self.started, self.finished_before = time.monotonic(), self.finished + event["step"]
            number = event["worker"]
            name = f"{event['name']}, seed {event['index']}"
            _, before, _ = self.running.get(number, (name, 0, 0))
            before = before if before < event["step"] else 0
            self.finished += event["step"] - before
            self.running[number] = (name, event["step"], event["of"])
            self._show(number, name, event)
        elif event["event"] == "done":
            self.running.pop(event["worker"], None)

    def _show(self, number: int, name: str, event: Event) -> None:
        if self.bars is not None:
            if number not in self.tasks:
                self.tasks[number] = self.bars.add_task(name, total=event["of"])
            self.bars.update(self.tasks[number], description=name, total=event["of"], completed=event["step"])
            self.bars.update(self.total, completed=min(self.finished, self.steps))
        elif self.shown and time.monotonic() - self.spoken > _PLAIN_EVERY:
            self.spoken = time.monotonic()
            self.say(f"{100 * self.finished / self.steps:3.0f}% of all steps, {self._left()} left; now {self._now()}")

    def _now(self) -> str:
        return "; ".join(f"{name} {step}/{of}" for name, step, of in self.running.values())

    def _left(self) -> str:
        done = self.finished - self.finished_before
        if self.started is None or done <= 0:
            return "unknown time"
        return duration((self.steps - self.finished) * (time.monotonic() - self.started) / done)


def duration(seconds: float) -> str:
    """``75 s``, ``12 min``, ``3.4 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
