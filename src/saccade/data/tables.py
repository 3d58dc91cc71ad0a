"""Tables of labels next to images: a row per image with its classes, or a column per class with 0 and 1.

What a table could mean in two ways is an error that names both: nothing is guessed.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from saccade.data.images import SUFFIXES
from saccade.data.names import shown, side_of_word
from saccade.data.tree import Folder
from saccade.errors import InputError

NAMES = ("labels.csv", "labels.tsv", "_classes.csv")
"""Names, in any case, of files that are taken for tables of labels."""

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_FILE = (
    "file", "filename", "image", "imagename", "imageid", "imagepath", "filepath", "path", "name", "img", "id",
    "文件", "文件名", "图像", "图片", "圖像", "圖片",
)  # fmt: skip
_NUMBER = ("id", "imageid")  # of an image, where another column has its file
_SIDE = ("side", "split", "set", "subset")
_LABEL = re.compile(r"(class|label|tag|categor(y|ie)|target|类别|標籤|标签|類別)(es|s)?(name|names)?\d*")
_NUMERIC = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?", re.IGNORECASE)
_INSIDE = re.compile(r"[,;|\t]")
_SHOWN = 5


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Args:
        line: Number of the line, from 1.
        image: Image that the line names.
        labels: Names of its classes.
        side: Side that a column says; None without such a column.
    """

    line: int
    image: Path
    labels: tuple[str, ...]
    side: str | None = None


@dataclass(frozen=True)
class Table:
    """A table of labels as it was read.

    Args:
        path: Its path.
        rows: Its lines, each image once.
        columns: Classes in the order of their columns; None where each line names its classes.
        split: Name of the column with the sides; None without.
    """

    path: Path
    rows: tuple[Row, ...]
    columns: tuple[str, ...] | None = None
    split: str | None = None

    @property
    def several(self) -> bool | None:
        """True if some image has several classes; None if some have none, and the others one in a column of names."""
        counts = {len(row.labels) for row in self.rows}
        if max(counts) > 1 or (self.columns is not None and counts != {1}):
            return True
        return None if 0 in counts else False


def table_in(folder: Folder) -> Path | None:
    """Return the table of labels in a folder; None if it has none.

    Raises:
        InputError: It has several.
    """
    found = [path for path in folder.others if path.name.lower() in NAMES and not _names_pixels(path)]
    if len(found) > 1:
        names = " and ".join(shown(path.name) for path in found)
        raise InputError(f"{folder.path}: both {names} may list the classes of the images", "keep one of them")
    return found[0] if found else None


def _names_pixels(path: Path) -> bool:
    """True of Roboflow's list of the values of masks, which has the name of its tables of labels."""
    with path.open("rb") as file:
        return file.readline(200).lstrip(b"\xef\xbb\xbf").lower().startswith(b"pixel value")


def read_table(path: Path, folder: Folder, top: Folder, known: Collection[str] = ()) -> Table:
    """Read a table of the images below a folder.

    Args:
        path: The table.
        folder: Folder that names in it are relative to.
        top: The whole data; a name may also be relative to it.
        known: Names of classes that may hold what otherwise separates names.

    Raises:
        InputError: The table is not one of these images, or can be read in several ways; the line is named.
    """
    text = _text(path)
    first = re.match(r"sep=(.)\s*\n", text)  # written by Excel
    text = "\n" + text[first.end() :] if first else text
    if not text.strip():
        raise InputError(f"{path} is empty", "write a line FILE,CLASS per image")
    find = _finder(folder, top)
    mark = _delimiter(path, text, find)
    lines = [(number, cells) for number, cells in _cells(path, text, mark) if any(cells)]
    header = _header(path, lines, find)
    width = max(len(cells) for _, cells in lines)
    if header is None:
        _refuse_headless(path, lines, width)
        return _listed(path, lines, range(1, width), None, None, find, known)
    rows, file = lines[1:], header.file
    if not rows:
        raise InputError(f"{path} has a header and no rows", "write a line FILE,CLASS per image")
    if file:  # the column of files comes first
        rows = [(number, [*cells[file : file + 1], *cells[:file], *cells[file + 1 :]]) for number, cells in rows]
    names = [header.names[file], *header.names[:file], *header.names[file + 1 :]]
    side = next((index for index, name in enumerate(names) if _plain(name) in _SIDE), None)
    own = [index for index in range(1, len(names)) if index != side and _plain(names[index]) not in _NUMBER]
    named = [index for index in own if names[index]]
    if not named:
        raise InputError(f"{path}: the header {', '.join(names)} has no column of classes", "such as file,class")
    unnamed = [index for index in own if index < max(named) and not names[index] and not _counts(rows, index)]
    if unnamed:
        place = header.names.index("") + 1
        raise InputError(f"{path}: column {place} has no name", "call it class, or the name of its class, or remove it")
    split = None if side is None else names[side]
    if all(_LABEL.fullmatch(_plain(names[index])) for index in named) or (len(named) == 1 and _words(rows, named[0])):
        columns = [*named, *(index for index in range(max(named) + 1, width) if index != side)]
        return _listed(path, rows, columns, side, split, find, known)
    return _one_hot(path, names, rows, named, side, find)


