"""Check positions of a feature map and convert them to rows of an attention map."""

from __future__ import annotations

import operator
from collections.abc import Sequence

from saccade.errors import InputError


def rows_of(label: str, queries: Sequence[Sequence[int]], size: Sequence[int]) -> list[int]:
    """Return the row of each position in the row-major order of a map of `size`.

    Args:
        label: Name of the mechanism, for the error.
        queries: Positions, (y, x) on an image's map: one integer per axis, counted from 0.
        size: (H, W) of the map, or its one or three axes.

    Raises:
        InputError: A position has another number of axes, or lies outside the map.

    Example:
        >>> rows_of("PAM", [(0, 2), (1, 0)], (4, 5))
        [2, 5]
    """
    rows = []
    for query in queries:
        position = tuple(map(operator.index, query))
        if len(position) != len(size) or not all(0 <= at < length for at, length in zip(position, size, strict=True)):
            raise InputError(
                f"{label}: query {position} is not a position on the map of {' x '.join(map(str, size))}",
                f"each axis counts from 0, so the last position is {tuple(length - 1 for length in size)}",
            )
        row = 0
        for at, length in zip(position, size, strict=True):
            row = row * length + at
        rows.append(row)
    return rows
