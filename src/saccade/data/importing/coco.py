"""COCO's JSON: polygons, run lengths, crowd regions; also as Roboflow and labelling servers write it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from saccade.data.importing.export import (
    BACKGROUND,
    Export,
    Picture,
    Shape,
    UnusableError,
    is_background,
    side_in,
    side_of,
)  # fmt: skip
from saccade.data.importing.shapes import Draw, box, corners, polygon, runs
from saccade.data.importing.source import LookupFailedError, Source, take
from saccade.errors import InputError

_UNLISTED = "the export does not mention them"
_LARGEST = 1e9
_OTHERS = ("person_keypoints", "captions", "stuff", "panoptic", "image_info")


def is_coco(source: Source) -> bool:
    """Return True if a JSON file has COCO's three lists."""
    return any(map(_is_instances, source.documents.values()))


def _is_instances(content: Any) -> bool:
    return all(isinstance(take(content, key, list), list) for key in ("images", "annotations", "categories"))


def read_coco(source: Source) -> Export:
    """Read all files of instances; the side stands in their names or in those of their folders.

    Raises:
        InputError: There are none, or categories have the same id and other names.
    """
    documents = {path: content for path, content in source.documents.items() if _is_instances(content)}
    if not documents:
        raise InputError(f"{source.root} holds no JSON with images, annotations and categories")
    export, names = Export(), _Names()
    if len(documents) > 1:
        for path in [path for path in documents if path.name.startswith(_OTHERS)]:
            export.note("files that are not instances are not read", source.name(path))
            del documents[path]
    pictures: dict[Path, Picture] = {}
    for content in documents.values():
        names.add(content, export)
    for path, content in documents.items():
        _read(source, path, content, names, export, pictures)
    unlisted = [source.name(path) for path in source.images if path not in pictures]
    export.images.found += len(unlisted)
    if unlisted:
        export.images.leave_out(_UNLISTED, unlisted)
    export.pictures = list(pictures.values())
    export.classes = names.classes()
    return export


