"""Scaling a map by gates, and reading a scaled map, without keeping what was scaled.

x is (B, C, H, W), a channel gate c (B, C, 1, 1), a spatial gate s (B, 1, H, W). Each function keeps x and the gates for
its backward pass, nothing of the size of x besides; autograd of the same formula keeps one to three maps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from saccade.ops.modes import by_definition
from saccade.ops.tuning import chosen


def scale_by_sum(x: Tensor, channel: Tensor, spatial: Tensor) -> Tensor:
    """X (c + s)."""
    if by_definition():
        return x * (channel + spatial)
    y: Tensor = _ScaleBySum.apply(x, channel, spatial)
    return y


def scale_by_product(x: Tensor, channel: Tensor, spatial: Tensor) -> Tensor:
    """X c s."""
    if by_definition():
        return x * channel * spatial
    if _by_kernels(x):
        from saccade.ops.kernels import operators

        return operators.scale_by_product(x, channel, spatial)
    y: Tensor = _ScaleByProduct.apply(x, channel, spatial)
    return y


def scale_by_joint_gate(x: Tensor, channel: Tensor, spatial: Tensor, combine: str) -> Tensor:
    """X (1 + sigmoid(c s)), or with c + s for ``combine="sum"``; c and s are logits."""
    if by_definition():
        return x * (1 + (channel * spatial if combine == "product" else channel + spatial).sigmoid())
    y: Tensor = _ScaleByJointGate.apply(x, channel, spatial, combine == "product")
    return y


def largest_and_mean_channel(x: Tensor, channel: Tensor) -> Tensor:
    """The largest and the mean of c x over channels, (B, 2, H, W); of equal ones the first has the gradient."""
    if by_definition():
        scaled = x * channel
        return torch.cat([scaled.max(dim=1, keepdim=True).values, scaled.mean(dim=1, keepdim=True)], dim=1)
    if _by_kernels(x):
        from saccade.ops.kernels import operators

        return operators.largest_and_mean_channel(x, channel)
    planes, _ = _LargestAndMean.apply(x, channel)
    found: Tensor = planes
    return found


def mean_and_largest_position(x: Tensor) -> Tensor:
    """The mean and the largest of each channel, (B, 2, C); of equal ones the first has the gradient."""
    if _by_kernels(x) and not by_definition():
        from saccade.ops.kernels import operators

        return operators.mean_and_largest_position(x.flatten(2))
    positions = x.flatten(2)
    return torch.stack([positions.mean(dim=2), positions.max(dim=2).values], dim=1)


def over_positions(x: Tensor, weights: Tensor) -> Tensor:
    """Sums over positions, weighted by (B, 1, H, W): (B, C, 1, 1)."""
    return (x.flatten(2) @ weights.flatten(2).mT)[..., None]


def over_channels(x: Tensor, weights: Tensor) -> Tensor:
    """Sums over channels, weighted by (B, C, 1, 1): (B, 1, H, W)."""
    return (weights.flatten(1)[:, None] @ x.flatten(2)).view(x.shape[0], 1, *x.shape[2:])


class _Scaling(torch.autograd.Function):
    """Saves x, c and s."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:3])
        ctx.rest = inputs[3:]


class _ScaleBySum(_Scaling):
    @staticmethod
    def forward(x: Tensor, channel: Tensor, spatial: Tensor) -> Tensor:
        return (x * channel).addcmul_(x, spatial)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, channel, spatial = ctx.saved_tensors
        products = grad * x
        of_channel, of_spatial = products.sum(dim=(2, 3), keepdim=True), products.sum(dim=1, keepdim=True)
        del products
        return torch.addcmul(grad * channel, grad, spatial), of_channel, of_spatial


class _ScaleByProduct(_Scaling):
    @staticmethod
    def forward(x: Tensor, channel: Tensor, spatial: Tensor) -> Tensor:
        return _times(lambda: x * channel, spatial)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, channel, spatial = ctx.saved_tensors
        products = grad * x
        of_channel, of_spatial = over_positions(products, spatial), over_channels(products, channel)
        del products
        return _times(lambda: grad * channel, spatial), of_channel, of_spatial


class _ScaleByJointGate(_Scaling):
    @staticmethod
    def forward(x: Tensor, channel: Tensor, spatial: Tensor, product: bool) -> Tensor:
        return _gate(x, channel, spatial, product).add_(1).mul_(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, channel, spatial = ctx.saved_tensors
        (product,) = ctx.rest
        if torch.is_grad_enabled():  # somebody wants the derivative of this derivative
            gate = (channel * spatial if product else channel + spatial).sigmoid()
        else:
            gate = _gate(grad, channel, spatial, product)
        slopes = _times(lambda: grad * x, gate)
        slopes = slopes - slopes * gate
        if product:
            of_channel, of_spatial = over_positions(slopes, spatial), over_channels(slopes, channel)
        else:
            of_channel, of_spatial = slopes.sum(dim=(2, 3), keepdim=True), slopes.sum(dim=1, keepdim=True)
        del slopes
        return _times(lambda: gate + 1, grad), of_channel, of_spatial, None


class _LargestAndMean(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, channel: Tensor) -> tuple[Tensor, Tensor]:
        scaled = x * channel
        largest, index = scaled.max(dim=1, keepdim=True)
        return torch.cat([largest, scaled.mean(dim=1, keepdim=True)], dim=1), index

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(*inputs, output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        x, channel, index = ctx.saved_tensors
        of_largest, of_mean = grad[:, :1], grad[:, 1:] / x.shape[1]
        flat = index.flatten(1)
        towards = of_largest.flatten(1)
        factors, values = channel.flatten(1).gather(1, flat), x.gather(1, index).flatten(1)
        of_x = (channel * of_mean).scatter_add(1, index, (towards * factors).view_as(of_largest))
        of_channel = over_positions(x, of_mean).flatten(1).scatter_add(1, flat, towards * values)
        return of_x, of_channel.view_as(channel)


def _by_kernels(x: Tensor) -> bool:
    """Whether :func:`saccade.ops.tune` has chosen them; they compute in float32 at most."""
    return x.is_cuda and chosen().gates == "triton" and x.dtype != torch.float64 and x.numel() > 0


def _gate(x: Tensor, channel: Tensor, spatial: Tensor, product: bool) -> Tensor:
    """The sigmoid of both logits together, in the memory layout of `x`."""
    logits = torch.empty_like(x)
    (torch.mul if product else torch.add)(channel, spatial, out=logits)
    return logits.sigmoid_()


def _times(first: Callable[[], Tensor], second: Tensor) -> Tensor:
    """A product that writes over its first factor, unless somebody wants the derivative of this derivative."""
    made = first()
    return made * second if torch.is_grad_enabled() else made.mul_(second)
