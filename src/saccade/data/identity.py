"""The identity of a run's data: the names of its files, their classes and sides, and their content.

A run that is resumed, or a comparison that is shown again, must use the data it started with. Names do not prove that:
an image can be overwritten under its own name. Times do not either: copying or ``touch`` changes them and nothing
else. So every file is read once, and its hash is kept in the folder of the run with the file's size and modification
time; later only files with another size or time are read again.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from saccade import schema
from saccade.data import OnProgress
from saccade.data.decoding import UnreadableError
from saccade.data.layouts import Item, relative
from saccade.data.statement import Statement
from saccade.errors import InputError
from saccade.files import read_json, write_json

_VERSION = 1  # raised when the identity of the same data changes
_CHUNK = 256  # files handed to the threads at once: a data set may have millions, and Ctrl-C waits for these
_SHOWN = 3
_REREAD = "restore it from a copy; without it a training reads every file again: move it elsewhere for that"
# A file changed within the resolution of its file system's clock keeps its time, so that fresh times prove nothing.
_FRESH_NS = 2_000_000_000


@dataclass(frozen=True)
class DataFiles:
    """The files of a dataset, with their classes and sides.

    Args:
        root: Folder that names are relative to.
        task: Name of the task.
        classes: Class names in order of their index; empty if only the masks define them.
        train: Training images, each with its class or its mask.
        val: Validation images, each with its class or its mask.
        others: Further files that define the data, such as ``classes.txt``.
        statement: What the folder was read as.
        allow_copies: True if an image may be under two classes, or on both sides.
        check: Refuses an item that could not be used in training, by its content; called for each that is read.
    """

    root: Path
    task: str
    classes: Sequence[str]
    train: Sequence[Item] = ()
    val: Sequence[Item] = ()
    others: Sequence[Path] = ()
    statement: Statement | None = None
    allow_copies: bool = False
    check: Callable[[Item], None] | None = field(default=None, compare=False)

    def paths(self) -> list[Path]:
        """Return every file once."""
        items = (*self.train, *self.val)
        masks = (item.target for item in items if isinstance(item.target, Path))
        return list(dict.fromkeys([*(item.image for item in items), *masks, *self.others]))

    def name(self, file: Path) -> str:
        """Return the path of a file relative to `root`, with slashes on every system."""
        return relative(file, self.root)


class FileState(NamedTuple):
    """Content, size and time of a file.

    Args:
        content: Hash of its bytes, in hex digits.
        size: Size in bytes.
        mtime_ns: Modification time in ns; -1 if the file was too fresh for its time to be trusted.
    """

    content: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Identity:
    """Digest that distinguishes data from any others, with the state of their files.

    Args:
        digest: Hex digits that change with names, sides, classes, masks and contents, and with nothing else.
        root: Folder of the data; empty for samples that are not files.
        files: State of every file by its name.
        held: Names of the validation images.
        problem: What contradicts itself in the data: an image under two classes, or on both sides.
    """

    digest: str
    root: str = ""
    files: Mapping[str, FileState] = field(default_factory=dict)
    held: tuple[str, ...] = ()
    problem: InputError | None = field(default=None, compare=False)

    def refuse_contradiction(self) -> None:
        """Refuse data that contradict themselves.

        Raises:
            InputError: Naming two files.
        """
        if self.problem is not None:
            raise self.problem

    def write(self, path: Path) -> None:
        """Write the state of the files to `path`, for :func:`identify` and :meth:`check`."""
        files = {name: f"{state.content} {state.size} {state.mtime_ns}" for name, state in self.files.items()}
        content = {"format": _VERSION, "data": self.root, "digest": self.digest, "files": files}
        write_json(path, content | {"held": list(self.held)})

    def check(self, started: str, record: Path, *, data: str, hint: str) -> None:
        """Refuse data other than those a run started with.

        Args:
            started: Digest that the run started with.
            record: File in which :meth:`write` kept the state of the files at the start.
            data: Name of the data in the message.
            hint: Advice on what to do.

        Raises:
            InputError: The digests differ; a few of the files that changed are named.
        """
        if self.digest == started:
            return
        before = _read(record)
        if before is None or before.digest != started:
            raise InputError(f"{data}: the run has no record of the content of its files", hint)
        what = "files have" if self.files else "samples or classes have"
        raise InputError(f"{data}: its {what} changed since the run started{self._changes(before)}", hint)

    def _changes(self, before: Identity) -> str:
        """Return the first few differences from an earlier state, as the end of a sentence."""
        contents = {name: state.content for name, state in before.files.items()}
        groups = {
            "changed": [n for n, state in self.files.items() if n in contents and contents[n] != state.content],
            "added": [n for n in self.files if n not in contents],
            "removed": [n for n in contents if n not in self.files],
        }
        said = [f"{what}: {_some(names)}" for what, names in groups.items() if names]
        if self.files and not said:
            said = ["the same files are split or labelled in another way"]
        return f" ({'; '.join(said)})" if said else ""


def identify(files: DataFiles, record: Path | None = None, on_progress: OnProgress | None = None) -> Identity:
    """Compute the identity of files, reading those that differ from a record.

    Args:
        files: The data.
        record: File that :meth:`Identity.write` wrote; may be absent, and is not changed.
        on_progress: Called with (done, total, what) while files are read.

    Raises:
        InputError: A file cannot be read, or its content cannot be used.
    """
    root = str(files.root.resolve())
    before = _read(record) if record is not None else None
    known = before.files if before is not None and before.root == root else {}
    states = _states(files, known, on_progress)
    contents = {name: state.content for name, state in states.items()}
    problem = None if files.allow_copies else contradiction(files, contents)
    held = tuple(files.name(item.image) for item in files.val)
    return Identity(_digest(files, states), root, states, held, problem)


def contents_of(paths: Mapping[str, Path]) -> dict[str, str]:
    """Return the hash of the content of each file, by its name.

    Raises:
        InputError: A file cannot be read.
    """
    found: dict[str, str] = {}
    with ThreadPoolExecutor() as pool:
        for chunk in _chunks(list(paths)):
            found |= dict(zip(chunk, pool.map(_content, [paths[name] for name in chunk]), strict=True))
    return found


def contradictions(files: DataFiles, contents: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Find images of the same content under two classes, and on both sides.

    Args:
        files: The data.
        contents: Hash of the content of each image by its name; images without one are left out.

    Returns:
        A line per content under two classes, with the names of two files and their classes; and a line per content on
        both sides.
    """
    first: dict[str, list[tuple[str, Item, str]]] = {}
    for side, items in (("training", files.train), ("validation", files.val)):
        for item in items:
            name = files.name(item.image)
            if name in contents:
                first.setdefault(contents[name], []).append((side, item, name))
    labels, sides = [], []
    for group in first.values():
        if len(group) < 2:
            continue
        side, item, name = group[0]
        other = next((one for one in group if _differ(one[1].target, item.target)), None)
        if other is not None:
            labels.append(f"{name} ({_label(files, item)}) = {other[2]} ({_label(files, other[1])})")
        across = next((one for one in group if one[0] != side), None)
        if across is not None:
            sides.append(f"{name} ({side}) = {across[2]} ({across[0]})")
    return labels, sides


