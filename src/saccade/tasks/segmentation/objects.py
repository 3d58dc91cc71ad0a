"""Objects in label maps, and the IoU by how large and how thin they are.

An object is a connected component of one class: pixels that touch by an edge. What must be kept of an image is a row
for each of its objects and the false positives of each class, so images of any size can be looked at one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data import IGNORE
from saccade.errors import InputError

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

SIZES = ("small", "medium", "large")
THINNESS = ("compact", "medium", "thin")

BACKGROUNDS = ("background", "photograph")
"""Names of a class 0 whose few large regions are not objects; the second is the demo's."""


@dataclass(frozen=True)
class Objects:
    """The connected components of label maps, and the horizontal runs of pixels they are made of.

    Args:
        label: (objects,) class of each.
        area: (objects,) in pixels.
        elongation: (objects,) long over short principal standard deviation; L for a line of L pixels, at least 1.
        lengths: (runs,) in pixels; the runs follow each other row by row and cover the maps.
        owner: (runs,) the object each run belongs to.
    """

    label: Integers
    area: Integers
    elongation: Floats
    lengths: NDArray[np.int32]
    owner: NDArray[np.int32]

    def paint(self, values: NDArray[Any]) -> NDArray[Any]:
        """The value of its object for every pixel of the maps, as one row."""
        return np.repeat(values[self.owner], self.lengths)


