"""CVAT's XML "for images": polygons, boxes, ellipses and masks."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from saccade.data.importing.export import (
    BACKGROUND,
    Export,
    Picture,
    Shape,
    UnusableError,
    is_background,
    side_in,
    side_of,
)
from saccade.data.importing.shapes import Draw, box, corners, ellipse, polygon, run_rectangle
from saccade.data.importing.source import LookupFailedError, Source
from saccade.errors import InputError

_NO_SHAPES = ("tag", "attribute")


def is_cvat(source: Source) -> bool:
    """Return True if an XML file begins with ``<annotations>``."""
    return bool(_files(source))


def _files(source: Source) -> list[Path]:
    found = []
    for path in source.ending(".xml"):
        with path.open("rb") as file:
            head = file.read(4096)
        if b"<annotations" in head:
            found.append(path)
    return found


def read_cvat(source: Source) -> Export:
    """Read all files; classes are in the order of the task's labels.

    Raises:
        InputError: A file is damaged, or of a task of videos.
    """
    export, pictures, labels = Export(), dict[Path, Picture](), dict[str, None]()
    for path in _files(source):
        root = _parsed(source, path)
        if root.find("track") is not None:
            raise InputError(f"{path} is CVAT's export of a video", "export it as 'CVAT for images 1.1'")
        for name in root.findall(".//label/name"):
            if name.text and name.text.strip() and not is_background(name.text):
                labels[" ".join(name.text.split())] = None
        for image in root.findall("image"):
            _read(source, path, image, export, pictures)
    unlisted = [source.name(path) for path in source.images if path not in pictures]
    export.images.found += len(unlisted)
    if unlisted:
        export.images.leave_out("the export does not mention them", unlisted)
    export.pictures = list(pictures.values())
    used = {shape.label for one in export.pictures for shape in one.shapes} - set(labels)
    export.classes = (BACKGROUND, *labels, *sorted(label for label in used if not is_background(label)))
    return export


def _parsed(source: Source, path: Path) -> ElementTree.Element:
    """Parse an XML file without declarations of its own, which could make a short file a huge one."""
    text = source.text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{path} declares entities, which CVAT does not write", "export it again")
    try:
        return ElementTree.fromstring(text.partition("?>")[2] if text.startswith("<?xml") else text)
    except (ElementTree.ParseError, RecursionError, ValueError) as cause:
        raise InputError(f"{path} is not valid XML ({cause})", "export it again") from cause


def _read(
    source: Source, path: Path, image: ElementTree.Element, export: Export, pictures: dict[Path, Picture]
) -> None:
    given = image.get("name", "")
    export.images.found += 1
    shapes = [child for child in image if child.tag not in _NO_SHAPES]
    names = [f"{given}: {child.tag} {number}" for number, child in enumerate(shapes, 1)]
    export.objects.found += len(shapes)
    for child in image:
        if child.tag in _NO_SHAPES:
            export.note("tags of whole images are not read", f"{given}: {child.get('label')}")
    try:
        file = source.image(given, side=side_of(image.get("subset", "")))
    except LookupFailedError as reason:
        export.images.leave_out(str(reason), [given or "without a file name"])
        if names:
            export.objects.leave_out("their image is left out", names)
        return
    if file in pictures:
        export.images.leave_out("listed more than once; the objects of all are drawn on one", [given])
    else:
        side = side_of(image.get("subset", "")) or side_in(source.name(file.parent))
        pictures[file] = Picture(given, file, side, _size(image))
    for child, name in zip(shapes, names, strict=True):
        try:
            draw, order = _draw(child), int(child.get("z_order") or 0)
        except UnusableError as reason:
            export.objects.leave_out(str(reason), [name])
        except (TypeError, ValueError, KeyError):
            export.objects.leave_out("the coordinates are damaged", [name])
        else:
            label = " ".join(child.get("label", "").split())
            if not label:
                export.objects.leave_out("without a label", [name])
                continue
            kind = "box" if child.tag == "box" else "area"
            pictures[file].shapes.append(Shape(label, draw, name, order, kind))  # type: ignore[arg-type]


def _size(image: ElementTree.Element) -> tuple[int, int] | None:
    try:
        return int(image.attrib["height"]), int(image.attrib["width"])
    except (KeyError, ValueError):
        return None


def _draw(shape: ElementTree.Element) -> Draw:
    given = shape.attrib
    turned = float(given.get("rotation", 0))
    if shape.tag == "polygon":
        return polygon(corners([[float(x) for x in point.split(",")] for point in given["points"].split(";") if point]))
    if shape.tag == "box":
        numbers = [float(given[key]) for key in ("xtl", "ytl", "xbr", "ybr")]
        return box(*numbers, turned=turned)
    if shape.tag == "ellipse":
        return ellipse(*(float(given[key]) for key in ("cx", "cy", "rx", "ry")), turned=turned)
    if shape.tag == "mask":
        place = (int(float(given[key])) for key in ("height", "width", "left", "top"))
        return run_rectangle([int(word) for word in given["rle"].split(",")], *place)
    raise UnusableError(f"a {shape.tag} has no area")
