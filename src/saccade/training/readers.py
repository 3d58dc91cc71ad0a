"""Processes that read samples for a training: begun, watched and ended, so that whatever happens to one is said.

A reader can be killed by the system (memory), by a full ``/dev/shm`` (a bus error while it sends a batch), or by a
library that crashes on a file. Each reader notes in memory that it shares with the main process what it is reading, so
that the error can name the sample.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.process
import multiprocessing.queues
import os
import pickle
import re
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from saccade.errors import InputError, SaccadeWarning

SHARED = Path("/dev/shm")
"""Memory through which readers hand over batches, where the system shows it as a folder."""

_AHEAD = 2  # batches that torch lets each reader prepare
_TEXT = 2000  # bytes of a reader's last words
_ENDING_SECONDS = 30.0
_DYING_SECONDS = 5.0  # from the break of a pipe to the end of the process
_UNGUARDED = 'put the call under `if __name__ == "__main__":`, or read in one process: --workers 0'

_STARTED: set[multiprocessing.process.BaseProcess] = set()
_ACTIVE: list[Readers] = []
_LEAVING: list[bool] = []  # not empty once the interpreter ends
_OWN: tuple[Readers, int] | None = None  # in a reader: what it shares, and its number


class Readers:
    """Memory that readers share with the process that started them.

    Args:
        count: Number of readers.
        name: Gives the name of a sample.
    """

    def __init__(self, count: int, name: Callable[[int], str]) -> None:
        self.count = count
        self.name = name
        self.processes: list[multiprocessing.process.BaseProcess] = []
        self._pids = RawArray("q", count)
        self._samples = RawArray("q", [-1] * count)
        self._texts = [RawArray("c", _TEXT) for _ in range(count)]

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"name": None, "processes": []}  # names are for the main process, and may not be picklable

    def begin(self, number: int) -> None:
        """In a reader: note that it has begun."""
        self._pids[number] = os.getpid()

    def reads(self, number: int, sample: int) -> None:
        """In a reader: note the sample that it reads."""
        self._samples[number] = sample

    def says(self, number: int, text: str) -> None:
        """In a reader: leave a text, for it is about to end."""
        self._texts[number].value = text.encode(errors="replace")[: _TEXT - 1]

    @property
    def begun(self) -> bool:
        """True if a reader has begun."""
        return any(self._pids)

    def explain(self, error: Exception) -> InputError | None:
        """Return what happened to a reader and what to do; None if the error is of another kind."""
        text = str(error)
        if not isinstance(error, RuntimeError):
            multiprocessing.connection.wait([one.sentinel for one in self.processes], _DYING_SECONDS)
            gone = [str(one.pid) for one in self.processes if one.exitcode is not None]
            text = f"DataLoader worker (pid(s) {', '.join(gone)}) ended" if gone else text
        if "Too many open files" in text:
            return InputError(
                f"readers: {text.splitlines()[0]}", "raise the limit (ulimit -n), or read with --workers 0"
            )
        if "DataLoader timed out" in text:
            return InputError(f"the reading processes have sent nothing for too long{self._where([])}", _FEWER)
        if not text.startswith("DataLoader worker"):
            return None
        numbers = re.search(r"\(pid(?:\(s\))? ([\d, ]+)\)", text)
        pids = [int(pid) for pid in numbers[1].split(",")] if numbers else []
        if not self.begun and multiprocessing.get_start_method() != "fork":
            message = "the reading processes ended before they read: at their start they import the running script"
            return InputError(f"{message}, which must then not train", _UNGUARDED)
        found = re.search(r"killed by signal: ([^.]+)\.", text)
        number = found[1].strip() if found else self._signal(pids)
        how = f"was ended by a signal ({number})" if number else "ended unexpectedly"
        said = next((words for pid in pids if (words := self._words(pid))), "")
        message = f"a reading process {how}{self._where(pids)}{f': {said}' if said else ''}"
        return InputError(message, _remedy(f"{text} {number}", said))

    def _signal(self, pids: list[int]) -> str | None:
        codes = [one.exitcode for one in self.processes if one.pid in pids and one.exitcode is not None]
        return next((signal.strsignal(-code) for code in codes if code < 0), None)

    def _words(self, pid: int) -> str:
        numbers = [number for number in range(self.count) if self._pids[number] == pid]
        return self._texts[numbers[0]].value.decode(errors="replace") if numbers else ""

    def _where(self, pids: list[int]) -> str:
        """The sample that a reader was at, or those of all, as the end of a sentence."""
        numbers = [n for n in range(self.count) if self._pids[n] in pids] or list(range(self.count))
        samples = dict.fromkeys(self._samples[n] for n in numbers if self._samples[n] >= 0)
        names = [self.name(sample) for sample in list(samples)[:3]]
        return f" at {' or '.join(names)}, or in the batch of it" if names else ""


_FEWER = "read with fewer processes (--workers 1), or in this one: --workers 0"


def _remedy(text: str, said: str) -> str:
    if "Bus error" in text or "shared memory" in said or "No space left" in said:
        return "shared memory (/dev/shm) is too small: docker run --shm-size=2g, or read in one process: --workers 0"
    if "Killed" in text:
        return f"memory may have run out; {_FEWER}"
    return "--workers 0 reads in one process and shows what a file does to it; saccade data check reads every file"


@contextmanager
def readers_explained() -> Iterator[None]:
    """A context in which the end of a reader is an `InputError` that names the sample and the remedy.

    torch raises an error wherever the main thread happens to be, which may be far from where batches are taken.
    """
    try:
        yield
    except (RuntimeError, EOFError, ConnectionError) as cause:  # the latter two where a pipe of a reader breaks
        told = next((told for readers in _ACTIVE[::-1] if (told := readers.explain(cause)) is not None), None)
        if told is None:
            raise
        raise told from cause


@contextmanager
def reading(loader: DataLoader[Any], readers: Readers | None) -> Iterator[Iterator[Any]]:
    """The batches of a loader; at the end all its processes have ended, whatever they were doing.

    Raises:
        InputError: They could not be started, or one ended by itself.
    """
    if readers is None:
        yield iter(loader)
        return
    refuse_unguarded()
    before = set(multiprocessing.active_children())
    _ACTIVE.append(readers)
    batches: Any = None
    try:
        with readers_explained():
            with _starting(readers):
                batches = iter(loader)
            readers.processes = list(getattr(batches, "_workers", ()))
            yield batches
    finally:
        started = set(multiprocessing.active_children()) - before
        _STARTED.update(started)
        _end(batches, started)
        _STARTED.difference_update(started)
        _ACTIVE.remove(readers)


@contextmanager
def _starting(readers: Readers) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Got pickle error")
            yield
    except (pickle.PicklingError, AttributeError, TypeError) as cause:
        raise InputError(
            f"the data set cannot be sent to reading processes ({cause})",
            "define its classes and functions at the top of a module, or read in this process: workers=0",
        ) from cause
    except OSError as cause:
        raise InputError(f"{readers.count} reading processes could not be started ({cause})", _FEWER) from cause


def _end(batches: Any, processes: set[multiprocessing.process.BaseProcess]) -> None:
    """Ask the readers to end, and kill those that do not."""
    if _LEAVING:  # they are killed already, and no thread can begin any more
        return
    shut = getattr(batches, "_shutdown_workers", None)
    if shut is not None:  # aside, for it waits for locks that a killed reader may have held
        ending = threading.Thread(target=shut, daemon=True)
        ending.start()
        ending.join(_ENDING_SECONDS)
    with contextlib.suppress(RuntimeError):  # torch may notice each of them
        for process in processes:
            if process.is_alive():
                process.kill()
                process.join()


@atexit.register
def _end_all() -> None:
    """Kill readers that are left because an error still holds their loader: the interpreter would wait for them."""
    _LEAVING.append(True)
    alive = [process for process in _STARTED | set(_readers_of_mine()) if process.is_alive()]
    if alive and hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for process in alive:
        process.kill()


def _readers_of_mine() -> Iterator[multiprocessing.process.BaseProcess]:
    return (p for p in multiprocessing.active_children() if _ACTIVE and p.daemon)


def fitting(count: int, batch: int) -> int:
    """Return how many of `count` readers have room in shared memory for batches of `batch` bytes.

    Fewer than asked for are a warning: the number of readers changes nothing but the time.
    """
    if not count or not SHARED.is_dir():
        return count
    free = shutil.disk_usage(SHARED).free
    room = max(0, int((free / max(1, batch) - 1) // _AHEAD))
    if room < count:
        needed = batch * (_AHEAD * count + 1)
        warnings.warn(
            f"shared memory ({SHARED}) has {_mib(free)} free, and {count} reading processes with batches of "
            f"{_mib(batch)} need {_mib(needed)}: {room or 'none'} started; docker run --shm-size gives more, "
            "--workers 0 needs none",
            SaccadeWarning, stacklevel=2,
        )  # fmt: skip
    return min(count, room)


def _mib(size: float) -> str:
    return f"{size / 2**20:.1f} MiB"


def refuse_unguarded() -> None:
    """Refuse to train in a process that only imports a script, to read for a training that the script has begun.

    Raises:
        InputError: The script calls it at its top.
    """
    if getattr(multiprocessing.process.current_process(), "_inheriting", False):
        raise InputError(
            "this script trains when it is imported, as each reading process does at its start", _UNGUARDED
        )


def begin_reading(parent: int, readers: Readers, worker: int) -> None:
    """In a reader, before it reads: watch the main process, and leave signals to it.

    Ctrl-C and SIGTERM are often sent to all processes; the main one decides, saves, and ends the readers. They leave
    its group, and overlook the SIGTERM that reaches them all the same; the next one ends them. They end with the main
    process `parent` even if it was killed before they recorded its pid, a case that torch's watchdog misses.
    """
    global _OWN
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    _OWN = (readers, worker)
    readers.begin(worker)
    # A batch that cannot be sent would be dropped, and the main process wait for it for ever.
    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(_cannot_send)  # type: ignore[attr-defined]


def note(sample: int) -> None:
    """In a reader: note the sample that is being read; elsewhere nothing."""
    if _OWN is not None:
        readers, number = _OWN
        readers.reads(number, sample)


def _cannot_send(error: BaseException, batch: object) -> None:
    if _OWN is not None:
        readers, number = _OWN
        readers.says(number, f"a batch could not be sent ({type(error).__name__}: {error})")
    os._exit(1)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(2.0)
    os._exit(1)
