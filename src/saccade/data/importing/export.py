"""One form for all exports: pictures with shapes or masks, and accounts of everything that was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from saccade.data.names import role_of

BACKGROUND = "background"
_SHOWN = 5
_BACKGROUNDS = frozenset({"background", "_background_", "__background__"})
_IGNORED = frozenset({"__ignore__", "ignore", "ignored"})

Size = tuple[int, int]
"""Height and width in pixels."""


class UnusableError(Exception):
    """An object or a mask cannot be drawn; the text is the reason, without names, so that reasons can be counted."""


@dataclass(frozen=True)
class Region:
    """Pixels of an object within its own rectangle.

    Args:
        top: First row.
        left: First column.
        mask: (height, width) of bool.
        clipped: True if a part of the object lies outside the image.
    """

    top: int
    left: int
    mask: NDArray[np.bool_]
    clipped: bool = False


@dataclass(frozen=True)
class Shape:
    """One labelled object.

    Args:
        label: Name of its class.
        draw: Function from the size of the image to the pixels; raises :class:`UnusableError`.
        name: Name by which the export knows it.
        order: Objects of a larger number lie over those of a smaller one.
        kind: ``"area"``; ``"box"`` for a rectangle around an object; ``"crowd"`` for a region to be ignored.
    """

    label: str
    draw: Callable[[Size], Region]
    name: str
    order: int = 0
    kind: Literal["area", "box", "crowd"] = "area"


@dataclass
class Picture:
    """One image of an export.

    Args:
        name: Name in the export.
        file: The file.
        side: ``"train"``, ``"val"``, ``"test"``, or None.
        size: Size that the export states; None where it states none.
        shapes: Its objects, in the order of the export.
        mask: Function that reads its mask as class indices, in exports of masks.
    """

    name: str
    file: Path
    side: str | None
    size: Size | None = None
    shapes: list[Shape] = field(default_factory=list)
    mask: Callable[[], NDArray[np.uint8]] | None = None


class Account:
    """Numbers of things found, written and left out; what is left out is named with a reason.

    Args:
        what: Plural of the things: ``"images"``.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.found = 0
        self.written = 0
        self.left_out: dict[str, list[str]] = {}

    def leave_out(self, reason: str, names: Iterable[str]) -> None:
        """Count things that are not written."""
        self.left_out.setdefault(plain(reason), []).extend(map(plain, names))

    @property
    def balanced(self) -> bool:
        """True if everything found is written or named."""
        return self.found == self.written + sum(map(len, self.left_out.values()))

    def lines(self) -> list[str]:
        """Return what was left out, one reason per line, with examples."""
        return [f"{len(n)} {self.what} left out: {reason} ({examples(n)})" for reason, n in self.left_out.items()]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        left = {reason: {"count": len(names), "names": names} for reason, names in self.left_out.items()}
        return {"found": self.found, "written": self.written, "left_out": left}


def examples(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


@dataclass
class Export:
    """An export as it was read.

    Args:
        classes: Names of the classes, the background first.
        pictures: Images whose files are there.
        images: Account of the images.
        objects: Account of the objects; exports of masks have none.
        notes: Reason to names of things that were written, yet not as they stood in the export.
    """

    classes: tuple[str, ...] = ()
    pictures: list[Picture] = field(default_factory=list)
    images: Account = field(default_factory=lambda: Account("images"))
    objects: Account = field(default_factory=lambda: Account("objects"))
    notes: dict[str, list[str]] = field(default_factory=dict)

    def note(self, reason: str, name: str) -> None:
        """Name a thing that is written, yet not as it stood in the export."""
        self.notes.setdefault(plain(reason), []).append(plain(name))

    def leave_out(self, reason: str, picture: Picture) -> None:
        """Leave out an image and its objects."""
        self.images.leave_out(reason, [picture.name])
        if picture.shapes:
            self.objects.leave_out("their image is left out", [shape.name for shape in picture.shapes])


def side_of(name: str) -> str | None:
    """The side that a name such as ``train2017``, ``Training`` or ``valid_set`` says, or None."""
    role = None if name.lower().startswith("trainval") else role_of(name)  # the union of two sides
    return role.side if role is not None else None


def plain(text: str) -> str:
    """Return text that any file can hold: what is not Unicode is written out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def best_named(
    files: Iterable[Path], plain: str, tail: tuple[str, ...], root: Path, narrower: Iterable[Callable[[Path], bool]]
) -> list[Path]:
    """Return the files that fit a name best, of those with its last part in any case; none, or more than one: in doubt.

    Args:
        files: Files with that last part.
        plain: The name as a path below `root`.
        tail: The parts of the name.
        root: The folder.
        narrower: Conditions that decide between several, the first before the others.
    """
    found = list(files)
    for fits in (
        lambda path: path.relative_to(root).as_posix() == plain,
        lambda path: path.relative_to(root).parts[-len(tail) :] == tail,
        lambda path: path.name == tail[-1],
        lambda path: True,
    ):
        chosen = [path for path in found if fits(path)]
        for closer in narrower:
            if len(chosen) > 1:
                chosen = [path for path in chosen if closer(path)] or chosen
        if chosen:
            return chosen
    return []


def side_in(path: Path | str) -> str | None:
    """The side that the innermost folder of a path says."""
    return next((side for part in reversed(Path(path).parts) if (side := side_of(part))), None)


def is_background(name: str) -> bool:
    """Return True for names by which tools call the background."""
    return name.strip().lower() in _BACKGROUNDS


def is_ignored(name: str) -> bool:
    """Return True for names by which tools call pixels that do not count."""
    return name.strip().lower() in _IGNORED
