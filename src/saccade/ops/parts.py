"""A map in parts that stay in a cache, so that several passes over it cost about one."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

CPU_BYTES = 1 << 20
"""Of a part: two or three of them are in a core's cache at a time."""

Part = tuple[slice, slice, slice]
"""Samples, channels, positions."""


def parts(x: Tensor) -> Iterator[Part]:
    """Indices into a map (B, C, N) that cover it once, each of numbers that lie side by side in memory."""
    batch, channels, positions = x.shape
    if x.device.type != "cpu":  # there the start of a kernel for each part would cost more than it saves
        yield slice(None), slice(None), slice(None)
        return
    budget = max(1, CPU_BYTES // x.element_size())
    last = x.stride(1) < x.stride(2)  # channels last
    rows = channels if last else max(1, budget // max(1, positions))
    columns = max(1, budget // max(1, channels)) if last else positions
    for sample in range(batch):
        for row in range(0, channels, rows):
            for column in range(0, positions, columns):
                yield slice(sample, sample + 1), slice(row, row + rows), slice(column, column + columns)
