"""Images by the names that annotations give them, and their sizes. A name is compared with files, never opened."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from saccade.data.decoding import opened, orientation
from saccade.data.importing.export import best_named, side_in
from saccade.data.tree import Folder


class NotFoundError(Exception):
    """No image has a name; the text is the reason."""


class Pictures:
    """All images below a folder, found by the ends of their paths.

    Args:
        top: The folder.
    """

    def __init__(self, top: Folder) -> None:
        self.root = top.path
        self._below: dict[Path, str] = {}
        self.every = top.every_image()
        self._by_path = {path.relative_to(self.root).as_posix(): path for path in self.every}
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for path in self.every:
            self._by_name[path.name.lower()].append(path)

    def name(self, path: Path) -> str:
        """Return the path of an image below the folder, with slashes."""
        return path.relative_to(self.root).as_posix()

    def find(self, given: Any, *, near: Path, side: str | None) -> Path:
        """Return the image of a name.

        Args:
            given: The name, often with folders.
            near: Folder of the file that names it.
            side: Side that decides between files of the same name.

        Raises:
            NotFoundError: None has the name, several have it, or it leads out of the folder.
        """
        if not isinstance(given, str) or not given.strip() or "\0" in given:
            raise NotFoundError("without a file name")
        written = given.replace("\\", "/")
        if near not in self._below:
            self._below[near] = near.relative_to(self.root).as_posix() if near.is_relative_to(self.root) else ""
        plain = posixpath.normpath(posixpath.join(self._below[near], written))
        if plain in self._by_path:
            return self._by_path[plain]
        if plain.startswith(".."):
            raise NotFoundError("its name leads out of the folder")
        some = self._by_name.get(posixpath.basename(written).lower(), [])
        if len(some) == 1 and "/" not in written:
            return some[0]
        tail = tuple(part for part in PurePosixPath(posixpath.normpath(written)).parts if part not in ("/", ".."))
        some = self._by_name.get(tail[-1].lower(), []) if tail else []
        narrower: list[Callable[[Path], bool]] = []
        if side is not None:
            narrower.append(lambda path: side_in(self.name(path.parent)) == side)
        if near != self.root:
            narrower.append(lambda path: path.is_relative_to(near))
        chosen = best_named(some, plain, tail, self.root, narrower)
        if len(chosen) > 1:
            raise NotFoundError(f"{self.name(chosen[0])} and {self.name(chosen[1])} have its name")
        if chosen:
            return chosen[0]
        raise NotFoundError("there is no such image")


def size_of(path: Path) -> tuple[int, int]:
    """Return width and height of an image, turned as its EXIF data say, from its first bytes.

    Raises:
        UnreadableError: It is not an image.
    """
    with opened(path) as image:
        width, height = image.size
        return (height, width) if orientation(image) >= 5 and image.format != "TIFF" else (width, height)
