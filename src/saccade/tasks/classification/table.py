"""Classes from a table next to the images: one class per image, or several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from saccade.data.layouts import Division, Item, divide, listed, said_inside, unwrapped
from saccade.data.names import TEST, TRAIN, VAL, role_of, shown
from saccade.data.reading import AS_IT_IS, Reading, class_names
from saccade.data.tables import Table, counted, differ_in_case, read_table, speaks_of_images, table_in
from saccade.data.tree import Folder, account, scan
from saccade.errors import InputError, near
from saccade.tasks.base import Files

TABLE, MULTI_LABEL = "table", "multi-label"


def table_readings(path: Path, reading: Reading = AS_IT_IS) -> tuple[Mapping[str, str], bool]:
    """Return the layout of a folder with a table of labels, and whether it leaves no doubt.

    It does if it names every image, and gives it several classes or none, or that of its folder.
    """
    top, tables = scan(path), []
    try:
        tables = _tables(top)
        found = _read(top, tables, reading)
    except InputError as problem:
        other = bool(tables) and not any(speaks_of_images(file, folder) for folder, file in tables)
        if other and len(unwrapped(top).inside()) > 1:
            return {}, False
        return {TABLE: problem.message}, False
    if not found:
        return {}, False
    names = listed([shown(file.relative_to(path)) for _, file in tables])
    rows = [row for table in found for row in table.rows]
    every = len(rows) == len(top.every_image())
    said = names if every else f"{names}, which names {len(rows)} of {len(top.every_image())} images"
    several = {table.several for table in found}
    both = {
        MULTI_LABEL: f"any number of classes per image, from {said}", TABLE: f"one class per image, from {said}"
    }  # fmt: skip
    if True in several:
        return {MULTI_LABEL: both[MULTI_LABEL]}, every
    if None in several:  # a class that is missing, or an image without any
        without = [row for row in rows if not row.labels]
        both[TABLE] += f", but line {without[0].line} has none"
        both[MULTI_LABEL] += f", {len(without)} of them without any"
        return both, True
    alike = all(row.labels[0] in row.image.relative_to(path).parts[:-1] for row in rows)
    return {TABLE: both[TABLE]}, every and alike


def find_labels(path: Path, reading: Reading, layout: str) -> Files:
    """List the images of the tables of a folder with their classes.

    Args:
        path: The folder.
        reading: How it is to be read.
        layout: `TABLE`, with one class per image, or `MULTI_LABEL`.

    Raises:
        InputError: No table, a table that does not fit its images, a class without training images, a side without
            images, or, with `TABLE`, an image that does not have one class.
    """
    top = scan(path)
    tables = _read(top, _wanted(top), reading)
    classes = _classes(path, tables, reading, layout)
    items, left_out = _items(tables, classes, layout)
    origin = _column(tables)
    sides: dict[str | None, list[Item]] = {}
    called: dict[str, str] = {}
    for item, said in items:
        side, name = (said, said or "") if origin else _side_of(item.image, top, reading)
        sides.setdefault(side, []).append(item)
        if side is not None:
            called.setdefault(side, name)
    division = divide(sides, top, reading, _stratum([item for item, _ in items], layout), names=called)
    _every_class(path, classes, division.train, layout)
    if not division.val:
        raise InputError(f"{path}: no images for validation", "both sides need some")
    said_origin = origin if origin and division.origin == "the sides of the folder" else division.origin
    what = "multi-label classification" if layout == MULTI_LABEL else "classification"
    names = " and ".join(shown(table.path.relative_to(path)) for table in tables)
    note = f"{what}, from {names}{said_inside(top, unwrapped(top))}, {said_origin}"
    files = [table.path for table in tables]
    listing = [reading.classes_file] if reading.classes_file is not None else []
    used = [item.image for item in (*division.train, *division.val)]
    why = dict.fromkeys(top.every_image(), f"not in {names}") | left_out | dict(division.left_out)
    return Files(
        classes, division.train, division.val, note, others=(*files, *listing), drawn=division.drawn, layout=layout,
        origin=said_origin, left_out=account(top, [*used, *files, *listing], why), problems=division.problems,
        counts=_counts(classes, division, layout), allow_copies=reading.allow_copies,
    )  # fmt: skip


def scored_labels(
    path: Path, classes: Sequence[str], reading: Reading, layout: str
) -> tuple[tuple[Item, ...], str | None]:
    """Return the images that a trained network is scored on, and the name of their side; None if there are no sides.

    Args:
        path: The folder.
        classes: Classes of the network.
        reading: How the folder is to be read.
        layout: See :func:`find_labels`.

    Raises:
        InputError: A class that the network does not know, or no images to be scored.
    """
    top = scan(path)
    tables = _read(top, _wanted(top), reading)
    found = _named(tables)
    unknown = [name for name in found if name not in classes]
    if unknown and class_names(reading) is None:
        raise InputError(
            f"{path} has classes the network does not know: {listed(unknown)}", f"it knows {listed(classes)}"
        )
    items, _ = _items(tables, classes, layout)
    origin = _column(tables)
    sides: dict[str | None, list[Item]] = {}
    for item, said in items:
        sides.setdefault(said if origin else _side_of(item.image, top, reading)[0], []).append(item)
    side = next((side for side in (VAL, TEST, None) if side in sides), None)
    if side not in sides:
        raise InputError(f"{path} has no images that are not for training", "give a folder with a validation side")
    return tuple(sides[side]), side


def _tables(top: Folder) -> list[tuple[Folder, Path]]:
    """Tables with the folders they belong to: one of all the data, or one of each side."""
    for root in dict.fromkeys((top.path, unwrapped(top).path)):
        folder = top if root == top.path else unwrapped(top)
        path = table_in(folder)
        if path is not None:
            return [(folder, path)]
    root_folder = unwrapped(top)
    sides = [one for one in root_folder.visible() if one.role is not None and one.role.side is not None]
    found = [(one, path) for one in sides if (path := table_in(one)) is not None]
    without = [one for one in sides if one.has_images and not any(one is folder for folder, _ in found)]
    if found and without:
        said = listed([f"{one.name}/" for one in without])
        raise InputError(f"{top.path}: {said} has images and no table of labels, as the other sides have", "add it")
    return found


def _wanted(top: Folder) -> list[tuple[Folder, Path]]:
    found = _tables(top)
    if not found:
        raise InputError(
            f"{top.path} has no table of labels", "put labels.csv next to the images: FILE,CLASS,CLASS ..."
        )
    return found


def _read(top: Folder, tables: Sequence[tuple[Folder, Path]], reading: Reading) -> list[Table]:
    known = class_names(reading) or ()
    found = [read_table(file, folder, top, known) for folder, file in tables]
    columns = {table.columns for table in found}
    if len(columns) > 1:
        raise InputError(
            f"{top.path}: the tables of its sides have different columns", "give all tables the same classes"
        )
    return found


def _named(tables: Sequence[Table]) -> tuple[str, ...]:
    """Names of the classes: in the order of their columns, or else of their names."""
    first = tables[0].columns
    return first if first is not None else tuple(sorted({label for table in tables for label in counted(table)}))


def _classes(path: Path, tables: Sequence[Table], reading: Reading, layout: str) -> tuple[str, ...]:
    there, asked = _named(tables), class_names(reading)
    if asked is not None:
        repeated = [name for index, name in enumerate(asked) if name in asked[:index]]
        missing = [name for name in asked if name not in there]
        if repeated:
            raise InputError(f"--classes: {listed(repeated)} is listed twice", "list each class once")
        if missing:
            raise InputError(f"{path}: no images of {listed(missing)}, which --classes lists", near(missing[0], there))
    else:
        alike = differ_in_case(there)
        if alike:
            raise InputError(
                f"{path}: {listed(alike)} differ in case only: one class, or several?",
                "write them alike; or, if they are classes of their own, list all classes with --classes",
            )
    found = asked if asked is not None else there
    if len(found) < (1 if layout == MULTI_LABEL else 2):
        raise InputError(f"{path}: only one class ({listed(found) or 'none'})", "classification needs two or more")
    return found


def _items(
    tables: Sequence[Table], classes: Sequence[str], layout: str
) -> tuple[list[tuple[Item, str | None]], dict[Path, str]]:
    """Images with the indices of their classes and the side that a column says; and why others are left out."""
    index = {name: number for number, name in enumerate(classes)}
    found, left_out = [], {}
    for table in tables:
        for row in table.rows:
            labels = tuple(sorted(index[label] for label in row.labels if label in index))
            if layout == MULTI_LABEL:
                found.append((Item(row.image, labels), row.side))
            elif len(row.labels) != 1:
                said = f"{len(row.labels)} classes" if row.labels else "no class"
                raise InputError(
                    f"{table.path}, line {row.line}: {shown(row.image.name)} has {said}",
                    f"with one class per image it needs one; with any number: --layout {MULTI_LABEL}",
                )
            elif labels:
                found.append((Item(row.image, labels[0]), row.side))
            else:
                left_out[row.image] = "of a class that is not in --classes"
    found.sort(key=lambda pair: pair[0].image)
    return found, left_out


def _counts(classes: Sequence[str], division: Division, layout: str) -> dict[str, tuple[int, int]]:
    """Training and validation images of each class."""
    found = [[0, 0] for _ in classes]
    for side, items in enumerate((division.train, division.val)):
        for item in items:
            for label in item.target if layout == MULTI_LABEL else [item.target]:
                found[label][side] += 1
    return {name: (train, val) for name, (train, val) in zip(classes, found, strict=True)}


def _column(tables: Sequence[Table]) -> str | None:
    """Where the sides come from, if a column says them."""
    split = tables[0].split
    return None if split is None else f"the column {split!r} of {shown(tables[0].path.name)}"


def _side_of(image: Path, top: Folder, reading: Reading) -> tuple[str | None, str]:
    """The side that the folders of an image say, the outermost first, and the name of that folder."""
    if reading.split_folders is not None:
        for side, name in zip((TRAIN, VAL), reading.split_folders, strict=True):
            folder = top.under(name) or unwrapped(top).under(name)
            if folder is not None and image.is_relative_to(folder.path):
                return side, name
        return "", "other folders"
    for part in image.relative_to(top.path).parts[:-1]:
        role = role_of(part)
        if role is not None and role.side is not None:
            return role.side, shown(part)
    return None, ""


def _stratum(items: Sequence[Item], layout: str) -> Callable[[Item], int]:
    """What is split evenly: images by their class, or by the rarest of their classes."""
    if layout != MULTI_LABEL:
        return lambda item: item.target
    counts: dict[int, int] = {}
    for item in items:
        for label in item.target:
            counts[label] = counts.get(label, 0) + 1
    return lambda item: min(item.target, key=lambda label: (counts[label], label), default=-1)


def _every_class(path: Path, classes: Sequence[str], train: Sequence[Item], layout: str) -> None:
    there = {label for item in train for label in (item.target if layout == MULTI_LABEL else [item.target])}
    without = [name for index, name in enumerate(classes) if index not in there]
    if without:
        rest = "".join(f"{name}," for name in classes if name not in without)  # one name alone would be a file
        raise InputError(
            f"{path}: no training images of {listed(without)}",
            f"nothing can be learned about them: see --split, or name the classes that count: --classes {rest}",
        )
