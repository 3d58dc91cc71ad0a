"""Objects cut out of their images, as a torch Dataset: one sample for each object, with its points on the crop.

What happens to a sample in training depends on torch's generator alone, which the loop seeds for each sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from saccade.data.decoding import UnreadableError
from saccade.data.images import read_image
from saccade.data.layouts import Item
from saccade.errors import InputError, near
from saccade.tasks.pose.codecs import Codec, Region, codec
from saccade.tasks.pose.described import Joints
from saccade.tasks.pose.joints import mirrored_order
from saccade.tasks.pose.marked import Marked, Marks, usable
from saccade.tasks.pose.warping import inverse, transformed

_MULTIPLE = 32
"""Sides of crops are multiples of this, for networks halve them five times."""

Box = tuple[float, float, float, float]
TRUTH = 8
"""Numbers of an annotated object after its points: box (4), area, crowd, real, own."""


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a crop in training.

    Args:
        scale: Largest change of the size, as a fraction.
        rotation: Standard deviation of the rotation in degrees, at most twice.
        half: Probability of a crop of one half of the object.
        turned: Probability of a rotation.
        mirrored: Probability of a mirror, where mirror pairs are known.
    """

    scale: float
    rotation: float
    half: float = 0.0
    turned: float = 0.6
    mirrored: float = 0.5


AUGMENTATIONS: dict[str, Augmentation | None] = {
    "full": Augmentation(0.35, 45.0, half=0.3),
    "light": Augmentation(0.3, 40.0),
    "none": None,
}
"""Augmentations by name: HRNet's, SimpleBaseline's, none."""


def find_augmentation(name: str) -> Augmentation | None:
    """Return an augmentation by name.

    Raises:
        InputError: There is none of that name.
    """
    if name not in AUGMENTATIONS:
        raise InputError(f"unknown augmentation {name!r} of key points", near(name, AUGMENTATIONS))
    return AUGMENTATIONS[name]


def crop_size(size: int, aspect: Sequence[int]) -> tuple[int, int]:
    """Return width and height of crops for a height and a ratio, each the next multiple of 32."""
    width = size * aspect[0] / aspect[1]
    return math.ceil(width / _MULTIPLE - 1e-9) * _MULTIPLE, math.ceil(size / _MULTIPLE) * _MULTIPLE


def codec_for(name: str, size: tuple[int, int], sigma: float | None = None) -> Codec:
    """Return a codec for crops of a size, with the values of the papers at their sizes and in proportion elsewhere.

    Sigma is 2 pixels of the map for a height of 256 and 3 for 384, at least 1; a disc has a radius of 4 pixels, less on
    small maps; DARK blurs small maps less.

    Args:
        name: Name of the codec.
        size: Width and height of the crops.
        sigma: Standard deviation of a drawn Gaussian in pixels of the map; None: the one above.
    """
    high = size[1] // 4
    own: dict[str, Any] = {}
    if name == "dark" and high <= 32:
        own["blur"] = 3
    if name == "udp_offset":
        own["radius"] = min(4.0, max(1.0, high / 16))
    return codec(name, size, sigma=max(1.0, size[1] / 128) if sigma is None else sigma, **own)


@dataclass(frozen=True)
class Entry:
    """One crop.

    Args:
        image: Its image.
        number: Number of the image on this side.
        box: Box that is cut out, left, top, width and height.
        annotated: True for an annotated box, which is clipped to the image.
        score: Confidence of the box.
        own: The annotated object, if the box is its own.
        truths: Annotated objects that scores must know of besides: with the first entry of an image, its others.
    """

    image: Path
    number: int
    box: Box
    annotated: bool
    score: float
    own: Marked | None
    truths: tuple[Marked, ...] = ()


def training_entries(marks: Marks, items: Sequence[Item]) -> list[Entry]:
    """Return a crop for every object that is learned from."""
    found = []
    for number, item in enumerate(items):
        size = marks.sizes[item.image]
        for one in marks.learned(item):
            box = one.region(size)
            assert box is not None
            found.append(Entry(item.image, number, box, True, 1.0, one))
    return found


