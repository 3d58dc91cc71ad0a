"""CIFAR-10 and CIFAR-100 as their author distributes them for C programs: bytes, so that nothing is unpickled.

A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. A record is one byte with the class (in
CIFAR-100 preceded by one with the group) and 3 x 32 x 32 bytes: red, green, blue, row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data import Split
from saccade.errors import InputError

_SIDE = 32


@dataclass(frozen=True)
class _Kind:
    """One of the two sets: files of both sides, file of the class names, bytes before the pixels."""

    name: str
    train: tuple[str, ...]
    val: tuple[str, ...]
    names: str
    labels: int


_KINDS = (
    _Kind("CIFAR-10", tuple(f"data_batch_{n}.bin" for n in range(1, 6)), ("test_batch.bin",), "batches.meta.txt", 1),
    _Kind("CIFAR-100", ("train.bin",), ("test.bin",), "fine_label_names.txt", 2),
)
_PICKLES = ("data_batch_1", "batches.meta", "meta")


@dataclass(frozen=True)
class Cifar:
    """One of the two sets, in memory."""

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    files: tuple[Path, ...] = ()


def is_cifar(path: Path) -> bool:
    """Return True if a folder, or a folder in it, holds one of the two sets, also as pickles."""
    for folder in (path, *sorted(p for p in path.iterdir() if p.name.startswith("cifar-"))):
        if any((folder / kind.train[0]).is_file() and (folder / kind.names).is_file() for kind in _KINDS):
            return True
        if folder.is_dir() and folder.name.startswith("cifar-") and any((folder / n).is_file() for n in _PICKLES):
            return True
    return False


def find_cifar(path: Path) -> Cifar | None:
    """Return the set in a folder or one level below it; None if there is none.

    Raises:
        InputError: The folder holds only the version for Python, which would have to be unpickled, or a file is
            missing or cut short.
    """
    if not path.is_dir():
        return None
    for folder in (path, *sorted(p for p in path.iterdir() if p.name.startswith("cifar-"))):
        for kind in _KINDS:
            if (folder / kind.train[0]).is_file() and (folder / kind.names).is_file():
                return _load(folder, kind)
        if folder.is_dir() and folder.name.startswith("cifar-") and any((folder / n).is_file() for n in _PICKLES):
            raise InputError(
                f"{folder} holds pickles, and reading a pickle can run arbitrary code",
                "download the binary version from the same page: cifar-10-binary.tar.gz, cifar-100-binary.tar.gz",
            )
    return None


def _load(folder: Path, kind: _Kind) -> Cifar:
    classes = tuple((folder / kind.names).read_text(encoding="utf-8").split())
    sides = [_side(folder, names, kind, len(classes)) for names in (kind.train, kind.val)]
    files = tuple(folder / name for name in (*kind.train, *kind.val, kind.names))
    return Cifar(kind.name, classes, sides[0], sides[1], files)


def _side(folder: Path, names: tuple[str, ...], kind: _Kind, classes: int) -> Split:
    parts = [_records(folder / name, kind) for name in names]
    records = np.concatenate(parts)
    pixels = records[:, kind.labels :].reshape(-1, 3, _SIDE, _SIDE)
    targets = records[:, kind.labels - 1].astype(np.int64)
    if targets.max() >= classes:
        raise InputError(f"{folder}: a record has class {targets.max()}, and {kind.names} lists {classes} classes")
    called = [f"{name}, record {i}" for name, part in zip(names, parts, strict=True) for i in range(len(part))]
    return Split(np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)), targets, tuple(called))


def _records(path: Path, kind: _Kind) -> NDArray[Any]:
    length = kind.labels + 3 * _SIDE * _SIDE
    try:
        content = np.fromfile(path, dtype=np.uint8)
    except OSError as cause:
        raise InputError(
            f"{path}: {kind.name} requires this file ({cause.strerror})", "unpack the archive again"
        ) from cause
    if not len(content) or len(content) % length:
        raise InputError(
            f"{path}: expected records of {length} bytes; received {len(content)} bytes", "unpack the archive again"
        )
    return content.reshape(-1, length)
