"""Augment a training batch; what happens to an image depends on its key alone, so that paired runs see equal views."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from saccade.data import IGNORE, PADDING
from saccade.errors import InputError, require


def crops(images: Tensor, *, size: int, keys: Sequence[tuple[int, ...]]) -> Tensor:
    """Random crops and flips, a pure function of the keys.

    A crop of 0.5 to 1 of the area and an aspect of 3/4 to 4/3, resized to `size`, mirrored half the time.

    Args:
        images: (B, 3, H, W) uint8.
        size: Side of the images returned.
        keys: One tuple of non-negative integers per image, such as (seed, epoch, index). The global generators of
            torch and numpy are neither read nor changed.

    Returns:
        Images (B, 3, size, size) uint8.

    Raises:
        InputError: Another number of keys than of images, or images that are not uint8.
        MissingExtraError: torchvision is missing.
    """
    _check(images, len(images), keys)
    return torch.stack(
        [_crop(image, np.random.default_rng(key), size) for image, key in zip(images, keys, strict=True)]
    )


def windows(images: Tensor, *, size: int, keys: Sequence[tuple[int, ...]]) -> Tensor:
    """Random windows that are neither scaled nor mirrored, for what has a left and a right, such as digits and text.

    Args:
        images: (B, 3, H, W) uint8.
        size: Side of the images returned, at most H and W.
        keys: See :func:`crops`.

    Returns:
        Images (B, 3, size, size) uint8.

    Raises:
        InputError: See :func:`crops`.
    """
    _check(images, len(images), keys)
    found = []
    for image, key in zip(images, keys, strict=True):
        rng = np.random.default_rng(key)
        top, left = (int(rng.integers(side - size + 1)) for side in image.shape[1:])
        found.append(image[:, top : top + size, left : left + size])
    return torch.stack(found)


def middles(images: Tensor, *, size: int, keys: Sequence[tuple[int, ...]]) -> Tensor:
    """Return the middle windows, as validation has them.

    Args:
        images: (B, 3, H, W) uint8.
        size: Side of the images returned, at most H and W.
        keys: One per image, as for :func:`crops`; not used.
    """
    _check(images, len(images), keys)
    top, left = ((side - size) // 2 for side in images.shape[2:])
    return images[:, :, top : top + size, left : left + size]


def shifted(images: Tensor, masks: Tensor, *, size: int, keys: Sequence[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
    """Random shifts by up to an eighth of the side; nothing is scaled or mirrored, and what is empty is ignored (255).

    Args:
        images: (B, 3, size, size) uint8.
        masks: (B, size, size) class indices, 255 = ignore.
        size: Side of the images returned.
        keys: See :func:`crops`.

    Returns:
        Images (B, 3, size, size) uint8, and masks.

    Raises:
        InputError: See :func:`scaled`.
    """
    _check(images, len(masks), keys)
    new_images = torch.tensor(PADDING, dtype=torch.uint8)[None, :, None, None].repeat(len(images), 1, size, size)
    new_masks = torch.full_like(masks, IGNORE)
    for number, key in enumerate(keys):
        down, right = (int(by) for by in np.random.default_rng(key).integers(-(size // 8), size // 8 + 1, size=2))
        (to_y, from_y), (to_x, from_x) = _overlap(down, size), _overlap(right, size)
        new_images[number, :, to_y, to_x] = images[number, :, from_y, from_x]
        new_masks[number, to_y, to_x] = masks[number, from_y, from_x]
    return new_images, new_masks


def _overlap(by: int, size: int) -> tuple[slice, slice]:
    """The rows that a shift fills, and the rows it takes them from."""
    return slice(max(0, by), size + min(0, by)), slice(max(0, -by), size - max(0, by))


def scaled(images: Tensor, masks: Tensor, *, size: int, keys: Sequence[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
    """Random scales, crops and flips of images with their masks, a pure function of the keys.

    Image and mask are enlarged or reduced by 0.5 to 2 (evenly on a logarithmic scale), then cropped or padded to `size`
    at a random place, mirrored half the time; what lies outside is ignored (255).

    Args:
        images: (B, 3, H, H) uint8.
        masks: (B, H, H) class indices, 255 = ignore.
        size: Side of the images returned.
        keys: See :func:`crops`.

    Returns:
        Images (B, 3, size, size) uint8, and masks.

    Raises:
        InputError: Keys or masks of another number than images, or images that are not uint8 or not square.
        MissingExtraError: torchvision is missing.
    """
    _check(images, len(masks), keys)
    if not images.shape[2] == images.shape[3] == masks.shape[-1] == masks.shape[-2]:
        raise InputError(
            f"augment: images {tuple(images.shape)} and masks {tuple(masks.shape)} must be the same square"
        )
    pairs = [
        _scale(image, mask, np.random.default_rng(key), size)
        for image, mask, key in zip(images, masks, keys, strict=True)
    ]
    return torch.stack([image for image, _ in pairs]), torch.stack([mask for _, mask in pairs])


def _crop(image: Tensor, rng: np.random.Generator, size: int) -> Tensor:
    full_height, full_width = image.shape[1:]
    area = rng.uniform(0.5, 1.0) * full_height * full_width
    aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))  # width over height
    height = min(full_height, round(math.sqrt(area / aspect)))
    width = min(full_width, round(math.sqrt(area * aspect)))
    top, left = rng.integers(full_height - height + 1), rng.integers(full_width - width + 1)
    crop = _resized(image[:, top : top + height, left : left + width], size, "BILINEAR")
    return crop.flip(-1) if rng.random() < 0.5 else crop


def _scale(image: Tensor, target: Tensor, rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor]:
    full = image.shape[-1]
    factor = math.exp(rng.uniform(math.log(0.5), math.log(2.0)))
    # Cropping before enlarging, and padding after reducing, gives the same picture for fewer pixels.
    window, inner = min(full, round(full / factor)), min(size, round(size * factor))
    top, left = rng.integers(full - window + 1, size=2)
    below, right = rng.integers(size - inner + 1, size=2)
    place = (slice(below, below + inner), slice(right, right + inner))
    new_image = torch.tensor(PADDING, dtype=torch.uint8, device=image.device)[:, None, None].repeat(1, size, size)
    new_target = torch.full((size, size), IGNORE, dtype=target.dtype, device=target.device)
    part = (slice(top, top + window), slice(left, left + window))
    new_image[:, *place] = _resized(image[:, *part], inner, "BILINEAR")
    new_target[place] = _resized(target[part][None], inner, "NEAREST_EXACT")[0]
    return (new_image.flip(-1), new_target.flip(-1)) if rng.random() < 0.5 else (new_image, new_target)


def _resized(image: Tensor, side: int, mode: str) -> Tensor:
    v2 = require("torchvision.transforms.v2", extra="train")
    resized: Tensor = v2.functional.resize(
        image, [side, side], interpolation=v2.InterpolationMode[mode], antialias=True
    )
    return resized


def _check(images: Tensor, targets: int, keys: Sequence[tuple[int, ...]]) -> None:
    if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 3:
        raise InputError(f"augment: expected uint8 images (B, 3, H, W); received {images.dtype}, {tuple(images.shape)}")
    if not len(images) == targets == len(keys):
        raise InputError(
            f"augment: {len(images)} images, {targets} targets and {len(keys)} keys: expected as many of each"
        )
