"""A contact sheet: some images of each class next to each other, to spot by eye what no program finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from saccade.data.images import UnreadableError, read_image
from saccade.data.layouts import Item
from saccade.data.reading import AS_IT_IS, Reading
from saccade.errors import require
from saccade.outputs import Outputs
from saccade.tasks import recognise

_SIDE, _COLUMNS, _ROWS = 96, 10, 30  # pixels of an image, images in a row, rows
_MARGIN, _TEXT = 4, 16
_ENTRIES, _LETTERS = 5, 28  # of the legend: in a row, and of a name

Illustrated = Callable[[Item, Any], Any]
"""Draws the target of an item over its image."""


def draw_sheet(path: Path, out: Path, *, reading: Reading = AS_IT_IS) -> Path:
    """Draw images of each class of a folder, or images with their masks laid over them, as one PNG.

    Args:
        path: The data, in any layout that is recognised.
        out: PNG file to write.
        reading: How the folder is to be read.
    """
    task, reading = recognise(path, reading)
    files = task.examined(task.files(path, reading), reading, where=str(path))
    rows = task.sheet_rows(files, _COLUMNS)
    sheet = _drawn(
        rows[:_ROWS], partial(task.illustrated, files), len(rows) - _ROWS, files.pixels.white, task.sheet_legend(files)
    )
    with Outputs(out.parent).replacing(out) as temporary:
        sheet.save(temporary, format="PNG")
    return out


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """Choose `count` items at most, evenly apart."""
    places = np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int))
    return [items[place] for place in places] if items else []


def _drawn(
    rows: Sequence[tuple[str, list[Item]]],
    illustrated: Illustrated,
    left: int,
    white: float | None,
    legend: Sequence[tuple[str, tuple[int, int, int]]] = (),
) -> Any:
    pil, drawing = require("PIL.Image", extra="train"), require("PIL.ImageDraw", extra="train")
    step = _SIDE + _MARGIN
    rows_of_legend = -(-len(legend) // _ENTRIES)
    top_of_legend = len(rows) * (step + _TEXT) + (_TEXT if left > 0 else 0) + _MARGIN
    height = top_of_legend + rows_of_legend * _TEXT + (_MARGIN if legend else 0)
    sheet = pil.new("RGB", (_COLUMNS * step + _MARGIN, height), "white")
    pen = drawing.Draw(sheet)
    for number, (name, items) in enumerate(rows):
        top = _MARGIN + number * (step + _TEXT)
        pen.text((_MARGIN, top), name.encode("ascii", "replace").decode(), fill="black")
        for column, item in enumerate(items):
            sheet.paste(_thumbnail(pil, item, illustrated, white), (_MARGIN + column * step, top + _TEXT))
    if left > 0:
        pen.text((_MARGIN, top_of_legend - _TEXT), f"and {left} more classes", fill="black")
    for number, (name, colour) in enumerate(legend):
        row, column = divmod(number, _ENTRIES)
        x, y = _MARGIN + column * (_COLUMNS * step // _ENTRIES), top_of_legend + row * _TEXT
        pen.rectangle((x, y + 2, x + _TEXT - 6, y + _TEXT - 4), fill=colour, outline="black")
        pen.text((x + _TEXT, y), name[:_LETTERS].encode("ascii", "replace").decode(), fill="black")
    return sheet


def _thumbnail(pil: Any, item: Item, illustrated: Illustrated, white: float | None) -> Any:
    """An image in a square; one that cannot be read is a grey square."""
    square = pil.new("RGB", (_SIDE, _SIDE), "lightgrey")
    try:
        image = illustrated(item, read_image(item.image, near=_SIDE, white=white))
    except (UnreadableError, OSError):
        return square
    image = require("PIL.ImageOps", extra="train").contain(image, (_SIDE, _SIDE))
    square.paste(image, ((_SIDE - image.width) // 2, (_SIDE - image.height) // 2))
    return square
