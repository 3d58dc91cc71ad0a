"""A pool of worker processes on this machine, as the parent sees it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

from saccade.catalog.imports import hand_on, named_code
from saccade.comparison.backends.base import Backend, Event, failure
from saccade.runs.names import LOGS

_NOT_FROM_HERE = ("-P",)  # a file queue.py in the working directory must not replace that of Python
_PATIENCE = 60.0  # seconds that a worker has to save its run


class Pool(Backend):
    """Worker processes that do many jobs each, because importing torch costs more than a small job.

    Args:
        folder: Experiment folder; logs go to ``logs/``.
        devices: Device of each worker.
        tasks: Import paths of the tasks that this process registered.
    """

    def __init__(self, folder: Path, devices: Iterable[str], tasks: Iterable[str] = ()) -> None:
        self.folder = folder
        self.tasks = list(tasks)
        self.devices = list(devices)
        self.workers: list[subprocess.Popen[str]] = []
        self.ready: set[int] = set()
        self.events: queue.Queue[tuple[int, Event]] = queue.Queue()

    @property
    def jobs(self) -> int:
        return len(self.devices)

    def __enter__(self) -> Pool:
        (self.folder / LOGS).mkdir(exist_ok=True)
        for number, device in enumerate(self.devices):
            self.workers.append(self._start(number, device))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the pipes, which tells the workers to save and exit, and wait for them.

        A worker that has not begun yet is ended at once, and so are all at a second Ctrl-C.
        """
        for number, worker in enumerate(self.workers):
            with contextlib.suppress(OSError):
                worker.stdin.close()  # type: ignore[union-attr]
            if number not in self.ready:
                worker.kill()
        until = time.monotonic() + _PATIENCE
        try:
            for worker in self.workers:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.wait(max(0.0, until - time.monotonic()))
        finally:
            for worker in self.workers:
                worker.kill()  # does nothing to one that has ended
            for worker in self.workers:
                worker.wait()

    def run(self, jobs: Iterable[Event], on_event: Callable[[Event], None]) -> None:
        waiting = list(jobs)[::-1]
        free, busy = list(range(len(self.workers)))[::-1], 0
        while waiting or busy:
            while waiting and free:
                self._send(free.pop(), waiting.pop())
                busy += 1
            number, event = self.events.get()
            on_event(event | {"worker": number})
            if event["event"] == "done":
                free.append(number)
                busy -= 1
            elif event["event"] == "error":
                raise failure(event, self._log(number))
            elif event["event"] in ("ended", "stopped"):
                raise RuntimeError(f"a worker process ended unexpectedly; the end of {self._log(number)} says why")

    def _send(self, number: int, job: Event) -> None:
        pipe = self.workers[number].stdin
        with contextlib.suppress(OSError):  # a dead worker reports itself as ended
            pipe.write(json.dumps(job) + "\n")  # type: ignore[union-attr]
            pipe.flush()  # type: ignore[union-attr]

    def _log(self, number: int) -> Path:
        return self.folder / LOGS / f"worker-{number}.log"

    def _start(self, number: int, device: str) -> subprocess.Popen[str]:
        # One thread per process, decided before any library reads it: threads of busy processes wait for each other.
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        named = json.dumps(hand_on({*named_code(), *self.tasks}))
        with self._log(number).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *_NOT_FROM_HERE, "-m", "saccade.comparison.worker", str(self.folder), device, named,
                 *self.tasks],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, encoding="utf-8", env=environment,
            )  # fmt: skip
        threading.Thread(target=self._listen, args=(number, process), daemon=True).start()
        return process

    def _listen(self, number: int, process: subprocess.Popen[str]) -> None:
        with process.stdout as lines:  # type: ignore[union-attr]
            for line in lines:
                self.ready.add(number)
                self.events.put((number, json.loads(line)))
        self.events.put((number, {"event": "ended"}))
