"""Standard streams as a shell may leave them: closed, of an encoding without most letters, or without a reader."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any


def prepare_streams() -> None:
    """Make the streams ones that neither a name nor a reader that has left can turn into an error.

    A closed stream becomes one that leads nowhere. What the encoding of a stream lacks is written with backslashes.
    What is said on stderr (progress, warnings) is lost without its reader, but the work continues.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _occupy(number)
            setattr(sys, name, open(os.devnull, "r" if number == 0 else "w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if not isinstance(sys.stderr, _Lasting):
        sys.stderr = _Lasting(sys.stderr)


def abandon(stream: Any) -> None:
    """Lead a stream that cannot be written to nowhere; else the interpreter complains at exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _occupy(number: int) -> None:
    """Keep the number of a closed stream from the next file that is opened, which libraries would write to."""
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)


class _Lasting:
    """A stream whose failures end nothing."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return int(self._stream.write(text) or 0)
        except OSError:
            abandon(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            abandon(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
