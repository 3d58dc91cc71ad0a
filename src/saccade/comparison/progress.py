"""Progress of a comparison on stderr: bars on a terminal, otherwise a plain line from time to time."""

from __future__ import annotations

import time
from typing import Self

from saccade.comparison.backends.base import Event
from saccade.training.progress import Counting, duration


class ComparisonProgress(Counting):
    """Arms, seeds, steps and the time left.

    Args:
        shown: False shows nothing.
        steps: Training steps of all runs and starts together; 0 while data and networks are prepared.
    """

    def __init__(self, *, shown: bool, steps: int) -> None:
        super().__init__(shown=shown)
        self.steps = steps
        self.running: dict[int, tuple[str, int, int]] = {}
        self.finished = 0  # steps of finished runs
        self.skipped = 0  # steps that resumed runs had done before, which do not count for the speed
        self.started: float | None = None

    def __enter__(self) -> Self:
        super().__enter__()
        if self.bars is not None and self.steps:
            self.tasks["all"] = self.bars.add_task("all steps", total=self.steps)
        return self

    def expect(self, steps: int) -> None:
        """Take another number of steps as those that are left, at most."""
        self.steps = self.finished + steps
        if self.bars is not None:
            self.bars.update(self.tasks["all"], total=self.steps)

    def on_event(self, event: Event) -> None:
        """Take note of an event of a worker."""
        number = event["worker"]
        if event["event"] == "step":
            if self.started is None:  # the rate counts from the first step, without the start of the workers
                self.started = time.monotonic()
            if number not in self.running:
                self.skipped += event["step"]
            self.running[number] = (f"{event['name']}, seed {event['index']}", event["step"], event["of"])
            self._show(number)
        elif event["event"] == "done" and number in self.running:
            self.finished += self.running.pop(number)[2]

    def _show(self, number: int) -> None:
        name, step, of = self.running[number]
        if self.bars is not None:
            if number not in self.tasks:
                self.tasks[number] = self.bars.add_task(name, total=of)
            self.bars.update(self.tasks[number], description=name, total=of, completed=step)
            self.bars.update(self.tasks["all"], completed=self._done())
        elif self._is_time():
            now = "; ".join(f"{name} {step}/{of}" for name, step, of in self.running.values())
            self.say(f"{100 * self._done() / self.steps:3.0f}% of all steps, {self._left()} left; now {now}")

    def _done(self) -> int:
        return self.finished + sum(step for _, step, _ in self.running.values())

    def _left(self) -> str:
        done = self._done() - self.skipped
        if self.started is None or done <= 0:
            return "unknown time"
        return duration((self.steps - self._done()) * (time.monotonic() - self.started) / done)
