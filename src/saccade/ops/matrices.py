"""Matrices over channels computed from a feature map, and applied to one: (B, C, C), however large the map.

B batch, C channels, N positions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from saccade.ops.precision import autocast_is_on, full_precision, wide
from saccade.ops.tuning import chosen


def gram(x: Tensor) -> Tensor:
    """Return all products of channels, :math:`X X^T`: (B, C, N) to (B, C, C) in float32 or float64.

    They are sums over all positions and reach thousands, where half precision has no fractions left.
    """
    with full_precision(x):
        found: Tensor = _Gram.apply(wide(x))
    return found


class _Gram(torch.autograd.Function):
    """Gram matrix whose gradient is one product, :math:`(G + G^T) X`, instead of two by the product rule."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x @ x.transpose(-2, -1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        with full_precision(x):
            return multiply(grad + grad.transpose(-2, -1), x)


def multiply(matrix: Tensor, x: Tensor, add: Tensor | None = None) -> Tensor:
    """Return the matrices (B, D, C) times the map (B, C, N), plus `add`, in the layout of `add`, else of `x`.

    `add` is the residual: as part of the product it needs no pass of its own.
    """
    if add is not None and autocast_is_on(x):
        return add + multiply(matrix, x).to(add.dtype)  # as one product it would round the residual as well
    if _by_convolution(x):
        made = _convolve(matrix, x)
        return made if add is None else made.add_(add)
    if channels_last(x if add is None else add):
        rows, matrix = x.transpose(-2, -1), matrix.transpose(-2, -1)
        return (rows @ matrix if add is None else torch.baddbmm(add.transpose(-2, -1), rows, matrix)).transpose(-2, -1)
    return matrix @ x if add is None else torch.baddbmm(add, matrix, x)


def _convolve(matrix: Tensor, x: Tensor) -> Tensor:
    """Compute the same as a 1x1 convolution, one group per sample."""
    batch, channels, positions = x.shape
    made = F.conv2d(x.reshape(1, -1, positions, 1), matrix.reshape(-1, channels, 1, 1), groups=batch)
    return made.view(batch, -1, positions)


def _by_convolution(x: Tensor) -> bool:
    """Return whether :func:`saccade.ops.tune` chose convolutions; channels last, they are a product already."""
    return x.device.type == "cpu" and chosen().products == "convolution" and not channels_last(x)


def channels_last(x: Tensor) -> bool:
    """Return whether the channels of a flattened map (B, C, N) are adjacent in memory."""
    return x.stride(1) == 1 and x.stride(2) == x.shape[1] and x.shape[1] > 1
