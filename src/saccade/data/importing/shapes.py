"""Pixels of shapes. A pixel belongs to a polygon if its centre lies inside, so that neighbours never share a pixel."""

from __future__ import annotations

import base64
import binascii
import io
import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data.importing.export import Region, Size, UnusableError
from saccade.errors import require

_FAR = 1e7  # no image is as large; larger numbers would overflow
_AT_ONCE = 1_000_000

Corners = NDArray[np.float64]
Draw = Callable[[Size], Region]


def corners(numbers: Any) -> Corners:
    """Read ``[x, y, x, y, ...]`` or ``[[x, y], ...]`` as (n, 2).

    Raises:
        UnusableError: They are not finite pairs of numbers, or fewer than three.
    """
    try:
        read = np.asarray(numbers, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as cause:
        raise UnusableError("the coordinates are damaged") from cause
    if read.ndim > 2 or (read.ndim == 2 and read.shape[1] != 2) or read.size % 2:
        raise UnusableError("the coordinates are damaged")
    read = read.reshape(-1, 2)
    if not len(read):
        raise UnusableError("the polygon is empty")
    if not (np.abs(read) < _FAR).all():  # not a number either
        raise UnusableError("the coordinates are damaged")
    if len(read) < 3:
        raise UnusableError("the polygon has fewer than 3 corners")
    return read


def polygon(*parts: Corners) -> Draw:
    """Draw an area of one or several polygons; a polygon that crosses itself is filled by the even-odd rule."""

    def draw(size: Size) -> Region:
        every = np.concatenate(parts)
        top, left, bottom, right = _within(every, size)
        mask = np.zeros((bottom - top, right - left), dtype=np.bool_)
        for part in parts:
            mask |= _filled(part - (left, top), mask.shape)
        return Region(top, left, mask, _leaves(every, size))

    return draw


def inclusive_polygon(outer: Corners, holes: Sequence[Corners]) -> Draw:
    """Draw a polygon whose corners are pixels: they, and the pixels of the lines between them, belong to it."""

    def draw(size: Size) -> Region:
        pil, drawing = require("PIL.Image", extra="train"), require("PIL.ImageDraw", extra="train")
        top, left, bottom, right = _within(np.concatenate((outer, outer + 1)), size)
        canvas = pil.new("L", (right - left, bottom - top))
        for colour, part in ((1, outer), *((0, hole) for hole in holes)):
            points = [(float(x), float(y)) for x, y in np.rint(part) - (left, top)]
            drawing.Draw(canvas).polygon(points, fill=colour, outline=colour)
        return Region(top, left, np.array(canvas, dtype=np.bool_), _leaves(outer + 0.5, size))

    return draw


def box(
    left: float,
    top: float,
    right: float,
    bottom: float,
    *,
    turned: float = 0.0,
    about: tuple[float, float] | None = None,
) -> Draw:
    """Draw a filled rectangle, turned clockwise by degrees about a point, which is its centre unless given."""
    outline = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=np.float64)
    return polygon(corners(_turned(outline, outline.mean(axis=0) if about is None else np.array(about), turned)))


def ellipse(x: float, y: float, across: float, down: float, *, turned: float = 0.0) -> Draw:
    """Draw a filled ellipse by its centre, its two radii and its angle (clockwise, in degrees).

    Raises:
        UnusableError: Values are not numbers, or a radius is not above 0.
    """
    numbers = np.array([x, y, across, down, turned], dtype=np.float64)
    if not (np.abs(numbers) < _FAR).all() or across <= 0 or down <= 0:
        raise UnusableError("the coordinates are damaged")
    around = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    outline = np.stack([x + across * np.cos(around), y + down * np.sin(around)], axis=1)
    return polygon(corners(_turned(outline, np.array([x, y]), turned)))


def runs(counts: Any, stated: Any, *, rows_first: bool = False) -> Draw:
    """Draw run lengths that begin with zeros, down the columns as in COCO, or along the rows.

    Args:
        counts: Lengths, or COCO's text of them.
        stated: Height and width that they are of.
        rows_first: True if they run along the rows.

    Raises:
        UnusableError: They are damaged.
    """
    lengths = _lengths(counts)

    def draw(size: Size) -> Region:
        if not isinstance(stated, (list, tuple)) or list(stated) != list(size):
            raise UnusableError("the run lengths are of another size than the image")
        if lengths.sum() != size[0] * size[1]:
            raise UnusableError("the run lengths do not add up to the size of the image")
        flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
        return Region(0, 0, flat.reshape(size) if rows_first else flat.reshape(size[::-1]).T)

    return draw


