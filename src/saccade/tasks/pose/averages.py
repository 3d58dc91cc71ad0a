"""Average precision of key points with weights of images, by COCO's rules.

What a score needs of an image are its matches: for every detection its score, and whether it is right, wrong or not
counted at each of ten similarities and three sizes of objects. With weights of images instead of copies of them, the
measures of a draw with replacement are those of COCO's evaluator on the copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from saccade.tasks.evidence import Floats

THRESHOLDS = np.linspace(0.5, 0.95, 10)
SIZES = ((0.0, 1e10), (32.0**2, 96.0**2), (96.0**2, 1e10))
"""Ranges of areas in pixels: all, medium, large."""
MOST = 20
"""Detections of an image that count, the best ones."""
WRONG, RIGHT, IGNORED = 0, 1, 2

_RECALLS = np.linspace(0.0, 1.0, 101)
_SMALL = np.spacing(1.0)
_NAMES = (
    ("", 0, slice(None)),
    ("50", 0, slice(0, 1)),
    ("75", 0, slice(5, 6)),
    ("M", 1, slice(None)),
    ("L", 2, slice(None)),
)
MEASURES = tuple(f"{letter}{name}" for letter in ("AP", "AR") for name, *_ in _NAMES)


class Truths(NamedTuple):
    """Annotated objects of one image.

    Args:
        points: (G, K, 3) x, y and visibility.
        boxes: (G, 4) left, top, width and height.
        areas: (G,).
        crowd: (G,) True for groups.
    """

    points: Floats
    boxes: Floats
    areas: Floats
    crowd: NDArray[np.bool_]


def similarities(points: Floats, truths: Truths, sigmas: Floats) -> Floats:
    r"""Return the similarity (OKS) of detections with annotated objects, (D, G).

    .. math:: s = \frac{1}{\sum_k [v_k > 0]} \sum_{v_k > 0} \exp\left(-\frac{d_k^2}{8 \sigma_k^2 a}\right)

    An object without a labelled joint is compared by how far joints lie outside of its box, enlarged by its own size
    on each side.

    Args:
        points: (D, K, 2).
        truths: Objects.
        sigmas: (K,).
    """
    found = np.zeros((len(points), len(truths.points)))
    variances = (2 * sigmas) ** 2
    for place, (joints, box, area) in enumerate(zip(truths.points, truths.boxes, truths.areas, strict=True)):
        seen = joints[:, 2] > 0
        if seen.any():
            dx, dy = points[..., 0] - joints[:, 0], points[..., 1] - joints[:, 1]
        else:
            low, high = box[:2] - box[2:], box[:2] + 2 * box[2:]
            dx, dy = np.moveaxis(np.maximum(0, low - points) + np.maximum(0, points - high), -1, 0)
        e = (dx**2 + dy**2) / variances / (area + _SMALL) / 2
        found[:, place] = np.exp(-(e[:, seen] if seen.any() else e)).mean(axis=1)
    return found


def matched(points: Floats, scores: Floats, truths: Truths, sigmas: Floats) -> tuple[Floats, NDArray[np.int8], Any]:
    """Match the detections of one image with its objects.

    Args:
        points: (D, K, 2).
        scores: (D,).
        truths: Objects.
        sigmas: (K,).

    Returns:
        Scores of the detections that count, best first (d,); their states (d, 3, 10), see :data:`RIGHT`; and the
        number of objects that count in each range of sizes (3,).
    """
    order = np.argsort(-scores, kind="stable")[:MOST]
    points, scores = points[order], scores[order]
    close = similarities(points, truths, sigmas)
    sides = np.ptp(points, axis=1) if len(points) else np.zeros((0, 2))
    own = sides.prod(axis=1)
    states = np.zeros((len(points), len(SIZES), len(THRESHOLDS)), dtype=np.int8)
    positives = np.zeros(len(SIZES), dtype=np.int64)
    unlabelled = truths.crowd | ~(truths.points[..., 2] > 0).any(axis=1)
    for size, (least, most) in enumerate(SIZES):
        ignored = unlabelled | (truths.areas < least) | (truths.areas > most)
        positives[size] = int((~ignored).sum())
        after = np.argsort(ignored, kind="stable")
        for level, threshold in enumerate(THRESHOLDS):
            taken = np.zeros(len(ignored), dtype=bool)
            for one in range(len(points)):
                best, match = min(threshold, 1 - 1e-10), -1
                for truth in after:
                    if taken[truth] and not truths.crowd[truth]:
                        continue
                    if match > -1 and not ignored[match] and ignored[truth]:
                        break
                    if close[one, truth] >= best:
                        best, match = close[one, truth], truth
                if match > -1:
                    taken[match] = True
                    states[one, size, level] = IGNORED if ignored[match] else RIGHT
                elif not least <= own[one] <= most:
                    states[one, size, level] = IGNORED
    return scores, states, positives


def measures(
    scores: Floats, states: NDArray[np.int8], owner: NDArray[np.int64], positives: NDArray[np.int64], weights: Floats
) -> dict[str, Floats]:
    """Return COCO's ten measures for every row of weights; NaN where no object is of that size.

    Args:
        scores: (D,) of all detections.
        states: (D, 3, 10).
        owner: (D,) number of the image of each detection.
        positives: (n_images, 3).
        weights: (draws, n_images), at least 0.
    """
    found: dict[str, Floats] = {}
    for size in range(len(SIZES)):
        precision, recall = _curves(scores, states[:, size], owner, positives[:, size], weights, range(len(THRESHOLDS)))
        for name, of, levels in _NAMES:
            if of == size:
                found[f"AP{name}"] = precision[:, levels].mean(axis=1)
                found[f"AR{name}"] = recall[:, levels].mean(axis=1)
    return {name: found[name] for name in MEASURES}


def average_precision(
    scores: Floats,
    states: NDArray[np.int8],
    owner: NDArray[np.int64],
    positives: NDArray[np.int64],
    weights: Floats,
    levels: Sequence[int] = range(len(THRESHOLDS)),
) -> Floats:
    """Return AP of objects of all sizes for every row of weights, see :func:`measures`; 0 where there is no object."""
    precision, _ = _curves(scores, states[:, 0], owner, positives[:, 0], weights, levels)
    found: Floats = np.nan_to_num(precision.mean(axis=1), nan=0.0)
    return found


def _curves(
    scores: Floats,
    states: NDArray[np.int8],
    owner: NDArray[np.int64],
    positives: NDArray[np.int64],
    weights: Floats,
    levels: Sequence[int],
) -> tuple[Floats, Floats]:
    """Return mean precision over 101 recalls, and the largest recall, (draws, levels) each."""
    draws = len(weights)
    total = weights @ positives.astype(np.float64)
    precision, recall = np.zeros((draws, len(levels))), np.zeros((draws, len(levels)))
    order = np.argsort(-scores, kind="stable")
    each = weights[:, owner[order]]
    for place, level in enumerate(levels):
        state = states[order, level]
        right = np.cumsum(each * (state == RIGHT), axis=1)
        wrong = np.cumsum(each * (state == WRONG), axis=1)
        if right.shape[1]:
            reached = right / np.where(total > 0, total, 1)[:, None]
            exact = right / (right + wrong + _SMALL)
            exact = np.maximum.accumulate(exact[:, ::-1], axis=1)[:, ::-1]
            for draw in range(draws):
                places = np.searchsorted(reached[draw], _RECALLS, side="left")
                there = places < len(order)
                precision[draw, place] = exact[draw, places[there]].sum() / len(_RECALLS)
            recall[:, place] = reached[:, -1]
        precision[total <= 0, place] = recall[total <= 0, place] = np.nan
    return precision, recall
