"""Average precision of key points by COCO's rules, through faster-coco-eval, on data that cannot mislead it.

The evaluator trusts what it is given: a repeated id loses a person, a count of joints that contradicts the visibilities
hides one, a box in a result changes its size group. What it gets is therefore written here, from the points alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.errors import InputError, require
from saccade.tasks.pose.suppression import checked_sigmas

BOX_FRACTION = 0.53
"""Area of an object without one, as a fraction of its box: the usual stand-in."""

_CATEGORY = 1
_THRESHOLDS = {"": slice(None), "50": slice(0, 1), "75": slice(5, 6)}


@dataclass(frozen=True)
class Person:
    """One annotated object.

    Args:
        image: Name or number of its image.
        points: (K, 3) x, y and visibility of each joint; 0: unlabelled.
        box: Left, top, width and height in pixels.
        area: Area in pixels; None: 0.53 of the box.
        crowd: True for a group that is not told apart, which is ignored.
    """

    image: Any
    points: Any
    box: Sequence[float]
    area: float | None = None
    crowd: bool = False


@dataclass(frozen=True)
class Detection:
    """One detected object.

    Args:
        image: Name or number of its image.
        points: (K, 2) x and y of each joint; further columns are ignored.
        score: Confidence.
    """

    image: Any
    points: Any
    score: float


@dataclass(frozen=True)
class KeypointScores:
    """The measures of COCO, and what they are computed from.

    Args:
        values: AP, AP50, AP75, APM, APL, AR, AR50, AR75, ARM and ARL, from 0 to 1; None where no annotated object is of
            that size.
        precision: (10 thresholds, 101 recalls, 3 sizes: all, medium, large); -1 where there is none.
        recall: (10, 3) likewise.
        similarities: For each image with objects and detections, OKS of its detections by falling score (rows) with
            its objects (columns).
        remarks: Sentences on what the data lacked.
    """

    values: Mapping[str, float | None]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    similarities: Mapping[Any, NDArray[np.float64]]
    remarks: tuple[str, ...] = ()


def keypoint_scores(
    people: Sequence[Person],
    detections: Sequence[Detection],
    sigmas: Sequence[float],
    *,
    images: Iterable[Any] = (),
    most: int = 20,
) -> KeypointScores:
    """Return COCO's average precision and recall of key points.

    Ids are given out again, joints are counted from the visibilities, results carry points and scores alone.

    Args:
        people: Annotated objects.
        detections: Detected objects; none at all is an AP of 0.
        sigmas: K standard deviations of the data set's annotators, as fractions of an object's scale.
        images: Names of the images, for those without any object; detections elsewhere are an error.
        most: Largest number of detections per image, the best ones.

    Raises:
        InputError: A coordinate, score, box or area that is not finite or out of range, another number of joints than
            of sigmas, or a detection in an unknown image.
        MissingExtraError: faster-coco-eval is not installed.
    """
    core: Any = require("faster_coco_eval", extra="pose")
    joints = len(checked_sigmas(sigmas, len(sigmas)))
    names = list(dict.fromkeys([*images, *(person.image for person in people)]))
    ids = {name: number for number, name in enumerate(names, start=1)}
    truth, without_area = [], 0
    for number, person in enumerate(people, start=1):
        points = _points(person.points, joints, 3, f"person {number} of image {person.image}")
        box = _box(person, number)
        without_area += person.area is None
        area = BOX_FRACTION * box[2] * box[3] if person.area is None else float(person.area)
        if not math.isfinite(area) or area < 0:
            raise InputError(
                f"person {number} of image {person.image}: expected an area of at least 0; received {area}"
            )
        seen = int((points[:, 2] > 0).sum())
        truth.append(
            {
                "id": number, "image_id": ids[person.image], "category_id": _CATEGORY, "iscrowd": int(person.crowd),
                "keypoints": points.reshape(-1).tolist(), "num_keypoints": seen, "area": area, "bbox": box,
            }
        )  # fmt: skip
    found = [_result(detection, number, joints, ids) for number, detection in enumerate(detections, start=1)]
    remarks = (
        (f"{without_area} of {len(people)} objects have no area: {BOX_FRACTION} of their box was taken",)
        if without_area
        else ()
    )
    if not people:
        nothing: dict[str, float | None] = dict.fromkeys(_NAMES)
        empty = np.full((10, 101, 3), -1.0)
        return KeypointScores(nothing, empty, np.full((10, 3), -1.0), {}, (*remarks, "there is no annotated object"))
    precision, recall, similarities = _evaluated(core, truth, found, ids, checked_sigmas(sigmas, joints).numpy(), most)
    values = _values(precision, recall)
    return KeypointScores(values, precision, recall, similarities, remarks)


def _evaluated(
    core: Any, truth: list[Any], found: list[Any], ids: Mapping[Any, int], sigmas: NDArray[np.float64], most: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[Any, NDArray[np.float64]]]:
    images = [{"id": number} for number in ids.values()]
    known = core.COCO({"images": images, "annotations": truth, "categories": [{"id": _CATEGORY, "name": "object"}]})
    evaluator = core.COCOeval_faster(known, known.loadRes(found), "keypoints", kpt_oks_sigmas=sigmas)
    evaluator.params.maxDets = [most]
    evaluator.evaluate()
    evaluator.accumulate()
    precision = np.asarray(evaluator.eval["precision"], dtype=np.float64).reshape(10, 101, 3)
    recall = np.asarray(evaluator.eval["recall"], dtype=np.float64).reshape(10, 3)
    similarities = {
        name: np.asarray(evaluator.ious[number, _CATEGORY])
        for name, number in ids.items()
        if len(evaluator.ious[number, _CATEGORY])
    }
    return precision, recall, similarities


_NAMES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")


def _values(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> dict[str, float | None]:
    """Return the mean of the entries that there are, for thresholds and sizes."""
    values: dict[str, float | None] = {}
    for letter, table in (("AP", precision), ("AR", recall)):
        parts = {name: table[chosen][..., 0] for name, chosen in _THRESHOLDS.items()}
        parts |= {"M": table[..., 1], "L": table[..., 2]}
        for name, part in parts.items():
            there = part[part > -1]
            values[letter + name] = float(there.mean()) if there.size else None
    return values


def _result(detection: Detection, number: int, joints: int, ids: Mapping[Any, int]) -> dict[str, Any]:
    where = f"detection {number} of image {detection.image}"
    if detection.image not in ids:
        raise InputError(f"{where}: the data have no such image", "give the results of the same images")
    points = _points(detection.points, joints, 2, where)
    score = float(detection.score)
    if not math.isfinite(score):
        raise InputError(f"{where}: expected a finite score; received {score}")
    keypoints = np.concatenate([points, np.ones((joints, 1))], axis=1).reshape(-1).tolist()
    return {"image_id": ids[detection.image], "category_id": _CATEGORY, "keypoints": keypoints, "score": score}


def _points(given: Any, joints: int, columns: int, where: str) -> NDArray[np.float64]:
    points = np.asarray(given, dtype=np.float64)
    if points.ndim != 2 or len(points) != joints or points.shape[1] < columns:
        raise InputError(
            f"{where}: expected points of shape ({joints}, {columns}); received {points.shape}",
            "the number of sigmas is the number of joints",
        )
    points = points[:, :columns].copy()
    if columns == 3:
        points[points[:, 2] <= 0] = 0  # coordinates of an unlabelled joint mean nothing
    if not np.isfinite(points).all():
        raise InputError(f"{where}: expected finite coordinates", "a joint without a place has visibility 0")
    return points


def _box(person: Person, number: int) -> list[float]:
    box = [float(side) for side in person.box]
    if len(box) != 4 or not all(map(math.isfinite, box)) or min(box[2:]) < 0:
        raise InputError(
            f"person {number} of image {person.image}: expected a box (left, top, width, height) of finite numbers; "
            f"received {person.box}"
        )
    return box
