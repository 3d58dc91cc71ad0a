"""COCO's JSON of key points: any number of joints, one file for each side or one for all."""

from __future__ import annotations

import json
import mmap
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from saccade.data.decoding import UnreadableError
from saccade.data.importing.export import side_in, side_of
from saccade.data.layouts import Item, listed
from saccade.data.reading import Reading
from saccade.data.tree import Folder
from saccade.errors import InputError, near
from saccade.tasks.pose.described import Joints, described, given_joints, numbers, pairs_of_order
from saccade.tasks.pose.found import NotFoundError, Pictures, size_of
from saccade.tasks.pose.marked import (
    LARGEST,
    Complaints,
    Marked,
    Marks,
    box_of,
    key_of,
    number,
    points_of,
    with_hidden,
)
from saccade.tasks.pose.wholebody import PARTS, Part

_OTHERS = ("instances", "captions", "stuff", "panoptic", "image_info")
_KEYPOINTS = re.compile(rb'"keypoints"\s*:\s*\[\s*[-"\d]')
_WANTED = (b'"images"', b'"annotations"', b'"categories"')
_UNLISTED = "the annotations do not mention it"


def keypoint_files(root: Folder) -> list[Path]:
    """Return the JSON files below a folder that have images, categories and annotations with key points."""
    found = []
    for one in root.walk():
        for path in one.others:
            if path.suffix.lower() == ".json" and not path.name.startswith(_OTHERS) and _has_keypoints(path):
                found.append(path)
    return sorted(found)


def _has_keypoints(path: Path) -> bool:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return all(content.find(word) >= 0 for word in _WANTED) and _KEYPOINTS.search(content) is not None
    except (OSError, ValueError):  # an empty file cannot be mapped
        return False


@dataclass
class Found:
    """Findings of a reader.

    Args:
        sides: Images by the side that a file or a folder says, None where it says none.
        marks: Objects, sizes and joints.
        complaints: What is wrong.
        others: Files that decide what the data are.
        unused: Reasons of images that are not used.
    """

    sides: dict[str | None, list[Item]]
    marks: Marks
    complaints: Complaints
    others: list[Path] = field(default_factory=list)
    unused: dict[Path, str] = field(default_factory=dict)


@dataclass
class _Document:
    path: Path
    content: dict[str, Any]
    side: str | None


def read_coco(root: Folder, reading: Reading) -> Found:
    """Read all files of key points below a folder.

    Raises:
        InputError: A file is damaged, two files say the same side, or the category has to be chosen.
    """
    documents = [_opened(path, root.path) for path in keypoint_files(root)]
    if not documents:
        raise InputError(f"{root.path} holds no JSON with images, annotations and key points")
    sides = [one.side for one in documents]
    if len(documents) > 1:
        twice = next((side for side in sides if sides.count(side) > 1), "")
        if twice != "":
            both = [one.path.relative_to(root.path).as_posix() for one in documents if one.side == twice]
            raise InputError(
                f"{root.path}: {listed(both)} say {f'the side {twice}' if twice else 'no side'} each",
                "leave one file for each side: names such as annotations_train.json say it",
            )
    name, joints = _category(documents, reading)
    complaints = Complaints()
    marks = Marks(joints, {}, {}, {}, name)
    found = Found({}, marks, complaints, [one.path for one in documents])
    pictures = Pictures(root)
    for one in documents:
        _read(one, name, len(joints.names), pictures, reading, found)
    for path in pictures.every:
        if path not in marks.people:
            found.unused[path] = _UNLISTED
    marks.remarks += complaints.said()
    return found


