"""Annotated objects drawn over a small picture, for a contact sheet: left and right in two colours."""

from __future__ import annotations

from typing import Any

import numpy as np

from saccade.data.layouts import Item
from saccade.errors import require
from saccade.tasks.pose.described import Joints
from saccade.tasks.pose.marked import Marks

LEFT, RIGHT, MIDDLE = (230, 159, 0), (86, 180, 233), (255, 255, 255)
"""Colours of Okabe and Ito, told apart by colour-blind readers: the first and the second joint of each pair."""


def colours(joints: Joints) -> list[tuple[int, int, int]]:
    """Return a colour for each joint."""
    found = [MIDDLE] * len(joints.names)
    for one, other in joints.pairs or ():
        found[one], found[other] = LEFT, RIGHT
    return found


def sketched(marks: Marks, item: Item, image: Any) -> Any:
    """Return a picture (Pillow), perhaps a smaller one, with boxes, lines and joints.

    Args:
        marks: The annotations.
        item: The image.
        image: Its picture.
    """
    drawing = require("PIL.ImageDraw", extra="train")
    pil = require("PIL.Image", extra="train")
    size = np.array(marks.sizes[item.image])
    longest = max(image.size)
    if longest > 512:  # a thumbnail is made of it
        scale = 512 / longest
        image = image.resize(
            (max(1, round(image.width * scale)), max(1, round(image.height * scale))), pil.Resampling.BOX
        )
    image = image.copy()
    pen, zoom = drawing.Draw(image), np.array(image.size) / size
    wide = max(1, max(image.size) // 100)
    shades = colours(marks.joints)
    for one in marks.people.get(item.image, ()):
        if one.box is not None:
            left, top, width, height = one.box
            ends = [*(np.array([left, top]) * zoom), *(np.array([left + width, top + height]) * zoom)]
            pen.rectangle([float(end) for end in ends], outline=(0, 158, 115), width=wide)
        places, seen = one.points[:, :2] * zoom, one.points[:, 2] > 0
        for start, end in marks.joints.skeleton:
            if seen[start] and seen[end]:
                pen.line([*map(float, places[start]), *map(float, places[end])], fill=shades[end], width=wide)
        for place in np.flatnonzero(seen):
            x, y = map(float, places[place])
            radius = 1.5 * wide
            pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=shades[place], outline=(0, 0, 0))
    return image
