"""Folders of key points: which they are, their images on both sides, and what is odd in their annotations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from saccade.data.layouts import Division, Item, divide, listed, relative, said_inside, unwrapped
from saccade.data.reading import Reading
from saccade.data.tree import account, scan
from saccade.errors import InputError, near
from saccade.tasks.base import Files
from saccade.tasks.pose.boxes import read_boxes
from saccade.tasks.pose.coco import keypoint_files, read_coco
from saccade.tasks.pose.codecs import CODECS
from saccade.tasks.pose.described import DEFAULT_SIGMA, KNOWN
from saccade.tasks.pose.marked import LEAST_SIDE, Marked, Marks, counted, inside
from saccade.tasks.pose.yolo import read_yolo, yolo_file

COCO, YOLO = "coco-keypoints", "yolo-pose"
DEFAULT_CODEC = "udp"
_PEOPLE_ASPECT = (3, 4)
_ENOUGH, _RARE = 10, 0.3  # objects that a rule of the sides of joints needs; agreement that is called swapped
_OUT = 1.0  # pixels that a point may lie outside its image without being called so


def pose_readings(folder: Path) -> dict[str, str]:
    """Return the layouts that a folder may be in, and what each would make of it, in words; never an error."""
    root = unwrapped(scan(folder))
    found = {}
    files = keypoint_files(root)
    if files:
        found[COCO] = f"key points of {listed([relative(file, folder) for file in files])}"
    yolo = yolo_file(root)
    if yolo is not None:
        found[YOLO] = f"key points of {relative(yolo, folder)}"
    return found


def find_files(folder: Path, reading: Reading, layout: str, *, scored: bool = False) -> Files:
    """Read all annotations of a folder and divide its images.

    Args:
        folder: The folder.
        reading: How it is to be read.
        layout: Name of the layout.
        scored: If True, a folder of one side alone is that of scoring.

    Raises:
        InputError: Annotations that cannot be read at all, or sides that are not complete. What is wrong in single
            annotations is in the problems of the result.
    """
    top = scan(folder)
    root = unwrapped(top)
    found = read_coco(root, reading) if layout == COCO else read_yolo(root, reading)
    marks = found.marks
    if not any(found.sides.values()):
        lines = found.complaints.lines()
        raise InputError(f"{folder}: no image can be used{': ' if lines else ''}{'; '.join(lines)}")
    only = next(iter(found.sides)) if scored and len(found.sides) == 1 else None
    if only is not None:
        division = Division((), tuple(found.sides[only]), f"the side {only} alone")
    else:
        division = divide(found.sides, top, reading)
    marks.codec = _codec(reading)
    marks.aspect = _aspect(reading, marks)
    others = list(found.others)
    if reading.boxes is not None:
        marks.boxes, marks.boxes_from = (
            read_boxes(Path(reading.boxes), marks, marks.category, folder),
            "boxes of " + (Path(reading.boxes).name),
        )
        others.append(Path(reading.boxes))
    for one in (reading.joints,) if reading.joints is not None and reading.joints not in KNOWN else ():
        others.append(Path(one))
    sides = {"training": division.train, "validation": division.val}
    for side, items in sides.items():
        if (items or not scored) and not any(marks.learned(item) for item in items):
            found.complaints.add("no object with a labelled joint, an area and a box", f"{side} side")
    used = [item.image for item in (*division.train, *division.val)]
    width, height = marks.aspect
    values = (
        *marks.joints.said(), *counted(marks, sides), *marks.remarks, *_areas(marks),
        f"crops of {width} : {height}, codec {marks.codec}; validation on {marks.boxes_from}",
    )  # fmt: skip
    note = f"{marks.category!r} with {len(marks.joints.names)} joints, from " + listed(
        [relative(file, folder) for file in found.others[:3]]
    )
    return Files(
        marks.joints.names, division.train, division.val, f"{note}{said_inside(top, root)}, {division.origin}",
        reader=marks, others=tuple(others), drawn=division.drawn, layout=layout, origin=division.origin,
        left_out=account(top, {*used, *others}, found.unused | dict(division.left_out)),
        problems=(*division.problems, *found.complaints.lines()), meaning=tuple(values),
        allow_copies=reading.allow_copies, called="joints",
    )  # fmt: skip


def _codec(reading: Reading) -> str:
    if reading.codec is None:
        return DEFAULT_CODEC
    if reading.codec not in CODECS:
        raise InputError(f"--codec {reading.codec}: no such codec", near(reading.codec, CODECS))
    return reading.codec


def _aspect(reading: Reading, marks: Marks) -> tuple[int, int]:
    """Return width and height of crops as a ratio: as given, 3 : 4 for people, else 1 : 1."""
    if reading.aspect is None:
        known = any(marks.joints.names == one.names for one in KNOWN.values())
        people = known or marks.category.lower() in ("person", "people", "human")
        return _PEOPLE_ASPECT if people and marks.joints.upper else (1, 1)  # feet, faces and hands are not upright
    try:
        width, height = (int(part) for part in str(reading.aspect).split(":"))
        ratio = Fraction(width, height)
    except (ValueError, ZeroDivisionError) as cause:
        raise InputError(f"--aspect {reading.aspect}: expected WIDTH:HEIGHT", "such as 3:4 for people") from cause
    if not Fraction(1, 8) <= ratio <= 8:
        raise InputError(f"--aspect {reading.aspect}: expected a ratio from 1:8 to 8:1")
    return ratio.numerator, ratio.denominator


def _areas(marks: Marks) -> Iterator[str]:
    every = [one for some in marks.people.values() for one in some if one.labelled and not one.crowd]
    without = sum(one.area is None for one in every)
    if without:
        yield f"{without:,} of {len(every):,} objects have no area: 0.53 of the box is taken"
    boxless = sum(one.box is None for one in every)
    if boxless:
        yield f"{boxless:,} objects have no box: that around their joints is taken, a quarter larger"
    if marks.joints.sigmas == (DEFAULT_SIGMA,) * len(marks.joints.names) and every:
        half = (
            2 * DEFAULT_SIGMA * float(np.median([max(one.size, 1.0) for one in every])) ** 0.5 * (2 * np.log(2)) ** 0.5
        )
        yield f"with these sigmas a joint {half:.1f} px off in an object of the median size counts half (OKS 0.5)"


def findings(marks: Marks, sides: Mapping[str, Sequence[Item]]) -> Iterator[str]:
    """Say what is odd in annotations that can be read."""
    for side, items in sides.items():
        rows = [(item.image, one) for item in items for one in marks.people.get(item.image, ()) if not one.crowd]
        where = {id(one): f"{image.name}, annotation {one.id}" for image, one in rows}
        outside = [one for image, one in rows if _outside(one, marks.sizes[image])]
        yield from _said(side, "objects have a labelled joint outside their image", outside, where)
        loose = [one for _, one in rows if _loose(one)]
        yield from _said(side, "objects have a box that does not hold their joints", loose, where)
        lost = [
            one for image, one in rows if one.box is not None and min(inside(one.box, marks.sizes[image])) < LEAST_SIDE
        ]
        yield from _said(side, "objects have a box of no area in their image", lost, where)
        yield from _said(side, "objects have an area of 0", [one for _, one in rows if one.area == 0], where)
        yield from _said(side, "objects are there twice", _twice(items, marks), where)
        yield from _visibility(side, [one for _, one in rows])
        yield from _swapped(side, marks, [one for _, one in rows], where)


def _said(side: str, what: str, some: Sequence[Marked], where: Mapping[int, str]) -> Iterator[str]:
    if some:
        more = f" and {len(some) - 3} more" if len(some) > 3 else ""
        yield f"{side}: {len(some)} {what}: {'; '.join(where[id(one)] for one in some[:3])}{more}"


def _outside(one: Marked, size: tuple[int, int]) -> bool:
    there = one.points[one.points[:, 2] > 0, :2]
    return bool(((there < -_OUT) | (there > np.array(size) - 1 + _OUT)).any())


def _loose(one: Marked) -> bool:
    """True if more than a tenth of its size lies between a joint and its box."""
    there = one.points[one.points[:, 2] > 0, :2]
    if one.box is None or not len(there) or min(one.box[2:]) < LEAST_SIDE:
        return False
    low, sides = np.array(one.box[:2]), np.array(one.box[2:])
    over = np.maximum(low - there, there - low - sides).max()
    return bool(over > max(_OUT, 0.1 * sides.max()))


def _twice(items: Sequence[Item], marks: Marks) -> list[Marked]:
    found = []
    for item in items:
        seen: set[bytes] = set()
        for one in marks.people.get(item.image, ()):
            if one.labelled:
                key = one.points.tobytes()
                found += [one] if key in seen else []
                seen.add(key)
    return found


def _visibility(side: str, people: Sequence[Marked]) -> Iterator[str]:
    seen = np.concatenate([one.points[:, 2] for one in people]) if people else np.zeros(0)
    if len(people) >= _ENOUGH and (seen == 2).all():
        yield f"{side}: every joint of every object has visibility 2: see whether hidden ones are marked at all"
    elif len(people) >= _ENOUGH and (seen > 0).any() and (seen[seen > 0] == 1).all():
        yield f"{side}: every labelled joint is hidden (visibility 1): see what the tool means by it"


def _swapped(side: str, marks: Marks, people: Sequence[Marked], where: Mapping[int, str]) -> Iterator[str]:
    """Find pairs whose left joint mostly lies on the other side than the left joints of the other pairs."""
    pairs = marks.joints.pairs or ()
    if len(pairs) < 2 or not people:
        return
    points = np.stack([one.points for one in people])
    left, right = (points[:, [pair[end] for pair in pairs]] for end in (0, 1))
    there = (left[..., 2] > 0) & (right[..., 2] > 0)
    sign = np.where(there, np.sign(left[..., 0] - right[..., 0]), 0)
    others = np.sign(sign.sum(axis=1, keepdims=True) - sign)  # what the other pairs of the object say
    judged = (sign != 0) & (others != 0)
    for place, (one, other) in enumerate(pairs):
        some = judged[:, place]
        agrees = (sign[some, place] == others[some, place]).mean() if some.sum() >= _ENOUGH else 1.0
        if agrees < _RARE:
            names = marks.joints.names
            yield (
                f"{side}: {names[one]} and {names[other]} seem swapped: they lie the other way than the rest in "
                f"{1 - agrees:.0%} of {int(some.sum())} objects"
            )
    counts = judged.sum(axis=1)
    against = (judged & (sign != others)).sum(axis=1)
    whole = np.abs(sign.sum(axis=1)) == counts
    if whole.mean() < 0.5:  # objects seen from any side: one that differs says nothing
        return
    odd = [people[int(index)] for index in np.flatnonzero((counts >= 3) & (against == 1) & (counts - against >= 2))]
    yield from _said(side, "objects have one pair that lies the other way than their rest", odd, where)
