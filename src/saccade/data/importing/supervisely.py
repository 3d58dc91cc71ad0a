"""Supervisely: ``meta.json``, and for every dataset a folder of images and one of annotations."""

from __future__ import annotations

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
)  # fmt: skip
from saccade.data.importing.shapes import Draw, bitmap, box, corners, inclusive_polygon, picture
from saccade.data.importing.source import Source, take


def is_supervisely(source: Source) -> bool:
    """Return True if a ``meta.json`` lists classes with titles, and there are folders ``ann``."""
    return bool(_metas(source)) and any(path.parent.name == "ann" for path in source.documents)


def _metas(source: Source) -> list[Any]:
    return [
        content
        for path, content in source.documents.items()
        if path.name == "meta.json" and isinstance(take(content, "classes", list), list)
    ]


def read_supervisely(source: Source) -> Export:
    """Read all datasets; a dataset whose name says a side is that side."""
    export = Export()
    titles = [" ".join(str(take(one, "title", str, "")).split()) for meta in _metas(source) for one in meta["classes"]]
    export.classes = (BACKGROUND, *dict.fromkeys(name for name in titles if name and not is_background(name)))
    known = {*export.classes, *titles}
    annotations = {path: content for path, content in source.documents.items() if path.parent.name == "ann"}
    for file in source.images:
        if file.parent.name != "img":
            if file.parent.name not in ("ann", "masks_machine", "masks_human", "masks_instances"):
                export.images.found += 1
                export.images.leave_out("the export does not mention them", [source.name(file)])
            continue
        export.images.found += 1
        to = Picture(source.name(file), file, side_in(source.name(file.parent.parent)))
        export.pictures.append(to)
        path = file.parent.parent / "ann" / f"{file.name}.json"
        content = annotations.pop(path, None)
        height, width = (take(take(content, "size", dict), key, int) for key in ("height", "width"))
        to.size = (height, width) if height and width else None
        for name, one in _objects(source, path, content):
            export.objects.found += 1
            label = " ".join(str(take(one, "classTitle", str, "")).split())
            try:
                if label not in known or not label:
                    raise UnusableError("their class is not in meta.json")
                kind = str(take(one, "geometryType", str, "shape"))
                draw = _draw(kind, one)
            except UnusableError as reason:
                export.objects.leave_out(str(reason), [name])
            else:
                to.shapes.append(Shape(label, draw, name, kind="box" if kind == "rectangle" else "area"))
    for path, content in annotations.items():
        export.images.found += 1
        export.images.leave_out("the file is not there", [f"image of {source.name(path)}"])
        names = [name for name, _ in _objects(source, path, content)]
        export.objects.found += len(names)
        if names:
            export.objects.leave_out("their image is left out", names)
    return export


def _objects(source: Source, path: Path, content: Any) -> list[tuple[str, Any]]:
    objects = take(content, "objects", list, [])
    return [(f"{source.name(path)}: object {number}", one) for number, one in enumerate(objects, 1)]


def _draw(kind: str, one: Any) -> Draw:
    if kind == "bitmap":
        return _bitmap(take(one, "bitmap", dict))
    if kind not in ("polygon", "rectangle"):
        raise UnusableError(f"a {kind} is not read")
    points = take(one, "points", dict)
    outer = take(points, "exterior", list, [])
    if kind == "polygon":
        return inclusive_polygon(corners(outer), [corners(hole) for hole in take(points, "interior", list, [])])
    try:
        (left, top), (right, bottom) = outer
        return box(left, top, right + 1, bottom + 1)
    except (TypeError, ValueError) as cause:
        raise UnusableError("the coordinates are damaged") from cause


def _bitmap(given: Any) -> Draw:
    origin = take(given, "origin", list, [])
    if len(origin) != 2 or not all(isinstance(number, int) for number in origin):
        raise UnusableError("the bitmap is damaged")
    read = picture(take(given, "data", str), deflated=True)

    def draw(size: Size) -> Region:
        return bitmap(read(size), origin[0], origin[1])(size)

    return draw
