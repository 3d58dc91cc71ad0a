"""Layers and shapes by the number of a map's axes: 1 for sequences, 2 for images, 3 for volumes and clips.

Attention itself works on flattened positions, (B, C, N), whatever the axes. So the number decides only which layer of
PyTorch reads the map, and how many axes of length 1 a vector of channels gets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
CONV: Mapping[int, type[Conv]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORM: Mapping[int, type[nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d]] = {
    1: nn.BatchNorm1d,
    2: nn.BatchNorm2d,
    3: nn.BatchNorm3d,
}
CONVOLVE: Mapping[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class SequencePool(nn.Module):
    """Maximum over neighbours in a sequence; `MaxPool1d` does not export with a free length."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x.unsqueeze(2), (1, 2)).squeeze(2)


def pool(dims: int) -> nn.Module:
    """Return a layer of maxima over neighbours, which halves the last two axes; frames or slices stay apart."""
    if dims == 1:
        return SequencePool()
    return nn.MaxPool2d(2) if dims == 2 else nn.MaxPool3d((1, 2, 2))


def pooled_sides(size: tuple[int, ...]) -> tuple[int, ...]:
    """Return the sides of a map after :func:`pool`."""
    return (*size[:-2], *(side // 2 for side in size[-2:]))


def spread(vector: Tensor, dims: int) -> Tensor:
    """Append axes of length 1 to the numbers of channels, (B, C) to (B, C, 1, ...), to act on all positions."""
    return vector[(..., *(None,) * dims)]


def positions(x: Tensor) -> tuple[int, ...]:
    """Return the axes of a map (B, C, ...) that are positions."""
    return tuple(range(2, x.dim()))


def memory_format(x: Tensor) -> torch.memory_format:
    """Return channels last if a map of two or three axes lies so in memory and not channels first."""
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.dim())
    lies_so = last is not None and x.is_contiguous(memory_format=last) and not x.is_contiguous()
    return last if lies_so and last is not None else torch.contiguous_format