def _counts(rows: Sequence[tuple[int, list[str]]], index: int) -> bool:
    """True of a column that numbers the rows, which pandas writes without a name."""
    cells = [row[index] if index < len(row) else "" for _, row in rows]
    return any(cells == [str(number + first) for number in range(len(cells))] for first in (0, 1))


def _words(rows: Sequence[tuple[int, list[str]]], index: int) -> bool:
    """True if no cell of a column is a number: the only column next to the files then holds names of classes."""
    cells = [row[index] for _, row in rows if index < len(row) and row[index]]
    return bool(cells) and not any(_NUMERIC.fullmatch(cell) or cell in _ONE_HOT for cell in cells)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        raise InputError(f"{path}: cannot be read ({cause})", "save it as text in UTF-8") from cause


Finder = Callable[[str], Path | list[Path] | None]
"""The image that a name stands for; several, if it may stand for them; None if there is none."""


def _finder(folder: Folder, top: Folder) -> Finder:
    places: dict[str, list[Path]] = {}
    exact: dict[str, Path] = {}
    for root in dict.fromkeys((folder.path, top.path)):
        for image in (folder if root == folder.path else top).every_image():
            exact.setdefault(image.relative_to(root).as_posix(), image)
    for image in folder.every_image():
        inside = image.relative_to(folder.path).as_posix()
        for key in {image.name, image.stem, inside.rpartition(".")[0]}:
            places.setdefault(key, []).append(image)

    def find(name: str) -> Path | list[Path] | None:
        wanted = name.replace("\\", "/").removeprefix("./")
        parts = wanted.split("/")
        for start in range(len(parts)):  # a table may name the folders above the data too
            if (rest := "/".join(parts[start:])) in exact:
                return exact[rest]
        found = places.get(wanted, [])
        return found[0] if len(found) == 1 else found or None

    return find


