"""Attention between channels, strip by strip: the step of FLA.

B batch, S strips (the columns or the rows of a feature map), C channels, L positions in a strip. In every strip,
channels are compared with descriptors of the whole map, (B, L, C): one for each position along the strip.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op
from torch.nn.functional import scaled_dot_product_attention

from saccade.ops.blocks import softmax_backward
from saccade.ops.modes import by_definition
from saccade.ops.pairwise import weighted_sum
from saccade.ops.parts import new_like
from saccade.ops.precision import full_precision, wide

_GROUP = 8  # strips


def strip_weights(strips: Tensor, descriptors: Tensor) -> Tensor:
    r"""Return rows of softmax weights, :math:`a_{scd} = \mathrm{softmax}_d(\sum_l x_{scl}\,e_{ld})`.

    Args:
        strips: (B, S, C, L).
        descriptors: (B, 1, L, C), for all strips of a sample, or (B, S, L, C).

    Returns:
        (B, S, C, C) in float32 or float64; rows sum to 1.
    """
    with full_precision(strips):
        return torch.softmax(wide(strips) @ wide(descriptors), dim=-1)


def strip_attention(strips: Tensor, descriptors: Tensor) -> Tensor:
    """Return each channel's average of the channels of its strip: (B, S, C, L) in the precision of `strips`.

    PyTorch's fused attention, with channels as the sequence, strips as heads, and the descriptors as keys that all
    heads share; memory S C L.
    """
    if by_definition():
        return weighted_sum(strip_weights(strips, descriptors), strips)
    with full_precision(strips):
        query = wide(strips).contiguous()
        key = wide(descriptors).transpose(-2, -1).contiguous().expand(-1, strips.shape[1], -1, -1)
        return scaled_dot_product_attention(query, key, query, scale=1.0).to(strips.dtype)


def add_strips(x: Tensor, of_rows: Tensor, of_columns: Tensor, gamma: Tensor) -> Tensor:
    """Return the feature map plus gamma times the averages of its columns and of its rows, a few strips at a time.

    Weights are recomputed in the backward pass; of all tensors of the map's size only the map itself is kept.

    Args:
        x: (B, C, H, W).
        of_rows: Descriptors for columns, (B, 1 or W, H, C).
        of_columns: Descriptors for rows, (B, 1 or H, W, C).
        gamma: One number.
    """
    if by_definition():
        return _by_definition(x, of_rows, of_columns, gamma)
    with full_precision(x):
        attend = _whole if torch.compiler.is_compiling() else _AddStrips.apply
        y: Tensor = attend(x, of_rows, of_columns, gamma.to(x.dtype))
    return y


def strips_down(x: Tensor) -> Tensor:
    """Transpose (B, C, H, W) to (B, W, C, H)."""
    return x.permute(0, 3, 1, 2)


def strips_across(x: Tensor) -> Tensor:
    """Transpose (B, C, H, W) to (B, H, C, W)."""
    return x.permute(0, 2, 1, 3)


def _by_definition(x: Tensor, of_rows: Tensor, of_columns: Tensor, gamma: Tensor) -> Tensor:
    down, across = strips_down(x), strips_across(x)
    columns = weighted_sum(strip_weights(down, of_rows), down).permute(0, 2, 3, 1)
    rows = weighted_sum(strip_weights(across, of_columns), across).permute(0, 2, 1, 3)
    return x + gamma.to(x.dtype) * (columns + rows)


def _forward(x: Tensor, of_rows: Tensor, of_columns: Tensor, gamma: Tensor) -> Tensor:
    y = new_like(x).copy_(x)
    for turned, descriptors in ((strips_down, of_rows), (strips_across, of_columns)):
        for group, seen in _groups(turned(x), descriptors):
            strips = turned(x)[:, group].contiguous()
            turned(y)[:, group] += gamma * weighted_sum(strip_weights(strips, descriptors[:, seen]), strips)
    return y


def _backward(
    x: Tensor, of_rows: Tensor, of_columns: Tensor, gamma: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    of_x, of_gamma = new_like(x).copy_(grad), torch.zeros_like(wide(gamma))
    of_descriptors = []
    for turned, descriptors in ((strips_down, of_rows), (strips_across, of_columns)):
        sums = torch.zeros_like(wide(descriptors))
        for group, seen in _groups(turned(x), descriptors):
            strips, towards = turned(x)[:, group].contiguous(), turned(grad)[:, group].contiguous()
            weights = strip_weights(strips, descriptors[:, seen])
            of_gamma += (towards * weighted_sum(weights, strips)).sum(dtype=of_gamma.dtype)
            towards = towards * gamma
            slopes = softmax_backward(wide(towards @ strips.transpose(-2, -1)), weights, -1, weights.dtype)
            turned(of_x)[:, group] += weights.to(strips.dtype).transpose(-2, -1) @ towards
            turned(of_x)[:, group] += (slopes @ wide(descriptors[:, seen]).transpose(-2, -1)).to(strips.dtype)
            of_seen = wide(strips).transpose(-2, -1) @ slopes
            sums[:, seen] += of_seen.sum(dim=1, keepdim=True) if sums.shape[1] == 1 else of_seen
        of_descriptors.append(sums.to(descriptors.dtype))
    return of_x, of_descriptors[0], of_descriptors[1], of_gamma.to(gamma.dtype)


class _AddStrips(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, of_rows: Tensor, of_columns: Tensor, gamma: Tensor) -> Tensor:
        return _forward(x, of_rows, of_columns, gamma)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        if torch.is_grad_enabled():  # a second derivative is requested
            # As views: descriptors come from the map, and the gradient through them must not be counted twice.
            views = [tensor.view_as(tensor) for tensor in ctx.saved_tensors]
            return torch.autograd.grad(_by_definition(*views), views, grad, create_graph=True)
        x, of_rows, of_columns, gamma = ctx.saved_tensors
        return _backward(x, of_rows, of_columns, gamma, grad)


# As one operator, for the reason given in `saccade.ops.blocks`.


@custom_op("saccade::add_strips", mutates_args=())
def _whole(x: Tensor, of_rows: Tensor, of_columns: Tensor, gamma: Tensor) -> Tensor:
    return _forward(x, of_rows, of_columns, gamma)


@custom_op("saccade::add_strips_backward", mutates_args=())
def _whole_backward(
    x: Tensor, of_rows: Tensor, of_columns: Tensor, gamma: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _backward(x, of_rows, of_columns, gamma, grad)


@_whole.register_fake
def _(x: Tensor, of_rows: Tensor, of_columns: Tensor, gamma: Tensor) -> Tensor:
    return new_like(x)


@_whole_backward.register_fake
def _(
    x: Tensor, of_rows: Tensor, of_columns: Tensor, gamma: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return new_like(x), torch.empty_like(of_rows), torch.empty_like(of_columns), torch.empty_like(gamma)


_whole.register_autograd(
    lambda ctx, grad: _whole_backward(*ctx.saved_tensors, grad),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
)


def _groups(strips: Tensor, descriptors: Tensor) -> Iterator[tuple[slice, slice]]:
    """Yield a few strips and the descriptors they are compared with: their own, or the shared ones."""
    for start in range(0, strips.shape[1], _GROUP):
        group = slice(start, start + _GROUP)
        yield group, slice(None) if descriptors.shape[1] == 1 else group
