"""Ctrl-C, SIGTERM, which pre-emptible machines send, and SIGHUP, which a closed terminal sends.

The first asks for a stop that saves, and is answered at once; the second stops without waiting.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = "stopping: what is done is saved first; Ctrl-C again stops at once"


@contextmanager
def stop_on_signals(*, shown: bool = False) -> Iterator[Callable[[], bool]]:
    """A context that gives a function telling whether a stop was asked for; outside the main thread none ever is.

    Args:
        shown: True answers the first signal on stderr.
    """
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        if shown:
            say_now(STOPPING)

    with handling(ask):
        yield asked.is_set


@contextmanager
def interrupt_on_signals(*, shown: bool = False) -> Iterator[None]:
    """A context in which each of the signals raises KeyboardInterrupt.

    Args:
        shown: True answers the first signal on stderr.
    """
    asked = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if shown and not asked.is_set():
            say_now(STOPPING)
        asked.set()
        raise KeyboardInterrupt

    with handling(interrupt):
        yield


@contextmanager
def handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """A context in which `handler` gets the signals; those that are ignored, as under nohup, stay so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {n: signal.signal(n, handler) for n in numbers if signal.getsignal(n) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def say_now(text: str) -> None:
    """Write a line to stderr from within a handler, where print might be in the middle of a line itself."""
    with contextlib.suppress(OSError):
        os.write(2, f"\n{text}\n".encode())
