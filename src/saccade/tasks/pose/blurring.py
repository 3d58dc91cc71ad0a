"""Gaussian blur of heat maps as two products of matrices, with OpenCV's kernels and borders.

A separable blur of every row and column is a product with a banded matrix on either side. The borders are part of the
matrices, a whole batch is blurred at once on any device, and a few pixels of a blurred map need a few rows only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from saccade.errors import InputError
from saccade.ops.modes import exported
from saccade.tasks.pose.sharing import shared

# cv2.GaussianBlur with a sigma of 0 does not use its own rule for these sizes.
_TABLES = {
    1: (1.0,),
    3: (0.25, 0.5, 0.25),
    5: (0.0625, 0.25, 0.375, 0.25, 0.0625),
    7: (0.03125, 0.109375, 0.21875, 0.28125, 0.21875, 0.109375, 0.03125),
    9: (0.015625, 0.05078125, 0.1171875, 0.19921875, 0.234375, 0.19921875, 0.1171875, 0.05078125, 0.015625),
}
BORDERS = ("zero", "reflect")
_BAND = 24  # pixels of a line that are blurred together, at least

Array = NDArray[Any]


def gaussian_kernel(size: int) -> Tensor:
    r"""Return OpenCV's kernel (size,) in float64 for a size alone.

    It is a table up to 9, and from 11 on a Gaussian with

    .. math:: \sigma = 0.3\left(\frac{k - 1}{2} - 1\right) + 0.8

    Raises:
        InputError: An even size or one below 1.
    """
    if not isinstance(size, int) or isinstance(size, bool) or size < 1 or size % 2 == 0:
        raise InputError(f"blur: the kernel must be an odd whole number of at least 1; received {size!r}")
    return torch.tensor(_weights(size), dtype=torch.float64)


def _weights(size: int) -> tuple[float, ...]:
    if size in _TABLES:
        return _TABLES[size]
    half = (size - 1) // 2
    sigma = 0.3 * (half - 1) + 0.8
    weights = [math.exp(-(step**2) / (2 * sigma**2)) for step in range(-half, half + 1)]
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)


def blur_matrix(kernel: int, length: int, border: str) -> Tensor:
    """Return the matrix (length, length) in float64 that blurs a line of pixels.

    Args:
        kernel: Size of the kernel, odd.
        length: Number of pixels.
        border: ``"zero"``: pixels outside are 0; ``"reflect"``: they mirror the line without repeating its ends.
    """
    # What is made while a program is recorded is a part of it, and must not be kept.
    return (_matrix.__wrapped__ if exported() else _matrix)(kernel, length, border)


@lru_cache(maxsize=64)
def _matrix(kernel: int, length: int, border: str) -> Tensor:
    return torch.tensor(_values(kernel, length, border), dtype=torch.float64)


def _values(kernel: int, length: int, border: str) -> list[list[float]]:
    rows = [[0.0] * length for _ in range(length)]
    weights, half = _weights(kernel), kernel // 2
    period = max(1, 2 * (length - 1))
    for row in range(length):
        for step in range(-half, half + 1):
            source = row + step
            if border == "zero" and not 0 <= source < length:
                continue
            if border == "reflect":
                source = min(source % period, period - source % period) if length > 1 else 0
            rows[row][source] += weights[step + half]
    return rows


def blurred(maps: Tensor, kernel: int, border: str) -> Tensor:
    """Return maps (..., H, W) blurred, in their own precision, with their last two axes exchanged: (..., W, H).

    Exchanged, both products are of one large matrix and a small one.
    """
    height, width = maps.shape[-2:]
    rows = blur_matrix(kernel, height, border).to(maps)
    columns = blur_matrix(kernel, width, border).to(maps)
    return (maps @ columns.mT).mT.contiguous() @ rows.mT


def lowest_blurred(maps: Tensor, kernel: int, border: str) -> Tensor:
    """Return the lowest value (N, K) of each map (N, K, H, W) blurred."""
    if _in_arrays(maps):
        return _spread(maps, kernel, border, lambda flat: (flat.min(axis=-1),))[0]
    return _whole(maps, kernel, border).amin(-1)


def highest_blurred(maps: Tensor, kernel: int, border: str) -> tuple[Tensor, Tensor]:
    """Return where the first highest pixel of each map (N, K, H, W) blurred is, (N, K), and its value."""
    if _in_arrays(maps):
        index, values = _spread(maps, kernel, border, highest_of)
        return index, values
    return highest(_whole(maps, kernel, border))


def highest(flat: Tensor) -> tuple[Tensor, Tensor]:
    """Return where the first highest value of the last axis of (N, K, P) is, and the value."""
    if _in_arrays(flat):  # NumPy is many times as fast as torch here
        index, values = spread(highest_of, flat.numpy())
        return index, values
    index = flat.argmax(dim=-1)
    return index, flat.gather(-1, index[..., None])[..., 0]


def highest_of(flat: Array) -> tuple[Array, Array]:
    """Return where the first highest value of the last axis is, and the value."""
    index = flat.argmax(axis=-1)
    return index, np.take_along_axis(flat, index[..., None], axis=-1)[..., 0]


def spread(function: Callable[[Array], tuple[Array, ...]], items: Array) -> tuple[Tensor, ...]:
    """Return what a function says of items, shared among threads."""
    found = shared(lambda part: function(items[part]), len(items), items.size)
    return tuple(torch.from_numpy(np.concatenate(parts)) for parts in zip(*found, strict=True))


def _in_arrays(maps: Tensor) -> bool:
    return maps.device.type == "cpu" and not exported() and len(maps) > 0


def _whole(maps: Tensor, kernel: int, border: str) -> Tensor:
    """Return all maps blurred, as (..., H W)."""
    height, width = maps.shape[-2:]
    rows = blur_matrix(kernel, height, border).to(maps)
    columns = blur_matrix(kernel, width, border).to(maps).mT
    return (rows @ (maps @ columns)).flatten(-2)


def _spread(maps: Tensor, kernel: int, border: str, reduce: Callable[[Array], tuple[Array, ...]]) -> tuple[Tensor, ...]:
    """Return what a function says of each map blurred, given as (..., H W), without all blurred maps at once.

    The maps of one item at a time are blurred, as these stay in the processor's cache, and band by band, as most of
    a blur's matrix is 0.
    """
    height, width = maps.shape[-2:]
    kind = maps.numpy().dtype
    rows, columns = (_bands(kernel, side, border, kind) for side in (height, width))

    def reduced(items: Array) -> tuple[Array, ...]:
        half, whole = np.empty(items.shape[1:], kind), np.empty(items.shape[1:], kind)
        parts = []
        for item in items:
            for band in columns:
                np.matmul(item[..., band.read], band.weights.T, out=half[..., band.made])
            for band in rows:
                np.matmul(band.weights, half[:, band.read], out=whole[:, band.made])
            parts.append(reduce(whole.reshape(len(whole), -1)))
        return tuple(np.stack(found) for found in zip(*parts, strict=True))

    return spread(reduced, maps.numpy())


class _Band(NamedTuple):
    """Rows of a blur's matrix without the columns that are 0 in all of them."""

    made: slice
    read: slice
    weights: Array


