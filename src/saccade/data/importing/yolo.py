"""YOLO's text files, one line per object, with names in a YAML file or in classes.txt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from saccade.data.importing.export import BACKGROUND, Export, Picture, Shape, UnusableError, is_background, side_in
from saccade.data.importing.shapes import Draw, corners, polygon
from saccade.data.importing.source import LookupFailedError, Source
from saccade.errors import InputError, require

_MOST_BYTES = 1_000_000
_SIDES = ("train", "val", "test")


def is_yolo(source: Source) -> bool:
    """Return True if there are names of classes, and text files in a folder ``labels`` or next to their images."""
    if not (_yamls(source) or _lists(source)):
        return False
    images = {path.with_suffix("") for path in source.images}
    return any(_in_labels(path) or path.with_suffix("") in images for path in source.ending(".txt"))


def read_yolo(source: Source) -> Export:
    """Read labels of all images, by the sides that the YAML names, or else by folders.

    Raises:
        InputError: The names of the classes are missing or damaged.
    """
    export = Export()
    names, sides = _names(source)
    export.classes = (BACKGROUND, *dict.fromkeys(name for name in names.values() if not is_background(name)))
    labels = {path.relative_to(source.root).with_suffix(""): path for path in source.ending(".txt")}
    used = set()
    for file in source.images:
        export.images.found += 1
        picture = Picture(source.name(file), file, sides.get(file) or side_in(source.name(file.parent)))
        export.pictures.append(picture)
        found = next((labels[place] for place in _places(file.relative_to(source.root)) if place in labels), None)
        if found is not None:
            used.add(found)
            _read(source, found, names, picture, export)
    for path in (path for path in labels.values() if path not in used and _in_labels(path)):
        lines = [line for line in source.text(path).splitlines() if line.strip()]
        export.images.found += 1
        export.images.leave_out("the file is not there", [f"image of {source.name(path)}"])
        export.objects.found += len(lines)
        named = [f"{source.name(path)}, line {number}" for number in range(1, len(lines) + 1)]
        if named:
            export.objects.leave_out("their image is left out", named)
    return export


def _in_labels(path: Path) -> bool:
    return "labels" in path.parts[-4:-1]


def _places(image: Path) -> list[Path]:
    """Places where the labels of an image can stand: the last ``images`` is ``labels``, or next to it."""
    parts = list(image.with_suffix("").parts)
    places = [Path(*parts)]
    for index in reversed([i for i, part in enumerate(parts[:-1]) if part.lower() == "images"]):
        places.insert(0, Path(*parts[:index], "labels", *parts[index + 1 :]))
    return [*places, Path(*parts[:-1], "labels", parts[-1])]


def _yamls(source: Source) -> list[Path]:
    return [path for path in source.ending(".yaml", ".yml") if "names" in _yaml(source, path)]


def _lists(source: Source) -> list[Path]:
    return [path for path in source.files if path.name in ("classes.txt", "obj.names")]


def _yaml(source: Source, path: Path) -> dict[str, Any]:
    """Read a YAML file with every scalar as text, as a class may be called ``no``."""
    yaml = require("yaml", extra="train")
    if path.stat().st_size > _MOST_BYTES:
        raise InputError(f"{path} is larger than 1 MB; expected the few lines of a YOLO export")
    try:
        content = yaml.load(source.text(path), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError) as cause:
        raise InputError(f"{path} is not valid YAML ({' '.join(str(cause).split())[:200]})") from cause
    return content if isinstance(content, dict) else {}


def _names(source: Source) -> tuple[dict[int, str], dict[Path, str]]:
    """Names by number, and the side of every image that the YAML puts on one."""
    yamls, lists = _yamls(source), _lists(source)
    if len(yamls) > 1:
        raise InputError(
            f"{source.root} holds {source.name(yamls[0])} and {source.name(yamls[1])}, both with names of classes",
            "leave the one that belongs to the labels",
        )
    if not yamls:
        if not lists:
            raise InputError(
                f"{source.root}: the names of the classes are missing",
                "a YOLO export has data.yaml, or classes.txt with one name per line",
            )
        lines = [line.strip() for line in source.text(lists[0]).splitlines()]
        return dict(enumerate(line for line in lines if line)), {}
    content = _yaml(source, yamls[0])
    given = content["names"]
    pairs = given.items() if isinstance(given, dict) else enumerate(given) if isinstance(given, list) else ()
    try:
        names = {int(key): " ".join(str(name).split()) or f"class {key}" for key, name in pairs}
    except ValueError as cause:
        raise InputError(f"{yamls[0]}: expected numbers before the names of the classes ({cause})") from cause
    if not names:
        raise InputError(f"{yamls[0]}: expected names of classes; received {str(given)[:80]!r}")
    return dict(sorted(names.items())), _sides(source, content)


def _sides(source: Source, content: dict[str, Any]) -> dict[Path, str]:
    sides: dict[Path, str] = {}
    for side in _SIDES:
        given = content.get(side) or (content.get("valid") if side == "val" else None) or []
        for one in given if isinstance(given, list) else [given]:
            if not isinstance(one, str):
                continue
            if one.endswith(".txt"):
                sides |= dict.fromkeys(_listed(source, one), side)
            elif (folder := source.folder(one)) is not None:
                for file in source.images:
                    if file.is_relative_to(folder):
                        sides.setdefault(file, side)
    return sides


def _listed(source: Source, name: str) -> list[Path]:
    """Images of a text file that lists them."""
    tail = name.replace("\\", "/").split("/")[-1]
    found = []
    for path in (path for path in source.ending(".txt") if path.name == tail):
        for line in source.text(path).splitlines():
            try:
                found.append(source.image(line.strip().removeprefix("./")))
            except LookupFailedError:
                continue
    return found


def _read(source: Source, path: Path, names: dict[int, str], picture: Picture, export: Export) -> None:
    for number, line in enumerate(source.text(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        export.objects.found += 1
        name = f"{source.name(path)}, line {number}"
        try:
            values = [float(word) for word in words]
        except ValueError:
            export.objects.leave_out("the coordinates are damaged", [name])
            continue
        label = names.get(int(values[0])) if values[0].is_integer() else None
        if label is None:
            export.objects.leave_out("the number of their class has no name", [name])
            continue
        try:
            is_box = len(values) in (5, 6)
            draw = _box(values[1:5]) if is_box else _outline(values[1:])
        except UnusableError as reason:
            export.objects.leave_out(str(reason), [name])
            continue
        picture.shapes.append(Shape(label, draw, name, kind="box" if is_box else "area"))


def _outline(values: list[float]) -> Draw:
    points = corners(values)
    return lambda size: polygon(points * (size[1], size[0]))(size)


def _box(values: list[float]) -> Draw:
    x, y, width, height = values
    outline = corners([[x + dx * width / 2, y + dy * height / 2] for dx, dy in ((-1, -1), (1, -1), (1, 1), (-1, 1))])
    return lambda size: polygon(outline * (size[1], size[0]))(size)
