"""Outputs in folders that may hold files of others too: a file is replaced only if saccade wrote it itself."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from saccade.errors import InputError
from saccade.files import check_file, check_regular, replacing

RECORD = ".saccade-written"
_SHOWN = 3


class Outputs:
    """The files that saccade wrote into a folder, known by the digests in a record that it keeps there.

    A file that was changed since, or that is in none of the lines of the record, belongs to the user.

    Args:
        folder: The folder, which need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._resolved = folder, folder.resolve()
        self._record = folder / RECORD
        self._free: set[Path] = set()
        lines = self._lines()
        self._known = dict.fromkeys(lines)
        self._names = {name for name, _ in lines}
        if len(lines) > 2 * len(self._known) + 100:
            with replacing(self._record) as temporary:
                temporary.write_text("".join(map(_line, self._known)), encoding="ascii")

    def wrote(self, path: Path) -> bool:
        """Return True if the record names a file, whatever has become of it."""
        return self._name(path) in self._names

    def check(self, paths: Iterable[Path]) -> None:
        """Refuse to write where files of others are, or where nothing can be written; changes nothing.

        Raises:
            InputError: Naming the files.
        """
        others = []
        for path in dict.fromkeys(paths):
            why = self._refusal(path)
            if why is not None:
                others.append(f"{path} {why}")
        if others:
            more = f" and {len(others) - _SHOWN} more like it" if len(others) > _SHOWN else ""
            raise InputError(
                f"nothing was written: {'; '.join(others[:_SHOWN])}{more}",
                "choose another place with --out, --sheet, --plot or --json, or move these files",
            )

    @contextmanager
    def replacing(self, path: Path) -> Iterator[Path]:
        """Yield a temporary name, as :func:`saccade.files.replacing` does, and enter the file into the record.

        Raises:
            InputError: A file that saccade did not write has the name, or it cannot be written.
        """
        if path not in self._free:
            self.check([path])
        with replacing(path) as temporary:
            yield temporary
            entry = (self._name(path), _digest(temporary))
            with self._record.open("a", encoding="ascii") as opened:  # first: a kill leaves no file without an entry
                opened.write(_line(entry))
        self._known[entry] = None

    def take(self, path: Path) -> None:
        """Treat a file as one that saccade wrote, though the record does not name it."""
        self._free.add(path)

    def _refusal(self, path: Path) -> str | None:
        check_file(path)
        if path in self._free or not path.exists() or not path.stat().st_size:
            return None
        if not self.wrote(path):
            return "exists, and saccade did not write it"
        if (self._name(path), _digest(path)) not in self._known:
            return "was changed since saccade wrote it"
        self._free.add(path)
        return None

    def _name(self, path: Path) -> str:
        place = path.parent.resolve() / path.name
        return Path(os.path.relpath(place, self._resolved)).as_posix()

    def _lines(self) -> list[tuple[str, str]]:
        try:
            return _entries(self._record)
        except (FileNotFoundError, NotADirectoryError):  # the check of a path says so
            return []
        except OSError as cause:
            raise InputError(
                f"{self._record} cannot be read: {cause.strerror or cause}", "choose another folder"
            ) from cause


def written_in(folder: Path) -> set[Path]:
    """Return the files that saccade wrote into a folder that are still as written; never an error."""
    found = set()
    with suppress(OSError, InputError):
        known = set(_entries(folder / RECORD))
        for name in {name for name, _ in known}:
            path = folder / name
            with suppress(OSError):
                if path.is_file() and (name, _digest(path)) in known:
                    found.add(path)
    return found


def _entries(record: Path) -> list[tuple[str, str]]:
    """The entries of a record; lines that say nothing are left out, and so protect what they named."""
    check_regular(record)
    found = []
    for line in record.read_text(encoding="ascii", errors="replace").splitlines():
        try:
            name, digest = json.loads(line)
        except (ValueError, TypeError):
            continue
        if isinstance(name, str) and isinstance(digest, str):
            found.append((name, digest))
    return found


def _line(entry: tuple[str, str]) -> str:
    return json.dumps(entry) + "\n"


def _digest(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
