"""Data for comparisons: the embedded demo, folders of images, and the augmentation of training batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command line shows its help without numpy
    import numpy as np
    from numpy.typing import NDArray

    from saccade.data.identity import Identity
    from saccade.data.statement import Statement

OnProgress = Callable[[int, int, str], None]
"""Progress callback: called with the amount done, the total, and a description of the work."""

IGNORE = 255
"""Class index of mask pixels that count neither in the loss nor in the score."""

PADDING = (124, 116, 104)
"""Colour around an image that does not fill its square: ImageNet's mean, which standardising turns into 0."""


@dataclass(frozen=True)
class Split:
    """The images of one side of a dataset, and the names to report them by.

    Args:
        images: (n, H, W, 3) uint8, RGB; often a read-only memory map, so index it before changing pixels.
        targets: Whatever the task learns from, one row per image: an array or a dict of arrays. Classification: (n,)
            int64 class indices. Segmentation: (n, H, W) uint8 class indices, 255 = ignore.
        names: n file names relative to the data folder, or "scene 17".
    """

    images: NDArray[np.uint8]
    targets: Any
    names: tuple[str, ...]


@dataclass(frozen=True)
class Arrays:
    """Training and validation images of one task, in memory or in memory maps.

    Args:
        name: Short name, used for folders.
        task: Name of the task, see :func:`saccade.tasks.find_task`.
        classes: Class names; a class's index is its place here.
        train: Images to train on.
        val: Images for validation.
        note: One sentence on what was recognised.
        facts: Further plain values of the task, see :class:`saccade.tasks.base.Task`.
        identity: Identity of the data; None if nothing can change.
        split: Names of the validation files, if a seed chose them.
        stated: What the folder was read as, without what only the files themselves tell.
        values: Range and depth of the values of images and masks, in sentences.
    """

    name: str
    task: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    note: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    identity: Identity | None = None
    split: tuple[str, ...] = ()
    stated: Statement | None = None
    values: tuple[str, ...] = ()

    @property
    def statement(self) -> Statement:
        """The reading of the folder, as plain values."""
        from saccade.data.statement import Statement

        return (self.stated or Statement(note=self.note)).of(self.note, self.classes, self.values)
