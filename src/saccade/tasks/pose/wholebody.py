"""COCO-WholeBody: 133 joints of people, whose annotations keep feet, face and hands under keys of their own.

S. Jin et al., "Whole-Body Human Pose Estimation in the Wild", ECCV 2020, arXiv:2007.11858.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from saccade.tasks.pose.joints import COCO_JOINTS, COCO_PAIRS, COCO_SIGMAS

_FACE, _HAND = 68, 21

FOOT_JOINTS = tuple(f"{side}_{part}" for side in ("left", "right") for part in ("big_toe", "small_toe", "heel"))
FACE_JOINTS = tuple(f"face_{place}" for place in range(1, _FACE + 1))
HAND_JOINTS = tuple(f"hand_{place}" for place in range(1, _HAND + 1))

_FACE_ORDER = (
    *range(16, -1, -1),  # jaw
    *range(26, 16, -1),  # brows
    27, 28, 29, 30, 35, 34, 33, 32, 31,  # nose
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,  # eyes
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,  # mouth
)  # fmt: skip
"""Place of each point of a face in its mirror image."""

FOOT_SIGMAS = (0.068, 0.066, 0.066, 0.092, 0.094, 0.094)
FACE_SIGMAS = tuple(
    s / 1000
    for s in (
        42, 43, 44, 43, 40, 35, 31, 25, 20, 23, 29, 32, 37, 38, 43, 41, 45, 13, 12, 11, 11, 12, 12, 11, 11, 13, 15, 9,
        7, 7, 7, 12, 9, 8, 16, 10, 17, 11, 9, 11, 9, 7, 13, 8, 11, 12, 10, 34, 8, 8, 9, 8, 8, 7, 10, 8, 9, 9, 9, 7, 7,
        8, 11, 8, 8, 8, 10, 8,
    )
)  # fmt: skip
HAND_SIGMAS = tuple(
    s / 1000 for s in (29, 22, 35, 37, 47, 26, 25, 24, 35, 18, 24, 22, 26, 17, 21, 21, 32, 20, 19, 22, 31)
)

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Part:
    """Joints that an annotation keeps together.

    Args:
        names: Names of the joints.
        pairs: Mirror pairs; None where a mirror makes another part of it.
        sigmas: Sigmas of the joints.
        keys: Keys of the annotation that hold the points, with the number of joints of each.
        box: Key of the box.
    """

    names: tuple[str, ...]
    pairs: Pairs | None
    sigmas: tuple[float, ...]
    keys: tuple[tuple[str, int], ...]
    box: str = "bbox"


def _moved(pairs: Pairs, by: int) -> Pairs:
    return tuple((one + by, other + by) for one, other in pairs)


_FACE_PAIRS = tuple((place, other) for place, other in enumerate(_FACE_ORDER) if place < other)
_FOOT_PAIRS = ((0, 3), (1, 4), (2, 5))
_HANDS = 17 + 6 + _FACE

PARTS: Mapping[str, Part] = {
    "coco-wholebody": Part(
        (
            *COCO_JOINTS, *FOOT_JOINTS, *FACE_JOINTS, *(f"left_{name}" for name in HAND_JOINTS),
            *(f"right_{name}" for name in HAND_JOINTS),
        ),
        (
            *COCO_PAIRS, *_moved(_FOOT_PAIRS, 17), *_moved(_FACE_PAIRS, 23),
            *((_HANDS + place, _HANDS + _HAND + place) for place in range(_HAND)),
        ),
        (*COCO_SIGMAS, *FOOT_SIGMAS, *FACE_SIGMAS, *HAND_SIGMAS, *HAND_SIGMAS),
        (
            ("keypoints", 17), ("foot_kpts", 6), ("face_kpts", _FACE), ("lefthand_kpts", _HAND),
            ("righthand_kpts", _HAND),
        ),
    ),
    "coco-wholebody-feet": Part(FOOT_JOINTS, _FOOT_PAIRS, FOOT_SIGMAS, (("foot_kpts", 6),)),
    "coco-wholebody-face": Part(FACE_JOINTS, _FACE_PAIRS, FACE_SIGMAS, (("face_kpts", _FACE),), "face_box"),
    "coco-wholebody-left-hand": Part(HAND_JOINTS, None, HAND_SIGMAS, (("lefthand_kpts", _HAND),), "lefthand_box"),
    "coco-wholebody-right-hand": Part(HAND_JOINTS, None, HAND_SIGMAS, (("righthand_kpts", _HAND),), "righthand_box"),
}  # fmt: skip
"""All joints, and single parts, by the name that ``--joints`` takes."""
