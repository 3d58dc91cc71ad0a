"""Evidence: what a score is computed from, collected image by image.

Evidence is a dict of arrays. The first array has one row per image. The evidence of several batches, or of several
processes, is joined along the first axis of every array; an array with several rows per image comes with another one
that counts them, so that weights of images can be spread over its rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Evidence = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """Scores of parts of the data, such as objects by their size.

    Args:
        values: Score by the name of the part; None where nothing belongs to it.
        limits: Values of the property that separate neighbouring parts; None where there are too few.
    """

    values: dict[str, float | None]
    limits: tuple[float, ...] | None = None


def joined(parts: Iterable[Mapping[str, NDArray[Any]]]) -> Evidence:
    """Join the evidence of several batches, in their order."""
    parts = list(parts)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def images_in(evidence: Mapping[str, NDArray[Any]]) -> int:
    """Number of images that evidence was collected from."""
    return len(next(iter(evidence.values())))
