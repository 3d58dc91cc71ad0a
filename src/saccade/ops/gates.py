"""Scaling of a feature map by gates, without keeping the scaled map.

x is (B, C, H, W), a channel gate c (B, C, 1, 1), a spatial gate s (B, 1, H, W), or all three with one or three axes of
positions. Each function keeps only x and the gates for its backward pass; autograd of the same formula keeps one to
three maps in addition. When compiled, the formula itself is run, and the compiler fuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from saccade.ops.axes import positions
from saccade.ops.modes import as_formula
from saccade.ops.parts import new_like, parts
from saccade.ops.precision import wide
from saccade.ops.tuning import chosen

FACTORS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum": torch.add,
    "product": torch.mul,
    "gated sum": lambda c, s: (c + s).sigmoid_().add_(1),
    "gated product": lambda c, s: (c * s).sigmoid_().add_(1),
}
"""Name of a kind of gating to the factor of each number of the map."""


def scale(x: Tensor, channel: Tensor) -> Tensor:
    """Return x c, the map times the channel gate."""
    if as_formula():
        return x * channel
    y: Tensor = _Scale.apply(x, channel)
    return y


def scale_by(kind: str, x: Tensor, channel: Tensor, spatial: Tensor) -> Tensor:
    """Return x (c + s) for "sum", x c s for "product", x (1 + sigmoid(c + s)) or x (1 + sigmoid(c s)) if "gated"."""
    if as_formula():
        joint = channel + spatial if kind.endswith("sum") else channel * spatial
        return x * (1 + joint.sigmoid() if kind.startswith("gated") else joint)
    if kind == "product" and by_kernels(x):
        from saccade.ops.kernels import operators

        return operators.scale_by_product(x, channel, spatial)
    y: Tensor = _ScaleBy.apply(x, channel, spatial, kind)
    return y


def by_kernels(x: Tensor) -> bool:
    """Return whether to use kernels: :func:`saccade.ops.tune` chose them; they compute in float32 at most."""
    return x.is_cuda and chosen().gates == "triton" and x.dtype != torch.float64 and x.numel() > 0


class _Scale(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, channel: Tensor) -> Tensor:
        return x * channel

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, channel = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is requested
            return grad * channel, (grad * x).sum(dim=positions(x), keepdim=True)
        of_channel = torch.zeros_like(wide(channel))
        values, towards, sums = x.flatten(2), grad.flatten(2), of_channel.flatten(2)
        for b, c, n in parts(values):
            sums[b, c] += (towards[b, c, n] * values[b, c, n]).sum(dim=2, keepdim=True)
        return torch.mul(grad, channel, out=new_like(x)), of_channel.to(channel.dtype)


class _ScaleBy(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, channel: Tensor, spatial: Tensor, kind: str) -> Tensor:
        y = new_like(x)
        values, scaled, c_gate, s_gate = (tensor.flatten(2) for tensor in (x, y, channel, spatial))
        for b, c, n in parts(values):
            torch.mul(values[b, c, n], FACTORS[kind](c_gate[b, c], s_gate[b, :, n]), out=scaled[b, c, n])
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.kind = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        x, channel, spatial = ctx.saved_tensors
        if torch.is_grad_enabled():
            return (*_again(ctx.kind, x, channel, spatial, grad), None)
        of_x, of_channel, of_spatial = (
            torch.empty_like(x),
            torch.zeros_like(wide(channel)),
            torch.zeros_like(wide(spatial)),
        )
        values, towards, made = (tensor.flatten(2) for tensor in (x, grad, of_x))
        c_gate, s_gate, c_sums, s_sums = (t.flatten(2) for t in (channel, spatial, of_channel, of_spatial))
        for b, c, n in parts(values):
            gate_c, gate_s = c_gate[b, c], s_gate[b, :, n]
            factor = FACTORS[ctx.kind](gate_c, gate_s)
            torch.mul(towards[b, c, n], factor, out=made[b, c, n])
            slopes = towards[b, c, n] * values[b, c, n]
            if ctx.kind.startswith("gated"):
                slopes.mul_(factor - 1).mul_(2 - factor)  # derivative of a sigmoid g: g (1 - g)
            if ctx.kind.endswith("sum"):
                c_sums[b, c] += slopes.sum(dim=2, keepdim=True)
                s_sums[b, :, n] += slopes.sum(dim=1, keepdim=True)
            else:
                c_sums[b, c] += slopes @ gate_s.transpose(-2, -1)
                s_sums[b, :, n] += gate_c.transpose(-2, -1) @ slopes
        return of_x, of_channel.to(channel.dtype), of_spatial.to(spatial.dtype), None


def _again(kind: str, x: Tensor, channel: Tensor, spatial: Tensor, grad: Tensor) -> list[Tensor]:
    """Compute the gradients by functions that can be differentiated again."""
    joint = channel + spatial if kind.endswith("sum") else channel * spatial
    slopes = grad * x
    factor = joint
    if kind.startswith("gated"):
        gate = joint.sigmoid()
        factor, slopes = 1 + gate, slopes * gate * (1 - gate)
    by_channel, by_spatial = (slopes, slopes) if kind.endswith("sum") else (slopes * spatial, slopes * channel)
    return [grad * factor, by_channel.sum(dim=positions(x), keepdim=True), by_spatial.sum(dim=1, keepdim=True)]
