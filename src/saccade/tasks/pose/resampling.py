"""Bilinear resampling of images of bytes in whole numbers, all channels of a pixel at once.

The channels of a pixel lie in one number of 32 bits, and are read and weighted together: two of them with 16 bits each
for a product, a third one in the bits between. Weights are multiples of 1/256 whose sum is 1, so no product overflows.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SHIFT, _FRACTION = 14, 8  # bits of a place below a pixel, and those of them that weigh
_BORDER = 2  # black pixels around an image: what lies outside reads nothing else
_AT_ONCE = 49152  # pixels whose numbers are made together
_PLACES = (0, 2, 1)  # byte of a pixel that each channel is in
_OUTER, _MIDDLE = np.uint32(0x00FF00FF), np.uint32(0x0000FF00)

Whole = NDArray[np.uint32]


def in_range(back: Tensor, size: tuple[int, int]) -> bool:
    """Whether places of a result (N, 2, 3) can be told in 32 bits."""
    width, height = size
    reach = back.abs() @ torch.tensor([width, height, 1.0], dtype=back.dtype)
    return bool((reach < 2 ** (30 - _SHIFT)).all())


def resample(images: Tensor, back: Tensor, parts: Tensor, result: Tensor) -> None:
    """Fill results (N, C, height, width) with images (N, C, H, W) of uint8, of up to three channels.

    Args:
        images: The images; an image that is there N times lies in memory once.
        back: Matrices (N, 2, 3) from pixels of the results to pixels of the images.
        parts: Parts of the images that the results depend on: top, left, bottom and right (N, 4).
        result: Where the results go.
    """
    height, width = images.shape[2:]
    areas = (parts[:, 2:] - parts[:, :2]).prod(dim=1)
    whole = images.stride(0) == 0 and bool(areas.sum() > height * width)
    packed = _packed(images[0].numpy()) if whole else None
    across = torch.arange(result.shape[3], dtype=torch.float64)
    down = torch.arange(result.shape[2], dtype=torch.float64)
    # A place is the sum of what its column and its row add to it.
    columns = _fixed(back[:, :, :1] * across)
    rows = _fixed(back[:, :, 1:2] * down + back[:, :, 2:])
    for one, (top, left, bottom, right) in enumerate(parts.tolist()):
        if packed is None:
            source = _packed(images[one, :, top:bottom, left:right].numpy())
        else:
            source, top, left = packed, 0, 0
        moved = rows[one] - (np.array([left, top], dtype=np.int32)[:, None] << _SHIFT)
        _fill(source, columns[one], moved, result[one].numpy())


def _fixed(places: Tensor) -> NDArray[np.int32]:
    found: NDArray[np.int32] = np.rint(places.numpy() * 2.0**_SHIFT).astype(np.int32)
    return found


def _packed(image: NDArray[np.uint8]) -> Tensor:
    """Return the pixels of an image (C, H, W) as whole numbers, with a black border."""
    channels, height, width = image.shape
    pixels = np.zeros((height + 2 * _BORDER, width + 2 * _BORDER, 4), dtype=np.uint8)
    for channel, place in zip(range(channels), _PLACES, strict=False):
        pixels[_BORDER:-_BORDER, _BORDER:-_BORDER, place] = image[channel]
    return torch.from_numpy(pixels.view("<i4")[..., 0])


def _fill(source: Tensor, columns: NDArray[np.int32], rows: NDArray[np.int32], result: NDArray[np.uint8]) -> None:
    """Fill one result (C, height, width) from a packed image; places are those of its pixels without the border."""
    (height, width), (channels, tall, wide) = source.shape, result.shape
    flat = source.numpy().view(np.uint32).ravel()
    neighbours = [flat[start:] for start in (0, 1, width, width + 1)]
    inside = all(
        low >= 0 and high < side
        for low, high, side in (
            (int(column.min()) + int(row.min()) >> _SHIFT, (int(column.max()) + int(row.max()) >> _SHIFT) + 1, side)
            for column, row, side in zip(columns, rows, (width - 2 * _BORDER, height - 2 * _BORDER), strict=True)
        )
    )
    step = max(1, _AT_ONCE // wide)
    rows = rows + ((_BORDER << _SHIFT) + (1 << (_SHIFT - _FRACTION - 1)))
    for first in range(0, tall, step):
        part = rows[:, first : first + step]
        x, y = (line + row[:, None] for line, row in zip(columns, part, strict=True))
        weights = _weights(x, y)
        x >>= _SHIFT
        y >>= _SHIFT
        if not inside:
            np.clip(x, 0, width - _BORDER, out=x)
            np.clip(y, 0, height - _BORDER, out=y)
        y *= width
        y += x
        index, pixels = y.astype(np.intp), np.empty(y.shape, dtype=np.uint32)
        outer, middle, term = np.full_like(pixels, 0x00800080), np.full_like(pixels, 0x00008000), np.empty_like(pixels)
        for neighbour, weight in zip(neighbours, weights, strict=True):
            np.take(neighbour, index, out=pixels, mode="clip")
            np.bitwise_and(pixels, _OUTER, out=term)
            term *= weight
            outer += term
            if channels == 3:
                pixels &= _MIDDLE
                pixels *= weight
                middle += pixels
        for channel, (sums, byte) in zip(range(channels), ((outer, 1), (outer, 3), (middle, 2)), strict=False):
            result[channel, first : first + step] = sums.view(np.uint8)[:, byte::4]


def _weights(x: NDArray[np.int32], y: NDArray[np.int32]) -> tuple[Whole, Whole, Whole, Whole]:
    """Return the weights of the pixels at, right of, below, and right below places, in 1/256."""
    less, mask = _SHIFT - _FRACTION, (1 << _FRACTION) - 1
    right, below = ((at >> less).view(np.uint32) for at in (x, y))
    right &= mask
    below &= mask
    both = right * below
    both += 1 << (_FRACTION - 1)
    both >>= _FRACTION
    here = (1 << _FRACTION) - right
    here -= below
    here += both
    right -= both
    below -= both
    return here, right, below, both
