"""Label Studio's JSON: polygons, rectangles and ellipses in percent of the image, and brush strokes as run lengths."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

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
from saccade.data.importing.shapes import Draw, bitmap, box, corners, ellipse, polygon
from saccade.data.importing.source import LookupFailedError, Source, take

_KINDS = ("polygonlabels", "rectanglelabels", "ellipselabels", "brushlabels")
_PREFIX = re.compile(r"^[0-9a-f]{8}-")  # of files that were uploaded


def is_label_studio(source: Source) -> bool:
    """Return True if a JSON file is a list of tasks with data and annotations."""
    return any(map(is_tasks, source.documents.values()))


def is_tasks(content: Any) -> bool:
    """Return True for a list of tasks with data and annotations."""
    first = content[0] if isinstance(content, list) and content else None
    return take(first, "data", dict) is not None and take(first, "annotations", list) is not None


def read_label_studio(source: Source) -> Export:
    """Read all tasks; of several people's annotations the first is taken. Classes are in order of name."""
    export, pictures = Export(), dict[Path, Picture]()
    for path, content in source.documents.items():
        if not is_tasks(content):
            export.note("files that are not lists of tasks are not read", source.name(path))
            continue
        for number, task in enumerate(content, 1):
            _read(source, path, f"{source.name(path)}: task {take(task, 'id', int, number)}", task, export, pictures)
    unlisted = [source.name(file) for file in source.images if file not in pictures]
    export.images.found += len(unlisted)
    if unlisted:
        export.images.leave_out("the export does not mention them", unlisted)
    export.pictures = list(pictures.values())
    labels = {shape.label for one in export.pictures for shape in one.shapes}
    export.classes = (BACKGROUND, *sorted(label for label in labels if not is_background(label)))
    return export


def _read(source: Source, path: Path, name: str, task: Any, export: Export, pictures: dict[Path, Picture]) -> None:
    export.images.found += 1
    done = [
        one for one in take(task, "annotations", list, []) if isinstance(one, dict) and not one.get("was_cancelled")
    ]
    for number in range(2, len(done) + 1):
        export.note("annotations of further people are not read", f"{name}, annotation {number}")
    rows = take(done[0] if done else None, "result", list, [])
    objects = []
    for number, one in enumerate(rows, 1):
        kind = str(take(one, "type", str, "?"))
        if kind.endswith("labels"):
            objects.append((f"{name}, region {number}", kind, one))
        else:
            export.note("answers without a region are not read", f"{name}, {kind}")
    export.objects.found += len(objects)
    try:
        file = image_of(source, path, take(task, "data", dict, {}))
        if file in pictures:
            raise LookupFailedError("another task has the same image")
    except LookupFailedError as reason:
        export.images.leave_out(str(reason), [name])
        if objects:
            export.objects.leave_out("their image is left out", [one for one, *_ in objects])
        return
    to = pictures[file] = Picture(source.name(file), file, side_in(source.name(file.parent)))
    for label, kind, one in objects:
        height, width = take(one, "original_height", int), take(one, "original_width", int)
        to.size = to.size or ((height, width) if height and width else None)
        _add(one, kind, label, to, export)


def image_of(source: Source, path: Path, data: dict[str, Any]) -> Path:
    """The file of a task, whose name is an address on a server."""
    names = [value for value in data.values() if isinstance(value, str)]
    for name in names:
        address = urlsplit(name)
        plain = parse_qs(address.query).get("d", [unquote(address.path)])[0].lstrip("/")
        *folders, last = plain.split("/")
        for tried in (plain, "/".join([*folders, _PREFIX.sub("", last)])):
            try:
                return source.image(tried, near=path.parent)
            except LookupFailedError as reason:
                problem = reason
    raise problem if names else LookupFailedError("without a file name")


def _add(one: Any, kind: str, name: str, to: Picture, export: Export) -> None:
    value = take(one, "value", dict, {})
    labels = [" ".join(str(label).split()) for label in take(value, kind, list, [])]
    try:
        if len(labels) != 1:
            raise UnusableError("without a label" if not labels else "with several labels")
        if take(one, "image_rotation", (int, float), 0):
            raise UnusableError("their image was turned in the tool")
        draw = _draw(kind, value)
    except UnusableError as reason:
        export.objects.leave_out(str(reason), [name])
    except (TypeError, ValueError, KeyError):
        export.objects.leave_out("the coordinates are damaged", [name])
    else:
        to.shapes.append(Shape(labels[0], draw, name, kind="box" if kind == "rectanglelabels" else "area"))


def _draw(kind: str, value: dict[str, Any]) -> Draw:
    """Draw a region whose numbers are percent of the width and height."""
    if kind == "brushlabels":
        return _brush(value["rle"])
    if kind == "polygonlabels":
        points = corners(value["points"])
        return lambda size: polygon(points * (size[1] / 100, size[0] / 100))(size)
    turned = float(value.get("rotation", 0))
    if kind == "ellipselabels":
        x, y, across, down = (float(value[key]) for key in ("x", "y", "radiusX", "radiusY"))
        return lambda size: ellipse(
            x * size[1] / 100, y * size[0] / 100, across * size[1] / 100, down * size[0] / 100, turned=turned
        )(size)
    if kind != "rectanglelabels":
        raise UnusableError(f"{kind} have no area")
    left, top, width, height = (float(value[key]) for key in ("x", "y", "width", "height"))

    def draw(size: Size) -> Region:
        down, across = size[0] / 100, size[1] / 100
        # The tool turns a rectangle about its upper left corner.
        return box(
            left * across, top * down, (left + width) * across, (top + height) * down,
            turned=turned, about=(left * across, top * down),
        )(size)  # fmt: skip

    return draw


def _brush(data: Any) -> Draw:
    if not isinstance(data, list) or not all(isinstance(one, int) and 0 <= one < 256 for one in data):
        raise UnusableError("the run lengths are damaged")

    def draw(size: Size) -> Region:
        values = _unpacked(bytes(data), 4 * size[0] * size[1])
        return bitmap(values.reshape(*size, 4)[..., 3] > 0, 0, 0)(size)

    return draw


def _unpacked(data: bytes, wanted: int) -> NDArray[np.uint8]:
    """Unpack bits: the number of values, the bits of a value, four sizes of lengths, then runs and single values.

    Every piece begins with one bit (a run or single values), two bits for the size of its length, and the length
    less one.
    """
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8))
    weights = 1 << np.arange(31, -1, -1, dtype=np.int64)
    place = 0

    def read(count: int) -> int:
        nonlocal place
        taken = bits[place : place + count]
        if len(taken) < count:
            raise UnusableError("the run lengths are damaged")
        place += count
        return int(taken @ weights[32 - count :])

    if read(32) != wanted:
        raise UnusableError("the run lengths are of another size than the image")
    word = read(5) + 1
    lengths = [read(4) + 1 for _ in range(4)]
    values, done = np.zeros(wanted, dtype=np.uint8), 0
    while done < wanted:
        run = read(1)
        end = done + read(lengths[read(2)]) + 1
        if end > wanted:
            raise UnusableError("the run lengths are damaged")
        for place_of in (slice(done, end),) if run else (slice(one, one + 1) for one in range(done, end)):
            values[place_of] = min(read(word), 255)
        done = end
    return values
