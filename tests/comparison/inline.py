"""A pool whose workers are in this process: the same work without the seconds that a process takes to start."""

from __future__ import annotations

import json
from typing import Any

import torch

from saccade.comparison.backends.local import Pool
from saccade.comparison.worker import Worker


class Lines:
    """Passes on the events that a worker writes."""

    def __init__(self, put: Any) -> None:
        self.put = put

    def write(self, line: str) -> None:
        self.put(json.loads(line))

    def flush(self) -> None:
        pass


class InlinePool(Pool):
    """Does each job when it is sent, on one thread as a worker process does."""

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self.threads)

    def _start(self, number: int, device: str) -> Any:
        self.threads = torch.get_num_threads()
        torch.set_num_threads(1)
        return Worker(self.folder, device, Lines(lambda event: self.events.put((number, event))))

    def _send(self, number: int, job: dict[str, Any]) -> None:
        self.workers[number].do(job)
