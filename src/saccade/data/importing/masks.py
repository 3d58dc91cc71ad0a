"""Exports of masks: VOC's folders (also of CVAT and LabelMe), and Roboflow's images with a mask next to each."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data import IGNORE
from saccade.data.decoding import UnreadableError, opened
from saccade.data.importing.export import (
    BACKGROUND,
    Export,
    Picture,
    UnusableError,
    is_background,
    is_ignored,
    side_in,
    side_of,
)  # fmt: skip
from saccade.data.importing.source import Source
from saccade.errors import InputError
from saccade.tasks.segmentation.stored import read_mask

Colour = tuple[int, int, int]
Values = dict[int, int]
"""Class index of every value of a mask."""

_MASKS = "SegmentationClass"
_ENDING = "_mask"
_VOID = (224, 224, 192)  # VOC's borders
_LISTS = ("labelmap.txt", "class_names.txt")


def is_voc(source: Source) -> bool:
    """Return True if there is a folder of VOC's masks."""
    return any(_MASKS in path.parts for path in source.ending(".png"))


def is_roboflow_masks(source: Source) -> bool:
    """Return True if there are masks, and a ``_classes.csv`` that gives names to values of pixels."""
    return bool(_tables(source)) and any(path.stem.endswith(_ENDING) for path in source.ending(".png"))


def read_voc(source: Source) -> Export:
    """Read masks by ``labelmap.txt`` (colours) or ``class_names.txt`` (values).

    Raises:
        InputError: Neither list is there, or it is damaged; or there are no images.
    """
    lists = [path for path in source.files if path.name in _LISTS]
    if not lists:
        raise InputError(
            f"{source.root}: the names of the classes are missing: expected labelmap.txt or class_names.txt",
            "write class_names.txt, one name per line in the order of the values; VOC 2012 itself needs no import",
        )
    if len(lists) > 1:
        raise InputError(f"{source.root} holds {' and '.join(map(source.name, lists))}", "leave one of them")
    export, colours = Export(), dict[Colour, int]()
    if lists[0].name == "labelmap.txt":
        export.classes, values, colours = _labelmap(source, lists[0])
    else:
        export.classes, values = _class_names(source, lists[0])
    masks, images, pictures = {}, {}, set(source.images)
    for path in source.files:
        parts = path.relative_to(source.root).parts
        if _MASKS in parts and path.suffix.lower() == ".png":
            masks[_place(parts, _MASKS)] = path
        elif path in pictures and not any(part.startswith("Segmentation") for part in parts):
            images[_place(parts, "JPEGImages")] = path
    if not images:
        raise InputError(f"{source.root} holds masks and no images", "export it with its images")
    sides = _sides(source)
    for name, file in images.items():
        picture = Picture(source.name(file), file, sides.get(name) or side_in(source.name(file.parent)))
        if sides and name not in sides:
            export.images.found += 1
            export.images.leave_out("in none of the lists of ImageSets/Segmentation", [picture.name])
            masks.pop(name, None)
            continue
        _add(export, picture, masks.pop(name, None), values, colours)
    _without_image(export, source, masks.values())
    return export


def read_roboflow_masks(source: Source) -> Export:
    """Read every image with the mask next to it.

    Raises:
        InputError: A list of classes is damaged, or the sides have different ones.
    """
    tables = _tables(source)
    first = next(iter(tables))
    for path, table in tables.items():
        if table != tables[first]:
            raise InputError(
                f"{first} and {path} name the classes differently", "export all sides together, with the same classes"
            )
    names, values = _ordered(tables[first], first)
    export = Export(names)
    masks = {path for path in source.images if path.suffix.lower() == ".png" and path.stem.endswith(_ENDING)}
    for file in [path for path in source.images if path not in masks]:
        mask = file.with_name(f"{file.stem}{_ENDING}.png")
        picture = Picture(source.name(file), file, side_in(source.name(file.parent)))
        _add(export, picture, mask if mask in masks else None, values, {})
        masks.discard(mask)
    _without_image(export, source, sorted(masks))
    return export


def _place(parts: tuple[str, ...], folder: str) -> str:
    """Name of an image or mask as the lists have it: below its folder, without its suffix."""
    below = parts[parts.index(folder) + 1 :] if folder in parts else parts[-1:]
    return "/".join(below).rsplit(".", 1)[0]


def _add(export: Export, picture: Picture, mask: Path | None, values: Values, colours: dict[Colour, int]) -> None:
    export.images.found += 1
    if mask is None:
        export.images.leave_out("without a mask", [picture.name])
        return
    picture.mask = lambda: _indices(mask, values, colours)
    export.pictures.append(picture)


def _without_image(export: Export, source: Source, masks: Any) -> None:
    names = [source.name(path) for path in masks]
    export.images.found += len(names)
    if names:
        export.images.leave_out("a mask without an image", names)


