"""Key points drawn on pictures: skeletons whose sides have two colours, and joints that fade with their confidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.errors import require
from saccade.tasks.pose.described import Joints
from saccade.tasks.pose.sketch import LEFT, MIDDLE, RIGHT, colours

_FINE = 2  # pixels drawn for each pixel of the picture, so that edges are smooth
_DARK = (20, 20, 20)
_LEAST_SIDE, _LARGEST_SIDE = 320, 1280
_SHOWN = (0.25, 0.5, 1.0)  # confidences in the legend

Array = NDArray[Any]


def skeletons(size: tuple[int, int], people: Sequence[tuple[Array, Array]], joints: Joints) -> Any:
    """Return a picture (Pillow, RGBA) of objects on a clear ground.

    The first joint of each mirror pair, usually the left one, is orange, the second one blue, others are white. Size
    and opacity of a joint grow with its confidence, those of a line with the smaller one of its ends. Joints with a
    confidence of 0 or less were not found, and are not drawn.

    Args:
        size: Width and height in pixels.
        people: Points (K, 2) in pixels of the picture, and confidences (K,) of each object.
        joints: Names, pairs and skeleton.
    """
    pil, drawing = require("PIL.Image", extra="train"), require("PIL.ImageDraw", extra="train")
    picture = pil.new("RGBA", tuple(side * _FINE for side in size))
    unit, shades = _FINE * max(1.0, max(size) / 160), colours(joints)
    for points, confidences in people:
        places = np.asarray(points, dtype=np.float64) * _FINE + (_FINE - 1) / 2
        sure = np.clip(np.nan_to_num(np.asarray(confidences, dtype=np.float64)), 0, 1)
        found = (sure > 0) & np.isfinite(places).all(axis=1)
        places = np.clip(np.nan_to_num(places), -1e6, 1e6)
        layer = pil.new("RGBA", picture.size)
        pen = drawing.Draw(layer)
        for start, end in joints.skeleton:
            if found[start] and found[end]:
                both = [tuple(map(float, places[start])), tuple(map(float, places[end]))]
                alike = shades[start] == shades[end]
                opacity = _opacity(min(sure[start], sure[end]))
                pen.line(both, fill=(*_DARK, opacity // 2), width=round(2.2 * unit))
                pen.line(both, fill=(*(shades[start] if alike else MIDDLE), opacity), width=round(1.2 * unit))
        for place in np.flatnonzero(found)[np.argsort(sure[found], kind="stable")]:
            _dot(pen, places[place], sure[place], shades[place], unit)
        picture.alpha_composite(layer)
    return picture.resize(size, pil.Resampling.BOX)


def drawn(image: Any, people: Sequence[tuple[Array, Array]], joints: Joints) -> Any:
    """Return an image (Pillow, RGB) with its objects and a legend below; small images are enlarged, large ones reduced.

    Args:
        image: The image.
        people: Points (K, 2) in pixels of the image, and confidences (K,) of each object.
        joints: Names, pairs and skeleton.
    """
    pil = require("PIL.Image", extra="train")
    longest = max(image.size)
    zoom = _LEAST_SIDE / longest if longest < _LEAST_SIDE else min(1.0, _LARGEST_SIDE / longest)
    size = tuple(max(1, round(side * zoom)) for side in image.size)
    how = pil.Resampling.NEAREST if zoom > 1 else pil.Resampling.LANCZOS
    base = image.convert("RGB").resize(size, how).convert("RGBA")
    scale = np.array(size) / np.array(image.size)
    moved = [((np.asarray(points) + 0.5) * scale - 0.5, confidences) for points, confidences in people]
    base.alpha_composite(skeletons(size, moved, joints))
    below = legend(size[0], joints)
    whole = pil.new("RGB", (size[0], size[1] + below.height), "white")
    whole.paste(base.convert("RGB"), (0, 0))
    whole.paste(below, (0, size[1]))
    return whole


def heat_tiles(crop: Array, maps: Array, names: Sequence[str], *, side: int = 160) -> Any:
    """Return a picture (Pillow, RGB) of the heat maps of one object, each as light over the darkened crop.

    Light is the value of the map from 0 to 1; the highest value is next to the name of the joint.

    Args:
        crop: (H, W, 3) uint8.
        maps: (K, h, w).
        names: K names.
        side: Width of a tile in pixels.
    """
    pil, drawing = require("PIL.Image", extra="train"), require("PIL.ImageDraw", extra="train")
    height = max(1, round(side * crop.shape[0] / crop.shape[1]))
    columns = min(len(names), 6)
    whole = pil.new("RGB", (columns * (side + 4), -(-len(names) // columns) * (height + 20)), "white")
    pen, dark = drawing.Draw(whole), np.asarray(pil.fromarray(crop).resize((side, height)), dtype=np.float32) * 0.45
    for place, (name, heat) in enumerate(zip(names, maps, strict=True)):
        left, top = (place % columns) * (side + 4), (place // columns) * (height + 20)
        light = pil.fromarray(np.rint(255 * np.clip(np.nan_to_num(heat), 0, 1)).astype(np.uint8))
        light = np.asarray(light.resize((side, height), pil.Resampling.BILINEAR), dtype=np.float32)[..., None] / 255
        tile = dark * (1 - light) + np.array([255, 224, 120], dtype=np.float32) * light
        whole.paste(pil.fromarray(np.rint(tile).astype(np.uint8)), (left, top))
        pen.text((left + 2, top + height + 4), f"{name} {float(heat.max()):.2f}", fill=_DARK)
    return whole


def legend(width: int, joints: Joints) -> Any:
    """Return a strip (Pillow, RGB) that says what colours, sizes and opacities mean."""
    pil, drawing = require("PIL.Image", extra="train"), require("PIL.ImageDraw", extra="train")
    strip = pil.new("RGB", (max(width, 1), 24), "white")
    pen = drawing.Draw(strip, "RGBA")
    x = 10.0
    words = [*_sides(joints), *((f"{sure:g}", MIDDLE, sure) for sure in _SHOWN)]
    for word, shade, sure in words:
        _dot(pen, (x, 12.0), sure, shade, 2.0)
        pen.text((x + 9, 6), word, fill=_DARK)
        x += 20 + pen.textlength(word)
    return strip


def _sides(joints: Joints) -> list[tuple[str, tuple[int, int, int], float]]:
    if not joints.pairs:
        return []
    names = [(joints.names[one], joints.names[other]) for one, other in joints.pairs]
    told = all("left" in one.lower() and "right" in other.lower() for one, other in names)
    first, second = ("left", "right") if told else names[0]
    return [(first, LEFT, 1.0), (second, RIGHT, 1.0)]


def _opacity(sure: float) -> int:
    return round(60 + 195 * float(sure))


def _dot(pen: Any, place: Any, sure: float, shade: tuple[int, int, int], unit: float) -> None:
    x, y = map(float, place)
    radius = unit * (1.2 + 1.4 * float(sure))
    ends = [x - radius, y - radius, x + radius, y + radius]
    pen.ellipse(ends, fill=(*shade, _opacity(sure)), outline=(*_DARK, _opacity(sure)), width=max(1, round(unit / 3)))