def contradiction(files: DataFiles, contents: Mapping[str, str]) -> InputError | None:
    """Return the error for an image under two classes, or on both sides, which names both files; None without one."""
    labels, sides = contradictions(files, contents)
    if labels:
        return InputError(
            f"{files.root}: {_counted(labels)} there under two classes: {'; '.join(labels[:_SHOWN])}",
            "remove the wrong one of each (saccade data check lists all), or add --allow-copies",
        )
    if sides:
        return InputError(
            f"{files.root}: {_counted(sides)} on both sides: {'; '.join(sides[:_SHOWN])}",
            "remove one of each, since a score on images of training says nothing (saccade data check lists all), or "
            "add --allow-copies",
        )
    return None


def _counted(lines: Sequence[str]) -> str:
    return "one image is" if len(lines) == 1 else f"{len(lines)} images are"


def _differ(one: Any, other: Any) -> bool:
    """True for two different labels; of two masks, and of targets of other kinds, it is not known."""
    return isinstance(one, (int, tuple)) and isinstance(other, (int, tuple)) and one != other


def _label(files: DataFiles, item: Item) -> str:
    target = item.target
    if isinstance(target, tuple):
        return ", ".join(files.classes[one] for one in target)
    return str(files.classes[target])


def identify_samples(classes: Iterable[str], *counts: int) -> Identity:
    """Return the identity of samples that are not files: their classes, and the number of samples on each side."""
    content = json.dumps([_VERSION, list(classes), counts])
    return Identity(hashlib.blake2b(content.encode(), digest_size=16).hexdigest())


