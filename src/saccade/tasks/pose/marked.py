"""Annotated objects as files give them: every field checked, and whatever is wrong named with its file and id.

One rule for visibilities: 0 says that a label is missing, and coordinates mean nothing; 1 (hidden) and 2 are labels.
A joint without coordinates (NaN, or none) has no label.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data.layouts import Item
from saccade.tasks.pose.described import Joints
from saccade.tasks.pose.evaluation import BOX_FRACTION

_SHOWN = 3
ROUND_JOINTS = 1.25
"""Factor of the joints' extent that is the box of an object without one."""
LARGEST = 1e7
"""Pixels that no coordinate, and no side of a box, has."""
LEAST_SIDE = 2.0
"""Pixels that a box must have inside the image on either side."""

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Marked:
    """One annotated object.

    Args:
        id: Its id, as the file has it.
        points: (K, 3) x, y in pixels and visibility 0, 1 or 2; of unlabelled joints all three are 0.
        box: Left, top, width and height in pixels; None where the file has none.
        area: Area in pixels; None where the file has none.
        crowd: True for a group that is not told apart.
    """

    id: str
    points: Points
    box: tuple[float, float, float, float] | None = None
    area: float | None = None
    crowd: bool = False

    @cached_property
    def labelled(self) -> int:
        """Number of labelled joints."""
        return int(np.count_nonzero(self.points[:, 2] > 0))

    @property
    def size(self) -> float:
        """Area in pixels: as given, else the stand-in from the box, or from that of the joints."""
        if self.area is not None:
            return self.area
        box = self.box or self.round_joints()
        return BOX_FRACTION * box[2] * box[3] if box is not None else 0.0

    def round_joints(self) -> tuple[float, float, float, float] | None:
        """Return the box around the labelled joints, a quarter larger; None where they have no extent."""
        there = self.points[self.points[:, 2] > 0, :2]
        if len(there) < 2:
            return None
        low, high = there.min(axis=0), there.max(axis=0)
        longest = float((high - low).max())
        if longest < LEAST_SIDE:
            return None
        sides = np.maximum(high - low, longest / 4) * ROUND_JOINTS  # a straight line of joints has a width too
        left, top = (low + high - sides) / 2
        return float(left), float(top), float(sides[0]), float(sides[1])

    def region(self, size: tuple[int, int]) -> tuple[float, float, float, float] | None:
        """Return the box that the object is cut out by: the annotated one, else that around its joints; or None.

        Args:
            size: Width and height of the image.
        """
        if self.box is not None and min(inside(self.box, size)) >= LEAST_SIDE:
            return self.box
        box = self.round_joints()
        return box if box is not None and min(inside(box, size)) >= LEAST_SIDE else None


def inside(box: Sequence[float], size: tuple[int, int]) -> tuple[float, float]:
    """Return width and height of the part of a box that lies in an image; negative outside it."""
    left, top, width, height = box
    return min(size[0], left + width) - max(0.0, left), min(size[1], top + height) - max(0.0, top)


@dataclass
class Marks:
    """The objects of all images of a folder.

    Args:
        joints: Joints of the objects.
        people: Objects by image.
        sizes: Width and height of images, as the annotations or the files say.
        numbers: Number or name of an image in the annotations.
        category: Name of the objects.
        category_ids: Ids of the category in the annotations; empty where they have none.
        remarks: Sentences on what was left out or replaced.
        boxes: Boxes of a detector by image; None: annotated boxes.
        boxes_from: Source of the boxes, in words.
        codec: Name of the codec.
        aspect: Width and height of a crop, as a ratio.
    """

    joints: Joints
    people: dict[Path, list[Marked]]
    sizes: dict[Path, tuple[int, int]]
    numbers: dict[Path, Any]
    category: str
    category_ids: set[str | None] = field(default_factory=set)
    remarks: list[str] = field(default_factory=list)
    boxes: dict[Path, list[tuple[tuple[float, float, float, float], float]]] | None = None
    boxes_from: str = "annotated boxes"
    codec: str = "udp"
    aspect: tuple[int, int] = (1, 1)

    def learned(self, item: Item) -> list[Marked]:
        """Return the objects of an image that are learned from: with a label, an area and a box, and no crowd."""
        size = self.sizes[item.image]
        return [one for one in self.people.get(item.image, ()) if usable(one, size)]


def usable(one: Marked, size: tuple[int, int]) -> bool:
    """Return True for an object that is learned from."""
    return not one.crowd and one.labelled > 0 and one.size > 0 and one.region(size) is not None


class Complaints:
    """Faults of files, grouped by reason, so that a thousand errors of one kind are one line."""

    def __init__(self) -> None:
        self.places: dict[str, list[str]] = defaultdict(list)
        self.remarks: Counter[str] = Counter()

    def add(self, reason: str, place: str) -> None:
        """Record one place with something that makes the data unusable."""
        self.places[reason].append(place)

    def note(self, remark: str) -> None:
        """Count something worth knowing that was put right."""
        self.remarks[remark] += 1

    def lines(self) -> list[str]:
        """Return a line per reason, with the first places."""
        found = []
        for reason, places in self.places.items():
            more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
            found.append(f"{reason}: {'; '.join(places[:_SHOWN])}{more}")
        return found

    def said(self) -> list[str]:
        """Return the remarks with their numbers."""
        return [f"{count:,} {remark}" for remark, count in self.remarks.items()]


