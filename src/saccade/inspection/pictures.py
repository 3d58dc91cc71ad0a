"""Pictures from arrays: attention over a photograph, gates over depth. Needs Pillow and matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from saccade.errors import InputError, require
from saccade.inspection.colours import BALANCE, HEAT, gate_limits, levels, ramp
from saccade.inspection.dependence import spread

Array = NDArray[Any]

PEAK = 3.0
"""Weight, in multiples of a uniform weight, from which on pictures are brightest; a uniform map stays dim."""
SOURCES = 3
SLICES = 8
GAP = 4
"""Pixels between slices."""


def as_array(values: Tensor | Array) -> Array:
    """Return the values as a numpy array on the CPU."""
    return values.detach().float().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def drawn_range(weights: Array) -> tuple[float, float]:
    """Return the weights drawn darkest and brightest: 0 and the peak; symmetric around 0 if any is negative."""
    largest = float(np.abs(weights).max())
    if float(weights.min()) < 0:
        return -largest, largest
    return 0.0, max(largest, PEAK * float(weights.sum()) / weights.size) or 1.0


def overlay(
    image: Array, weights: Tensor | Array, *, opacity: float = 1.0, limits: tuple[float, float] | None = None
) -> NDArray[np.uint8]:
    """Lay a map as light over a darkened photograph; negative weights are blue, positive ones orange.

    Args:
        image: (H, W, 3) uint8.
        weights: (h, w) of any size; enlarged smoothly.
        opacity: 0 to 1.
        limits: The values drawn darkest and brightest; None: see :func:`drawn_range`.

    Returns:
        (H, W, 3) uint8.
    """
    values = as_array(weights)
    if values.ndim != 2 or image.ndim != 3 or not 0 <= opacity <= 1:
        raise InputError(
            f"overlay: expected an image (H, W, 3), weights (h, w) and 0 <= opacity <= 1; received {image.shape}, "
            f"{values.shape}, {opacity}"
        )
    Image = require("PIL.Image", extra="train")
    low, high = drawn_range(values) if limits is None else limits
    size = (image.shape[1], image.shape[0])
    smooth = np.asarray(Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
    if low < 0:
        colours = ramp(BALANCE)[levels(smooth, low, high)].astype(np.float32)
        colours[..., 3] = 225 * np.abs(smooth) / max(-low, high)
    else:
        colours = ramp(HEAT, clear=True)[levels(smooth, low, high)].astype(np.float32)
    grey = (image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32))[..., None] * 0.6
    base = image * (1 - opacity) + grey * opacity
    alpha = colours[..., 3:] / 255 * opacity
    laid: NDArray[np.uint8] = np.rint(base * (1 - alpha) + colours[..., :3] * alpha).astype(np.uint8)
    return laid


def strongest(weights: Tensor | Array, count: int = SOURCES) -> list[tuple[Any, ...]]:
    """Return the `count` strongest sources of a map (h, w) as (y, x, weight), the strongest first.

    Those of a volume (d, h, w) are (z, y, x, weight).
    """
    values = as_array(weights)
    order = np.argsort(-np.abs(values), axis=None, kind="stable")[:count]
    return [(*map(int, np.unravel_index(k, values.shape)), float(values.flat[k])) for k in order]


def attention_picture(
    image: Array,
    weights: Tensor | Array,
    query: tuple[float, ...] | None = None,
    *,
    side: int = 384,
    sources: int = SOURCES,
    limits: tuple[float, float] | None = None,
) -> Any:
    """Draw the map over the photograph, its strongest sources framed and the query point ringed, as a Pillow image.

    A map of a volume or a clip is drawn as a row of slices, at most 8, evenly spaced, all with the same limits. A map
    of a sequence is drawn as one row of cells over a picture of it.

    Args:
        image: (H, W, 3) uint8; of a volume or a clip (D, H, W, 3) or (D, H, W), of any D.
        weights: (h, w), (d, h, w) or (l,).
        query: Query point as fractions (down, across) of the picture, of a volume (deep, down, across), of a sequence
            (along,).
        side: Longer side of the picture, or of a slice, in pixels.
        sources: Number of sources to frame.
        limits: See :func:`overlay`.
    """
    values = as_array(weights)
    if values.ndim == 1:
        return attention_picture(
            image, values[None], query and (0.5, *query), side=side, sources=sources, limits=limits
        )
    framed = strongest(values, sources)
    if values.ndim == 2:
        return _drawn(image, values, query, side, framed, limits)
    frames = _frames(image, values)
    limits = drawn_range(values) if limits is None else limits
    depth = len(values)
    shown = spread(depth, SLICES)
    asked = None if query is None else min(shown, key=lambda z: abs(z - min(depth - 1, int(query[0] * depth))))
    row = [
        _drawn(
            frames[int((z + 0.5) * len(frames) / depth)],
            values[z],
            query[1:] if query is not None and z == asked else None,
            side,
            [source[1:] for source in framed if source[0] == z],
            limits,
        )
        for z in shown
    ]
    return _side_by_side(row)


def _frames(volume: Array, values: Array) -> Array:
    """Return a volume or a clip as pictures (D, H, W, 3)."""
    if values.ndim != 3 or volume.ndim not in (3, 4) or (volume.ndim == 4 and volume.shape[-1] != 3):
        raise InputError(
            "attention_picture: expected a map (h, w) over an image (H, W, 3), or a map (d, h, w) over a volume "
            f"(D, H, W) or a clip (D, H, W, 3); received {values.shape} and {volume.shape}"
        )
    return volume if volume.ndim == 4 else np.repeat(volume[..., None], 3, axis=-1)


def _side_by_side(pictures: list[Any]) -> Any:
    """Return pictures of one size in a row, a few pixels apart."""
    Image = require("PIL.Image", extra="train")
    width, height = pictures[0].size
    row = Image.new("RGB", (len(pictures) * (width + GAP) - GAP, height), (255, 255, 255))
    for number, picture in enumerate(pictures):
        row.paste(picture, (number * (width + GAP), 0))
    return row


def _drawn(
    image: Array,
    values: Array,
    query: tuple[float, ...] | None,
    side: int,
    framed: list[tuple[Any, ...]],
    limits: tuple[float, float] | None,
) -> Any:
    Image, ImageDraw = require("PIL.Image", extra="train"), require("PIL.ImageDraw", extra="train")
    factor = side / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    large = np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(size, Image.Resampling.BICUBIC))
    picture = Image.fromarray(overlay(large, values, limits=limits))
    draw = ImageDraw.Draw(picture)
    cell = (size[0] / values.shape[1], size[1] / values.shape[0])
    for y, x, _ in framed:
        box = (x * cell[0], y * cell[1], (x + 1) * cell[0] - 1, (y + 1) * cell[1] - 1)
        draw.rectangle([box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1], outline=(0, 0, 0))
        draw.rectangle(box, outline=(255, 255, 255), width=2)
    if query is not None:
        y, x, r = query[0] * size[1], query[1] * size[0], side * 0.03
        draw.ellipse([x - r - 2, y - r - 2, x + r + 2, y + r + 2], outline=(0, 0, 0), width=2)
        draw.ellipse([x - r, y - r, x + r, y + r], outline=(255, 255, 255), width=3)
    return picture


def gate_picture(image: Array, gate: Tensor | Array, *, side: int = 384) -> Any:
    """Draw a spatial gate (h, w) over the photograph, largest value brightest, least clear, as a Pillow image.

    A gate of a volume (d, h, w) is drawn as a row of slices over the volume, see :func:`attention_picture`.
    Values that differ by less than 0.1 do not use all brightnesses.
    """
    values = as_array(gate)
    limits = gate_limits(float(values.min()), float(values.max()))
    return attention_picture(image, values, side=side, sources=0, limits=limits)


def matrix_picture(matrix: Tensor | Array, *, side: int = 384) -> Any:
    """Draw a matrix (R, C) as a Pillow image, one square per value, from its least (dark) to its largest (bright)."""
    Image = require("PIL.Image", extra="train")
    values = as_array(matrix)
    colours = ramp(HEAT)[levels(values, float(values.min()), float(values.max()))][..., :3]
    factor = max(1, side // max(values.shape))
    return Image.fromarray(np.ascontiguousarray(np.kron(colours, np.ones((factor, factor, 1), np.uint8))))


def gate_strips(gates: Mapping[str, Tensor | Array]) -> Any:
    """Draw the channel gates of every place as a sorted strip, from the first place to the last (matplotlib figure).

    Args:
        gates: Place to (C,), as :func:`saccade.inspection.arrays.channel_gates` gives them.
    """
    rows = {name: np.sort(as_array(gate))[::-1] for name, gate in gates.items()}
    figure, axes = _figure(len(rows), "gate_strips", 0.34)
    low, high = min(float(row.min()) for row in rows.values()), max(float(row.max()) for row in rows.values())
    limits = gate_limits(low, high)
    for axis, (name, row) in zip(axes, rows.items(), strict=True):
        axis.imshow(ramp(HEAT)[levels(row, *limits)][None], aspect="auto", interpolation="nearest")
        axis.set_yticks([])
        axis.set_xticks([])
        axis.set_ylabel(f"{name}\n{len(row)} channels", rotation=0, ha="right", va="center", fontsize=8)
    axes[-1].set_xlabel(f"channels from most to least open; {low:.2f} dark to {high:.2f} bright", fontsize=8)
    return figure


def gate_histograms(gates: Mapping[str, Sequence[float] | Tensor | Array]) -> Any:
    """Draw a histogram of the channel gates of each place, from the first place to the last (matplotlib figure)."""
    rows = {name: as_array(np.asarray(gate) if isinstance(gate, Sequence) else gate) for name, gate in gates.items()}
    figure, axes = _figure(len(rows), "gate_histograms", 0.7)
    low, high = min(float(row.min()) for row in rows.values()), max(float(row.max()) for row in rows.values())
    margin = 0.02 * (high - low) or 0.01
    for axis, (name, row) in zip(axes, rows.items(), strict=True):
        axis.hist(row, bins=40, range=(low - margin, high + margin), color="#0068ab")
        axis.set_yticks([])
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(labelbottom=axis is axes[-1], labelsize=8)
    axes[-1].set_xlabel("gate", fontsize=8)
    return figure


def _figure(rows: int, who: str, height: float) -> tuple[Any, list[Any]]:
    if not rows:
        raise InputError(f"{who}: found no channel gate", "record a network with gates, such as se, eca or cbam")
    Figure = require("matplotlib.figure", extra="train").Figure
    figure = Figure(figsize=(7, 0.6 + height * rows), dpi=110, layout="constrained")
    axes = figure.subplots(rows, 1, squeeze=False)
    return figure, [row[0] for row in axes]
