"""Arrays as pictures inside the page: PNG (JPEG for large photographs) written as data URIs.

A photograph is stored once; predictions and attention are mostly transparent pictures that lie over it.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data import IGNORE
from saccade.errors import require
from saccade.inspection.colours import HEAT, levels, ramp
from saccade.tasks.segmentation.objects import find_objects

Array = NDArray[Any]

TARGET = 384
"""Approximate length of the longer side in pixels: pictures are enlarged to it by an integer, photographs reduced."""
TINTS = (
    (0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (240, 228, 66), (213, 94, 0),
    (120, 94, 240), (150, 200, 60), (165, 118, 75), (250, 170, 190), (60, 200, 200),
)  # fmt: skip
"""Colours of classes: first those that colour-blind people can tell apart, then more; regions carry names as well."""
_LEVELS = 32
_CLEAR, _STRIPE, _EDGE = 0, len(TINTS) + 1, len(TINTS) + 2


def data_uri(image: Any, form: str = "PNG", **options: Any) -> str:
    """Return a Pillow image as ``data:image/png;base64,...``."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def photo(pixels: Array, side: int = TARGET) -> str:
    """Return a photograph (H, W, 3) uint8; a large one is reduced to `side` pixels and written as JPEG."""
    Image = require("PIL.Image", extra="train")
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if max(image.size) <= TARGET // 2:
        return data_uri(image, optimize=True)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return data_uri(image, "JPEG", quality=88)


def region_overlay(classes: Array, wrong: Array, ground: int | None) -> str:
    """Draw classes (H, W) as colours over a photograph, with `wrong` pixels striped and the class `ground` clear."""
    factor = max(1, TARGET // max(classes.shape))
    large, errors = (np.kron(part, np.ones((factor, factor), part.dtype)) for part in (classes, wrong.astype(np.uint8)))
    indices = 1 + large.astype(np.int64) % len(TINTS)
    indices[(large == IGNORE) | (large == (-1 if ground is None else ground))] = _CLEAR
    indices[_edges(large)] = _EDGE
    rows, columns = np.indices(large.shape)
    indices[(errors > 0) & ((rows + columns) % 9 < 4)] = _STRIPE
    indices[_edges(errors)] = _STRIPE
    palette = [(0, 0, 0, 0), *((*tint, 140) for tint in TINTS), (20, 20, 20, 235), (255, 255, 255, 215)]
    return _with_palette(indices, palette)


def _edges(values: Array) -> Array:
    """Pixels whose right or lower neighbour has another value."""
    edges = np.zeros(values.shape, bool)
    edges[:, :-1] |= values[:, :-1] != values[:, 1:]
    edges[:-1] |= values[:-1] != values[1:]
    return edges


def heat_overlay(values: Array, low: float, high: float) -> str:
    """Draw a map (h, w) as light over a darkened photograph, from `low` (clear) to `high` (bright)."""
    Image = require("PIL.Image", extra="train")
    factor = max(1, 96 // max(values.shape))
    size = (values.shape[1] * factor, values.shape[0] * factor)
    smooth = Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return _with_palette(levels(np.asarray(smooth), low, high, _LEVELS), heat_palette(clear=True))


def heat_strip(rows: list[Array], low: float, high: float) -> str:
    """Draw vectors one below the other, one cell per value, from `low` (dark) to `high` (bright)."""
    width = max(len(row) for row in rows)
    cells = [np.asarray(row)[np.arange(width) * len(row) // width] for row in rows]
    return _with_palette(levels(np.stack(cells), low, high, _LEVELS), heat_palette(clear=False))


def heat_square(matrix: Array) -> str:
    """Draw a matrix (C, C), from its smallest (dark) to its largest value (bright)."""
    return _with_palette(levels(matrix, float(matrix.min()), float(matrix.max()), _LEVELS), heat_palette(clear=False))


def heat_palette(*, clear: bool) -> list[tuple[int, int, int, int]]:
    """Return 32 colours, which small pictures do not need more of; 256 would take three times the bytes."""
    return [(int(r), int(g), int(b), int(a)) for r, g, b, a in ramp(HEAT, _LEVELS, clear=clear)]


def _with_palette(indices: Array, palette: list[tuple[int, int, int, int]]) -> str:
    Image = require("PIL.Image", extra="train")
    image = Image.fromarray(indices.astype(np.uint8)).convert("L")
    image.putpalette(bytes(channel for colour in palette for channel in colour[:3]))
    return data_uri(image, transparency=bytes(colour[3] for colour in palette), optimize=True)


def components(classes: Array, ground: int | None) -> list[tuple[int, Array]]:
    """Return connected regions as (class, (H, W) bool), largest first, without class `ground` and ignored pixels."""
    found = find_objects(classes[None].astype(np.int64))
    number = found.paint(np.arange(len(found.label))).reshape(classes.shape)
    left_out = {IGNORE} if ground is None else {IGNORE, ground}
    order = np.argsort(-found.area, kind="stable")
    return [(int(found.label[k]), number == k) for k in order if int(found.label[k]) not in left_out]


def centre(mask: Array) -> tuple[float, float]:
    """Return the pixel of a region nearest to its centre of mass, as fractions (down, across) of the picture."""
    rows, columns = np.nonzero(mask)
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return (float(rows[nearest]) + 0.5) / mask.shape[0], (float(columns[nearest]) + 0.5) / mask.shape[1]
