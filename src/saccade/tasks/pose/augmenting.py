"""Random changes of crops in a comparison, whose arms must see equal views: pure functions of the keys."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from saccade.errors import InputError
from saccade.tasks.pose.codecs import Codec
from saccade.tasks.pose.described import Joints
from saccade.tasks.pose.joints import mirrored_order
from saccade.tasks.pose.samples import Augmentation
from saccade.tasks.pose.warping import transformed
from saccade.training.sources import Augment


def augmented(how: Augmentation, made: Codec, joints: Joints) -> Augment:
    """Return the augmentation of crops that are cut out already: size, rotation and mirror, about their middle.

    Args:
        how: Sizes of the changes; halves of objects are not cut out of crops.
        made: Codec of the crops.
        joints: Joints, with their mirror pairs.
    """
    width, height = made.input_size
    middle = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=torch.float64)
    order = mirrored_order(joints.pairs or (), len(joints.names))

    def change(images: Tensor, targets: dict[str, Tensor], *, size: int, keys: Sequence[tuple[int, ...]]):  # type: ignore[no-untyped-def]
        if images.shape[-2:] != (height, width) or len(keys) != len(images):
            raise InputError(
                f"augment: expected {len(keys)} crops of {width} x {height}; received shape {tuple(images.shape)}"
            )
        matrices, flips = [], []
        for key in keys:
            rng = np.random.default_rng(key)
            by, turn, turns, flip = rng.normal(), rng.normal(), rng.random(), rng.random()
            zoom = 1 / np.clip(1 + how.scale * by, 1 - how.scale, 1 + how.scale)
            angle = np.deg2rad(np.clip(how.rotation * turn, -2 * how.rotation, 2 * how.rotation))
            angle = angle if turns < how.turned else 0.0
            linear = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            mirrors = joints.pairs is not None and flip < how.mirrored
            if mirrors:
                linear = linear @ np.diag([-1.0, 1.0])
            shift = middle.numpy() - linear @ middle.numpy()
            matrices.append(np.concatenate([linear, shift[:, None]], axis=1))
            flips.append(mirrors)
        matrix, mirrored = torch.from_numpy(np.stack(matrices)), torch.tensor(flips)
        points, seen = targets["points"], targets["visible"]
        points = torch.where(mirrored[:, None, None], points[:, order], points)
        seen = torch.where(mirrored[:, None], seen[:, order], seen)
        moved = torch.where(seen[..., None] > 0, transformed(matrix, points), 0.0).to(points)
        return made.warp(images, matrix), {**targets, "points": moved, "visible": seen}

    return change
