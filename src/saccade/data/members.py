"""Files inside tar archives that are used as if they were files: a path with the place of its bytes."""

from __future__ import annotations

import io
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_Plain = type(Path())  # Path itself makes another class on each system
_MOST_OPEN = 256  # archives that a process keeps open

_OPEN: dict[tuple[int, Path], int] = {}  # by process, since a child shares what its parent has opened


@dataclass(frozen=True, eq=False)
class Shard:
    """A tar archive on this machine.

    Args:
        path: The file.
        name: Its name in messages, relative to the others.
        number: Its place among them.
        mtime_ns: Modification time in ns when it was listed.
    """

    path: Path
    name: str
    number: int
    mtime_ns: int

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on.

        Raises:
            OSError: The archive ends before.
        """
        found = self._read(offset, size)
        if len(found) < size:
            raise OSError(f"{self.name} ends early, at byte {offset + len(found):,} of {offset + size:,}")
        return found

    def _read(self, offset: int, size: int) -> bytes:
        key = os.getpid(), self.path
        number = _OPEN.get(key)
        if number is None and hasattr(os, "pread") and len(_OPEN) < _MOST_OPEN:
            number = _OPEN.setdefault(key, os.open(self.path, os.O_RDONLY))
        if number is not None:
            return os.pread(number, size, offset)
        with open(self.path, "rb") as opened:
            opened.seek(offset)
            return opened.read(size)


class Member(_Plain):  # type: ignore[misc, valid-type]
    """A file in a :class:`Shard`, under a path of its own: that of the data, the name of the shard, and its own.

    What reads a file does so by the methods of a path; another path made of it is an ordinary one.
    """

    __slots__ = ("offset", "shard", "size")
    shard: Shard
    offset: int
    size: int

    @classmethod
    def of(cls, folder: Path, name: str, shard: Shard, offset: int, size: int) -> Member:
        """Make the path of a file.

        Args:
            folder: Path of the shard as a folder.
            name: Name of the file in the shard.
            shard: The shard.
            offset: Place of its first byte.
            size: Its size in bytes.
        """
        made: Member = cls(folder, name)
        made.shard, made.offset, made.size = shard, offset, size
        return made

    def __reduce__(self) -> Any:
        return _remade, (str(self), self.shard, self.offset, self.size)

    def with_segments(self, *segments: Any) -> Path:
        return Path(*segments)

    if sys.version_info < (3, 12):

        @classmethod
        def _from_parsed_parts(cls, *parts: Any) -> Path:
            """Make parents and the like as ordinary paths, which later Pythons do by `with_segments`."""
            made: Path = _Plain._from_parsed_parts(*parts)  # type: ignore[attr-defined]
            return made

    def resolve(self, strict: bool = False) -> Path:
        return Path(str(self)).resolve(strict=strict)

    def absolute(self) -> Path:
        return Path(str(self)).absolute()

    def read_bytes(self) -> bytes:
        return self.shard.read(self.offset, self.size)

    def open(self, mode: str = "r", *_: Any, **__: Any) -> IO[Any]:
        """Open it to be read; of the modes only ``"rb"``."""
        if mode != "rb":
            raise OSError(f"{self} is in an archive, which is read only")
        return io.BytesIO(self.read_bytes())

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        seconds = self.shard.mtime_ns // 10**9
        found = (stat.S_IFREG | 0o444, 0, 0, 1, 0, 0, self.size, seconds, seconds, seconds)
        return os.stat_result(found, {"st_mtime_ns": self.shard.mtime_ns})

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        return True

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return True

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return False

    def is_symlink(self) -> bool:
        return False


def _remade(path: str, shard: Shard, offset: int, size: int) -> Member:
    return Member.of(Path(path).parent, Path(path).name, shard, offset, size)
