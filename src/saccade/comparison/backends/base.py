"""The protocol of a backend: it gets jobs as plain values, passes events on, and returns when all jobs are done."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from saccade.errors import InputError

Event = dict[str, Any]
"""Plain values: ``event`` says what happened (``step``, ``done``, ``error``), ``worker`` where."""


class Backend(ABC):
    """A place where jobs of a comparison are done, for as long as its ``with`` block lasts.

    At the end of the block nothing is left running. A job that was interrupted has saved what it had done.
    """

    measured_on: str | None = None
    """Name of the node that latencies and memory were measured on; None: this machine."""

    @property
    @abstractmethod
    def jobs(self) -> int:
        """Number of jobs that are done at a time."""

    @abstractmethod
    def run(self, jobs: Iterable[Event], on_event: Callable[[Event], None]) -> None:
        """Do all `jobs`, each on the next free worker; returns when the last is done.

        Args:
            jobs: Calls of a worker: ``job`` names the method without ``do_``, the other keys are its arguments.
            on_event: Called in this thread with each event.

        Raises:
            InputError: A job failed because of something the user gave.
            RuntimeError: A job failed for another reason, or a worker died.
        """

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def failure(event: Event, log: object) -> Exception:
    """Return the exception for the event of a job that failed.

    Args:
        event: The event.
        log: Where the worker has written what happened.
    """
    text = f"{described(event['job'])}: {event['message']}"
    return InputError(text, event["hint"]) if event["expected"] else RuntimeError(f"{text} (see {log})")


def described(job: Event) -> str:
    """Return a job in words."""
    return " ".join(str(value) if key == "job" else f"{key} {value}" for key, value in job.items())
