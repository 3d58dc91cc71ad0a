"""Order of the samples: a function of seed and step alone, so that resuming skips nothing and loads nothing."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray


@functools.lru_cache(maxsize=2)
def _permutation(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(count)


def batch_at(step: int, *, count: int, batch: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the samples of a step and the epoch each belongs to; epochs follow each other without a gap.

    Args:
        step: Number of the step, from 0.
        count: Number of samples; each comes once an epoch.
        batch: Samples a step.
        seed: Another seed, another order.
    """
    positions = np.arange(step * batch, (step + 1) * batch)
    epochs, places = positions // count, positions % count
    indices = np.array([_permutation(count, seed, int(e))[p] for e, p in zip(epochs, places, strict=True)])
    return indices, epochs
