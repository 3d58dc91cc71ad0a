"""Softmax attention for a block of queries at a time: the whole attention map is never stored, forward or backward.

A block holds whole rows, so the backward pass recomputes its weights from queries and keys alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from saccade.ops.precision import full_precision, wide

CPU_BYTES = 4 << 20
"""Bytes of one block of weights, of which two or three exist at a time: about what fits into a cache."""
CUDA_BYTES = 64 << 20
softmax_backward = torch.ops.aten._softmax_backward_data.default
_FEWEST_ROWS = 256  # thinner products lose more time than they save memory


def blocks(batch: int, queries: int, keys: int, budget: int, itemsize: int) -> Iterator[tuple[slice, slice]]:
    """Yield slices of samples and of queries whose weights stay within a budget, unless single rows exceed it.

    Args:
        batch: B.
        queries: N.
        keys: M.
        budget: Bytes of a block.
        itemsize: Bytes of a weight.

    Yields:
        Samples and queries; several samples only with all of their queries.
    """
    rows = min(queries, max(_FEWEST_ROWS, budget // max(1, keys * itemsize)))
    samples = max(1, budget // max(1, queries * keys * itemsize)) if rows == queries else 1
    for sample in range(0, batch, samples):
        for row in range(0, queries, max(1, rows)):
            yield slice(sample, sample + samples), slice(row, row + rows)


def softmax_attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Compute :func:`saccade.ops.pairwise.softmax_attention` in memory (B, N, E) and one block of weights.

    The result lies in memory as the values do.
    """
    with full_precision(query):
        attend = _whole if torch.compiler.is_compiling() else _SoftmaxAttention.apply
        found: Tensor = attend(query, key, value, scale)
    return found


def forward(query: Tensor, key: Tensor, value: Tensor, scale: float, log_sums: Tensor | None = None) -> Tensor:
    """Return the averages (B, N, E), laid out as the values are; logarithms of the sums go to `log_sums` (B, N)."""
    out = _empty_like(value, query.shape[1])
    query, key = wide(query), wide(key)
    for samples, rows in _blocks_of(query, key):
        logits = (query[samples, rows] * scale) @ key[samples].transpose(-2, -1)
        if log_sums is not None:
            log_sums[samples, rows] = logits.logsumexp(dim=-1)
        weights = logits.softmax(dim=-1).to(value.dtype)
        del logits  # before the next block's are made
        if _has_channels_last(value):
            out[samples, rows] = weights @ value[samples]
        else:
            out[samples, rows] = (value[samples].transpose(-2, -1) @ weights.transpose(-2, -1)).transpose(-2, -1)
        del weights
    return out


def backward(
    query: Tensor, key: Tensor, value: Tensor, scale: float, grad: Tensor, *, of_values: bool = True
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the gradients of queries, keys and, if wanted, values; the weights of each block are recomputed."""
    of_key, of_value = _zeros_like(key), _zeros_like(value) if of_values else None
    narrow, query, key = query, wide(query), wide(key)
    of_query = torch.empty_like(query)
    for samples, rows in _blocks_of(query, key):
        scaled, towards = query[samples, rows] * scale, grad[samples, rows]
        weights = (scaled @ key[samples].transpose(-2, -1)).softmax(dim=-1)
        if of_value is not None:
            _add_product(of_value[samples], weights.to(value.dtype), towards)
        slopes = softmax_backward(wide(towards @ value[samples].transpose(-2, -1)), weights, -1, weights.dtype)
        of_query[samples, rows] = (slopes @ key[samples]) * scale
        _add_product(of_key[samples], slopes, scaled)
        del weights, slopes
    of_narrow = of_query.to(narrow.dtype), of_key.to(narrow.dtype)
    return *of_narrow, None if of_value is None else of_value.to(value.dtype)


def _add_product(total: Tensor, weights: Tensor, rows: Tensor) -> None:
    """Add weights^T rows to `total`, (B, M, K), in its own layout: the products of another are slower."""
    first, second = weights.transpose(-2, -1), rows
    if not _has_channels_last(total):
        total, first, second = total.transpose(-2, -1), rows.transpose(-2, -1), weights
    if total.dtype == first.dtype == second.dtype:
        total.baddbmm_(first, second)
    else:
        total += first @ second


def _has_channels_last(x: Tensor) -> bool:
    """Return whether the channels of (B, N, C) lie side by side, as in Keras; maps of convolutions have them first."""
    return x.stride(-1) == 1 and x.shape[-1] > 1


def _empty_like(x: Tensor, rows: int) -> Tensor:
    """Return an empty (B, rows, C) with the layout of `x`."""
    batch, _, channels = x.shape
    if _has_channels_last(x):
        return x.new_empty(batch, rows, channels)
    return x.new_empty(batch, channels, rows).transpose(-2, -1)


def _zeros_like(x: Tensor) -> Tensor:
    """Return zeros with the layout of `x`, in float32 at least."""
    return wide(_empty_like(x, x.shape[1])).zero_()


class _SoftmaxAttention(torch.autograd.Function):
    @staticmethod
    def forward(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        return forward(query, key, value, scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        query, key, value, ctx.scale = inputs
        ctx.save_for_backward(query, key, value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is requested
            return (*gradients_by_definition(query, key, value, ctx.scale, grad), None)
        with full_precision(query):
            return (*backward(query, key, value, ctx.scale, grad, of_values=ctx.needs_input_grad[2]), None)


# A compiler would unroll the loop and keep the weights of many blocks at once. One operator stays opaque to it.


@custom_op("saccade::attention_in_blocks", mutates_args=())
def _whole(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    return forward(query, key, value, scale)


@custom_op("saccade::attention_in_blocks_backward", mutates_args=())
def _whole_backward(
    query: Tensor, key: Tensor, value: Tensor, scale: float, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    of_query, of_key, of_value = backward(query, key, value, scale, grad)
    assert of_value is not None
    return of_query, of_key, of_value


@_whole.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    return _empty_like(value, query.shape[1])


@_whole_backward.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, scale: float, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(query), _empty_like(key, key.shape[1]), _empty_like(value, value.shape[1])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.scale = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    query, key, value = ctx.saved_tensors
    return (*_whole_backward(query, key, value, ctx.scale, grad), None)


_whole.register_autograd(_differentiate, setup_context=_keep)


def gradients_by_definition(query: Tensor, key: Tensor, value: Tensor, scale: float, grad: Tensor) -> tuple[Any, ...]:
    """Compute the same gradients, with the whole map, by functions that can be differentiated again."""
    with full_precision(query):
        out = torch.softmax(wide(query) @ wide(key).transpose(-2, -1) * scale, dim=-1).to(value.dtype) @ value
    inputs = [tensor for tensor in (query, key, value) if tensor.requires_grad]
    found = iter(torch.autograd.grad(out, inputs, grad, create_graph=True))
    return tuple(next(found) if tensor.requires_grad else None for tensor in (query, key, value))


def _blocks_of(query: Tensor, key: Tensor) -> Iterator[tuple[slice, slice]]:
    budget = CUDA_BYTES if query.is_cuda else CPU_BYTES
    return blocks(query.shape[0], query.shape[1], key.shape[1], budget, query.element_size())
