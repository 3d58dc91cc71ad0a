"""A contact sheet: some images of each class next to each other, to spot by eye what no program finds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from saccade.data.images import UnreadableError, read_image
from saccade.data.layouts import Item
from saccade.data.mask_folder import MaskFiles, find_files
from saccade.errors import require
from saccade.files import replacing

_SIDE, _COLUMNS, _ROWS = 96, 10, 30  # pixels of an image, images in a row, rows
_MARGIN, _TEXT = 4, 16


def draw_sheet(path: Path, out: Path, *, split_seed: int = 0) -> Path:
    """Draw images of each class of a folder, or images with their masks laid over them, as one PNG.

    Args:
        path: The data, in any layout that is recognised.
        out: PNG file to write.
        split_seed: Seed of the split, as in the check.
    """
    layout, masks = find_files(path, split_seed)
    if layout.task == "classification":
        rows = [(name, _spread([i for i in layout.train if i.target == n])) for n, name in enumerate(layout.classes)]
    else:
        some = _spread(layout.train, _COLUMNS * 4)
        rows = [
            ("" if start else "training", some[start : start + _COLUMNS]) for start in range(0, len(some), _COLUMNS)
        ]
    sheet = _drawn(rows[:_ROWS], masks, len(rows) - _ROWS)
    with replacing(out) as temporary:
        sheet.save(temporary, format="PNG")
    return out


def _spread(items: Sequence[Item], count: int = _COLUMNS) -> list[Item]:
    """Return `count` of the items, evenly spaced."""
    places = np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int))
    return [items[place] for place in places] if items else []


def _drawn(rows: Sequence[tuple[str, list[Item]]], masks: MaskFiles | None, left: int) -> Any:
    pil, drawing = require("PIL.Image", extra="train"), require("PIL.ImageDraw", extra="train")
    step = _SIDE + _MARGIN
    height = len(rows) * (step + _TEXT) + (_TEXT if left > 0 else 0) + _MARGIN
    sheet = pil.new("RGB", (_COLUMNS * step + _MARGIN, height), "white")
    pen = drawing.Draw(sheet)
    for number, (name, items) in enumerate(rows):
        top = _MARGIN + number * (step + _TEXT)
        pen.text((_MARGIN, top), name.encode("ascii", "replace").decode(), fill="black")
        for column, item in enumerate(items):
            sheet.paste(_thumbnail(pil, item, masks), (_MARGIN + column * step, top + _TEXT))
    if left > 0:
        pen.text((_MARGIN, height - _TEXT), f"and {left} more classes", fill="black")
    return sheet


def _thumbnail(pil: Any, item: Item, masks: MaskFiles | None) -> Any:
    """Draw an image in a square; one that cannot be read becomes a grey square."""
    square = pil.new("RGB", (_SIDE, _SIDE), "lightgrey")
    try:
        image = read_image(item.image, near=_SIDE)
        if isinstance(item.target, Path) and masks is not None:
            image = _overlaid(pil, image, masks.classes(item.target))
    except (UnreadableError, OSError):
        return square
    image = require("PIL.ImageOps", extra="train").contain(image, (_SIDE, _SIDE))
    square.paste(image, ((_SIDE - image.width) // 2, (_SIDE - image.height) // 2))
    return square


def _overlaid(pil: Any, image: Any, classes: Any) -> Any:
    """Blend image and colours of the classes half and half; ignored pixels are black."""
    number = np.arange(256)[:, None]
    colours = (127 + 127 * np.cos(2 * np.pi * (number * 0.381966 + np.array([[0, 1 / 3, 2 / 3]])))).astype(np.uint8)
    colours[255] = 0
    mask = pil.fromarray(colours[classes]).resize(image.size, pil.Resampling.NEAREST)
    return pil.blend(image, mask, 0.5)
