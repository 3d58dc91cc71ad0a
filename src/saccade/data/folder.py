"""A user's folder of images as a dataset: decoded once, at the working size, into memory-mapped arrays."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from saccade.data import Arrays, OnProgress, Split
from saccade.data.cache import Append, Shapes, load_or_build
from saccade.data.identity import Identity, identify
from saccade.data.images import UnreadableError
from saccade.data.layouts import Item, relative
from saccade.data.reading import AS_IT_IS, Reading
from saccade.errors import InputError
from saccade.tasks import recognise
from saccade.tasks.base import Files

_VERSION = 3  # raised when decoding or resizing changes, so that older caches are built again
_SHOWN = 10

_READERS: ContextVar[int] = ContextVar("readers", default=1)

Row = Callable[[Item, str], tuple[Any, Any]]
"""Reader of one item of a side, ``"train"`` or ``"val"``: its image and its target, at the working size."""


def load_folder(
    path: str | Path,
    cache: Path,
    *,
    size: int,
    reading: Reading = AS_IT_IS,
    record: Path | None = None,
    readers: int = 1,
    on_progress: OnProgress | None = None,
) -> Arrays:
    """Load a folder of images as a dataset; the task is recognised from the layout and reported in `Arrays.note`.

    Pictures are turned as their EXIF data says; of images of more than 8 bits one value is white in all of them (see
    :func:`saccade.data.depth.find_range`); transparent pixels are laid over white. All other processing of images and
    targets depends on the task.

    Args:
        path: Folder of the data.
        cache: Folder for the arrays; they are reused as long as no file and no setting differs.
        size: Side of the squares that networks see, in pixels.
        reading: How the folder is to be read.
        record: File with the state of the data's files in an earlier call, so that only changed ones are read again.
        readers: Number of threads that decode images.
        on_progress: Called with (done, total, what) while images are decoded, not when they come from the cache.

    Raises:
        InputError: The folder, a file in it, or the cache cannot be used; all bad files are counted, ten named.
        MissingExtraError: Pillow is missing.
    """
    path = Path(path)
    if not isinstance(size, int) or size < 8:
        raise InputError(f"load_folder: `size` must be a whole number of at least 8; received {size=}")
    task, reading = recognise(path, reading)
    token = _READERS.set(readers)
    try:
        return task.load_arrays(path, Path(cache), size=size, reading=reading, record=record, on_progress=on_progress)
    finally:
        _READERS.reset(token)


def folder_identity(
    path: str | Path, record: Path | None = None, *, reading: Reading = AS_IT_IS, on_progress: OnProgress | None = None
) -> Identity:
    """Identify the data of a folder without decoding an image.

    Args:
        path: Folder of the data.
        record: See :func:`load_folder`.
        reading: See :func:`load_folder`.
        on_progress: Called with (done, total, what) while files are read.

    Raises:
        InputError: The folder is not recognised, or a file in it cannot be read.
    """
    path = Path(path)
    task, reading = recognise(path, reading)
    return identify(task.files(path, reading).under(path, task.name), record, on_progress)


def read_arrays(
    path: Path,
    task: str,
    files: Files,
    cache: Path,
    shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...], str]],
    row: Row,
    *,
    size: int,
    finish: Callable[[], dict[str, Any]] = dict,
    how: str = "",
    record: Path | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Decode every file once, or use the arrays that an earlier call left in the cache.

    Args:
        path: Folder of the data.
        task: Name of the task.
        files: The files of the folder.
        cache: Folder for the arrays.
        shapes: Side to the shape of an image, and the shape and dtype of a target.
        row: Reads one item.
        size: See :func:`load_folder`.
        finish: Called after the last item; returns facts that are kept with the arrays.
        how: Part of the name of the arrays, for what decides on pixels and targets apart from the files.
        record: See :func:`load_folder`.
        on_progress: Called with (done, total, what).

    Returns:
        Splits, identity, split and statement of a :class:`saccade.data.Arrays`, by the names of its fields; the facts.

    Raises:
        InputError: Files cannot be used; all are counted, ten named.
    """
    every: dict[str, tuple[Item, ...]] = {"train": files.train, "val": files.val}
    total = sum(map(len, every.values()))
    bad: list[str] = []
    hints: list[str | None] = []
    own = cache / "files.json"
    data = files.under(path, task)
    identity = identify(data, record or own, on_progress)

    def fill(append: Append) -> dict[str, Any]:
        done = 0
        for side, items in every.items():
            for item, found in _in_order(row, side, items, _READERS.get()):
                try:
                    image, target = found()
                except UnreadableError as problem:
                    file = problem.file or item.image
                    bad.append(f"{relative(file, path)}: {problem}")
                    hints.append(problem.hint)
                else:
                    append(f"{side}_images", image)
                    append(f"{side}_targets", target)
                done += 1
                if on_progress is not None:
                    on_progress(done, total, "reading images")
        _refuse_bad(path, bad, total, hints)
        return finish()

    wanted: Shapes = {
        f"{side}_{what}": ((len(items), *shape), dtype)
        for side, items in every.items()
        for what, shape, dtype in (
            ("images", shapes[side][0], "uint8"), ("targets", shapes[side][1], shapes[side][2]),
        )
    }  # fmt: skip
    entry = cache / f"{entry_name(path, size, identity)}{how}"
    arrays, facts = load_or_build(entry, wanted, fill)
    if record is None:  # the state of the files is kept nowhere else
        identity.refuse_contradiction()
        identity.write(own)
    found: dict[str, Any] = {side: _split(path, arrays, side, items) for side, items in every.items()}
    split = found["val"].names if files.drawn else ()
    return {**found, "identity": identity, "split": split, "stated": data.statement}, facts


def _in_order(
    row: Row, side: str, items: Iterable[Item], readers: int
) -> Iterator[tuple[Item, Callable[[], tuple[Any, Any]]]]:
    """Each item, and a function that returns what was read of it, in order; threads are a few items ahead."""
    with ThreadPoolExecutor(readers) as pool:
        waiting: deque[tuple[Item, Future[tuple[Any, Any]]]] = deque()
        for item in items:
            waiting.append((item, pool.submit(row, item, side)))
            if len(waiting) > 2 * readers:
                first, future = waiting.popleft()
                yield first, future.result
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result


def _split(path: Path, arrays: Mapping[str, NDArray[Any]], side: str, items: tuple[Item, ...]) -> Split:
    names = tuple(relative(item.image, path) for item in items)
    return Split(arrays[f"{side}_images"], arrays[f"{side}_targets"], names)


def _refuse_bad(path: Path, bad: list[str], total: int, hints: list[str | None]) -> None:
    if bad:
        lines = "".join(f"\n  {line}" for line in bad[:_SHOWN])
        more = f"\n  and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        own = list(dict.fromkeys(hint for hint in hints if hint is not None))
        advice = [*own[:3], *(["repair or remove " + ("the others" if own else "them")] if None in hints else [])]
        raise InputError(f"{path}: {len(bad)} of {total} images cannot be used:{lines}{more}", "; ".join(advice))


def values_key(reading: Reading) -> str:
    """Return the part of the name of arrays that says how values were asked to be read; empty if nothing was asked."""
    said = [f"-{name}{value}" for name in ("bits", "ignore") if (value := getattr(reading, name)) is not None]
    return "".join(said)


def entry_name(path: Path, size: int, identity: Identity) -> str:
    """Return the name of the arrays in a cache, which changes with the data and with the size."""
    name = re.sub(r"[^\w-]+", "_", path.resolve().name) or "data"
    return f"{name[:40]}-{size}-v{_VERSION}-{identity.digest[:16]}"
