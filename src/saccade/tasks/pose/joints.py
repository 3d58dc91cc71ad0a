"""The joints of an object: pairs that a mirror swaps, COCO's seventeen, and what mirroring does to points."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.errors import InputError

Pairs = Sequence[Sequence[int]]

COCO_JOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
"""Names of COCO's joints, in the order of its files."""

COCO_PAIRS = tuple((left, left + 1) for left in range(1, 17, 2))
"""Joints that a mirror swaps."""

COCO_UPPER = tuple(range(11))
"""Joints of the upper half of a body; the others are the lower half."""

COCO_SIGMAS = tuple(
    s / 100
    for s in (2.6, 2.5, 2.5, 3.5, 3.5, 7.9, 7.9, 7.2, 7.2, 6.2, 6.2, 10.7, 10.7, 8.7, 8.7, 8.9, 8.9)
)  # fmt: skip
"""COCO's standard deviations of an annotator, as fractions of the object's scale."""

CROWDPOSE_JOINTS = (
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip",
    "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "head", "neck",
)  # fmt: skip
"""Names of CrowdPose's joints, in the order of its files."""

CROWDPOSE_SIGMAS = tuple(s / 100 for s in (7.9, 7.9, 7.2, 7.2, 6.2, 6.2, 10.7, 10.7, 8.7, 8.7, 8.9, 8.9, 7.9, 7.9))
"""CrowdPose's standard deviations of an annotator, as fractions of the object's scale."""

COCO_WEIGHTS = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.2, 1.2, 1.5, 1.5, 1.0, 1.0, 1.2, 1.2, 1.5, 1.5)
"""Weights of the joints in a loss, which the published recipes leave switched off."""


def mirrored_order(pairs: Pairs, joints: int) -> Tensor:
    """Return the order of the joints in a mirrored image, as indices (K,).

    Args:
        pairs: Pairs of indices that change places; every other joint is its own mirror image.
        joints: K.

    Raises:
        InputError: A pair that is not two different joints, or a joint in two pairs: mirroring twice would then not
            give the joints back.
    """
    order = list(range(joints))
    seen: set[int] = set()
    for pair in pairs:
        given = [int(index) for index in pair] if _whole(pair) else []
        if len(given) != 2 or given[0] == given[1] or not all(0 <= index < joints for index in given):
            raise InputError(
                f"mirror pairs: expected two different joints from 0 to {joints - 1}; received {_shown(pair)}",
                "list each left joint once with its right one; leave out joints on the axis",
            )
        twice = sorted(seen.intersection(given))
        if twice:
            raise InputError(
                f"mirror pairs: joint {twice[0]} is in two pairs, so that mirroring twice would move joints",
                "list each left joint once with its right one",
            )
        seen.update(given)
        first, second = given
        order[first], order[second] = second, first
    return torch.tensor(order, dtype=torch.long)


def _whole(pair: object) -> bool:
    items = pair.tolist() if isinstance(pair, Tensor) else pair
    if not isinstance(items, (list, tuple)):
        return False
    return all(isinstance(index, int) and not isinstance(index, bool) for index in items)


def _shown(pair: object) -> str:
    return str(pair.tolist() if isinstance(pair, Tensor) else pair)


def mirror_points(points: Tensor, visible: Tensor, width: int, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Return the joints of a mirrored image and their visibilities; unlabelled joints become (0, 0).

    .. math:: x' = W - 1 - x

    Args:
        points: Joints (..., K, 2) in pixels, x and y.
        visible: Visibilities (..., K); above 0: labelled.
        width: W of the image in pixels.
        pairs: Pairs of joints that change places.

    Raises:
        InputError: See :func:`mirrored_order`.
    """
    order = mirrored_order(pairs, points.shape[-2]).to(points.device)
    swapped, seen = points[..., order, :], visible[..., order]
    x, y = swapped.unbind(-1)
    found = torch.stack([width - 1 - x, y], dim=-1)
    return torch.where(seen[..., None] > 0, found, torch.zeros_like(found)), seen
