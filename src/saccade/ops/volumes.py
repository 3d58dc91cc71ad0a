"""A convolution to one plane per volume: as convolutions of its slices, which libraries compute faster.

k is the odd side of the kernel, D the number of slices.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.ops.modes import as_formula
from saccade.ops.precision import autocast_is_on

_AT_ONCE = 8  # slices: libraries copy planes to blocks of 16 channels


def to_one_plane(layer: nn.Module, x: Tensor) -> Tensor:
    r"""Return ``layer(x)`` for a convolution from few channels to one that keeps the sides of its map.

    .. math:: y_d = \sum_{i=1}^{k} f_i * x_{d + i - (k + 1) / 2}

    with f_i the i-th slice of the kernel: one convolution of slices with an output for each i, then a sum of those,
    shifted. It takes k numbers per position in addition to the planes. Only for volumes on a CPU, in the precision of
    `x`; anything else runs the layer.
    """
    precise = x.dtype in (torch.float32, torch.float64) and not autocast_is_on(x)
    if as_formula() or not isinstance(layer, nn.Conv3d) or x.device.type != "cpu" or not precise or 0 in x.shape:
        made: Tensor = layer(x)
        return made
    batch, channels, depth, height, width = x.shape
    k = layer.weight.shape[2]
    slices = x.transpose(1, 2).reshape(batch * depth, channels, height, width)
    kernel = layer.weight[0].transpose(0, 1)
    taps = torch.cat([F.conv2d(part, kernel, padding=k // 2) for part in torch.split(slices, _AT_ONCE)])
    sums: Tensor = _SumOfTaps.apply(taps.view(batch, depth, k, height, width))
    return sums[:, None]


def _shifts(depth: int, k: int) -> Iterator[tuple[int, slice, slice]]:
    """Yield each i with the slices that are read and those that are written."""
    for i in range(k):
        shift = i - k // 2
        if abs(shift) < depth:
            yield i, slice(max(0, shift), depth + min(0, shift)), slice(max(0, -shift), depth - max(0, shift))


class _SumOfTaps(torch.autograd.Function):
    """Sum the outputs of each i, shifted: (B, D, k, H, W) to (B, D, H, W)."""

    @staticmethod
    def forward(taps: Tensor) -> Tensor:
        batch, depth, k, height, width = taps.shape
        sums = taps.new_zeros(batch, depth, height, width)
        for i, read, written in _shifts(depth, k):
            sums[:, written] += taps[:, read, i]
        return sums

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.k = inputs[0].shape[2]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        batch, depth, height, width = grad.shape
        of_taps = grad.new_zeros(batch, depth, ctx.k, height, width)
        for i, read, written in _shifts(depth, ctx.k):
            of_taps[:, read, i] = grad[:, written]
        return of_taps
