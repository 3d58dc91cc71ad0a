"""The score of a run from what was counted on each test image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.errors import InputError

Floats = NDArray[np.float64]


def score(counts: NDArray[Any]) -> float:
    r"""The score of one run from its counts per test image.

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


def mean_ratio(sums: Floats) -> Floats:
    """Mean over the classes that occur of numerator / denominator; 0 where none occurs."""
    occurs = sums[..., 1] > 0
    ratios = np.where(occurs, sums[..., 0], 0) / np.where(occurs, sums[..., 1], 1)
    mean: Floats = ratios.sum(axis=-1) / np.maximum(1, occurs.sum(axis=-1))
    return mean