def key_of(value: Any) -> str | None:
    """An id as text, for some tools write ids as text or as 5.0; None if it is not an id."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


class _Names:
    """Names of categories by id, the same in all files."""

    def __init__(self) -> None:
        self.named: dict[str, str] = {}
        self._order: list[tuple[bool, int, str]] = []

    def add(self, content: Any, export: Export) -> None:
        used = {key_of(take(one, "category_id", (int, float, str))) for one in content["annotations"]}
        heads = {take(one, "supercategory", str) for one in content["categories"]}
        for one in content["categories"]:
            key = key_of(take(one, "id", (int, float, str)))
            if key is None:
                export.note("categories without an id are left out", str(take(one, "name", str, "?")))
                continue
            name = " ".join(str(take(one, "name", (str, int, float), "")).split())
            if not name and key in self.named:
                continue
            if not name:
                name = f"class {key}"
                export.note("categories without a name are called by their id", name)
            if self.named.get(key, name) != name:
                raise InputError(
                    f"category {key} is called {self.named[key]!r} and {name!r}", "give every category its own id"
                )
            if key == "0" and key not in used and name in heads:
                export.notes["the category that only heads the others is left out"] = [name]
                continue
            if key not in self.named and name in self.named.values():
                export.note("categories of the same name are one class", f"{name} ({key})")
            if key not in self.named:
                number = int(key) if key.lstrip("-").isascii() and key.lstrip("-").isdigit() else 0
                self._order.append((key != str(number), number, key))
            self.named[key] = name

    def classes(self) -> tuple[str, ...]:
        named = dict.fromkeys(self.named[key] for *_, key in sorted(self._order))
        return (BACKGROUND, *(name for name in named if not is_background(name)))


def _read(
    source: Source, path: Path, content: Any, names: _Names, export: Export, pictures: dict[Path, Picture]
) -> None:
    side = side_in(source.name(path.parent)) or side_of(path.stem.split("_")[-1]) or side_of(path.stem.split("-")[-1])
    by_id = _images(source, path, content["images"], side, export, pictures)
    numbers = Counter(key_of(take(one, "id", (int, float, str))) for one in content["annotations"])
    for index, one in enumerate(content["annotations"]):
        export.objects.found += 1
        key = key_of(take(one, "id", (int, float, str)))
        name = f"{source.name(path)}: annotation {key if key is not None else f'at {index}'}"
        if key is not None and numbers[key] > 1:
            export.note("annotations with the same id are all written", name)
        image = key_of(take(one, "image_id", (int, float, str)))
        if image is None or image not in by_id:
            export.objects.leave_out("their image is not listed", [name])
            continue
        picture = by_id[image]
        if picture is None:
            export.objects.leave_out("their image is left out", [name])
            continue
        category = key_of(take(one, "category_id", (int, float, str)))
        label = names.named.get(category) if category is not None else None
        if label is None:
            export.objects.leave_out("their category is not listed", [name])
            continue
        shape = _shape(one, label, name, export)
        if shape is not None:
            picture.shapes.append(shape)


def _images(
    source: Source, path: Path, rows: list[Any], side: str | None, export: Export, pictures: dict[Path, Picture]
) -> dict[str, Picture | None]:
    """Images by id; None for those that are left out."""
    ids: dict[str, set[str]] = {}
    for row in rows:
        key = key_of(take(row, "id", (int, float, str)))
        if key is not None:
            ids.setdefault(key, set()).add(str(take(row, "file_name", str)))
    by_id: dict[str, Picture | None] = {}
    for row in rows:
        export.images.found += 1
        key, name = key_of(take(row, "id", (int, float, str))), str(take(row, "file_name", str, "without a file name"))
        if key is None:
            export.images.leave_out("without an id", [name])
            continue
        if len(ids[key]) > 1:
            export.images.leave_out("another image has the same id", [name])
            by_id[key] = None
            continue
        try:
            file = source.image(take(row, "file_name", str), near=path.parent, side=side)
        except LookupFailedError as reason:
            export.images.leave_out(str(reason), [name])
            by_id[key] = None
            continue
        if file in pictures:
            export.images.leave_out("listed more than once; the objects of all are drawn on one", [name])
            by_id[key] = pictures[file]
            continue
        height, width = take(row, "height", (int, float)), take(row, "width", (int, float))
        size = None
        if height is not None and width is not None and 0 < height < _LARGEST and 0 < width < _LARGEST:
            size = int(height), int(width)
        by_id[key] = pictures[file] = Picture(name, file, side or side_in(source.name(file.parent)), size)
    return by_id


def _shape(one: Any, label: str, name: str, export: Export) -> Shape | None:
    """The shape of an annotation; None, and counted, if it has none."""
    crowd = take(one, "iscrowd", (int, float), 0) or (isinstance(one, dict) and one.get("iscrowd") is True)
    try:
        draw = _draw(one, name, export)
    except UnusableError as reason:
        export.objects.leave_out(str(reason), [name])
        return None
    if draw is not None:
        return Shape(label, draw, name, kind="crowd" if crowd else "area")
    bounds = take(one, "bbox", list)
    if not bounds:
        keypoints = take(one, "keypoints", list)
        export.objects.leave_out("keypoints without a mask" if keypoints else "without a mask", [name])
        return None
    try:
        x, y, width, height = (float(number) for number in bounds)
        return Shape(label, box(x, y, x + width, y + height), name, kind="box")
    except (TypeError, ValueError, UnusableError):
        export.objects.leave_out("the coordinates are damaged", [name])
        return None


def _draw(one: Any, name: str, export: Export) -> Draw | None:
    given = one.get("segmentation") if isinstance(one, dict) else None
    if isinstance(given, dict):
        return runs(given.get("counts"), given.get("size"))
    if not isinstance(given, list) or not given:
        return None
    parts: list[Any] = given if isinstance(given[0], (list, tuple)) else [given]
    usable, reasons = [], []
    for part in parts:
        try:
            usable.append(corners(part))
        except UnusableError as reason:
            reasons.append(reason)
    if not usable:
        raise reasons[0]
    for why in reasons:
        export.note(f"a part of an object is left out: {why}", name)
    return polygon(*usable)