def _states(files: DataFiles, known: Mapping[str, FileState], on_progress: OnProgress | None) -> dict[str, FileState]:
    paths = {files.name(path): path for path in files.paths()}
    with ThreadPoolExecutor() as pool:
        names: list[str] = list(paths)
        found: dict[str, tuple[int, int]] = {}
        for chunk in _chunks(names):
            stamps = pool.map(_stamp, [paths[name] for name in chunk])
            found |= dict(zip(chunk, stamps, strict=True))
        unread = [name for name in names if name not in known or known[name][1:] != found[name]]
        read: dict[str, FileState] = {}
        for chunk in _chunks(unread):
            for name, state in zip(chunk, pool.map(_state, [paths[name] for name in chunk]), strict=True):
                read[name] = state
                if on_progress is not None:
                    on_progress(len(read), len(unread), "checking files")
        if files.check is not None:
            fresh = read.keys()
            items = [item for item in (*files.train, *files.val) if any(files.name(one) in fresh for one in _of(item))]
            _check(files, items, pool, on_progress)
    return {name: read[name] if name in read else known[name] for name in names}


def _of(item: Item) -> Iterable[Path]:
    return (item.image, item.target) if isinstance(item.target, Path) else (item.image,)


def _check(files: DataFiles, items: Sequence[Item], pool: Executor, on_progress: OnProgress | None) -> None:
    """Refuse items whose content cannot be used; the first few are named."""
    found: dict[str, UnreadableError] = {}
    for start in range(0, len(items), _CHUNK):
        chunk = items[start : start + _CHUNK]
        for item, problem in zip(chunk, pool.map(partial(_problem_of, files), chunk), strict=True):
            if problem is not None:
                found[files.name(problem.file or item.image)] = problem
        if on_progress is not None:
            on_progress(start + len(chunk), len(items), "checking values")
    if found:
        said = "; ".join(f"{name}: {problem}" for name, problem in list(found.items())[:_SHOWN])
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise InputError(
            f"{files.root}: {len(found)} images or masks cannot be used: {said}{more}",
            next((problem.hint for problem in found.values() if problem.hint), "repair or remove them"),
        )


def _problem_of(files: DataFiles, item: Item) -> UnreadableError | None:
    assert files.check is not None
    try:
        files.check(item)
    except UnreadableError as problem:
        return problem
    return None


def _chunks(names: Sequence[str]) -> Iterable[Sequence[str]]:
    return (names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK))


def _stamp(path: Path) -> tuple[int, int]:
    """Return size and modification time."""
    try:
        status = path.stat()
    except OSError as cause:
        raise _unreadable(path, cause) from cause
    return status.st_size, status.st_mtime_ns


def _state(path: Path) -> FileState:
    """Return the state of a file, read now; its time is taken first, so that a change while reading shows next time."""
    now = time.time_ns()
    size, mtime_ns = _stamp(path)
    return FileState(_content(path), size, mtime_ns if mtime_ns < now - _FRESH_NS else -1)


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as cause:
        raise _unreadable(path, cause) from cause


def _unreadable(path: Path, cause: OSError) -> InputError:
    return InputError(f"{path} cannot be read ({cause.strerror or cause})", "repair or remove it")


def _digest(files: DataFiles, states: Mapping[str, FileState]) -> str:
    def told(path: Path) -> list[Any]:
        name = files.name(path)
        return [name, states[name].size, states[name].content]

    found = hashlib.blake2b(digest_size=16)
    found.update(json.dumps([_VERSION, files.task, list(files.classes)]).encode())
    for side, items in (("train", files.train), ("val", files.val)):
        for item in items:
            target = told(item.target) if isinstance(item.target, Path) else item.target
            found.update(json.dumps([side, told(item.image), target]).encode())
    for path in files.others:
        found.update(json.dumps(["other", told(path)]).encode())
    return found.hexdigest()


def recorded_identity(record: Path) -> Identity | None:
    """Return what :meth:`Identity.write` wrote; None if there is no such file."""
    return _read(record)


@dataclass(frozen=True)
class _Record:
    """The file that :meth:`Identity.write` writes."""

    format: int
    data: str
    digest: str
    files: Mapping[str, str]
    held: tuple[str, ...] = ()


def _read(record: Path) -> Identity | None:
    if not record.exists():
        return None
    content = schema.from_json(_Record, read_json(record, _REREAD), source=str(record), hint=_REREAD, others=True)
    if content.format != _VERSION:
        return None
    return Identity(
        content.digest, content.data, {name: _state_in(text, name, record) for name, text in content.files.items()},
        content.held,
    )  # fmt: skip


def _state_in(text: str, name: str, record: Path) -> FileState:
    found = re.fullmatch(r"([0-9a-f]+) (\d{1,20}) (-1|\d{1,20})", text)
    if found is None:
        raise InputError(f"{record}: files.{name}: expected a hash, a size and a time; received {text!r}", _REREAD)
    return FileState(found[1], int(found[2]), int(found[3]))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