def bitmap(mask: NDArray[np.bool_], left: int, top: int) -> Draw:
    """Draw a mask whose first pixel stands at a place of the image."""

    def draw(size: Size) -> Region:
        height, width = size
        seen = mask[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
        if not seen.size:
            raise UnusableError("it lies outside the image")
        return Region(max(0, top), max(0, left), seen, seen.size < mask.size)

    return draw


def run_rectangle(counts: Any, height: int, width: int, left: int, top: int) -> Draw:
    """Draw run lengths along the rows of a rectangle within the image."""

    def draw(size: Size) -> Region:
        if not 0 < height * width <= size[0] * size[1] or height < 0:
            raise UnusableError("the run lengths are of another size than the image")
        inner = runs(counts, [height, width], rows_first=True)((height, width)).mask
        return bitmap(inner, left, top)(size)

    return draw


def picture(text: Any, *, deflated: bool) -> Callable[[Size], NDArray[np.bool_]]:
    """A mask as a picture file in base64; it is decoded only if it fits into the image.

    Raises:
        UnusableError: The text is damaged.
    """
    try:
        data = base64.b64decode(text, validate=False)
    except (TypeError, ValueError, binascii.Error) as cause:
        raise UnusableError("the bitmap is damaged") from cause

    def read(size: Size) -> NDArray[np.bool_]:
        limit = 8 * size[0] * size[1] + 100_000
        try:
            raw = zlib.decompressobj().decompress(data, limit) if deflated else data
            with require("PIL.Image", extra="train").open(io.BytesIO(raw), formats=("PNG",)) as image:
                if image.height > size[0] or image.width > size[1]:
                    raise UnusableError("the bitmap is larger than the image")
                pixels = np.asarray(image.convert("RGBA") if "transparency" in image.info else image)
        except (zlib.error, OSError, SyntaxError, ValueError) as cause:
            raise UnusableError("the bitmap is damaged") from cause
        if pixels.ndim == 2:
            return np.asarray(pixels != 0)
        return np.asarray(pixels[..., -1] != 0 if pixels.shape[-1] in (2, 4) else pixels.any(axis=-1))

    return read


def _lengths(counts: Any) -> NDArray[np.int64]:
    lengths: list[int] = _untexted(counts) if isinstance(counts, str) else counts
    whole = isinstance(lengths, list) and all(isinstance(one, int) and 0 <= one < 2**40 for one in lengths)
    if not whole or not lengths:
        raise UnusableError("the run lengths are damaged")
    return np.array(lengths, dtype=np.int64)


def _untexted(text: str) -> list[int]:
    """Read COCO's text: five bits per letter, and from the fourth on the difference to the last but one."""
    lengths: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise UnusableError("the run lengths are damaged")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    if shift:
        raise UnusableError("the run lengths are damaged")
    return lengths


def _turned(points: Corners, centre: NDArray[np.float64], degrees: float) -> Corners:
    if not degrees:
        return points
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.asarray((points - centre) @ np.array([(cos, sin), (-sin, cos)]) + centre)


def _within(points: Corners, size: Size) -> tuple[int, int, int, int]:
    """Rows and columns of the image that can have pixels of a shape."""
    (left, top), (right, bottom) = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    first = max(0, int(top)), max(0, int(left))
    last = min(size[0], int(bottom)), min(size[1], int(right))
    if first[0] >= size[0] or first[1] >= size[1] or last[0] <= 0 or last[1] <= 0:
        raise UnusableError("it lies outside the image")
    return first[0], first[1], max(last[0], first[0]), max(last[1], first[1])


def _leaves(points: Corners, size: Size) -> bool:
    """A corner that lies half a pixel outside is a matter of rounding."""
    return bool((points < -0.5).any() or (points > (size[1] + 0.5, size[0] + 0.5)).any())


def _filled(points: Corners, shape: Sequence[int]) -> NDArray[np.bool_]:
    """Fill one polygon: every edge turns over all pixels to the right of it, in the rows whose centres it crosses."""
    height, width = shape
    flips = np.zeros((height, width + 1), dtype=np.int32)
    start, end = points, np.roll(points, -1, axis=0)
    upper, lower = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first = np.clip(np.ceil(upper - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(lower - 0.5), 0, height).astype(np.int64)
    counts = last - first
    for some in np.array_split(np.arange(len(points)), 1 + int(counts.sum()) // _AT_ONCE):
        edge = np.repeat(some, counts[some])
        before = np.repeat(np.cumsum(counts[some]) - counts[some], counts[some])
        row = np.arange(len(edge)) - before + first[edge]
        slope = (end[edge, 0] - start[edge, 0]) / (end[edge, 1] - start[edge, 1])
        x = start[edge, 0] + (row + 0.5 - start[edge, 1]) * slope
        np.add.at(flips, (row, np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)), 1)
    return np.asarray(np.cumsum(flips, axis=1)[:, :width] % 2 == 1)