@lru_cache(maxsize=64)
def _bands(kernel: int, length: int, border: str, kind: np.dtype[Any]) -> tuple[_Band, ...]:
    matrix, found = blur_matrix(kernel, length, border).numpy(), []
    for made in np.array_split(np.arange(length), max(1, length // _BAND)):
        used = np.flatnonzero(matrix[made].any(axis=0))
        read = slice(int(used[0]), int(used[-1]) + 1)
        weights = np.ascontiguousarray(matrix[made, read], dtype=kind)
        found.append(_Band(slice(int(made[0]), int(made[-1]) + 1), read, weights))
    return tuple(found)


def blurred_at(maps: Tensor, x: Tensor, y: Tensor, reach: int, kernel: int, border: str) -> Tensor:
    """Return a square of each blurred map around one pixel, (N, K, 2 reach + 1, 2 reach + 1), in float64.

    Pixels outside the map repeat its edge. Only the pixels that the square depends on are read.

    Args:
        maps: Maps (N, K, H, W).
        x: Columns (N, K), whole numbers.
        y: Rows (N, K), whole numbers.
        reach: Pixels on either side.
        kernel: Size of the kernel, odd.
        border: Border of the blur.
    """
    if exported():
        return _recorded_at(maps, x, y, reach, kernel, border)
    height, width = maps.shape[-2:]
    row_weights, top, tall = _window(y, height, reach, kernel, border)
    column_weights, left, wide = _window(x, width, reach, kernel, border)
    flat, number = maps.flatten(0, 1), torch.arange(maps.shape[0] * maps.shape[1], device=maps.device)
    places = number, top.flatten(), left.flatten()
    if maps.device.type == "cpu":  # NumPy copies a window at a time, and multiplies small matrices faster
        windows = sliding_window_view(flat.numpy(), (tall, wide), axis=(1, 2))
        read = windows[tuple(place.numpy() for place in places)].astype(np.float64)
        found = torch.from_numpy(row_weights.numpy() @ read @ column_weights.numpy().transpose(0, 2, 1))
    else:
        read = flat.unfold(1, tall, 1).unfold(2, wide, 1)[places].double()
        found = row_weights @ read @ column_weights.mT
    return found.view(*x.shape, *found.shape[1:])


def _recorded_at(maps: Tensor, x: Tensor, y: Tensor, reach: int, kernel: int, border: str) -> Tensor:
    """Compute :func:`blurred_at` by operators that exporters know."""
    height, width = maps.shape[-2:]
    row_weights, first_row, tall = _tables.__wrapped__(height, reach, kernel, border)
    column_weights, first_column, wide = _tables.__wrapped__(width, reach, kernel, border)
    rows, columns = (
        first[center][..., None] + torch.arange(count, device=maps.device)
        for first, center, count in ((first_row, y, tall), (first_column, x, wide))
    )
    index = rows[..., :, None] * width + columns[..., None, :]
    read = maps.flatten(2).gather(2, index.flatten(2)).view(index.shape).double()
    return row_weights[y] @ read @ column_weights[x].mT


def _window(center: Tensor, length: int, reach: int, kernel: int, border: str) -> tuple[Tensor, Tensor, int]:
    """Return the rows of a blur's matrix around pixels, (P, 2 reach + 1, n), and what they weigh.

    These are n pixels from the first one, all of them inside the map.
    """
    weights, first, count = _tables(length, reach, kernel, border)
    return weights.to(center.device)[center.flatten()], first.to(center.device)[center], count


@lru_cache(maxsize=64)
def _tables(length: int, reach: int, kernel: int, border: str) -> tuple[Tensor, Tensor, int]:
    """Return :func:`_window` of each pixel of a line."""
    center, count = torch.arange(length), min(length, 2 * (reach + kernel // 2) + 1)
    first = (center - count // 2).clamp(0, length - count)
    read = first[:, None] + torch.arange(count)
    found = (center[:, None] + torch.arange(-reach, reach + 1)).clamp(0, length - 1)
    return blur_matrix(kernel, length, border)[found[:, :, None], read[:, None, :]], first, count
