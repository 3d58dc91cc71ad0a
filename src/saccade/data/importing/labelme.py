"""LabelMe's JSON files, one next to every image."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from saccade.data.importing.export import (
    BACKGROUND,
    Export,
    Picture,
    Region,
    Shape,
    Size,
    UnusableError,
    is_background,
    side_in,
)
from saccade.data.importing.shapes import Draw, bitmap, box, corners, ellipse, picture, polygon
from saccade.data.importing.source import LookupFailedError, Source, take


def is_labelme(source: Source) -> bool:
    """Return True if a JSON file has shapes and the path of an image."""
    return any(map(_is_one, source.documents.values()))


def _is_one(content: Any) -> bool:
    return take(content, "shapes", list) is not None and "imagePath" in content


def read_labelme(source: Source) -> Export:
    """Read all files; classes are in order of name."""
    export = Export()
    pictures = {file: Picture(source.name(file), file, side_in(source.name(file.parent))) for file in source.images}
    export.images.found = len(pictures)
    seen: dict[Path, Path] = {}
    for path, content in source.documents.items():
        if not _is_one(content):
            export.note("files that are not LabelMe's are not read", source.name(path))
            continue
        names = [f"{source.name(path)}: shape {number}" for number in range(1, len(content["shapes"]) + 1)]
        export.objects.found += len(names)
        try:
            file = source.image(content["imagePath"], near=path.parent)
            problem = "another file has labels for the same image" if file in seen else ""
        except LookupFailedError as cause:
            export.images.found += 1
            export.images.leave_out(str(cause), [f"{content['imagePath']} of {source.name(path)}"])
            problem = "their image is left out"
        if problem:
            if names:
                export.objects.leave_out(problem, names)
            if problem != "their image is left out":
                export.note(f"files are not read: {problem}", source.name(path))
            continue
        seen[file] = path
        height, width = take(content, "imageHeight", int), take(content, "imageWidth", int)
        pictures[file].size = (height, width) if height and width else None
        for one, name in zip(content["shapes"], names, strict=True):
            _add(one, name, pictures[file], export)
    export.pictures = list(pictures.values())
    labels = {shape.label for one in export.pictures for shape in one.shapes}
    export.classes = (BACKGROUND, *sorted(label for label in labels if not is_background(label)))
    return export


def _add(one: Any, name: str, to: Picture, export: Export) -> None:
    label = " ".join(str(take(one, "label", (str, int), "")).split())
    kind = take(one, "shape_type", str) or "polygon"
    try:
        if not label:
            raise UnusableError("without a label")
        draw = _draw(kind, one)
    except UnusableError as reason:
        export.objects.leave_out(str(reason), [name])
        return
    if label.lower() == "__ignore__":
        to.shapes.append(Shape(label, draw, name, kind="crowd"))
    else:
        to.shapes.append(Shape(label, draw, name, kind="box" if kind == "rectangle" else "area"))


def _draw(kind: str, one: Any) -> Draw:
    points = take(one, "points", list)
    if kind == "polygon":
        return polygon(corners(points))
    if kind not in ("rectangle", "circle", "mask", "oriented_rectangle"):
        raise UnusableError(f"a {kind} has no area")
    try:
        pairs = [(float(x), float(y)) for x, y in points or ()]
    except (TypeError, ValueError) as cause:
        raise UnusableError("the coordinates are damaged") from cause
    if kind == "oriented_rectangle":
        return polygon(corners(pairs))
    if len(pairs) == 4 and kind == "rectangle":
        return polygon(corners(pairs))
    if len(pairs) != 2 or not all(abs(number) < 1e7 for pair in pairs for number in pair):
        raise UnusableError("the coordinates are damaged")
    (left, top), (right, bottom) = pairs
    if kind == "rectangle":
        return box(left, top, right, bottom)
    if kind == "circle":
        radius = math.hypot(right - left, bottom - top)
        return ellipse(left, top, radius, radius)
    read = picture(take(one, "mask", str), deflated=False)

    def draw(size: Size) -> Region:
        mask = read(size)
        if mask.shape != (round(bottom) - round(top) + 1, round(right) - round(left) + 1):
            raise UnusableError("the bitmap is of another size than its rectangle")
        return bitmap(mask, round(left), round(top))(size)

    return draw
