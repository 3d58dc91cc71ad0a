"""Summaries of maps with channels last: means, maxima, flattened positions; half maps are summed in float32."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from saccade.keras.pieces import wide


def flat(x: Any) -> Any:
    """Return the map with all positions on one axis, (B, N, C)."""
    sizes = x.shape[1:-1]
    if None in sizes:
        return ops.reshape(x, (ops.shape(x)[0], -1, x.shape[-1]))
    return ops.reshape(x, (-1, math.prod(sizes), x.shape[-1]))


def unflat(x: Any, like: Any) -> Any:
    """Return (B, N, D) with the positions of the map `like`, (B, H, W, D)."""
    return ops.reshape(x, (-1, *ops.shape(like)[1:-1], x.shape[-1]))


def spread(x: Any, like: Any) -> Any:
    """Return vectors (B, C) with an axis of 1 for each axis of positions of the map `like`."""
    return ops.reshape(x, (-1, *(1 for _ in like.shape[1:-1]), x.shape[-1]))


def mean(x: Any) -> Any:
    """Return the mean over the positions, (B, C), in float32 at least."""
    return ops.mean(wide(x), axis=tuple(range(1, len(x.shape) - 1)))


def largest(x: Any, axis: int, *, keepdims: bool = False) -> Any:
    """Return the maximum over an axis, whose gradient goes to the first of the entries that reach it."""
    at = ops.expand_dims(ops.argmax(x, axis=axis), axis)
    found = ops.take_along_axis(x, at, axis=axis)
    return found if keepdims else ops.squeeze(found, axis)


def pooled(x: Any, axes: Sequence[int]) -> Any:
    """Return the maxima of neighbours by twos along `axes`; a last odd one is dropped, and the first of ties counts."""
    corners = [x]
    for axis in axes:  # the last axis varies fastest, as in row-major order
        size = ops.shape(x)[axis] // 2 * 2
        corners = [part for corner in corners for part in _evens_and_odds(corner, axis, size)]
    found = corners[0]
    for corner in corners[1:]:
        found = ops.where(found >= corner, found, corner)
    return found


def _evens_and_odds(x: Any, axis: int, size: Any) -> tuple[Any, Any]:
    before = (slice(None),) * axis
    return x[(*before, slice(0, size, 2))], x[(*before, slice(1, size, 2))]
