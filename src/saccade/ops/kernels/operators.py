"""The kernels as operators of PyTorch: shapes for the compiler, derivatives, and counts of operations.

Under autocast they run in the precision of their inputs: the caller decides it, as logits must not be narrowed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op
from torch.utils.flop_counter import register_flop_formula
from triton.runtime.errors import OutOfResources

from saccade.ops import blocks
from saccade.ops.kernels import attention, gates


@custom_op("saccade::softmax_attention", mutates_args=())
def _attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    try:
        return attention.forward(query, key, value, scale)
    except OutOfResources:  # a chip with less memory next to its cores
        log_sums = query.new_empty(query.shape[:2], dtype=torch.float32)
        return _channels_first(blocks.forward(query, key, value, scale, log_sums)), log_sums


@_attention.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    batch, queries = query.shape[:2]
    out = value.new_empty(batch, value.shape[2], queries)
    return out.mT, query.new_empty(batch, queries, dtype=torch.float32)


@custom_op("saccade::softmax_attention_backward", mutates_args=())
def _attention_backward(
    query: Tensor, key: Tensor, value: Tensor, scale: float, out: Tensor, log_sums: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    try:
        return attention.backward(query, key, value, scale, out, log_sums, grad)
    except OutOfResources:
        of_query, of_key, of_value = blocks.backward(query, key, value, scale, grad)
        assert of_value is not None
        return _channels_first(of_query), _channels_first(of_key), _channels_first(of_value)


@_attention_backward.register_fake
def _(
    query: Tensor, key: Tensor, value: Tensor, scale: float, out: Tensor, log_sums: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    like = [tensor.new_empty(tensor.shape[0], tensor.shape[2], tensor.shape[1]).mT for tensor in (query, key, value)]
    return like[0], like[1], like[2]


def _channels_first(x: Tensor) -> Tensor:
    return x.mT.contiguous().mT


def _keep_attention(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, ctx.scale = inputs
    ctx.save_for_backward(query, key, value, *output)
    ctx.mark_non_differentiable(output[1])


def _differentiate_attention(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Any, ...]:
    query, key, value, out, log_sums = ctx.saved_tensors
    if torch.is_grad_enabled():  # a second derivative is requested
        return (*blocks.gradients_by_definition(query, key, value, ctx.scale, grad), None)
    return (*_attention_backward(query, key, value, ctx.scale, out, log_sums, grad), None)


_attention.register_autograd(_differentiate_attention, setup_context=_keep_attention)


def _attention_flops(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    batch, queries, width = query
    found: int = 2 * batch * queries * key[1] * (width + value[2])
    return found


def _attention_backward_flops(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Count logits and slopes twice, as keys and queries are outside in turn; then the three gradients."""
    batch, queries, width = query
    found: int = 2 * batch * queries * key[1] * (4 * width + 3 * value[2])
    return found


register_flop_formula(torch.ops.saccade.softmax_attention)(_attention_flops)
register_flop_formula(torch.ops.saccade.softmax_attention_backward)(_attention_backward_flops)


@custom_op("saccade::mean_and_largest_position", mutates_args=())
def _positions(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return gates.mean_and_largest_position(x)


@_positions.register_fake
def _(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    of = x.shape[:2]
    return x.new_empty(of), x.new_empty(of), x.new_empty(of, dtype=torch.int32)


def _keep_positions(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[2])
    ctx.positions = inputs[0].shape[2]
    ctx.mark_non_differentiable(output[2])


def _differentiate_positions(ctx: Any, of_mean: Tensor, of_largest: Tensor, _: Tensor) -> Tensor:
    (index,) = ctx.saved_tensors
    spread: Tensor = (of_mean / ctx.positions)[:, :, None].expand(-1, -1, ctx.positions)
    return spread.scatter_add(2, index.long()[:, :, None], of_largest[:, :, None])


_positions.register_autograd(_differentiate_positions, setup_context=_keep_positions)


@custom_op("saccade::largest_and_mean_channel", mutates_args=())
def _channels(x: Tensor, gate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return gates.largest_and_mean_channel(x, gate)


@_channels.register_fake
def _(x: Tensor, gate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    of = (x.shape[0], x.shape[2])
    return x.new_empty(of), x.new_empty(of), x.new_empty(of, dtype=torch.int32)


@custom_op("saccade::largest_and_mean_channel_backward", mutates_args=())
def _channels_backward(
    x: Tensor, gate: Tensor, index: Tensor, of_largest: Tensor, of_mean: Tensor
) -> tuple[Tensor, Tensor]:
    return gates.largest_and_mean_channel_backward(x, gate, index, of_largest, of_mean)


@_channels_backward.register_fake
def _(x: Tensor, gate: Tensor, index: Tensor, of_largest: Tensor, of_mean: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), gate.new_empty(gate.shape)


def _keep_channels(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, output[2])
    ctx.mark_non_differentiable(output[2])


def _differentiate_channels(ctx: Any, of_largest: Tensor, of_mean: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
    x, gate, index = ctx.saved_tensors
    found: tuple[Tensor, Tensor] = _channels_backward(x, gate, index, of_largest, of_mean)
    return found


_channels.register_autograd(_differentiate_channels, setup_context=_keep_channels)


@custom_op("saccade::scale", mutates_args=())
def _scale(x: Tensor, channel: Tensor, spatial: Tensor) -> Tensor:
    return gates.scale(x, channel, spatial)


@_scale.register_fake
def _(x: Tensor, channel: Tensor, spatial: Tensor) -> Tensor:
    return torch.empty_like(x)


@custom_op("saccade::scale_backward", mutates_args=())
def _scale_backward(x: Tensor, channel: Tensor, spatial: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return gates.scale_backward(x, channel, spatial, grad)


@_scale_backward.register_fake
def _(x: Tensor, channel: Tensor, spatial: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(x), channel.new_empty(channel.shape), spatial.new_empty(spatial.shape)


def _keep_scale(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate_scale(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    found: tuple[Tensor, Tensor, Tensor] = _scale_backward(*ctx.saved_tensors, grad)
    return found


_scale.register_autograd(_differentiate_scale, setup_context=_keep_scale)


def softmax_attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Compute :func:`saccade.ops.pairwise.softmax_attention`."""
    found: Tensor = _attention(query, key, value, scale)[0]
    return found


def mean_and_largest_position(x: Tensor) -> Tensor:
    """Return the mean and the maximum of each channel of (B, C, N): (B, 2, C)."""
    return torch.stack(_positions(x)[:2], dim=1)


def largest_and_mean_channel(x: Tensor, channel: Tensor) -> Tensor:
    """Compute :func:`saccade.ops.reading.Reading.largest_and_mean_channel`."""
    planes = torch.stack(_channels(x.flatten(2), channel.flatten(1))[:2], dim=1)
    return torch.unflatten(planes, 2, x.shape[2:])


def scale_by_product(x: Tensor, channel: Tensor, spatial: Tensor) -> Tensor:
    """Compute :func:`saccade.ops.gates.scale_by`; the gates' derivatives cannot be differentiated again."""
    return torch.unflatten(_scale(x.flatten(2), channel.flatten(1), spatial.flatten(1)), 2, x.shape[2:])