def _opened(path: Path, root: Path) -> _Document:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError, UnicodeDecodeError) as cause:
        raise InputError(f"{path} is not valid JSON ({str(cause)[:160]})", "export it again") from cause
    except OSError as cause:
        raise InputError(f"{path}: cannot be read ({cause.strerror or cause})") from cause
    for key in ("images", "annotations", "categories"):
        rows = content.get(key) if isinstance(content, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputError(f"{path}: expected {key!r} to be a list of objects", "COCO's key points have three lists")
    parts = re.split(r"[_.\-]", path.stem)
    inside = side_in(path.parent.relative_to(root)) if path.parent != root else None
    said = next((side for part in reversed(parts) if (side := side_of(part)) is not None), None)
    return _Document(path, content, inside or said)


def _named(row: dict[str, Any]) -> str:
    name = row.get("name")
    return str(name).strip() if isinstance(name, (str, int)) and str(name).strip() else f"category {row.get('id')}"


def _category(documents: list[_Document], reading: Reading) -> tuple[str, Joints]:
    """Choose the category, and return its name and its joints.

    Raises:
        InputError: There are several, none, or files that name its joints in different orders.
    """
    lengths: dict[str, Counter[int]] = {}
    listed_names: dict[str, list[str]] = {}
    rows: dict[str, dict[str, Any]] = {}
    for one in documents:
        by_id = {key_of(row.get("id")): row for row in one.content["categories"]}
        for row in one.content["annotations"]:
            category = by_id.get(key_of(row.get("category_id")))
            points = row.get("keypoints")
            if category is not None and isinstance(points, list) and points:
                lengths.setdefault(_named(category), Counter())[len(points)] += 1
        for row in one.content["categories"]:
            names, name = row.get("keypoints"), _named(row)
            if not isinstance(names, list) or not names:
                continue
            names = [str(each) for each in names]
            if listed_names.setdefault(name, names) != names:
                raise InputError(
                    f"{one.path}: the joints of {name!r} are {listed(names)}, in another file "
                    f"{listed(listed_names[name])}",
                    "every file must list the same joints in the same order",
                )
            rows.setdefault(name, row)
    known = list(dict.fromkeys([*listed_names, *lengths]))
    with_points = [name for name in known if name in lengths]
    if reading.category is not None:
        if reading.category not in known:
            raise InputError(
                f"--category {reading.category}: no such category with key points",
                near(reading.category, known),
            )
        chosen = reading.category
    elif len(with_points) > 1:
        raise InputError(
            f"{documents[0].path}: {len(with_points)} categories have key points: {listed(with_points)}",
            "choose one: --category NAME",
        )
    elif known:
        chosen = (with_points or known)[0]
    else:
        raise InputError(
            f"{documents[0].path}: no category has key points, and no annotation of a listed category",
            "annotations belong to a category by its id",
        )
    where = f"{documents[0].path.name}, category {chosen!r}"
    names = listed_names.get(chosen)
    data: Joints | None = None
    row = rows.get(chosen, {})
    if names is None:
        count, rest = divmod(max(lengths.get(chosen, Counter({0: 1})).items(), key=lambda one: one[1])[0], 3)
        if not count or rest:
            raise InputError(
                f"{where}: it names no joints, and its points are not x, y, v", "add names to the category"
            )
        names = [f"joint {place}" for place in range(1, count + 1)]
    data = described(
        names, pairs=_pairs(row, names, where), sigmas=_sigmas(row, where), skeleton=_skeleton(row, len(names)),
        where=where,
    )  # fmt: skip
    return chosen, data if reading.joints is None else given_joints(str(reading.joints), data)


def _pairs(row: dict[str, Any], names: list[str], where: str) -> Any:
    """Return the mirror pairs that a category lists under one of the usual keys, if it does."""
    if isinstance(row.get("flip_idx"), list):
        return pairs_of_order(row["flip_idx"], f"{where}, flip_idx")
    for key in ("flip_pairs", "pairs", "mirror_pairs"):
        if isinstance(row.get(key), list):
            return [
                [names.index(each) if each in names else each for each in pair] if isinstance(pair, list) else pair
                for pair in row[key]
            ]
    return None


def _sigmas(row: dict[str, Any], where: str) -> list[float] | None:
    given = next((row[key] for key in ("sigmas", "kpt_oks_sigmas", "oks_sigmas") if row.get(key)), None)
    return numbers(given, f"{where}, sigmas")


def _skeleton(row: dict[str, Any], joints: int) -> list[tuple[int, int]]:
    """Return the lines of a skeleton, which COCO counts from 1; one that does not fit is not drawn."""
    given = row.get("skeleton")
    lines = [line for line in given if isinstance(line, list) and len(line) == 2] if isinstance(given, list) else []
    if not all(isinstance(end, int) and not isinstance(end, bool) for line in lines for end in line):
        return []
    ends = [end for line in lines for end in line]
    first = 0 if 0 in ends else 1
    return [
        (one - first, other - first)
        for one, other in lines
        if max(one, other) - first < joints and min(one, other) >= first
    ]


def _read(one: _Document, name: str, joints: int, pictures: Pictures, reading: Reading, found: Found) -> None:
    complaints, marks, file = found.complaints, found.marks, one.path.name
    ids = {key_of(row.get("id")) for row in one.content["categories"] if _named(row) == name}
    marks.category_ids |= ids
    by_id: dict[str, Path | None] = {}
    for index, row in enumerate(one.content["images"]):
        key = key_of(row.get("id"))
        where = f"{file}: image {key if key is not None else f'at {index}'}"
        if key is None:
            complaints.add("images must have an id, a number or text", where)
            continue
        if key in by_id:
            complaints.add("images must have an id of their own", where)
            continue
        by_id[key] = None
        try:
            path = pictures.find(row.get("file_name"), near=one.path.parent, side=one.side)
        except NotFoundError as reason:
            complaints.add(f"image missing, {reason}", f"{where}, {str(row.get('file_name'))[:80]!r}")
            continue
        if path in marks.people:
            complaints.add("images must be listed once", f"{where}, {path.name}")
            continue
        size = _size(row, path, where, complaints)
        if size is None:
            continue
        by_id[key] = path
        marks.people[path], marks.sizes[path], marks.numbers[path] = [], size, row["id"]
        side = one.side or side_in(pictures.name(path.parent))
        found.sides.setdefault(side, []).append(Item(path, None))
    seen: set[str] = set()
    for index, row in enumerate(one.content["annotations"]):
        key = key_of(row.get("id"))
        where = f"{file}: annotation {key if key is not None else f'at {index}'}"
        category = key_of(row.get("category_id"))
        if category not in ids:
            if "category_id" not in row:
                complaints.add("annotations must have a category_id", where)
            else:
                complaints.note(f"annotations are of other categories than {name!r}")
            continue
        complaints.remarks["annotations have an id of 0"] += key == "0"
        complaints.remarks["annotations have an id that is text"] += isinstance(row.get("id"), str)
        complaints.remarks["annotations have no id"] += key is None
        if key is not None:
            complaints.remarks["annotations have an id that another one has"] += key in seen
            seen.add(key)
        image = key_of(row.get("image_id"))
        if image is None or image not in by_id:
            complaints.add("annotations must belong to a listed image", f"{where}: image_id {row.get('image_id')!r}")
            continue
        marked = _annotation(row, joints, where, complaints, reading)
        if marked is not None and by_id[image] is not None:
            marks.people[by_id[image]].append(marked)  # type: ignore[index]
    complaints.remarks = +complaints.remarks


def _annotation(
    row: dict[str, Any], joints: int, where: str, complaints: Complaints, reading: Reading
) -> Marked | None:
    crowd = row.get("iscrowd", 0)
    if crowd not in (0, 1, True, False):
        complaints.add("iscrowd must be 0 or 1", f"{where}: {str(crowd)[:40]!r}")
        return None
    given = row.get("keypoints")
    part, box_key = PARTS.get(str(reading.joints)), "bbox"
    if part is not None:
        given, box_key = _of_part(row, part), part.box
    points = np.zeros((joints, 3)) if given is None or given == [] else points_of(given, joints, where, complaints)
    if points is None:
        return None
    said = number(row.get("num_keypoints"))
    if part is None and said is not None and said != int((points[:, 2] > 0).sum()):
        complaints.note("objects have a num_keypoints that contradicts their visibilities, which count")
    box = None
    if row.get(box_key) is not None:
        box = box_of(row[box_key], where, complaints)
        if box is None:
            return None
    area = row.get("area") if box_key == "bbox" else None
    if area is not None:
        value = number(area)
        if value is None or not 0 <= value < LARGEST**2:
            complaints.add("area must be a finite number of at least 0", f"{where}: {str(area)[:40]!r}")
            return None
        area = value
    return Marked(str(row.get("id")), with_hidden(points, reading.hidden), box, area, bool(crowd))


def _of_part(row: dict[str, Any], part: Part) -> list[Any] | None:
    """Return the points of all keys of a part; those of a missing key are without labels, and None if all are."""
    found: list[Any] = []
    for key, count in part.keys:
        given = row.get(key)
        found += given if isinstance(given, list) and given else [0] * (3 * count) if given in (None, []) else [given]
    return found if any(row.get(key) for key, _ in part.keys) else None


def _size(row: dict[str, Any], path: Path, where: str, complaints: Complaints) -> tuple[int, int] | None:
    given = row.get("width"), row.get("height")
    if given == (None, None):
        try:
            return size_of(path)
        except UnreadableError as problem:
            complaints.add("image cannot be read", f"{path.name}: {problem}")
            return None
    width, height = map(number, given)
    if width is None or height is None or not (1 <= width < 1e6 and 1 <= height < 1e6):
        complaints.add("width and height must be numbers of pixels", f"{where}: {given[0]!r} x {given[1]!r}"[:160])
        return None
    return int(width), int(height)
