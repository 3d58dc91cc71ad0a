"""Objects in label maps, and the IoU by how large and how thin they are.

An object is a connected component of one class: pixels that touch by an edge. What is counted here adds up over images,
so it can be collected batch by batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.errors import InputError

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

SIZES = ("small", "medium", "large")
THINNESS = ("compact", "medium", "thin")

_PIXELS_AT_ONCE = 1 << 22


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
    """Of every object, from the moments of its runs, each `length` pixels from `left` in row `y` of its map."""

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


@dataclass(frozen=True)
class Grouping:
    """Objects in three buckets by one property.

    Args:
        names: Of the buckets, from the smallest values to the largest.
        limits: The largest value in the first and in the second bucket; None with fewer than 3 objects.
        map: (n, H, W) uint8, the bucket of the object a pixel belongs to, 1 to 3; 0 for pixels of none.
    """

    names: tuple[str, ...]
    limits: tuple[float, float] | None
    map: NDArray[np.uint8]


@dataclass(frozen=True)
class Buckets:
    """The objects of a data set by area and by elongation."""

    size: Grouping
    thinness: Grouping


def buckets(labels: NDArray[Any], *, background: bool = True, ignore: int = 255) -> Buckets:
    """Divide the objects of label maps into thirds by area and, again, by elongation.

    The limits are the areas (elongations) of the objects at one and two thirds of their sorted list. An object that
    equals a limit lies below it, so equal objects share a bucket, and with many of them a bucket can stay empty (if all
    are equal they lie in the first). With fewer than 3 objects there are no thirds: no limits, and empty buckets.

    Args:
        labels: (n, H, W) classes of a whole held-out set, any integers; a memory map is read in pieces.
        background: Class 0 is no object.
        ignore: Label of pixels without a class; they are no object, and cut those they cross.

    Raises:
        InputError: Another shape or kind of array.
    """
    _maps("buckets", labels)
    left_out = [ignore, 0] if background else [ignore]
    parts = [find_objects(np.asarray(labels[piece])) for piece in _pieces(labels)]
    wanted = [~np.isin(part.label, left_out) for part in parts]

    def grouping(names: tuple[str, ...], values: list[NDArray[Any]]) -> Grouping:
        limits = _thirds(np.concatenate([v[w] for v, w in zip(values, wanted, strict=True)] or [np.empty(0)]))
        place = np.empty(labels.shape, dtype=np.uint8)
        for piece, part, value, want in zip(_pieces(labels), parts, values, wanted, strict=True):
            bucket = np.where(want, 1 + np.searchsorted(limits, value), 0) if limits else np.zeros(len(value))
            place[piece] = part.paint(bucket.astype(np.uint8)).reshape(place[piece].shape)
        return Grouping(names, limits, place)

    return Buckets(grouping(SIZES, [p.area for p in parts]), grouping(THINNESS, [p.elongation for p in parts]))


def _thirds(values: NDArray[Any]) -> tuple[float, float] | None:
    if len(values) < 3:
        return None
    low, high = np.quantile(values, [1 / 3, 2 / 3], method="inverted_cdf")
    return float(low), float(high)


def bucket_counts(
    predictions: NDArray[Any],
    labels: NDArray[Any],
    bucket_map: NDArray[np.uint8],
    num_classes: int,
    *,
    ignore: int = 255,
) -> Integers:
    """What :func:`bucket_iou` needs, summed over label maps; counts of several batches or seeds may be added.

    Args:
        predictions: (n, H, W) predicted classes.
        labels: (n, H, W) true classes.
        bucket_map: (n, H, W) from :func:`buckets`.
        num_classes: K; classes are 0 to K - 1.
        ignore: Label of pixels that are not counted.

    Returns:
        (4, K, 2). Row 0: false positives of each class, and its pixels. Row b: of its pixels in bucket b, those found,
        and all.

    Raises:
        InputError: Shapes that differ, or a class out of range.
    """
    _maps("bucket_counts", labels)
    if not predictions.shape == labels.shape == bucket_map.shape:
        raise InputError(
            "bucket_counts: expected predictions, labels and bucket map of one shape; "
            f"received {predictions.shape}, {labels.shape}, {bucket_map.shape}"
        )
    counts = np.zeros((4, num_classes, 2), dtype=np.int64)
    for piece in _pieces(labels):
        scored = labels[piece] != ignore
        label, predicted = labels[piece][scored], predictions[piece][scored]
        _in_range(label, predicted, num_classes)
        cell, right = label + num_classes * bucket_map[piece][scored].astype(np.int32), label == predicted
        found, every = (np.bincount(c, minlength=4 * num_classes).reshape(4, -1) for c in (cell[right], cell))
        counts[1:, :, 0] += found[1:]
        counts[1:, :, 1] += every[1:]
        counts[0, :, 0] += np.bincount(predicted[~right], minlength=num_classes)
        counts[0, :, 1] += every.sum(axis=0)
    return counts


def bucket_iou(counts: Integers, names: tuple[str, ...]) -> dict[str, float | None]:
    r"""Mean IoU in each bucket, over the classes that have pixels there.

    .. math:: \mathrm{IoU}_c(b) = \frac{I_{cb}}{G_{cb} + FP_c\, G_{cb} / G_c}

    I are the found and G the true pixels of class c (in bucket b), FP its false positives anywhere: a wrongly marked
    pixel belongs to no object, so buckets share them in proportion to their pixels. Were all pixels in one bucket, this
    would be the plain IoU.

    Args:
        counts: (4, K, 2) from :func:`bucket_counts`.
        names: Of the three buckets, :data:`SIZES` or :data:`THINNESS`.

    Returns:
        Name to mean IoU, None for an empty bucket.
    """
    false, total = counts[0, :, 0], np.maximum(1, counts[0, :, 1])
    means: dict[str, float | None] = {}
    for name, (found, pixels) in zip(names, counts[1:].transpose(0, 2, 1), strict=True):
        there = pixels > 0
        union = (pixels + false * (pixels / total))[there]
        means[name] = float(np.mean(found[there] / union)) if there.any() else None
    return means


def _pieces(labels: NDArray[Any]) -> Iterator[slice]:
    """Slices of whole maps, a few million pixels each."""
    at_once = max(1, _PIXELS_AT_ONCE // max(1, labels[0].size)) if len(labels) else 1
    for start in range(0, len(labels), at_once):
        yield slice(start, start + at_once)


def _maps(who: str, labels: NDArray[Any]) -> None:
    if labels.ndim != 3 or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"{who}: expected label maps (n, H, W) of integers; received shape {labels.shape} of {labels.dtype}"
        )


def _in_range(label: NDArray[Any], predicted: NDArray[Any], num_classes: int) -> None:
    for name, values in (("label", label), ("prediction", predicted)):
        if values.size and not 0 <= values.min() <= values.max() < num_classes:
            wrong = values.min() if values.min() < 0 else values.max()
            raise InputError(
                f"bucket_counts: {name} {wrong} is none of the {num_classes} classes 0 to {num_classes - 1}"
            )
