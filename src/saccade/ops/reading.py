"""Sums of a feature map that several readers take before it is scaled, their gradients collected in one buffer.

Autograd makes a map for the gradient of each reader and adds them up. Here the map passes through every reader, so its
gradient comes back through them one by one, and each adds its own part to the buffer. The first buffer is created by
the scaling after the last reader (:mod:`saccade.ops.gates`), and nothing else refers to it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from saccade.ops.axes import positions, spread
from saccade.ops.gates import by_kernels
from saccade.ops.modes import as_formula, exported
from saccade.ops.parts import columns, new_like
from saccade.ops.precision import full_precision, wide


class Reading:
    """A feature map (B, C, ...) on its way through readers; after the last of them `x` may be scaled."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def to_add(self) -> Tensor:
        """Return the map for a sum whose gradient is the sum's own: the readers get a copy to write to."""
        if as_formula():
            return self.x
        found: Tensor = _Lend.apply(self.x)
        return found

    def mean(self) -> Tensor:
        """Return the mean of each channel: (B, C, 1, ...)."""
        if as_formula():
            return self.x.mean(dim=positions(self.x), keepdim=True)
        mean: Tensor
        mean, self.x = _Mean.apply(self.x)
        return mean

    def over_positions(self, weights: Tensor) -> Tensor:
        """Sum over positions, weighted by (B, 1, N) in float32 or better: (B, C), in the precision of the map."""
        with full_precision(self.x):
            if as_formula():
                return (wide(self.x).flatten(2) @ weights.transpose(-2, -1))[:, :, 0].to(self.x.dtype)
            sums: Tensor
            sums, self.x = _OverPositions.apply(self.x, weights)
        return sums

    def over_channels(self, weights: Tensor) -> Tensor:
        """Sum over channels, weighted by (B or 1, K, C): (B, K, N), in the precision of the map or of the weights."""
        with full_precision(self.x):
            if as_formula():
                return _product(weights, self.x)
            sums: Tensor
            sums, self.x = _OverChannels.apply(self.x, weights)
        return sums

    def mean_and_largest_position(self) -> Tensor:
        """Return the mean and the maximum of each channel, (B, 2, C); of equal values the first has the gradient."""
        flat = self.x.flatten(2)
        if as_formula():
            return torch.stack([flat.mean(dim=2), largest(flat, 2)], dim=1)
        if by_kernels(self.x):
            from saccade.ops.kernels import operators

            return operators.mean_and_largest_position(flat)
        if not torch.is_grad_enabled():  # the position is not needed: ten times as fast
            return torch.stack([flat.mean(dim=2), flat.amax(dim=2)], dim=1)
        found: Tensor
        found, _, self.x = _MeanAndLargest.apply(self.x)
        return found

    def largest_and_mean_channel(self, gate: Tensor) -> Tensor:
        """Return maximum and mean over channels of the map times (B, C, 1, ...), (B, 2, ...); equal values as above."""
        if as_formula():
            scaled = self.x * gate
            return torch.cat([largest(scaled, 1, keepdim=True), scaled.mean(dim=1, keepdim=True)], dim=1)
        if by_kernels(self.x):
            from saccade.ops.kernels import operators

            return operators.largest_and_mean_channel(self.x, gate)
        if not torch.is_grad_enabled():
            return _largest_and_mean(self.x, gate, None)
        found: Tensor
        found, _, self.x = _LargestAndMean.apply(self.x, gate)
        return found


def largest(x: Tensor, dim: int, *, keepdim: bool = False) -> Tensor:
    """Return the maximum over an axis; of equal values the first has the gradient, as in the authors' code.

    In exported programs, which have no gradient, it is `amax`, the one spelling that all runtimes take.
    """
    return x.amax(dim=dim, keepdim=keepdim) if exported() else x.max(dim=dim, keepdim=keepdim).values


def _product(weights: Tensor, x: Tensor) -> Tensor:
    """Multiply (B or 1, K, C) with a map, sample by sample: for shared weights `matmul` would copy the map."""
    return torch.bmm(weights.expand(x.shape[0], -1, -1), x.to(weights.dtype).flatten(2))