def find_objects(labels: NDArray[Any]) -> Objects:
    r"""Connected components of every class in label maps (n, H, W), under 2^31 pixels.

    Pixels are unit squares: with variances :math:`\sigma_{yy}, \sigma_{xx}` and covariance :math:`\sigma_{xy}` of the
    pixel centres, the elongation is :math:`\sqrt{\lambda_1 / \lambda_2}` for the eigenvalues of
    :math:`\Sigma + I / 12`, so that it is 1 for one pixel and a / b for a rectangle of a x b. It is rounded to 6
    decimals: equal shapes at different places are to be equal.
    """
    _, height, width = labels.shape
    first = np.ones(labels.shape, dtype=np.bool_)  # pixels where a run begins
    first[:, :, 1:] = labels[:, :, 1:] != labels[:, :, :-1]
    run = np.cumsum(first, dtype=np.int32).reshape(labels.shape) - 1
    # Of the pixels that two runs share, one above the other, the first begins one of the two: one edge a pair of runs.
    touch = (labels[:, 1:] == labels[:, :-1]) & (first[:, 1:] | first[:, :-1])
    starts = np.flatnonzero(first)
    lengths = np.diff(starts, append=labels.size)
    roots = _smallest_connected(run[:, :-1][touch], run[:, 1:][touch], len(starts))
    is_root = roots == np.arange(len(roots))
    owner = (np.cumsum(is_root) - 1)[roots]
    area = np.bincount(owner, weights=lengths)
    elongation = _elongation(owner, starts // width % height, starts % width, lengths.astype(np.float64), area)
    label = labels.reshape(-1)[starts[is_root]].astype(np.int64)
    return Objects(label, area.astype(np.int64), elongation, lengths.astype(np.int32), owner.astype(np.int32))


def _smallest_connected(one: NDArray[Any], other: NDArray[Any], nodes: int) -> NDArray[Any]:
    """The smallest node connected to each, given the edges: every round, roots hook to smaller roots next to them."""
    root = np.arange(nodes, dtype=np.int32)
    while len(one):
        one, other = root[one], root[other]
        apart = one != other
        one, other = one[apart], other[apart]
        # Several edges may hook the same root; whichever is written last will do, the others stay for the next round.
        root[np.maximum(one, other)] = np.minimum(one, other)
        while not np.array_equal(further := root[root], root):
            root = further
    return root


def _elongation(owner: NDArray[Any], y: NDArray[Any], left: NDArray[Any], length: Floats, area: NDArray[Any]) -> Floats:
    """Compute elongations from the moments of runs, each `length` pixels from `left` in row `y` of its map."""

    def mean(sums_of_runs: Floats) -> Floats:
        means: Floats = np.bincount(owner, weights=sums_of_runs) / area
        return means

    x = left + (length - 1) / 2
    mean_y, mean_x = mean(length * y), mean(length * x)
    y, x = y - mean_y[owner], x - mean_x[owner]
    yy, xy = mean(length * y * y) + 1 / 12, mean(length * y * x)
    xx = mean(length * x * x + length * (length * length - 1) / 12) + 1 / 12  # of the run's centre, and within the run
    middle, apart = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    elongation: Floats = np.sqrt((middle + apart) / (middle - apart)).round(6)
    return elongation


def middle_pixel(region: NDArray[np.bool_]) -> tuple[int, int]:
    """The pixel (y, x) of a region (H, W) that is nearest to its centre of mass."""
    ys, xs = np.nonzero(region)
    nearest = np.argmin((ys - ys.mean()) ** 2 + (xs - xs.mean()) ** 2)
    return int(ys[nearest]), int(xs[nearest])


def match_objects(predictions: NDArray[Any], labels: NDArray[Any], num_classes: int) -> tuple[Floats, Integers]:
    """Collect what :func:`iou_by_object` needs; of several batches, rows are concatenated and counts added.

    Args:
        predictions: (n, H, W) predicted classes.
        labels: (n, H, W) true classes, any integers; 255 is not counted.
        num_classes: K; classes are 0 to K - 1.

    Returns:
        For each object its class, its area in pixels, its elongation, and how many of its pixels were found, (objects,
        4); and the false positives of each class, (K,).

    Raises:
        InputError: Another shape or kind of array, or a class out of range.
    """
    if labels.ndim != 3 or not np.issubdtype(labels.dtype, np.integer) or predictions.shape != labels.shape:
        raise InputError(
            f"objects: expected label maps (n, H, W) of integers, and predictions of that shape; received shape "
            f"{labels.shape} of {labels.dtype}, {predictions.shape}"
        )
    scored = labels != IGNORE
    _in_range(labels[scored], predictions[scored], num_classes)
    found = find_objects(labels)
    right = predictions == labels
    owners = np.repeat(found.owner, found.lengths)
    hits = np.bincount(owners[right.reshape(-1)], minlength=len(found.label))
    rows = np.stack([found.label, found.area, found.elongation, hits], axis=1)[found.label != IGNORE]
    return rows, np.bincount(predictions[scored & ~right].astype(np.int64), minlength=num_classes)


@dataclass(frozen=True)
class ByObject:
    """IoU of a data set's objects in three buckets by one property.

    Args:
        iou: IoU of each bucket, from the smallest values to the largest; None where it is empty.
        limits: The largest value in the first and in the second bucket; None with fewer than 3 objects.
    """

    iou: dict[str, float | None]
    limits: tuple[float, float] | None


def iou_by_object(rows: Floats, false: Integers, *, background: bool) -> tuple[ByObject, ByObject]:
    r"""Mean IoU of small, medium and large objects, and of compact, medium and thin ones.

    .. math:: \mathrm{IoU}_c(b) = \frac{I_{cb}}{G_{cb} + FP_c\, G_{cb} / G_c}

    I are the found and G the true pixels of class c (in bucket b), FP its false positives anywhere: a wrongly marked
    pixel belongs to no object, so buckets share them in proportion to their pixels. Were all pixels in one bucket, this
    would be the plain IoU. The mean is over the classes that have pixels there.

    Buckets are thirds of all objects by area (elongation). An object that equals a limit lies below it, so equal
    objects share a bucket, and with many of them a bucket can stay empty. With fewer than 3 objects there are none.

    Args:
        rows: Rows of :func:`match_objects` for all images.
        false: Likewise.
        background: True if class 0 is not an object.
    """
    rows = rows[rows[:, 0] > 0] if background else rows
    return _by(rows, rows[:, 1], false, SIZES), _by(rows, rows[:, 2], false, THINNESS)


def has_background(classes: Sequence[str]) -> bool:
    """Return True if class 0 has the name of a background."""
    return classes[0].lower() in BACKGROUNDS


def _by(rows: Floats, values: Floats, false: Integers, names: tuple[str, ...]) -> ByObject:
    limits = _thirds(values)
    if limits is None:
        return ByObject(dict.fromkeys(names), None)
    label, bucket = rows[:, 0].astype(np.int64), np.searchsorted(limits, values)
    total = np.maximum(1, np.bincount(label, weights=rows[:, 1], minlength=len(false)))
    iou: dict[str, float | None] = {}
    for number, name in enumerate(names):
        here = bucket == number
        pixels, found = (np.bincount(label[here], weights=rows[here, k], minlength=len(false)) for k in (1, 3))
        there = pixels > 0
        union = (pixels + false * (pixels / total))[there]
        iou[name] = float(np.mean(found[there] / union)) if there.any() else None
    return ByObject(iou, limits)


def _thirds(values: Floats) -> tuple[float, float] | None:
    """The values at one and two thirds of a sorted list; None with fewer than 3."""
    if len(values) < 3:
        return None
    low, high = np.quantile(values, [1 / 3, 2 / 3], method="inverted_cdf")
    return float(low), float(high)


def _in_range(label: NDArray[Any], predicted: NDArray[Any], num_classes: int) -> None:
    for name, values in (("label", label), ("prediction", predicted)):
        if values.size and not 0 <= values.min() <= values.max() < num_classes:
            wrong = values.min() if values.min() < 0 else values.max()
            raise InputError(f"objects: {name} {wrong} is none of the {num_classes} classes 0 to {num_classes - 1}")
