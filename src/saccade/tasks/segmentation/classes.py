"""The list of classes that defines masks: their names and, for masks in colour, the colour of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from saccade.data import IGNORE
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