def _sides(source: Source) -> dict[str, str | None]:
    """The side of every image that a list names; lists that join sides come last."""
    found: dict[str, str | None] = {}
    lists = [path for path in source.ending(".txt") if path.parent.name == "Segmentation"]
    for path in sorted(lists, key=lambda path: (side_of(path.stem) is None, path.name)):
        for line in source.text(path).splitlines():
            if line.strip():
                found.setdefault(line.strip().replace("\\", "/"), side_of(path.stem))
    return found


def _labelmap(source: Source, path: Path) -> tuple[tuple[str, ...], Values, dict[Colour, int]]:
    """Read ``name:R,G,B:parts:actions``; the background comes first, and names that mean "ignore" are left out."""
    rows: list[tuple[str, Colour]] = []
    for number, line in enumerate(source.text(path).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            name, colour, *_ = line.rsplit(":", 3)
            red, green, blue = (int(word) for word in colour.split(","))
        except ValueError as cause:
            raise InputError(f"{path}, line {number}: expected name:R,G,B:parts:actions; received {line!r}") from cause
        rows.append((name, (red, green, blue)))
    stated = {number: name for number, (name, _) in enumerate(rows)}
    names, values = _ordered(stated, path)
    colours = {colour: values[number] for number, (_, colour) in enumerate(rows)}
    if len(colours) < len(rows):
        raise InputError(f"{path} gives one colour to several classes", "give every class its own colour")
    return names, values, colours


def _class_names(source: Source, path: Path) -> tuple[tuple[str, ...], Values]:
    lines = [line.strip() for line in source.text(path).splitlines() if line.strip()]
    first = 1 if lines and is_ignored(lines[0]) else 0  # LabelMe counts from -1, which is 255 in the masks
    return _ordered(dict(enumerate(lines[first:])), path)


def _tables(source: Source) -> dict[Path, dict[int, str]]:
    """Every ``_classes.csv`` with values of pixels."""
    found = {}
    for path in (path for path in source.files if path.name == "_classes.csv"):
        rows = [[word.strip() for word in row] for row in csv.reader(source.text(path).splitlines()) if row]
        if not rows or [word.lower() for word in rows[0][:2]] != ["pixel value", "class"]:
            continue
        try:
            found[path] = {int(row[0]): row[1] for row in rows[1:]}
        except (ValueError, IndexError) as cause:
            raise InputError(f"{path}: expected a number and a name on every line") from cause
    return found


def _ordered(stated: dict[int, str], path: Path) -> tuple[tuple[str, ...], Values]:
    """Class names, the background first, and the class index of every value."""
    cleaned = {value: " ".join(name.split()) or f"class {value}" for value, name in sorted(stated.items())}
    kept = [name for name in dict.fromkeys(cleaned.values()) if not is_ignored(name)]
    kept.sort(key=lambda name: not is_background(name))
    if not kept:
        raise InputError(f"{path} names no classes")
    names = (BACKGROUND, *kept[1:]) if is_background(kept[0]) else tuple(kept)
    return names, {value: IGNORE if is_ignored(name) else kept.index(name) for value, name in cleaned.items()}


def _indices(path: Path, values: Values, colours: dict[Colour, int]) -> NDArray[np.uint8]:
    """Class indices of a mask."""
    try:
        stored = _coloured(path) if colours else None
        pixels = read_mask(path) if stored is None else stored
    except UnreadableError as cause:
        raise UnusableError(f"their masks cannot be read: {cause}") from cause
    if pixels.ndim == 3 and not colours:
        raise UnusableError("their masks are in colour, and the export names values")
    if pixels.ndim == 3:
        known = {_VOID: IGNORE} | colours
        table = {red << 16 | green << 8 | blue: index for (red, green, blue), index in known.items()}
        pixels = pixels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    else:
        table = {IGNORE: IGNORE} | values
    there, inverse = np.unique(pixels, return_inverse=True)
    unknown = [int(value) for value in there if int(value) not in table]
    if unknown:
        value = unknown[0]
        said = f"the colour {(value >> 16, value >> 8 & 255, value & 255)}" if colours else f"the value {value}"
        raise UnusableError(f"their masks hold {said}, which the export does not name")
    indices = np.array([table[int(value)] for value in there], dtype=np.uint8)
    return np.asarray(indices[inverse].reshape(pixels.shape))


def _coloured(path: Path) -> NDArray[Any] | None:
    """Colours of a mask that stores them, or whose palette has them; None for a grey one.

    Place 255 of a palette is VOC's border, whatever its colour.
    """
    with opened(path) as image:
        if image.mode not in ("P", "RGB", "RGBA"):
            return None
        colours = np.array(image.convert("RGB"))
        if image.mode == "P":
            colours[np.asarray(image) == IGNORE] = _VOID
        return colours