def _largest_and_mean(x: Tensor, gate: Tensor, index: Tensor | None) -> Tensor:
    """Compute both planes; `index`, if given, receives the channel of the maximum, the first of equal ones."""
    planes = x.new_empty(x.shape[0], 2, *x.shape[2:])
    values, factors, found = x.flatten(2), gate.flatten(2), planes.flatten(2)
    for b, n in columns(values):
        scaled = values[b, :, n] * factors[b]
        if index is None:  # ten times as fast
            found[b, 0, n] = scaled.amax(dim=1)
        else:
            found[b, 0, n], index.flatten(2)[b, 0, n] = scaled.max(dim=1)
        found[b, 1, n] = scaled.mean(dim=1)
    return planes


def _own(buffer: Tensor) -> Tensor:
    """Return the buffer to add to: the one received, or a copy if a second derivative is requested."""
    return new_like(buffer).copy_(buffer) if torch.is_grad_enabled() else buffer


class _Lend(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return new_like(grad).copy_(grad)


class _Reader(torch.autograd.Function):
    """Base of readers: returns the values read, and the map itself."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(*inputs)


class _Mean(_Reader):
    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.mean(dim=positions(x), keepdim=True), x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        (x,) = inputs
        ctx.positions = math.prod(x.shape[2:])

    @staticmethod
    def backward(ctx: Any, of_mean: Tensor, buffer: Tensor) -> Tensor:
        return _own(buffer).add_(of_mean / ctx.positions)


class _OverPositions(_Reader):
    @staticmethod
    def forward(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        return (wide(x).flatten(2) @ weights.transpose(-2, -1))[:, :, 0].to(x.dtype), x.view_as(x)

    @staticmethod
    def backward(ctx: Any, of_sums: Tensor, buffer: Tensor) -> tuple[Tensor, Tensor]:
        x, weights = ctx.saved_tensors
        of_weights = wide(of_sums)[:, None] @ wide(x).flatten(2)
        own = _own(buffer)
        own.flatten(2).addcmul_(of_sums[:, :, None], weights.to(own.dtype))
        return own, of_weights


class _OverChannels(_Reader):
    @staticmethod
    def forward(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        return _product(weights, x), x.view_as(x)

    @staticmethod
    def backward(ctx: Any, of_sums: Tensor, buffer: Tensor) -> tuple[Tensor, Tensor]:
        x, weights = ctx.saved_tensors
        of_weights = of_sums @ x.to(weights.dtype).flatten(2).transpose(-2, -1)
        if len(weights) < len(of_weights):
            of_weights = of_weights.sum(dim=0, keepdim=True)
        own = _own(buffer)
        back, towards = weights.transpose(-2, -1).to(own.dtype), of_sums.to(own.dtype)
        if weights.shape[1] == 1:
            own.flatten(2).addcmul_(back, towards)
        else:
            own.flatten(2).baddbmm_(back.expand(len(own), -1, -1), towards)
        return own, of_weights


class _MeanAndLargest(_Reader):
    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        flat = x.flatten(2)
        largest, index = flat.max(dim=2)
        return torch.stack([flat.mean(dim=2), largest], dim=1), index, x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        (x,) = inputs
        ctx.positions = math.prod(x.shape[2:])
        ctx.save_for_backward(output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor, buffer: Tensor) -> Tensor:
        (index,) = ctx.saved_tensors
        of_mean, of_largest = grad.unbind(dim=1)
        own = _own(buffer).add_(spread(of_mean / ctx.positions, buffer.dim() - 2))
        own.flatten(2).scatter_add_(2, index[:, :, None], of_largest[:, :, None])
        return own


class _LargestAndMean(_Reader):
    @staticmethod
    def forward(x: Tensor, gate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        index = x.new_empty(x.shape[0], 1, *x.shape[2:], dtype=torch.int64)
        return _largest_and_mean(x, gate, index), index, x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(*inputs, output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor, buffer: Tensor) -> tuple[Tensor, Tensor]:
        x, gate, index = ctx.saved_tensors
        of_largest, of_mean = grad[:, :1], grad[:, 1:] / x.shape[1]
        flat, towards = index.flatten(1), of_largest.flatten(1)
        factors, values = gate.flatten(1).gather(1, flat), x.gather(1, index).flatten(1)
        own = _own(buffer).addcmul_(gate, of_mean)
        own.scatter_add_(1, index, (towards * factors).view_as(of_largest))
        of_gate = (x.flatten(2) @ of_mean.flatten(2).transpose(-2, -1))[:, :, 0].scatter_add(1, flat, towards * values)
        return own, of_gate.view_as(gate)
