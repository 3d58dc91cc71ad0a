"""One comparison at an address: a file there says who works at it, and shows by its changes that they are alive.

Storage at an address knows no locks that end with a process, and clocks of machines differ. So a process that finds a
claim looks at it for a while: if it changes, its owner is at work; if not, the owner has died, and it is replaced.
"""

from __future__ import annotations

import _thread
import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from saccade.comparison.mirror import CLAIM, Mirror
from saccade.errors import InputError

BEAT = 10.0
"""Seconds between two changes of a claim."""
PATIENCE = 60.0
"""Seconds in which a claim must change if its owner is at work."""


@contextmanager
def claimed(mirror: Mirror, *, say: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """A context in which the address is this process's alone; a second process is refused.

    Args:
        mirror: The address.
        say: Called with a sentence before a claim of another process is looked at for a while.

    Raises:
        InputError: Another process is at work there, or the address cannot be written.
    """
    own = {"host": socket.gethostname(), "process": os.getpid(), "token": os.urandom(8).hex(), "beat": 0}
    _take(mirror, own, say)
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(mirror, own, ended), daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        if _is(_read(mirror), own):
            with contextlib.suppress(Exception):
                mirror.system.rm_file(_path(mirror))


def _take(mirror: Mirror, own: dict[str, Any], say: Callable[[str], None]) -> None:
    there = _read(mirror)
    if there is not None:
        say(f"{mirror.address} is claimed by {_owner(there)}: looking for up to {PATIENCE:.0f} s whether it is at work")
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and (now := _read(mirror)) is not None:
            if now != there:
                raise _refusal(mirror, now)
            time.sleep(BEAT / 10)
        with contextlib.suppress(FileNotFoundError):
            mirror.system.rm_file(_path(mirror))
    _write(mirror, own, new=True)
    there = _read(mirror)
    if not _is(there, own):
        raise _refusal(mirror, there)


def _write(mirror: Mirror, own: dict[str, Any], *, new: bool = False) -> None:
    """Write a claim; a new one only where there is none, as far as the storage knows how."""
    content = json.dumps(own).encode()
    try:
        mirror.system.makedirs(mirror.root, exist_ok=True)
        mirror.system.pipe_file(_path(mirror), content, **({"mode": "create"} if new else {}))
    except Exception as cause:  # each kind of storage has errors of its own
        there = _read(mirror)
        if new and there is not None and not _is(there, own):
            raise _refusal(mirror, there) from cause
        raise mirror.refusal("be written", cause) from cause


def _beat(mirror: Mirror, own: dict[str, Any], ended: threading.Event) -> None:
    """Change the claim from time to time; where another process has replaced it, stop this one as Ctrl-C does."""
    while not ended.wait(BEAT):
        try:
            there = _read(mirror)
            if there is not None and not _is(there, own):
                print(f"\n{mirror.address} was taken over by {_owner(there)}: this process stops", file=sys.stderr)
                _interrupt()
                return
            own["beat"] += 1
            _write(mirror, own)
        except InputError:  # the storage does not answer now; it may at the next beat
            continue


def _interrupt() -> None:
    """Interrupt the main thread, where the system can also while it waits for something."""
    if hasattr(signal, "pthread_kill") and (main := threading.main_thread().ident) is not None:
        signal.pthread_kill(main, signal.SIGINT)
    else:
        _thread.interrupt_main()


def _read(mirror: Mirror) -> dict[str, Any] | None:
    """Return the claim there is, or None; one that cannot be understood is a claim all the same."""
    try:
        mirror.system.invalidate_cache()
        content = mirror.system.cat_file(_path(mirror))
    except FileNotFoundError:
        return None
    except Exception as cause:
        raise mirror.refusal("be read", cause) from cause
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"token": content.decode(errors="replace")}


def _path(mirror: Mirror) -> str:
    return f"{mirror.root}/{CLAIM}"


def _is(there: dict[str, Any] | None, own: dict[str, Any]) -> bool:
    return there is not None and there.get("token") == own["token"]


def _owner(there: dict[str, Any] | None) -> str:
    return f"process {(there or {}).get('process', '?')} of {(there or {}).get('host', 'another machine')}"


def _refusal(mirror: Mirror, there: dict[str, Any] | None) -> InputError:
    return InputError(
        f"another comparison is running at {mirror.address}: {_owner(there)}",
        "wait for it, stop it there, or choose another --out",
    )
