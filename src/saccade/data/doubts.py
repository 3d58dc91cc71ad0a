"""Second thoughts on a layout: what in a folder speaks against the only reading that its names allow."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from os.path import commonprefix
from pathlib import Path
from typing import TypeVar

from saccade.data.decoding import UnreadableError, opened
from saccade.data.layouts import listed, relative
from saccade.data.names import shown, side_of_word
from saccade.data.tree import Folder

_T = TypeVar("_T")
_LOOKED_AT = 4  # images of a folder
_GROUPS = 20  # folders with files of the same names
_COLOURS = 32  # a mask has fewer; a photograph of 16 x 16 pixels has more
_DRAFT = 64
_ROWS = 200
_MARKS = " _-."
_TABLES = (".csv", ".tsv")


def masks_among(folders: Sequence[Folder]) -> tuple[Folder, Folder] | None:
    """Return a folder of pictures and one of drawings whose files have the same names; None where there are none.

    Names are the same if they differ by what all files of a folder begin and end with: ``a_rgb.png`` and ``a_lbl.png``.
    """
    by_count: dict[int, list[Folder]] = defaultdict(list)
    for one in folders:
        by_count[len(one.every_image())].append(one)
    for count, some in by_count.items():
        if count < 2 or len(some) < 2:
            continue
        by_names: dict[frozenset[str], list[Folder]] = defaultdict(list)
        for one in some:
            by_names[_names(one.every_image())].append(one)
        for group in by_names.values():
            kinds = [(one, _kind(one.every_image())) for one in group[:_GROUPS]] if len(group) > 1 else []
            drawn = [one for one, kind in kinds if kind == "drawn"]
            taken = [one for one, kind in kinds if kind == "taken"]
            if drawn and taken:
                return taken[0], drawn[0]
    return None


def masks_beside(folder: Folder) -> tuple[Path, Path] | None:
    """Return a picture and a drawing of one name in a folder, such as ``a.jpg`` and ``a.png``, if that is the rule."""
    by_stem: dict[Path, list[Path]] = defaultdict(list)
    for path in folder.every_image():
        by_stem[path.with_suffix("")].append(path)
    pairs = [paths for paths in by_stem.values() if len(paths) == 2]
    if len(pairs) < 2 or 2 * len(pairs) < len(by_stem):
        return None
    for order in (1, -1):
        first, second = zip(*(pair[::order] for pair in pairs), strict=True)
        if look_like_masks(first, second):
            return first[0], second[0]
    return None


def look_like_masks(pictures: Sequence[Path], drawings: Sequence[Path]) -> bool:
    """True if some of the drawings have few colours, and those of the pictures in the same places many."""
    taken, drawn = ({_is_drawn(path) for path in _spread(some)} for some in (pictures, drawings))
    return (taken, drawn) == ({False}, {True})


def table_of_images(top: Folder, classes: Iterable[str]) -> tuple[Path, str] | None:
    """Return a table that names most of the images, with the name of that column; None if there is none.

    A table with a column of the names of the folders says what the folders say.

    Args:
        top: The whole data.
        classes: Names of the folders that would be classes.
    """
    tables = [path for one in top.walk() for path in one.others if path.suffix.lower() in _TABLES]
    if not tables or len(tables) > _GROUPS:
        return None
    images = top.every_image()
    known = {key for path in images for key in (path.name, path.stem)}
    names = {name.casefold() for name in classes}
    for path in tables:
        rows = _rows(path)
        if len(rows) < 3:
            continue
        columns = list(zip(*(row for row in rows[1:] if len(row) == len(rows[0])), strict=True))
        found = [
            name
            for name, cells in zip(rows[0], columns, strict=False)
            if len(set(cells)) > 1 and 2 * sum(_last(cell) in known for cell in cells) > len(cells)
        ]
        if found and not any({cell.casefold() for cell in cells} <= names for cells in columns):
            return path, found[0]
    return None


def sides_in(names: Sequence[str]) -> list[str]:
    """Return names that are another one and a side, such as ``cat_test`` next to ``cat``."""
    found = []
    for name in names:
        for other in names:
            rest = name.removeprefix(other) if name.startswith(other) else name.removesuffix(other)
            apart = rest != rest.strip(_MARKS) and rest != name != other
            if apart and side_of_word(rest.strip(_MARKS)) is not None:
                found.append(name)
    return found


def doubts_of_classes(top: Folder, folders: Sequence[Folder]) -> tuple[str, str] | None:
    """Say what speaks against folders as classes, and what to do if it is right; None if nothing does.

    Args:
        top: The whole data.
        folders: Folders that would be classes.
    """
    names = [one.name for one in folders]
    for inner in (folders, *([*one.folders.values()] for one in folders)):
        pair = masks_among(inner)
        if pair is not None:
            one, other = (f"{relative(each.path, top.path)}/" for each in pair)
            return (
                f"{one} and {other} hold files of the same names, pictures and what looks like their masks",
                "for segmentation call the folders images and masks",
            )
    for folder in folders[:_GROUPS]:
        beside = masks_beside(folder)
        if beside is not None:
            one, other = (relative(each, top.path) for each in beside)
            return (
                f"{one} and {other} have the same name, and the second looks like the mask of the first",
                "for segmentation put the masks into a folder of their own, images/ next to masks/",
            )
    sided = sides_in(names)
    if sided:
        return (
            f"folders are called like another one and a side: {listed(sided)}",
            "put the classes into folders of the sides, train/CLASS and test/CLASS",
        )
    table = table_of_images(top, names)
    if table is not None:
        return (
            f"{relative(table[0], top.path)} names the images in its column {table[1]!r}, and none of its columns says "
            f"what the folders say: {listed(names)}",
            "if the table has the classes, call it labels.csv, with the columns file and class",
        )
    return None


def _names(images: Sequence[Path]) -> frozenset[str]:
    """Names of files without what all of them begin and end with."""
    stems = [path.stem for path in images]
    start = len(commonprefix(stems))  # noqa: RUF071 (letters are meant)
    end = len(commonprefix([stem[start:][::-1] for stem in stems]))  # noqa: RUF071
    return frozenset(stem[start : len(stem) - end] for stem in stems)


def _kind(images: Sequence[Path]) -> str | None:
    """``"drawn"`` if images look like masks, ``"taken"`` if the first does not; None if only some do."""
    some = _spread(images)
    first = _is_drawn(some[0])
    if not first:
        return None if first is None else "taken"
    return "drawn" if all(_is_drawn(path) for path in some[1:]) else None


def _is_drawn(path: Path) -> bool | None:
    """True for a picture of few colours; None if it cannot be read."""
    try:
        with opened(path) as image:
            image.draft(None, (_DRAFT, _DRAFT))  # of a JPEG, which need not be decoded in full
            return image.getcolors(_COLOURS) is not None
    except (UnreadableError, OSError, ValueError):  # Pillow counts no colours of some modes
        return None


def _spread(some: Sequence[_T]) -> list[_T]:
    step = max(1, len(some) // _LOOKED_AT)
    return list(islice(some[::step], _LOOKED_AT))


def _rows(path: Path) -> list[list[str]]:
    """The first rows of a table; none of a file that is not one."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = "".join(_lines(file))
        dialect = max(",;\t", key=text.partition("\n")[0].count)
        return [row for row in csv.reader(text.splitlines(), delimiter=dialect) if row]
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def _lines(file: Iterable[str]) -> Iterator[str]:
    return islice(file, _ROWS)


def _last(cell: str) -> str:
    return shown(cell.strip().replace("\\", "/").rpartition("/")[2])
