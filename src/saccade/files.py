"""Write files so that a crash, a kill or a full disk leaves the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from saccade.errors import InputError

LOCK = ".lock"
_DEEPEST = 400  # folders in each other; Python makes them one within the other's call


def at_home(path: str | os.PathLike[str]) -> Path:
    """Return a path with the home folder in the place of ``~``; the ``~`` of an unknown user stays."""
    return Path(os.path.expanduser(path))


_WATCHING: list[Callable[[Path], None]] = []
_HELD: set[Path] = set()  # by this process, to which the system would grant a second lock


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name next to `path`; what was written there replaces `path` at the end.

    Raises:
        InputError: The disk is full or the folder cannot be written; `path` is left as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "r+b") as written:  # writable: Windows syncs nothing else
            os.fsync(written.fileno())
        os.replace(temporary, path)
        for told in _WATCHING:
            told(path)
    except OSError as cause:
        raise InputError(
            f"could not write {path}: {cause.strerror or cause}", "free some space, or choose another folder with --out"
        ) from cause
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def watching(told: Callable[[Path], None]) -> Iterator[None]:
    """A context in which a function is told of every file that :func:`replacing` has put in place in this process."""
    _WATCHING.append(told)
    try:
        yield
    finally:
        _WATCHING.remove(told)


def check_folder(folder: Path) -> None:
    """Refuse an output folder that could not be written; changes nothing.

    Raises:
        InputError: It is a file, lies in one, or may not be written.
    """
    _refuse_unwritable(folder, folder, "choose another folder")


def check_file(path: Path) -> None:
    """Refuse an output file that could not be written; changes nothing.

    Raises:
        InputError: It is a folder or no regular file, or its folder could not be written.
    """
    if os.path.exists(path) and not path.is_file():  # that of a path raises for a name that is too long
        what = "a folder" if path.is_dir() else "not a regular file"
        raise InputError(f"{path} cannot be written: it is {what}", "choose another name")
    _refuse_unwritable(path, path.parent, "choose another name")


def _refuse_unwritable(path: Path, folder: Path, hint: str) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:  # the records name it, in UTF-8
        raise InputError(f"{path} cannot be written: the name is not valid UTF-8", hint) from None
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.absolute().lstat()  # a name too long for the system
        if len(path.parts) > _DEEPEST:
            raise InputError(f"{path.parts[0]}/...: {len(path.parts)} folders deep; at most {_DEEPEST} are made", hint)
        there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
        if not there.is_dir():
            raise InputError(f"{path} cannot be written: {there} is not a folder", hint)
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as cause:
        raise InputError(f"{path} cannot be written: {cause.strerror or cause}", hint) from cause


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON; a NaN or an infinity in it is an error, as readers refuse them."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path, hint: str | None = None) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        hint: Advice for a file that cannot be read.

    Raises:
        InputError: The file is missing, no file, unreadable, or damaged.
    """
    hint = hint or "restore it from a copy"
    check_regular(path, hint)
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except OSError as cause:
        raise InputError(f"{path} cannot be read: {cause.strerror or cause}", hint) from cause
    except (ValueError, RecursionError) as cause:  # also bytes that are no text, and numbers of thousands of digits
        raise InputError(f"{path} is not valid JSON ({cause})", hint) from cause


def check_regular(path: Path, hint: str | None = None) -> None:
    """Refuse to read a folder, a pipe or a device; reading one of the last two may never end.

    Raises:
        InputError: Something other than a regular file has the name.
    """
    if os.path.exists(path) and not path.is_file():
        raise InputError(f"{path} cannot be read: it is {'a folder' if path.is_dir() else 'not a regular file'}", hint)


def _no_number(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number of JSON")


_TEMPORARY = re.compile(r"\..+\.(json|csv|npz|npy|safetensors|html|png)\.(\d+)\.tmp")


def clear_temporary(folder: Path) -> None:
    """Delete the temporary files that killed processes of saccade left in a folder of saccade's, and in those inside.

    Files of processes that are running stay; so do all whose names :func:`replacing` does not give.
    """
    for path in folder.rglob(".*.tmp"):
        found = _TEMPORARY.fullmatch(path.name)
        if found and path.is_file() and not path.is_symlink() and not _is_running(int(found[2])):
            path.unlink(missing_ok=True)


_WORKING = re.compile(r"\..+\.(\d+)\.\w+\.saccade-working")


@contextmanager
def working_folder(path: Path) -> Iterator[Path]:
    """Yield a new hidden folder next to `path`, which is deleted at the end.

    Those that killed processes left there are deleted first.
    """
    for left in path.parent.glob(".*.saccade-working"):
        found = _WORKING.fullmatch(left.name)
        if found and left.is_dir() and not left.is_symlink() and not _may_run(int(found[1])):
            shutil.rmtree(left, ignore_errors=True)
    prefix, suffix = f".{path.stem[:80]}.{os.getpid()}.", ".saccade-working"
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=prefix, suffix=suffix) as folder:
        yield Path(folder)


def _may_run(pid: int) -> bool:
    return pid == os.getpid() or os.name == "nt" or _is_running(pid)


def is_temporary(name: str) -> bool:
    """Return True for a name that :func:`replacing` gives."""
    return _TEMPORARY.fullmatch(name) is not None


def _is_running(pid: int) -> bool:
    if pid == os.getpid() or os.name == "nt":  # where a signal of 0 would end it
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Lock `folder` for this process; the system releases it however the process ends.

    Args:
        folder: Folder to lock; created if it does not exist.
        what: Activity in it, for the message to a second process: ``"comparison"``.

    Raises:
        InputError: Another process holds it, or it cannot be written.
    """
    refusal = InputError(f"another {what} is running in {folder}", "wait for it, or choose another --out")
    name = folder.resolve()
    if name in _HELD:
        raise refusal
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = open(folder / LOCK, "a+b")  # noqa: SIM115 (held until the end)
    except OSError as cause:
        raise InputError(f"{folder} cannot be written: {cause.strerror}", "choose another folder with --out") from cause
    with handle:  # the file stays: deleting it would let a third process lock a new one next to a waiting second
        try:
            _lock(handle.fileno())
        except OSError as cause:
            raise refusal from cause
        _HELD.add(name)
        try:
            yield
        finally:
            _HELD.discard(name)


def _lock(descriptor: int) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        import fcntl

        # Not flock: children, such as those that read images, would keep the lock when this process is killed.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
