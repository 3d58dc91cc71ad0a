"""The inner split: training images divided again for the trials of a run; the held-out images take no part in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from saccade.data import Arrays, Split
from saccade.data.reading import Reading
from saccade.tasks.trees import leaves, mapped

FRACTION = 0.2
"""Fraction of the training images that the trials of a run are scored on."""


class Rows:
    """Some rows of an array, which may be a memory map: copied when they are asked for.

    Args:
        array: The array (n, ...).
        rows: Indices of its rows.
        shape: Height and width of a window in the middle of each row; None: whole rows.
    """

    def __init__(self, array: NDArray[Any], rows: NDArray[np.int64], shape: tuple[int, int] | None = None) -> None:
        self.array, self.rows = array, rows
        self.window: tuple[slice, ...] = ()
        if shape is not None:
            starts = [(side - wanted) // 2 for side, wanted in zip(array.shape[1:3], shape, strict=True)]
            self.window = tuple(slice(start, start + wanted) for start, wanted in zip(starts, shape, strict=True))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all rows together."""
        sides = tuple(side.stop - side.start for side in self.window)
        return (len(self.rows), *sides, *self.array.shape[1 + len(sides) :])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.array.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: Any) -> Any:
        found = self.array[self.rows[which]]
        axes = (slice(None),) * (0 if np.ndim(self.rows[which]) == 0 else 1)
        return found[axes + self.window]


def inner(data: Arrays, seed: int, reading: Reading) -> Arrays:
    """Return data whose sides are parts of the training side: a fifth of each class, drawn by the seed, is held out.

    Groups of images that the reading keeps together stay together. The part that is held out looks as validation images
    do: where training images are stored larger, to be cropped, their middle is taken.

    Args:
        data: The data of the comparison; the validation side gives nothing but the size of its images.
        seed: Seed of the run.
        reading: How the folder is read.
    """
    held = held_out(data, seed, reading)
    train, shape = data.train, data.val.images.shape[1:3]
    kept = np.flatnonzero(~np.isin(np.arange(len(train.images)), held))
    return replace(data, train=_part(train, kept, None), val=_part(train, held, shape), split=())


def held_out(data: Arrays, seed: int, reading: Reading) -> NDArray[np.int64]:
    """Return the indices of the training images that the trials of a run are scored on, in order."""
    units: dict[Hashable, list[int]] = defaultdict(list)
    for index, name in enumerate(data.train.names):
        group = reading.group_of(name)
        units[index if group is None else (group,)].append(index)
    strata: dict[Hashable, list[list[int]]] = defaultdict(list)
    labels = _labels(data.train.targets)
    for unit in units.values():
        strata[0 if labels is None else int(labels[unit[0]])].append(unit)
    found: list[int] = []
    for number in sorted(strata, key=repr):
        members = strata[number]
        count = min(len(members) - 1, max(1, round(FRACTION * len(members))))
        random = np.random.default_rng((seed, len(found), len(members)))
        for place in random.permutation(len(members))[:count]:
            found += members[int(place)]
    return np.array(sorted(found), dtype=np.int64)


def _labels(targets: Any) -> NDArray[Any] | None:
    """The class of each image, where targets are one whole number each."""
    found = leaves(targets)
    if len(found) == 1 and found[0].ndim == 1 and np.issubdtype(found[0].dtype, np.integer):
        return np.asarray(found[0])
    return None


def _part(split: Split, rows: NDArray[np.int64], shape: tuple[int, int] | None) -> Split:
    stored = split.images.shape[1:3]
    window = shape if shape is not None and shape != stored else None
    images = cast("NDArray[np.uint8]", Rows(split.images, rows, window))
    targets = mapped(lambda leaf: Rows(leaf, rows), split.targets)
    return Split(images, targets, tuple(split.names[row] for row in rows))
