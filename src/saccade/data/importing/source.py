"""The files of an export. A name in it is compared with the files that are there, and never opened as a path."""

from __future__ import annotations

import json
import os
import posixpath
from collections import defaultdict
from collections.abc import Callable
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from saccade.data.decoding import SUFFIXES
from saccade.data.importing.export import best_named, side_in
from saccade.errors import InputError

_OUTSIDE = "their names lead out of the folder"
_MISSING = "the file is not there"


class LookupFailedError(Exception):
    """No file has a name; the text is the reason."""


class Source:
    """All visible files of a folder; links that lead out of it, and links to folders, are not followed.

    Args:
        root: The folder.

    Raises:
        InputError: It is not a folder.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            what = "is a file" if root.exists() else "does not exist"
            advice = "unpack it first, and give the folder" if root.suffix in (".zip", ".gz", ".tar") else None
            raise InputError(f"{root} {what}; expected the folder of an export", advice)
        self.root = root
        self.links: list[str] = []
        real, found = root.resolve(), []
        for place, inner, names in os.walk(root):
            here = Path(place)
            self.links += [(here / name).relative_to(root).as_posix() for name in inner if (here / name).is_symlink()]
            inner[:] = sorted(name for name in inner if not name.startswith((".", "__MACOSX")))
            for name in names:
                path = here / name
                if name.startswith("."):
                    continue
                if path.is_symlink() and not path.resolve().is_relative_to(real):
                    self.links.append(path.relative_to(root).as_posix())
                elif path.is_file():
                    found.append(path)
        self.files = sorted(found)

    def name(self, path: Path) -> str:
        """The path of a file below the folder, with forward slashes."""
        return path.relative_to(self.root).as_posix()

    def ending(self, *suffixes: str) -> list[Path]:
        """Files of some kinds."""
        return [path for path in self.files if path.suffix.lower() in suffixes]

    @cached_property
    def images(self) -> list[Path]:
        """Files that are pictures by their name."""
        return self.ending(*SUFFIXES)

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        found = defaultdict(list)
        for path in self.images:
            found[path.name.lower()].append(path)
        return found

    def folder(self, name: str) -> Path | None:
        """A folder inside by the name that an export gives it, from whatever place: ``../train/images``."""
        parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("..", ".", "/")]
        folders = {self.name(path.parent) for path in self.files}
        folders |= {above.as_posix() for folder in folders for above in PurePosixPath(folder).parents}
        tails = ("/".join(parts[start:]) for start in range(len(parts)))
        found = next((tail for tail in tails if tail in folders), None)
        return None if found is None else self.root / found

    def image(self, name: Any, near: Path | None = None, side: str | None = None) -> Path:
        """The file of an image by the name that an export gives it.

        Args:
            name: The name, often with folders.
            near: Folder that the name is relative to.
            side: Side that decides between files of the same name.

        Raises:
            LookupFailedError: There is none, or its name leads out of the folder.
            InputError: Several files have the name.
        """
        if not isinstance(name, str) or not name.strip() or "\0" in name:
            raise LookupFailedError("without a file name")
        given = name.replace("\\", "/")
        below = self.name(near) if near is not None and near != self.root else ""
        plain = posixpath.normpath(posixpath.join(below, given))
        if ".." in PurePosixPath(given).parts and plain.split("/")[0] == "..":
            raise LookupFailedError(_OUTSIDE)
        tail = tuple(part for part in PurePosixPath(posixpath.normpath(given)).parts if part not in ("/", ".."))
        found = self._by_name.get(tail[-1].lower(), []) if tail else []
        narrower: list[Callable[[Path], bool]] = []
        if near is not None:
            narrower.append(lambda path: path.is_relative_to(near))
        if side is not None:
            narrower.append(lambda path: side_in(self.name(path.parent)) == side)
        chosen = best_named(found, plain, tail, self.root, narrower)
        if len(chosen) > 1:
            raise InputError(
                f"{self.root}: the export names {name!r}, and there are {self.name(chosen[0])} and "
                f"{self.name(chosen[1])}",
                "remove the copies, or import the sides one by one",
            )
        if chosen:
            return chosen[0]
        raise LookupFailedError(_MISSING)

    @cached_property
    def documents(self) -> dict[Path, Any]:
        """The content of every JSON file.

        Raises:
            InputError: A file is damaged.
        """
        return {path: self.json(path) for path in self.ending(".json")}

    def json(self, path: Path) -> Any:
        """Read a JSON file.

        Raises:
            InputError: It is damaged.
        """
        try:
            return json.loads(self.text(path))
        except (json.JSONDecodeError, RecursionError, ValueError) as cause:
            raise InputError(f"{path} is not valid JSON ({str(cause)[:200]})", "export it again") from cause

    def text(self, path: Path) -> str:
        """Read a text file.

        Raises:
            InputError: It is not UTF-8.
        """
        try:
            return path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as cause:
            raise InputError(f"{path}: expected text in UTF-8 ({cause})", "save it as UTF-8") from cause


def take(values: Any, key: str, kind: type | tuple[type, ...], otherwise: Any = None) -> Any:
    """Return a value of a mapping if it is of a kind; JSON from outside holds anything."""
    value = values.get(key) if isinstance(values, dict) else None
    return value if isinstance(value, kind) and not isinstance(value, bool) else otherwise
