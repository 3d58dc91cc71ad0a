"""Data for comparisons: the embedded demo, folders of images, and the augmentation of training batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Task = Literal["classification", "segmentation"]

Progress = Callable[[int, int, str], None]
"""Called with how much is done, of how much, and what it is."""

IGNORE = 255
"""The class of mask pixels that count neither in the loss nor in the score."""

PADDING = (124, 116, 104)
"""Colour around an image that does not fill its square: ImageNet's mean, which standardising turns into 0."""


@dataclass(frozen=True)
class Split:
    """The images of one side of a dataset, and what should be said about them.

    Args:
        images: (n, H, W, 3) uint8, RGB; often a read-only memory map, so index it before changing pixels.
        targets: Classification: (n,) int64 class indices. Segmentation: (n, H, W) uint8 class indices, 255 = ignore.
        names: n file names relative to the data folder, or "scene 17".
    """

    images: NDArray[np.uint8]
    targets: NDArray[Any]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Dataset:
    """Training and validation images of one task.

    Args:
        name: Short name, used for folders.
        task: ``"classification"`` or ``"segmentation"``.
        classes: Class names; a class's index is its place here.
        train: What networks learn from.
        val: What they are judged on.
        note: One sentence on what was recognised.
        identity: Digest that tells these data from any others, see :mod:`saccade.data.identity`.
    """

    name: str
    task: Task
    classes: tuple[str, ...]
    train: Split
    val: Split
    note: str
    identity: str = ""