def number(value: Any) -> float | None:
    """Return a number of a file; None for anything else, such as a truth value or text."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def points_of(given: Any, joints: int, where: str, complaints: Complaints) -> Points | None:
    """Return the points (K, 3) of a flat list x, y, v, x, y, v, ...; None and a complaint where it is none."""
    if not isinstance(given, (list, tuple)) or len(given) != 3 * joints:
        what = f"{len(given)} numbers" if isinstance(given, (list, tuple)) else type(given).__name__
        complaints.add(f"keypoints must be {3 * joints} numbers, x, y and v of {joints} joints", f"{where}: {what}")
        return None
    plain = _plain_points(given)
    if plain is not None:
        return plain
    values = [number(value) if value is not None else math.nan for value in given]
    if any(value is None for value in values):
        wrong = next(raw for raw, value in zip(given, values, strict=True) if value is None)
        complaints.add("keypoints must be numbers", f"{where}: {str(wrong)[:40]!r}")
        return None
    return labelled_points(np.array(values, dtype=np.float64).reshape(-1, 3), where, complaints)


def _plain_points(given: Sequence[Any]) -> Points | None:
    """Return points that nothing is odd with, as almost all are, at a tenth of the time; None for any others."""
    if not set(map(type, given)) <= {int, float} or not set(given[2::3]) <= {0, 1, 2}:
        return None
    try:
        finite = math.isfinite(sum(given))
    except OverflowError:
        return None
    if not finite or max(given) > LARGEST or min(given) < -LARGEST:
        return None
    if any(v and not x and not y for x, y, v in zip(*[iter(given)] * 3, strict=True)):
        return None
    points = np.array(given, dtype=np.float64).reshape(-1, 3)
    points *= points[:, 2:] > 0
    return points


def labelled_points(points: Points, where: str, complaints: Complaints) -> Points | None:
    """Return points by the rule of visibilities; None and a complaint for visibilities or places that are none."""
    seen = points[:, 2]
    absent = np.isnan(points).any(axis=1)
    if (absent & (seen > 0)).any():
        complaints.note("objects have joints without coordinates (NaN): no label")
    seen = np.where(absent, 0.0, seen)
    wrong = seen[(seen != 0) & (seen != 1) & (seen != 2)]
    if len(wrong):
        complaints.add("visibility must be 0, 1 or 2", f"{where}: {wrong[0]:g}")
        return None
    if (np.abs(points[seen > 0, :2]) > LARGEST).any():
        complaints.add("coordinates must be finite, and not of millions of pixels", where)
        return None
    there = seen > 0
    if (there & (points[:, :2] == 0).all(axis=1)).any():
        complaints.note("objects have a labelled joint at (0, 0): labels, though often a place for none")
    return np.where(there[:, None], np.stack([points[:, 0], points[:, 1], seen], axis=1), 0.0)


def box_of(given: Any, where: str, complaints: Complaints) -> tuple[float, float, float, float] | None:
    """Return a box (left, top, width, height); None and a complaint where it is none."""
    values = [number(value) for value in given] if isinstance(given, (list, tuple)) else []
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if len(values) != 4 or len(finite) != 4 or min(finite[2:]) < 0 or max(map(abs, finite)) > LARGEST:
        complaints.add(
            "bbox must be left, top, width and height, finite and not below 0", f"{where}: {str(given)[:60]}"
        )
        return None
    left, top, width, height = finite
    return left, top, width, height


def key_of(value: Any) -> str | None:
    """Return an id as text, for some tools write ids as text or as 5.0; None for anything that is not an id."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    return str(value).strip() or None


def with_hidden(points: Points, hidden: str) -> Points:
    """Return points with hidden joints (visibility 1) as they are, or without their labels.

    Args:
        points: (K, 3).
        hidden: ``"learn"`` or ``"ignore"``.
    """
    return points if hidden == "learn" else np.where(points[:, 2:] == 1, 0.0, points)


def counted(marks: Marks, items: Mapping[str, Sequence[Item]]) -> list[str]:
    """Return sentences with the numbers of objects, which add up."""
    lines = []
    for side, some in items.items():
        people = [(one, marks.sizes[item.image]) for item in some for one in marks.people.get(item.image, ())]
        empty = sum(not marks.people.get(item.image) for item in some)
        crowds = sum(one.crowd for one, _ in people)
        unlabelled = sum(not one.crowd and not one.labelled for one, _ in people)
        used = sum(usable(one, size) for one, size in people)
        rest = len(people) - crowds - unlabelled - used
        parts = [f"{used:,} learned from" if side == "training" else f"{used:,} scored"]
        parts += [f"{unlabelled:,} without a labelled joint"] if unlabelled else []
        parts += [f"{crowds:,} crowds"] if crowds else []
        parts += [f"{rest:,} without area or box"] if rest else []
        none = f"; {empty:,} images without any" if empty else ""
        lines.append(f"{side}: {len(people):,} objects in {len(some):,} images: {', '.join(parts)}{none}")
    return lines
