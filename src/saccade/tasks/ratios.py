"""Scores that are a mean of ratios of sums over images: accuracy, mIoU. They have a fast path for any weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.errors import InputError
from saccade.tasks.base import Task
from saccade.tasks.evidence import Evidence, Floats

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
        raise InputError(
            "score: all denominators are 0: there is nothing to score", "see whether the targets are all ignored"
        )
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
    if counts.ndim != 3 or counts.shape[-1] != 2:
        raise InputError(f"score: expected counts (images, K, 2) of one run; received shape {counts.shape}")
    sums = np.zeros((len(weights), counts.shape[1] * 2))
    for start in range(0, len(counts), _IMAGES_AT_ONCE):
        piece = slice(start, start + _IMAGES_AT_ONCE)
        sums += weights[:, piece] @ counts[piece].reshape(-1, sums.shape[1]).astype(np.float64)
    return mean_ratio(sums.reshape(len(weights), -1, 2))


class RatioTask(Task):
    """A task whose score is a mean of ratios; its evidence holds them as ``"counts"``, (n_images, K, 2)."""

    def score(self, evidence: Evidence, weights: Floats | None = None) -> float:
        counts = evidence["counts"]
        return score(counts) if weights is None else float(weighted(counts, weights[None])[0])

    def resampled(self, evidence: Evidence, weights: Floats) -> Floats:
        return weighted(evidence["counts"], weights)

    def image_scores(self, evidence: Evidence) -> Floats:
        return mean_ratio(evidence["counts"])
