"""Predictions as files: masks with a palette, and overlays to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data import IGNORE
from saccade.errors import InputError, require
from saccade.files import replacing
from saccade.tasks.segmentation.labelled import Colour, palette


def save_mask(path: Path, classes: NDArray[Any], palette: Sequence[Colour]) -> None:
    """Write classes (H, W) as a PNG whose stored values are the classes and whose palette shows their colours.

    Raises:
        InputError: A class without a colour.
    """
    _check(classes, palette)
    picture = require("PIL.Image", extra="train").fromarray(classes.astype(np.uint8))
    picture.putpalette([part for colour in palette for part in colour])  # makes it a picture with a palette
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")


def overlay(
    image: NDArray[np.uint8], classes: NDArray[Any], palette: Sequence[Colour], *, opacity: float = 0.5
) -> NDArray[np.uint8]:
    """An image (H, W, 3) under the colours of its classes (H, W).

    Raises:
        InputError: A class without a colour, sizes that differ, or an opacity outside [0, 1].
    """
    _check(classes, palette)
    if image.shape != (*classes.shape, 3) or not 0 <= opacity <= 1:
        raise InputError(
            f"overlay: expected an image {(*classes.shape, 3)} and an opacity of 0 to 1; received {image.shape}, "
            f"{opacity=}"
        )
    colours = np.asarray(palette, dtype=np.float64)[classes]
    mixed: NDArray[np.uint8] = np.rint((1 - opacity) * image + opacity * colours).astype(np.uint8)
    return mixed


def _check(classes: NDArray[Any], palette: Sequence[Colour]) -> None:
    if classes.ndim != 2 or (classes.size and not 0 <= classes.min() <= classes.max() < min(len(palette), 256)):
        raise InputError(
            f"expected classes (H, W) from 0 to {min(len(palette), 256) - 1}; received shape {classes.shape}, "
            f"{classes.min() if classes.size else '-'} to {classes.max() if classes.size else '-'}"
        )


def blended(image: Any, classes: NDArray[Any], colours: Sequence[Colour]) -> Any:
    """A Pillow image, half of it the colours of its classes (H, W); black where they are ignored.

    Args:
        image: Image of any size; the mask is resized to it.
        classes: Classes, 255 = ignored.
        colours: A colour for each class; empty: those of PASCAL VOC.
    """
    pil = require("PIL.Image", extra="train")
    table = np.zeros((IGNORE + 1, 3), dtype=np.uint8)
    shown = np.asarray(colours or palette(IGNORE), dtype=np.uint8)[:IGNORE]
    table[: len(shown)] = shown
    mask = pil.fromarray(table[classes]).resize(image.size, pil.Resampling.NEAREST)
    return pil.blend(image, mask, 0.5)
