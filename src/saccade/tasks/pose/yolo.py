"""YOLO's text files of key points: one line per object, with the joints described in a YAML file."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from saccade.data.decoding import UnreadableError
from saccade.data.importing.export import side_in
from saccade.data.layouts import Item, listed
from saccade.data.reading import Reading
from saccade.data.tree import Folder
from saccade.errors import InputError, near, require
from saccade.tasks.pose.coco import Found
from saccade.tasks.pose.described import Joints, described, given_joints, numbers, pairs_of_order
from saccade.tasks.pose.found import Pictures, size_of
from saccade.tasks.pose.marked import LARGEST, Complaints, Marked, Marks, labelled_points, with_hidden

_MOST_BYTES = 1_000_000
_SIDES = ("train", "val", "test")


def yolo_file(root: Folder) -> Path | None:
    """Return the YAML file below a folder that says ``kpt_shape``; None without one, or with several."""
    found = [
        path
        for one in root.walk()
        for path in one.others
        if path.suffix.lower() in (".yaml", ".yml") and _says_joints(path)
    ]
    return found[0] if len(found) == 1 else None


def _says_joints(path: Path) -> bool:
    try:
        return path.stat().st_size <= _MOST_BYTES and b"kpt_shape" in path.read_bytes()
    except OSError:
        return False


def read_yolo(root: Folder, reading: Reading) -> Found:
    """Read the labels of all images, by the sides that the YAML names, or else by folders.

    Raises:
        InputError: The YAML is damaged, or the class has to be chosen.
    """
    path = yolo_file(root)
    if path is None:
        raise InputError(f"{root.path} holds no YAML file with kpt_shape, or several", "keep one of them")
    content = _content(path)
    joints, columns = _joints(content, path, reading)
    names = _names(content, path)
    complaints, pictures = Complaints(), Pictures(root)
    labels = {file.relative_to(root.path).with_suffix("").as_posix(): file for file in _texts(root)}
    found = Found({}, Marks(joints, {}, {}, {}, ""), complaints, [path])
    sides = _sides(content, pictures)
    lines: list[tuple[Path, Path, int, list[float]]] = []
    used = set()
    for number, image in enumerate(pictures.every):
        label = next((labels[place] for place in _places(pictures.name(image)) if place in labels), None)
        side = sides.get(image, side_in(pictures.name(image.parent)))
        if sides and image not in sides:
            found.unused[image] = f"{path.name} has it on no side"
            continue
        try:
            found.marks.sizes[image] = size_of(image)
        except UnreadableError as problem:
            complaints.add("image cannot be read", f"{pictures.name(image)}: {problem}")
            continue
        found.sides.setdefault(side, []).append(Item(image, None))
        found.marks.people[image], found.marks.numbers[image] = [], number + 1
        if label is not None:
            used.add(label)
            lines += [(image, label, *line) for line in _lines(label, complaints)]
    found.others += sorted(used)
    for label in sorted(set(labels.values()) - used):
        if "labels" in label.parts[len(root.path.parts) : -1] and label.stat().st_size:
            complaints.add("labels without an image", label.relative_to(root.path).as_posix())
    there = sorted({int(values[0]) for *_, values in lines if values and values[0].is_integer()})
    chosen = _chosen(there, names, path, reading)
    found.marks.category = names.get(chosen, f"class {chosen}")
    for image, label, place, values in lines:
        where = f"{label.name}, line {place}"
        if len(values) != 5 + len(joints.names) * columns:
            complaints.add(
                f"lines must have {5 + len(joints.names) * columns} numbers: class, box, and {columns} for each joint",
                f"{where}: {len(values)}",
            )
        elif values[0] != chosen:
            complaints.note(f"lines are of other classes than {found.marks.category!r}")
        else:
            marked = _marked(values, columns, found.marks.sizes[image], where, complaints, reading)
            if marked is not None:
                found.marks.people[image].append(marked)
    found.marks.remarks += complaints.said()
    return found


def _marked(
    values: list[float], columns: int, size: tuple[int, int], where: str, complaints: Complaints, reading: Reading
) -> Marked | None:
    width, height = size
    x, y, w, h = values[1:5]
    if not all(abs(value) <= LARGEST for value in (x, y, w, h)) or min(w, h) < 0:
        complaints.add("boxes must be finite numbers with sides of at least 0", where)
        return None
    rows = np.array(values[5:], dtype=np.float64).reshape(-1, columns)
    if columns == 2:  # without visibilities a place outside, or at the origin, is that of no label
        absent = (rows < 0).any(axis=1) | (rows == 0).all(axis=1)
        rows = np.concatenate([rows, np.where(absent, 0.0, 2.0)[:, None]], axis=1)
    with np.errstate(over="ignore"):  # what is too large is named below
        rows = rows * (width, height, 1)
    points = labelled_points(rows, where, complaints)
    if points is None:
        return None
    box = ((x - w / 2) * width, (y - h / 2) * height, w * width, h * height)
    return Marked(where, with_hidden(points, reading.hidden), box, None)


def _content(path: Path) -> dict[str, Any]:
    """Read the YAML file with every scalar as text, as a class may be called ``no``."""
    yaml: Any = require("yaml", extra="train")
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError) as cause:
        raise InputError(f"{path} is not valid YAML ({' '.join(str(cause).split())[:160]})") from cause
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected kpt_shape, names, ...; received {type(content).__name__}")
    return content


def _joints(content: dict[str, Any], path: Path, reading: Reading) -> tuple[Joints, int]:
    shape = content.get("kpt_shape")
    try:
        if not isinstance(shape, list):
            raise ValueError("no list")
        count, columns = (int(one) for one in shape)
        if not 1 <= count <= 10_000 or columns not in (2, 3):
            raise ValueError("out of range")
    except ValueError as cause:
        raise InputError(
            f"{path}: kpt_shape must be the number of joints and 2 or 3; received {str(shape)[:60]}",
            "such as kpt_shape: [17, 3]",
        ) from cause
    where = path.name
    given = content.get("kpt_names") or content.get("keypoint_names")
    if isinstance(given, dict):  # a list for each class
        given = next(iter(given.values()), None)
    names = [str(name) for name in given] if isinstance(given, list) and len(given) == count else None
    pairs = None
    if content.get("flip_idx"):
        pairs = pairs_of_order(content["flip_idx"], f"{where}, flip_idx")
        if len(content["flip_idx"]) != count:
            raise InputError(
                f"{path}: flip_idx has {len(content['flip_idx'])} joints, kpt_shape {count}", "one index for each joint"
            )
    sigmas = numbers(content.get("kpt_oks_sigmas") or None, f"{where}, kpt_oks_sigmas")
    data = described(
        names or [f"joint {place}" for place in range(1, count + 1)], pairs=pairs, sigmas=sigmas, where=where
    )
    return (data if reading.joints is None else given_joints(str(reading.joints), data)), columns


def _names(content: dict[str, Any], path: Path) -> dict[int, str]:
    given = content.get("names")
    pairs = given.items() if isinstance(given, dict) else enumerate(given) if isinstance(given, list) else ()
    try:
        return {int(key): " ".join(str(name).split()) for key, name in pairs}
    except ValueError as cause:
        raise InputError(f"{path}: expected numbers before the names of the classes ({cause})") from cause


def _chosen(there: list[int], names: dict[int, str], path: Path, reading: Reading) -> int:
    if reading.category is not None:
        known = {name: number for number, name in names.items()}
        if reading.category not in known:
            raise InputError(
                f"--category {reading.category}: no such class in {path.name}", near(reading.category, known)
            )
        return known[reading.category]
    if len(there) > 1:
        raise InputError(
            f"{path}: labels are of {len(there)} classes: {listed([names.get(one, str(one)) for one in there])}",
            "choose one: --category NAME",
        )
    return there[0] if there else 0


def _texts(root: Folder) -> list[Path]:
    return [path for one in root.walk() for path in one.others if path.suffix.lower() == ".txt"]


def _places(image: str) -> list[str]:
    """Return the places where the labels of an image can stand: the last ``images`` is ``labels``, or next to it."""
    parts = list(PurePosixPath(image).with_suffix("").parts)
    places = ["/".join(parts)]
    for index in reversed([i for i, part in enumerate(parts[:-1]) if part.lower() == "images"]):
        places.insert(0, "/".join([*parts[:index], "labels", *parts[index + 1 :]]))
    return [*places, "/".join([*parts[:-1], "labels", parts[-1]])]


def _sides(content: dict[str, Any], pictures: Pictures) -> dict[Path, str]:
    """Return the side of every image in a folder that the YAML names; empty where none of them is there."""
    sides: dict[Path, str] = {}
    for side in _SIDES:
        given = content.get(side) or (content.get("valid") if side == "val" else None) or []
        for one in given if isinstance(given, list) else [given]:
            parts = [part for part in PurePosixPath(str(one).replace("\\", "/")).parts if part not in ("..", ".", "/")]
            if not parts:
                continue
            for image in pictures.every:
                above = image.relative_to(pictures.root).parts[:-1]
                tails = [tuple(parts[start:]) for start in range(len(parts))]
                if any(above[: len(tail)] == tail for tail in tails):
                    sides.setdefault(image, side)
    return sides


def _lines(path: Path, complaints: Complaints) -> list[tuple[int, list[float]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        complaints.add("labels cannot be read as text", f"{path.name} ({str(cause)[:60]})")
        return []
    found = []
    for place, line in enumerate(text.splitlines(), 1):
        words = line.split()
        try:
            values = [float(word) for word in words]
        except ValueError:
            complaints.add("lines must hold numbers", f"{path.name}, line {place}: {line[:40]!r}")
            continue
        if values:
            found.append((place, values))
    return found
