"""Average precision with weights of images, for many weightings at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.tasks.evidence import Floats

_DRAWS_AT_ONCE = 2**22  # numbers in memory


def average_precisions(given: NDArray[Any], there: NDArray[Any], weights: Floats) -> Floats:
    r"""Compute the average precision of each class for every row of weights.

    .. math:: AP = \sum_n (R_n - R_{n-1}) P_n

    over the distinct probabilities from the largest down, with precision and recall of the images of at least that
    probability, without interpolation. Images of one probability come together. The definition of scikit-learn's
    ``average_precision_score``; M. Zhu, "Recall, Precision and Average Precision", University of Waterloo, 2004.

    Args:
        given: (n_images, K) probabilities.
        there: (n_images, K), 1 where an image has the class.
        weights: (draws, n_images), at least 0.

    Returns:
        (draws, K); NaN where no image with weight has the class.
    """
    found = np.full((len(weights), given.shape[1]), np.nan)
    step = max(1, _DRAWS_AT_ONCE // max(1, len(given)))
    for number in range(given.shape[1]):
        order = np.argsort(-given[:, number], kind="stable")
        values, has = given[order, number], there[order, number].astype(np.float64)
        last = np.flatnonzero(np.append(values[1:] != values[:-1], True))  # of the images of one probability
        for start in range(0, len(weights), step):
            sorted_weights = weights[start : start + step, order]
            true = np.cumsum(sorted_weights * has, axis=1)[:, last]
            every = np.cumsum(sorted_weights, axis=1)[:, last]
            gained = np.diff(true, axis=1, prepend=0.0)
            total = true[:, -1]
            area = (gained * true / np.where(every > 0, every, 1)).sum(axis=1)
            found[start : start + step, number] = np.where(total > 0, area / np.where(total > 0, total, 1), np.nan)
    return found