def scoring_entries(marks: Marks, items: Sequence[Item]) -> list[Entry]:
    """Return a crop for every object, or for every box of a detector; the first of an image knows its other objects.

    Images with objects and without a box of a detector have one crop with a score of minus infinity: not a detection.
    """
    if marks.boxes is None:
        found = []
        for number, item in enumerate(items):
            size = marks.sizes[item.image]
            own = [one for one in marks.people[item.image] if usable(one, size)]
            rest = tuple(one for one in marks.people[item.image] if not usable(one, size))
            for place, one in enumerate(own):
                box = one.region(size)
                assert box is not None
                found.append(Entry(item.image, number, box, True, 1.0, one, () if place else rest))
        return found
    found = []
    for number, item in enumerate(items):
        truths = tuple(marks.people[item.image])
        boxes = marks.boxes.get(item.image, [])
        if not boxes and truths:
            width, height = marks.sizes[item.image]
            boxes = [((0.0, 0.0, float(width), float(height)), -math.inf)]
        for place, (box, score) in enumerate(boxes):
            found.append(Entry(item.image, number, box, False, score, None, () if place else truths))
    return found


class CropSamples(Dataset[tuple[Tensor, Any]]):
    """Dataset of (crop (3, H, W) uint8, targets); targets are points and visibilities on the crop, and its place.

    Args:
        entries: The crops.
        joints: Joints of the objects.
        made: Codec of the crops.
        sizes: Width and height of the images.
        augmentation: Random changes; None: none.
        scored: If True, targets hold what scores need.
        white: Stored value of white in images of more than 8 bits.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        joints: Joints,
        made: Codec,
        sizes: dict[Path, tuple[int, int]],
        *,
        augmentation: Augmentation | None = None,
        scored: bool = False,
        white: float | None = None,
    ) -> None:
        self.entries, self.joints, self.codec, self.sizes = list(entries), joints, made, sizes
        self.augmentation, self.scored, self.white = augmentation, scored, white
        self.most = max([1, *(len(one.truths) + (one.own is not None) for one in self.entries)])

    def __len__(self) -> int:
        return len(self.entries)

    def name(self, index: int) -> str:
        """Name of a sample, for messages."""
        entry = self.entries[index]
        return f"{entry.image}" + (f", annotation {entry.own.id}" if entry.own is not None else "")

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        entry = self.entries[index]
        image = checked_image(entry.image, self.sizes[entry.image], self.white)
        region = region_of(self.codec, entry.box, self.sizes[entry.image] if entry.annotated else None)
        joints = len(self.joints.names)
        points = torch.zeros(joints, 3, dtype=torch.float64)
        if entry.own is not None:
            points = torch.from_numpy(entry.own.points)
        places, seen = points[:, :2], (points[:, 2] > 0).float()
        rotation, mirror = 0.0, False
        if self.augmentation is not None:
            region, rotation, mirror = drawn(self.augmentation, self.codec, region, places, seen, self.joints)
        matrix = self.codec.matrix(*region, rotation)
        if mirror:
            matrix = mirrored(image.shape[2], region, self.codec, rotation)
            order = mirrored_order(self.joints.pairs or (), joints)
            places, seen = places[order], seen[order]
        crop = cut(image, matrix, self.codec)
        on_crop = torch.where(seen[:, None] > 0, transformed(matrix, places[None])[0], 0.0)
        targets: dict[str, Any] = {"points": on_crop.float(), "visible": seen}
        if self.scored:
            targets |= self._scored(entry, index, region)
        return crop, targets

    def _scored(self, entry: Entry, index: int, region: Region) -> dict[str, Any]:
        joints = len(self.joints.names)
        truths = np.full((self.most, 3 * joints + TRUTH), np.nan, dtype=np.float32)
        every = [*([entry.own] if entry.own is not None else []), *entry.truths]
        for place, one in enumerate(every):
            box = one.box or one.round_joints() or (0.0, 0.0, 0.0, 0.0)
            real = not one.crowd and one.labelled > 0
            rest = [*box, one.size, float(one.crowd), float(real), float(one is entry.own)]
            truths[place] = [*one.points.reshape(-1), *rest]
        return {
            "region": torch.cat([region.center[0], region.scale[0]]).float(),
            "image": torch.tensor(entry.number),
            "sample": torch.tensor(index),
            "box_score": torch.tensor(entry.score, dtype=torch.float32),
            "truths": torch.from_numpy(truths),
        }


def checked_image(path: Path, size: tuple[int, int], white: float | None) -> Tensor:
    """Read an image as (3, H, W), of the size that its annotations were made on.

    Raises:
        UnreadableError: It cannot be read, or has another size.
    """
    picture = read_image(path, white=white)
    if picture.size != size:
        turned = picture.size == size[::-1]
        raise UnreadableError(
            f"it is {picture.width} x {picture.height} px, and its annotations are for {size[0]} x {size[1]} px",
            "its EXIF data turn it: export annotations for the turned image" if turned else None,
        )
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def region_of(made: Codec, box: Box, size: tuple[int, int] | None) -> Region:
    """Return the region of one box; a box too small for the convention becomes one of two pixels."""
    left, top, width, height = box
    if size is not None:
        right, bottom = min(left + width, size[0]), min(top + height, size[1])
        left, top = max(0.0, left), max(0.0, top)
        width, height = max(right - left, 3.0), max(bottom - top, 3.0)
        left, top = min(left, max(0.0, size[0] - width)), min(top, max(0.0, size[1] - height))
        box = left, top, width, height
        size = max(size[0], 3), max(size[1], 3)
    return made.regions(torch.tensor([box], dtype=torch.float64), size)


def drawn(
    how: Augmentation, made: Codec, region: Region, points: Tensor, seen: Tensor, joints: Joints
) -> tuple[Region, float, bool]:
    """Draw a region, a rotation in degrees, and whether to mirror, from torch's generator.

    The draws are the same in number for every sample, so that none depends on another's labels.
    """
    wants_half, half_draw, by, turn, turns, flips = (
        torch.rand(1), torch.randn(1, dtype=torch.float64), torch.randn(1), torch.randn(1), torch.rand(1), torch.rand(1)
    )  # fmt: skip
    if joints.upper and int((seen > 0).sum()) > len(joints.names) // 2 and float(wants_half) < how.half:
        part, applies = made.half_body(points[None], seen[None], half_draw, joints.upper)
        if bool(applies[0]) and bool((part.scale > 0.01).all()):
            region = part
    scale = region.scale * float((1 + how.scale * by).clamp(1 - how.scale, 1 + how.scale))
    rotation = float((how.rotation * turn).clamp(-2 * how.rotation, 2 * how.rotation))
    mirror = joints.pairs is not None and float(flips) < how.mirrored
    return Region(region.center, scale), rotation if float(turns) < how.turned else 0.0, mirror


def mirrored(width: int, region: Region, made: Codec, rotation: float) -> Tensor:
    """Return the matrix that mirrors an image of a width and cuts out the region, mirrored with it."""
    center = torch.stack([width - 1 - region.center[:, 0], region.center[:, 1]], dim=-1)
    there = made.matrix(center, region.scale, rotation)
    mirror = torch.tensor([[[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]], dtype=torch.float64)
    return there @ mirror


def cut(image: Tensor, matrix: Tensor, made: Codec) -> Tensor:
    """Return the crop (3, H, W) that a matrix (1, 2, 3) cuts out of an image (3, H, W), which is black outside.

    Only the part of the image that the crop needs is resampled.
    """
    width, height = made.input_size
    ends = torch.tensor([[-1, -1], [width, -1], [-1, height], [width, height]], dtype=torch.float64)
    found = transformed(inverse(matrix), ends[None])[0]
    low = (found.amin(0).floor() - 1).clamp(min=0)
    high = torch.minimum(found.amax(0).ceil() + 2, torch.tensor([image.shape[2], image.shape[1]], dtype=torch.float64))
    if bool((high <= low).any()):
        return torch.zeros(3, height, width, dtype=torch.uint8)
    (left, top), (right, bottom) = low.long().tolist(), high.long().tolist()
    moved = matrix.clone()
    moved[..., 2] += (matrix[..., :2] @ low[:, None])[..., 0]
    return made.warp(image[:, top:bottom, left:right].contiguous(), moved)[0]
