"""Arrays as pictures inside the page: PNG (JPEG for large photographs) written as data URIs.

A photograph is stored once; what an arm made of it lies above it as a picture that is mostly transparent.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.errors import require

Array = NDArray[Any]

TARGET = 384
"""Pictures are enlarged by a whole factor, or photographs reduced, to about this many pixels on the longer side."""
IGNORED = 255
TINTS = (
    (0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (240, 228, 66), (213, 94, 0),
    (120, 94, 240), (150, 200, 60), (165, 118, 75), (250, 170, 190), (60, 200, 200),
)  # fmt: skip
"""Colours of classes: first those that the colour-blind tell apart, then more; names stand on the regions as well."""
_CLEAR, _STRIPE, _EDGE = 0, len(TINTS) + 1, len(TINTS) + 2


def data_uri(image: Any, form: str = "PNG", **options: Any) -> str:
    """A Pillow image as ``data:image/png;base64,...``."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def photo(pixels: Array) -> str:
    """A photograph (H, W, 3) uint8; a large one is reduced and written as JPEG."""
    Image = require("PIL.Image", extra="train")
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if max(image.size) <= TARGET // 2:
        return data_uri(image, optimize=True)
    image.thumbnail((TARGET, TARGET), Image.Resampling.LANCZOS)
    return data_uri(image, "JPEG", quality=90)


def region_overlay(classes: Array, wrong: Array, ground: int | None) -> str:
    """Classes (H, W) as colours over a photograph; pixels that are `wrong` striped; the class `ground` left clear."""
    factor = max(1, TARGET // max(classes.shape))
    large, errors = (np.kron(part, np.ones((factor, factor), part.dtype)) for part in (classes, wrong.astype(np.uint8)))
    indices = 1 + large.astype(np.int64) % len(TINTS)
    indices[(large == IGNORED) | (large == (-1 if ground is None else ground))] = _CLEAR
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
    """A map (h, w) as light over a darkened photograph, from `low` (clear) to `high` (bright)."""
    Image = require("PIL.Image", extra="train")
    factor = max(1, 96 // max(values.shape))
    size = (values.shape[1] * factor, values.shape[0] * factor)
    smooth = Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return _with_palette(_levels(np.asarray(smooth), low, high), heat_palette(clear=True))


def heat_strip(rows: list[Array], low: float, high: float) -> str:
    """Vectors under each other, one cell a value, from `low` (dark) to `high` (bright)."""
    width = max(len(row) for row in rows)
    cells = [np.asarray(row)[np.arange(width) * len(row) // width] for row in rows]
    return _with_palette(_levels(np.stack(cells), low, high), heat_palette(clear=False))


def heat_square(matrix: Array) -> str:
    """A matrix (C, C), from its least (dark) to its largest value (bright)."""
    return _with_palette(_levels(matrix, float(matrix.min()), float(matrix.max())), heat_palette(clear=False))


def _levels(values: Array, low: float, high: float) -> Array:
    """32 steps: fewer than the eye tells apart in such a small picture, and a third of the bytes of 256."""
    shares = (np.nan_to_num(values) - low) / (high - low or 1.0)
    levels: Array = np.clip(np.rint(shares * 31), 0, 31).astype(np.int64)
    return levels


def heat_palette(*, clear: bool) -> list[tuple[int, int, int, int]]:
    """32 colours that grow lighter all the way, dark violet over orange to pale yellow: readable without colour."""
    stops = np.array(
        [(16, 8, 44), (96, 22, 110), (196, 56, 78), (244, 132, 30), (252, 216, 90), (255, 252, 214)], float
    )
    at = np.linspace(0, 1, 32)
    colours = np.stack([np.interp(at, np.linspace(0, 1, len(stops)), stops[:, k]) for k in range(3)], axis=1)
    alpha = np.interp(at, (0, 0.12, 0.5, 1), (0, 80, 175, 225)) if clear else np.full(32, 255.0)
    return [(int(r), int(g), int(b), int(a)) for (r, g, b), a in zip(colours, alpha, strict=True)]


def _with_palette(indices: Array, palette: list[tuple[int, int, int, int]]) -> str:
    Image = require("PIL.Image", extra="train")
    image = Image.fromarray(indices.astype(np.uint8)).convert("L")
    image.putpalette(bytes(channel for colour in palette for channel in colour[:3]))
    return data_uri(image, transparency=bytes(colour[3] for colour in palette), optimize=True)


def components(classes: Array, ground: int | None) -> list[tuple[int, Array]]:
    """Connected regions of one class as (class, (H, W) bool), largest first; `ground` and ignored pixels left out."""
    left = (classes != IGNORED) & (classes != (-1 if ground is None else ground))
    labels = np.where(left, np.arange(1, classes.size + 1).reshape(classes.shape), 0)
    same_right = left[:, 1:] & (classes[:, 1:] == classes[:, :-1])
    same_below = left[1:] & (classes[1:] == classes[:-1])
    while True:  # every region takes the largest number in it
        before = labels.copy()
        for same, one, other in ((same_right, labels[:, 1:], labels[:, :-1]), (same_below, labels[1:], labels[:-1])):
            largest = np.where(same, np.maximum(one, other), 0)
            np.maximum(one, largest, out=one)
            np.maximum(other, largest, out=other)
        if np.array_equal(before, labels):
            break
    found, sizes = np.unique(labels[left], return_counts=True)
    masks = [labels == number for number in found[np.argsort(-sizes, kind="stable")]]
    return [(int(classes[mask][0]), mask) for mask in masks]


def centre(mask: Array) -> tuple[float, float]:
    """The pixel of a region nearest to its centre of mass, as shares (down, across) of the picture."""
    rows, columns = np.nonzero(mask)
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return (float(rows[nearest]) + 0.5) / mask.shape[0], (float(columns[nearest]) + 0.5) / mask.shape[1]
