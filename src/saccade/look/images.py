"""The image to look at: as the network reads it, and as the page shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saccade.data.depth import find_range
from saccade.data.images import UnreadableError, read_image
from saccade.data.layouts import images_in
from saccade.errors import InputError, require
from saccade.networks.statistics import IMAGENET, Statistics
from saccade.training.inputs import standardised

SHOWN = 640
"""Largest length of the longer side of the picture in the page, in pixels."""
LARGEST = 512
"""Longer side of what a network reads, in pixels, where nothing else is known."""


@dataclass(frozen=True)
class Picture:
    """An image, as a network reads it and as a page shows it.

    Args:
        name: Name of the file.
        size: Height and width of the file in pixels, after the rotation that its EXIF data asks for.
        shown: Image for the page, (h, w, 3) uint8.
        read: Image that the network reads, (h, w, 3) uint8.
        frames: Number of frames in the file, of which the first is taken.
        statistics: Mean and standard deviation of each channel that the network expects to be taken out.
    """

    name: str
    size: tuple[int, int]
    shown: NDArray[np.uint8]
    read: NDArray[np.uint8]
    frames: int = 1
    statistics: Statistics = IMAGENET

    @property
    def input(self) -> Tensor:
        """Input of the network, (1, 3, h, w), normalised."""
        pixels = torch.from_numpy(self.read.copy()).permute(2, 0, 1)[None].contiguous(memory_format=torch.channels_last)
        return standardised(pixels, self.statistics)

    def cell(self, query: tuple[int, int], size: Sequence[int]) -> tuple[int, int]:
        """Return the position (y, x) on a feature map of `size` that covers a pixel of the file."""
        y, x = (at * length // side for at, length, side in zip(query, size, self.size, strict=True))
        return int(y), int(x)


def read_picture(path: Path, size: int | None, statistics: Statistics = IMAGENET) -> Picture:
    """Read an image, and reduce its longer side to at most `size` pixels (None: 512).

    Images of more than 8 bits, CMYK, transparent and EXIF-rotated images are converted; the first frame of an animation
    is taken.

    Raises:
        InputError: There is no such file, or it cannot be read.
    """
    if path.is_dir():
        first = next(iter(images_in(path)), None)
        raise InputError(
            f"{path}: expected an image; it is a folder",
            f"name images in it, such as {first}" if first else "name images, each by its file",
        )
    if not path.is_file():
        what = "not a regular file" if path.exists() else "no such image"
        raise InputError(f"{path}: {what}", "give the path of an image file")
    try:
        image = read_image(path, white=find_range([path]).white)
    except UnreadableError as problem:
        raise InputError(f"{path}: {problem}", problem.hint or "give a PNG, JPEG, WebP, TIFF or BMP") from problem
    return Picture(
        path.name, (image.height, image.width), _reduced(image, SHOWN), _reduced(image, size or LARGEST), _frames(path),
        statistics,
    )  # fmt: skip


def check_queries(queries: Sequence[tuple[int, int]], picture: Picture) -> None:
    """Refuse a query outside the image.

    Raises:
        InputError: A query lies outside; the message names it and the size of the image.
    """
    height, width = picture.size
    for y, x in queries:
        if not (0 <= y < height and 0 <= x < width):
            raise InputError(
                f"--query {y},{x}: outside {picture.name}, which is {height} pixels high and {width} wide",
                f"give Y,X with 0 <= Y < {height} and 0 <= X < {width}: y first, from 0 at the top left",
            )


def _reduced(image: Any, longest: int) -> NDArray[np.uint8]:
    Image = require("PIL.Image", extra="train")
    factor = min(1.0, longest / max(image.size))
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    reduced = image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)
    return np.asarray(reduced)


def _frames(path: Path) -> int:
    with require("PIL.Image", extra="train").open(path) as opened:
        return int(getattr(opened, "n_frames", 1))
