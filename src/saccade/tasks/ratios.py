"""Scores that are a mean of ratios of sums over images: accuracy, mIoU. They have a fast path for any weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.errors import InputError
from saccade.tasks.base import Task
from saccade.tasks.evidence import Evidence, Floats, images_in

_IMAGES_AT_ONCE = 1024


def score(counts: NDArray[Any]) -> float:
    r"""The score of one run from its counts per image.

    .. math:: \frac{1}{|P|} \sum_{k \in P} \frac{\sum_i a_{ik}}{\sum_i b_{ik}}, \quad P = \{k : \sum_i b_{ik} > 0\}

    With intersections a and unions b of K classes this is the mIoU, with K = 1, a = correct and b = 1 the accuracy.

    Args:
        counts: (n_images, K, 2), a and b in the last axis.

    Raises:
        InputError: Another shape, or every b is 0.
    """
    if counts.ndim != 3:
        raise InputError(
            f"score: expected counts (images, K, 2) of one run; received shape {counts.shape}",
            "scores() takes further axes in front",
        )
    return float(scores(counts))


def scores(counts: NDArray[Any]) -> Floats:
    """:func:`score` for counts (..., n_images, K, 2) of many runs; returns the shape of the leading axes."""
    if counts.ndim < 3 or counts.shape[-1] != 2:
        raise InputError(f"score: expected counts (images, K, 2); received shape {counts.shape}")
    sums = counts.sum(axis=-3).astype(np.float64)
    if (sums[..., 1] <= 0).all(axis=-1).any():
        raise _nothing()
    return mean_ratio(sums)


def mean_ratio(sums: NDArray[Any]) -> Floats:
    """Mean over the classes that occur of numerator / denominator; 0 where none occurs."""
    occurs = sums[..., 1] > 0
    ratios = np.where(occurs, sums[..., 0], 0) / np.where(occurs, sums[..., 1], 1)
    mean: Floats = ratios.sum(axis=-1) / np.maximum(1, occurs.sum(axis=-1))
    return mean


def weighted(counts: NDArray[Any], weights: Floats) -> Floats:
    """The score of one run for every row of weights, which may repeat images or leave them out.

    Sums of whole numbers in float64 are exact below 2^53.

    Args:
        counts: (n_images, K, 2); a memory map is read in pieces.
        weights: (draws, n_images), at least 0.

    Returns:
        (draws,) scores; 0 where no class occurs.
    """
    return mean_ratio(weighted_sums(counts, weights))


def weighted_sums(counts: NDArray[Any], weights: Floats) -> Floats:
    """Numerators and denominators (draws, K, 2) for every row of weights, see :func:`weighted`."""
    if counts.ndim != 3 or counts.shape[-1] != 2:
        raise InputError(f"score: expected counts (images, K, 2) of one run; received shape {counts.shape}")
    sums = np.zeros((len(weights), counts.shape[1] * 2))
    for start in range(0, len(counts), _IMAGES_AT_ONCE):
        piece = slice(start, start + _IMAGES_AT_ONCE)
        sums += weights[:, piece] @ counts[piece].reshape(-1, sums.shape[1]).astype(np.float64)
    return sums.reshape(len(weights), -1, 2)


def sums_by_class(labels: NDArray[Any], classes: int, weights: Floats) -> Floats:
    """Sum weights (draws, n_images) over the images of each class; returns (draws, classes).

    Args:
        labels: (n_images,) class of each image.
        classes: Number of classes.
        weights: (draws, n_images), at least 0.
    """
    sums = np.zeros((len(weights), classes))
    for start in range(0, len(labels), _IMAGES_AT_ONCE):
        piece = slice(start, start + _IMAGES_AT_ONCE)
        sums += weights[:, piece] @ np.eye(classes)[labels[piece]]
    return sums


class RatioTask(Task):
    """A task whose scores are means of ratios of sums over images.

    Its evidence holds those of the usual score as ``"counts"``, (n_images, K, 2).
    """

    def sums(self, metric: str, evidence: Evidence, weights: Floats) -> Floats:
        """Compute the numerators and denominators (draws, K, 2) of a score for every row of weights (draws, n_images).

        A class with a denominator of 0 does not count. The default is the usual score, of ``"counts"``.
        """
        return weighted_sums(evidence["counts"], weights)

    def value(self, metric: str, evidence: Evidence, weights: Floats | None = None) -> float:
        """Compute one of `metrics`.

        Raises:
            InputError: There is nothing to score, and no weights say so.
        """
        rows = np.ones((1, images_in(evidence))) if weights is None else weights[None]
        sums = self.sums(metric, evidence, rows)
        if weights is None and not (sums[..., 1] > 0).any():
            raise _nothing()
        return float(mean_ratio(sums)[0])

    def score(self, evidence: Evidence, weights: Floats | None = None) -> float:
        return self.value(self.metric, evidence, weights)

    def chosen_first(self, evidence: Evidence, weights: Floats | None = None) -> dict[str, float]:
        """Compute all of `metrics`, `metric` first."""
        return {name: self.value(name, evidence, weights) for name in dict.fromkeys((self.metric, *self.metrics))}

    def resampled(self, evidence: Evidence, weights: Floats) -> Floats:
        return mean_ratio(self.sums(self.metric, evidence, weights))

    def image_scores(self, evidence: Evidence) -> Floats:
        return mean_ratio(evidence["counts"])


def _nothing() -> InputError:
    return InputError(
        "score: all denominators are 0: there is nothing to score", "see whether the targets are all ignored"
    )
