"""Class indices of mask pixels, from stored values or colours, and the classes.txt that defines them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data import IGNORE
from saccade.data.images import UnreadableError
from saccade.errors import InputError

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class ClassList:
    """The content of classes.txt: names in order of their index and, for colour masks, the index of every colour."""

    names: tuple[str, ...]
    colours: dict[Colour, int]


def read_classes(path: Path) -> ClassList:
    """Read classes.txt: one class per line, ``name`` or ``name R G B``; a colour named ``ignore`` is not a class.

    Raises:
        InputError: Names the line: a name or colour given twice, colours on some lines only, or a number above 255.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as cause:
        raise InputError(f"{path}: expected text in UTF-8 ({cause})", "save it as UTF-8") from cause
    names: list[str] = []
    colours: dict[Colour, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, colour = _line(line)
        if name in names:
            raise InputError(f"{path}, line {number}: the class {name!r} is listed twice")
        if colour is None or name != "ignore":
            names.append(name)
        if colour is not None:
            if max(colour) > 255 or colour in colours:
                raise InputError(f"{path}, line {number}: the colour {colour} is listed twice, or exceeds 255")
            colours[colour] = IGNORE if name == "ignore" else len(names) - 1
    _check(path, names, set(colours.values()) - {IGNORE})
    return ClassList(tuple(names), colours)


def _line(line: str) -> tuple[str, Colour | None]:
    *name, red, green, blue = ["", "", "", *line.split()]
    if any(name) and all(word.isascii() and word.isdigit() for word in (red, green, blue)):
        return " ".join(name).strip(), (int(red), int(green), int(blue))
    return " ".join(line.split()), None


def _check(path: Path, names: list[str], coloured: set[int]) -> None:
    without = [name for index, name in enumerate(names) if index not in coloured]
    if coloured and without:
        raise InputError(
            f"{path}: some classes have a colour, {without[0]!r} has none",
            "write 'name R G B' on every line, or on none",
        )
    if not 2 <= len(names) <= IGNORE:
        raise InputError(f"{path}: expected 2 to {IGNORE} classes, one per line; received {len(names)}")


class MaskReader:
    """Convert decoded masks to class indices; 255 marks pixels to be ignored.

    Args:
        known: Content of classes.txt; None without one.
        count: Number of classes, from index 0, if there is no classes.txt.
    """

    def __init__(self, known: ClassList | None, count: int = IGNORE) -> None:
        self.known = known
        self.count = count if known is None else len(known.names)
        self._table: NDArray[np.int16] | None = None
        if known is not None and known.colours:
            self._table = np.full(2**24, -1, dtype=np.int16)
            for (red, green, blue), index in known.colours.items():
                self._table[red << 16 | green << 8 | blue] = index

    def classes(self, mask: NDArray[Any]) -> NDArray[np.uint8]:
        """Return class indices (height, width) uint8.

        Args:
            mask: (height, width) of stored values, or (height, width, 3) of colours.

        Raises:
            UnreadableError: Names the value or colour that is not a class, and its pixel.
        """
        if mask.ndim == 2:
            return self._by_value(mask)
        if self._table is not None:
            return self._by_colour(mask, self._table)
        if (mask == mask[..., :1]).all():  # a grey mask saved as RGB
            return self._by_value(mask[..., 0])
        raise UnreadableError("it is a colour mask, and no classes.txt lists 'name R G B' for every class")

    def _by_value(self, mask: NDArray[Any]) -> NDArray[np.uint8]:
        wrong = ((mask < 0) | (mask >= self.count)) & (mask != IGNORE)
        if wrong.any():
            y, x = _first(wrong)
            source = "classes are" if self.known is None else f"classes.txt lists {self.count} classes,"
            limit = f"{source} 0 to {self.count - 1}"
            raise UnreadableError(f"class {mask[y, x]} at pixel y={y}, x={x}, but {limit}, and 255 is ignored")
        return np.asarray(mask, dtype=np.uint8)

    def _by_colour(self, mask: NDArray[Any], table: NDArray[np.int16]) -> NDArray[np.uint8]:
        wide = mask.astype(np.int32)
        found = table[wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]]
        wrong = found < 0
        if wrong.any():
            y, x = _first(wrong)
            colour = tuple(int(value) for value in mask[y, x])
            raise UnreadableError(f"colour {colour} at pixel y={y}, x={x} is not in classes.txt")
        return np.asarray(found, dtype=np.uint8)


def _first(wrong: NDArray[np.bool_]) -> tuple[int, int]:
    y, x = np.unravel_index(wrong.argmax(), wrong.shape)
    return int(y), int(x)