def _cells(path: Path, text: str, mark: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(text.splitlines(), delimiter=mark, skipinitialspace=True, strict=True)
    found = []
    try:
        for cells in reader:
            found.append((reader.line_num, [cell.strip() for cell in cells]))
    except csv.Error as cause:
        raise InputError(
            f"{path}, line {reader.line_num}: {cause}", 'write a quotation mark in a cell as ""'
        ) from cause
    return found


def _delimiter(path: Path, text: str, find: Finder) -> str:
    """The delimiter under which rows have a cell that is an image, or the only one that occurs."""
    scores: dict[str, int] = {}
    for mark in _DELIMITERS:
        if mark in text:
            try:
                rows = _cells(path, text, mark)
            except InputError:
                continue
            if any(len(cells) > 1 for _, cells in rows):
                scores[mark] = sum(any(isinstance(find(cell), Path) for cell in cells) for _, cells in rows)
    if not scores:
        hint = "write a line FILE,CLASS per image; cells are separated by commas, semicolons or tabs"
        raise InputError(f"{path}: no line has two cells", hint)
    best = [mark for mark, score in scores.items() if score == max(scores.values())]
    if len(best) == 1:
        return best[0]
    ways = " or ".join(_DELIMITERS[mark] for mark in best)
    hint = "use one of them only, and quote cells that hold it"
    raise InputError(f"{path}: its cells may be separated by {ways}", hint)


@dataclass(frozen=True)
class _Header:
    """Names of the columns, and the place of the one with the files."""

    names: list[str]
    file: int


def _header(path: Path, lines: Sequence[tuple[int, list[str]]], find: Finder) -> _Header | None:
    """The names of the columns, if the first line has them."""
    line, cells = lines[0]
    columns = [index for index, name in enumerate(cells) if _plain(name) in _FILE]
    if not columns and find(cells[0]) is not None:
        return None
    if len(columns) > 1:
        found = {
            index: sum(index < len(row) and find(row[index]) is not None for _, row in lines[1:]) for index in columns
        }
        best = [index for index in columns if found[index] == max(found.values())]
        if len(best) > 1:
            names = " and ".join(repr(cells[index]) for index in best)
            raise InputError(f"{path}, line {line}: both {names} may be the column of files", "keep one of them")
        columns = best
    if columns:
        return _Header(cells, columns[0])
    raise InputError(
        f"{path}, line {line}: {shown(cells[0])!r} is neither an image here nor a name of a column of files",
        "if it is a header, call the column of files file; if it is an image, put it into the folder",
    )


def _refuse_headless(path: Path, lines: Sequence[tuple[int, list[str]]], width: int) -> None:
    for index in range(1, width):
        words = [cells[index] for _, cells in lines if index < len(cells)]
        if all(side_of_word(word) is not None for word in words):
            raise InputError(
                f"{path}: column {index + 1} holds {words[0]!r} and the like: a side, or classes of that name?",
                "add a header, such as file,split,class",
            )


def _plain(word: str) -> str:
    return re.sub(r"[\W_]+", "", word.lower())


def _listed(
    path: Path,
    lines: Sequence[tuple[int, list[str]]],
    columns: Sequence[int],
    side: int | None,
    split: str | None,
    find: Finder,
    known: Collection[str],
) -> Table:
    """Rows that name the classes of their image."""
    every = {cells[index] for _, cells in lines for index in columns if index < len(cells)} - {""}
    if len(columns) > 1 and every == {"0", "1"}:
        raise InputError(
            f"{path}: its columns hold 0 and 1: a class per column, or classes called 0 and 1?",
            "call each column by its class",
        )
    found = []
    for number, cells in lines:
        labels = [cells[index] for index in columns if index < len(cells) and cells[index]]
        joined = next((label for label in labels if _INSIDE.search(label) and label not in known), None)
        if joined is not None:
            parts = [part.strip() for part in _INSIDE.split(joined) if part.strip()]
            raise InputError(
                f"{path}, line {number}: {joined!r} may be one class or the {len(parts)} classes {', '.join(parts)}",
                "write each class in a cell of its own: FILE,CLASS,CLASS; or list it with --classes, if it is one",
            )
        found.append((number, cells[0], tuple(dict.fromkeys(labels)), _side(path, number, cells, side)))
    return Table(path, _rows(path, found, find), split=split)


def _one_hot(
    path: Path,
    header: Sequence[str],
    lines: Sequence[tuple[int, list[str]]],
    columns: Sequence[int],
    side: int | None,
    find: Finder,
) -> Table:
    """Rows with 0 or 1 for each class."""
    names = tuple(header[index] for index in columns)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: two columns are called {', '.join(twice)}", "give each class one column")
    found = []
    for number, cells in lines:
        if len(cells) != len(header):
            raise InputError(
                f"{path}, line {number}: {len(cells)} cells, and the header has {len(header)}",
                "give each class 0 or 1; or, if cells are names of classes, call their columns class",
            )
        for index in columns:
            if cells[index] not in _ONE_HOT:
                raise InputError(
                    f"{path}, line {number}: the column {header[index]!r} holds {cells[index]!r}; expected 0 or 1",
                    "a column per class holds 0 or 1; if cells are names of classes, call their columns class",
                )
        labels = tuple(header[index] for index in columns if _ONE_HOT[cells[index]])
        found.append((number, cells[0], labels, _side(path, number, cells, side)))
    return Table(path, _rows(path, found, find), names, None if side is None else header[side])


_ONE_HOT = {
    **dict.fromkeys(("0", "0.0", "False", "false"), False),
    **dict.fromkeys(("1", "1.0", "True", "true"), True),
}


def _side(path: Path, number: int, cells: Sequence[str], column: int | None) -> str | None:
    if column is None:
        return None
    word = cells[column] if column < len(cells) else ""
    found = side_of_word(word)
    if found is None:
        raise InputError(f"{path}, line {number}: {word!r} is not a side", "write train, val or test")
    return found


def _rows(path: Path, lines: Sequence[tuple[int, str, tuple[str, ...], str | None]], find: Finder) -> tuple[Row, ...]:
    """Each image once."""
    seen: dict[Path, Row] = {}
    missing: list[str] = []
    for number, name, labels, side in lines:
        image = find(name)
        if isinstance(image, list):
            said = ", ".join(shown(one) for one in image[:_SHOWN])
            raise InputError(
                f"{path}, line {number}: {len(image)} images may be meant by {shown(name)!r}: {said}",
                "give the path of each image relative to the table",
            )
        if image is None:
            missing.append(f"{shown(name)} (line {number})")
            continue
        row = Row(number, image, labels, side)
        before = seen.setdefault(image, row)
        if before is not row and (set(before.labels), before.side) != (set(labels), side):
            raise InputError(
                f"{path}: lines {before.line} and {number} both name {shown(name)}, with other classes or sides",
                "give each image one line with all its classes",
            )
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise InputError(
            f"{path}: {len(missing)} of {len(lines)} lines name an image that is not there: "
            f"{', '.join(missing[:_SHOWN])}{more}",
            "put the images back, or remove the lines",
        )
    return tuple(seen.values())


def speaks_of_images(path: Path, folder: Folder) -> bool:
    """Return False for a table that names no image at all, such as a list of classes with their numbers."""
    try:
        text = _text(path)
        find = _finder(folder, folder)
        cells = {cell for mark in _DELIMITERS for _, row in _cells(path, text, mark) for cell in row}
    except InputError:
        return True
    return any(cell.lower().endswith(SUFFIXES) or find(cell) is not None for cell in cells)


def differ_in_case(classes: Sequence[str]) -> list[str]:
    """Names that are the same but for their case, which may be one class written in two ways."""
    by_name: dict[str, list[str]] = {}
    for name in classes:
        by_name.setdefault(name.casefold(), []).append(name)
    return [name for names in by_name.values() if len(names) > 1 for name in names]


def counted(table: Table) -> Mapping[str, int]:
    """Number of images of each class that a table names."""
    found: dict[str, int] = {}
    for row in table.rows:
        for label in row.labels:
            found[label] = found.get(label, 0) + 1
    return found
