"""Summaries of maps with channels last: means, maxima, flattened positions; half maps are summed in float32."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from saccade.errors import InputError
from saccade.keras.modes import exported
from saccade.keras.pieces import mean_over, wide


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
    return mean_over(wide(x), tuple(range(1, len(x.shape) - 1)))


def largest(x: Any, axis: int, *, keepdims: bool = False) -> Any:
    """Return the maximum over an axis, whose gradient goes to the first of the entries that reach it."""
    if exported():  # LiteRT has no operation that takes entries by such indices
        return ops.max(x, axis=axis, keepdims=keepdims)
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


def pooled_axes(label: str, shape: Sequence[int | None], instead: str | None = None) -> tuple[int, ...]:
    """Return the axes of a map (B, H, W, C) that are pooled: all positions but frames.

    Raises:
        InputError: A map with fewer than 2 positions on one of them, where `instead` says what to do.
    """
    axes = tuple(range(max(1, len(shape) - 3), len(shape) - 1))
    if any(size is not None and size < 2 for size in (shape[axis] for axis in axes)):
        raise InputError(
            f"{label}: needs at least {' x '.join('2' for _ in axes)} positions to pool; received a map of "
            f"{' x '.join(map(str, shape[1:-1]))}",
            instead,
        )
    return axes


def _evens_and_odds(x: Any, axis: int, size: Any) -> tuple[Any, Any]:
    before = (slice(None),) * axis
    return x[(*before, slice(0, size, 2))], x[(*before, slice(1, size, 2))]


def first(x: Any) -> Any:
    """Return the map with channels first, as views have them."""
    return ops.moveaxis(x, -1, 1)


def adaptive_mean(x: Any, size: Sequence[Any]) -> Any:
    r"""Return the means over bins, which overlap where sizes do not divide: (B, H, W, C) to (B, h, w, C).

    Bin i of h covers the rows :math:`\lfloor i H / h \rfloor` to :math:`\lceil (i + 1) H / h \rceil - 1`.
    """
    down, across = (_bins(ops.shape(x)[axis], size[axis - 1], x.dtype) for axis in (1, 2))
    return ops.einsum("hy,byxc,wx->bhwc", down, x, across)


def _bins(length: Any, bins: Any, dtype: Any) -> Any:
    """Return the weights of `length` positions in each bin, (bins, length)."""
    number = ops.expand_dims(ops.arange(bins, dtype="int32"), 1)
    start = number * length // bins
    end = ((number + 1) * length + bins - 1) // bins
    position = ops.arange(length, dtype="int32")
    inside = ops.logical_and(position >= start, position < end)
    return ops.cast(inside, dtype) / ops.cast(end - start, dtype)
