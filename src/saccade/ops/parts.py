"""Parts of a feature map that stay in a cache, so that several passes over it cost about one."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from saccade.ops.axes import memory_format

CPU_BYTES = 1 << 20
"""Bytes of a part: two or three of them are in a core's cache at a time."""

Part = tuple[slice, slice, slice]
"""Slices of samples, channels and positions."""


def columns(x: Tensor) -> Iterator[tuple[slice, slice]]:
    """Yield samples and positions that cover a map (B, C, N) once, with all channels of each."""
    batch, channels, positions = x.shape
    if x.device.type != "cpu":  # launching a kernel per part would cost more than it saves
        yield slice(None), slice(None)
        return
    width = max(1, CPU_BYTES // x.element_size() // max(1, channels))
    for sample in range(batch):
        for start in range(0, positions, width):
            yield slice(sample, sample + 1), slice(start, start + width)


def new_like(x: Tensor) -> Tensor:
    """Return an empty map (B, C, ...) in the layout of `x`, or channels first: flattening it makes no copy."""
    return torch.empty_like(x, memory_format=memory_format(x))


def parts(x: Tensor) -> Iterator[Part]:
    """Yield indices that cover a map (B, C, N) once, each of numbers that are adjacent in memory."""
    batch, channels, positions = x.shape
    if x.device.type != "cpu" or x.stride(1) < x.stride(2):  # the latter is channels last
        for b, n in columns(x):
            yield b, slice(None), n
        return
    height = max(1, CPU_BYTES // x.element_size() // max(1, positions))
    for sample in range(batch):
        for row in range(0, channels, height):
            yield slice(sample, sample + 1), slice(row, row + height), slice(None)
