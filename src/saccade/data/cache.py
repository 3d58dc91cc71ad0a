"""Arrays built once and kept on disk: written whole or not at all, read back as memory maps."""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from saccade.errors import InputError

Shapes = Mapping[str, tuple[tuple[int, ...], str]]
"""Array name to its shape and dtype."""

Append = Callable[[str, Any], None]
"""Called with an array's name and its next row."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_ABANDONED_SECONDS = 24 * 3600


def load_or_build(
    folder: Path, shapes: Shapes, fill: Callable[[Append], dict[str, Any]]
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the arrays kept in `folder` as read-only memory maps; `fill` builds them if they are absent or damaged.

    The folder's name must encode everything the arrays depend on: what is there is taken to be what was asked for.

    Args:
        folder: One entry of the cache.
        shapes: The arrays of the entry; each has at least one row.
        fill: Appends every row of every array in turn, and returns facts to keep with them (as JSON).

    Returns:
        The arrays by name, and the facts.

    Raises:
        InputError: The folder cannot be written, or the disk is too full; nothing half-written is left.
    """
    found = _read(folder, shapes)
    if found is None:
        _build(folder, shapes, fill)
        found = _read(folder, shapes)
    if found is None:
        raise InputError(
            f"the cache {folder} was written, but cannot be read back", "see whether another program changes it"
        )
    return found


def _read(folder: Path, shapes: Shapes) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
    try:
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in shapes}
    except (OSError, ValueError, EOFError):  # absent, cut short, or not an array: built again
        return None
    for name, (shape, dtype) in shapes.items():
        if arrays[name].shape != shape or arrays[name].dtype != np.dtype(dtype):
            return None
    return arrays, facts


def _build(folder: Path, shapes: Shapes, fill: Callable[[Append], dict[str, Any]]) -> None:
    needed = sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in shapes.values())
    try:
        _write_entry(folder, shapes, fill, needed)
    except OSError as cause:
        raise _refusal(folder.parent, needed, cause) from cause


def _write_entry(folder: Path, shapes: Shapes, fill: Callable[[Append], dict[str, Any]], needed: int) -> None:
    part = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.part")
    part.mkdir(parents=True)
    try:
        _sweep(folder.parent)
        if shutil.disk_usage(part).free < needed:  # reported now rather than after minutes of decoding
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        facts = _fill(part, shapes, fill)
        with open(part / "facts.json", "wb") as file:
            _write(file, json.dumps(facts).encode())
        if _read(folder, shapes) is None:  # else another process was faster: keep its entry
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _fill(part: Path, shapes: Shapes, fill: Callable[[Append], dict[str, Any]]) -> dict[str, Any]:
    # Plain writes, not a writable memory map: on a full disk a map kills the process instead of raising.
    with ExitStack() as stack:
        files = {name: stack.enter_context(open(part / f"{name}.npy", "wb")) for name in shapes}
        for name, (shape, dtype) in shapes.items():
            header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(files[name], header)

        def append(name: str, row: Any) -> None:
            shape, dtype = shapes[name]
            _write(files[name], np.ascontiguousarray(row, dtype=dtype).reshape(shape[1:]).tobytes())

        return fill(append)


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)


def _sweep(cache: Path) -> None:
    """Remove what killed processes left, one day after they began it."""
    for part in cache.glob("*.part"):
        if time.time() - part.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(part, ignore_errors=True)


def _refusal(cache: Path, needed: int, cause: OSError) -> InputError:
    if cause.errno not in _FULL:
        return InputError(f"the cache folder {cache} cannot be written ({cause})", "choose another folder")
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    return InputError(
        f"the disk of {cache} is full: {needed / 2**20:.1f} MiB are needed, {free / 2**20:.1f} MiB are free",
        "free some space, or choose a cache folder on another disk",
    )
