"""Softmax attention for values wider than queries, as in PAM: forward, and backward without the attention map.

The forward pass loops over keys with a running maximum and sum for each query, and keeps the logarithm of each sum;
the backward pass recomputes the weights from it, once looping over keys outside (gradients of values and keys), once
over queries. Sums are float32. There are no atomic additions: the same input gives the same bits.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

WIDEST = 512
"""Largest width of values: wider ones do not fit on the chip together with their gradient."""
_SMALLEST = 16  # side of a product on tensor cores


@triton.jit
def _forward(
    query, key, value, out, log_sums, scale,
    queries, keys, width, carried,
    query_b, query_n, query_d, key_b, key_n, key_d, value_b, value_n, value_e,
    precise: tl.constexpr, D: tl.constexpr, E: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Compute one block of queries, one slice of the values' width, one sample; `out` is (B, E, N)."""
    sample = tl.program_id(2).to(tl.int64)
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    slices = tl.program_id(1) * E + tl.arange(0, E)
    depth = tl.arange(0, D)
    inside = rows < queries
    q = tl.load(
        query + sample * query_b + rows[:, None] * query_n + depth[None, :] * query_d,
        mask=inside[:, None] & (depth[None, :] < width), other=0.0,
    )  # fmt: skip
    largest = tl.full([ROWS], -float("inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    summed = tl.zeros([ROWS, E], tl.float32)
    for start in range(0, keys, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        there = columns < keys
        k = tl.load(
            key + sample * key_b + columns[None, :] * key_n + depth[:, None] * key_d,
            mask=there[None, :] & (depth[:, None] < width), other=0.0,
        )  # fmt: skip
        logits = tl.dot(q, k, input_precision=precise) * scale
        logits = tl.where(there[None, :], logits, -float("inf"))
        higher = tl.maximum(largest, tl.max(logits, 1))
        weights = tl.exp(logits - higher[:, None])
        shrink = tl.exp(largest - higher)
        total = total * shrink + tl.sum(weights, 1)
        v = tl.load(
            value + sample * value_b + columns[:, None] * value_n + slices[None, :] * value_e,
            mask=there[:, None] & (slices[None, :] < carried), other=0.0,
        )  # fmt: skip
        summed = summed * shrink[:, None] + tl.dot(weights.to(v.dtype), v, input_precision=precise)
        largest = higher
    target = out + sample * carried * queries + slices[None, :] * queries + rows[:, None]
    tl.store(target, summed / total[:, None], mask=inside[:, None] & (slices[None, :] < carried))
    if tl.program_id(1) == 0:
        tl.store(log_sums + sample * queries + rows, largest + tl.log(total), mask=inside)


@triton.jit
def _of_keys_and_values(
    query, key, value, grad, log_sums, along, of_key, of_value, scale,
    queries, keys, width, carried,
    query_b, query_n, query_d, key_b, key_n, key_d, value_b, value_n, value_e, grad_b, grad_n, grad_e,
    precise: tl.constexpr, D: tl.constexpr, E: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Compute one block of keys, one sample; `of_key` is (B, D, M), `of_value` (B, E, M)."""
    sample = tl.program_id(1).to(tl.int64)
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    depth, all_carried = tl.arange(0, D), tl.arange(0, E)
    there, deep, wide = columns < keys, depth < width, all_carried < carried
    k = tl.load(
        key + sample * key_b + columns[:, None] * key_n + depth[None, :] * key_d,
        mask=there[:, None] & deep[None, :], other=0.0,
    )  # fmt: skip
    v = tl.load(
        value + sample * value_b + columns[:, None] * value_n + all_carried[None, :] * value_e,
        mask=there[:, None] & wide[None, :], other=0.0,
    )  # fmt: skip
    key_sum = tl.zeros([COLUMNS, D], tl.float32)
    value_sum = tl.zeros([COLUMNS, E], tl.float32)
    for start in range(0, queries, ROWS):
        rows = start + tl.arange(0, ROWS)
        inside = rows < queries
        q = tl.load(
            query + sample * query_b + rows[:, None] * query_n + depth[None, :] * query_d,
            mask=inside[:, None] & deep[None, :], other=0.0,
        )  # fmt: skip
        g = tl.load(
            grad + sample * grad_b + rows[:, None] * grad_n + all_carried[None, :] * grad_e,
            mask=inside[:, None] & wide[None, :], other=0.0,
        )  # fmt: skip
        # A row outside has an infinite sum, so its weights are 0.
        log_sum = tl.load(log_sums + sample * queries + rows, mask=inside, other=float("inf"))
        offset = tl.load(along + sample * queries + rows, mask=inside, other=0.0)
        logits = tl.dot(k, tl.trans(q), input_precision=precise) * scale
        weights = tl.exp(tl.where(there[:, None], logits, -float("inf")) - log_sum[None, :])
        value_sum += tl.dot(weights.to(g.dtype), g, input_precision=precise)
        slopes = weights * (tl.dot(v, tl.trans(g), input_precision=precise) - offset[None, :])
        key_sum += tl.dot(slopes.to(q.dtype), q, input_precision=precise)
    tl.store(
        of_key + sample * width * keys + depth[None, :] * keys + columns[:, None],
        key_sum * scale, mask=there[:, None] & deep[None, :],
    )  # fmt: skip
    tl.store(
        of_value + sample * carried * keys + all_carried[None, :] * keys + columns[:, None],
        value_sum, mask=there[:, None] & wide[None, :],
    )  # fmt: skip


@triton.jit
def _of_queries(
    query, key, value, grad, log_sums, along, of_query, scale,
    queries, keys, width, carried,
    query_b, query_n, query_d, key_b, key_n, key_d, value_b, value_n, value_e, grad_b, grad_n, grad_e,
    precise: tl.constexpr, D: tl.constexpr, E: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Compute one block of queries, one sample; `of_query` is (B, D, N)."""
    sample = tl.program_id(1).to(tl.int64)
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    depth, all_carried = tl.arange(0, D), tl.arange(0, E)
    inside, deep, wide = rows < queries, depth < width, all_carried < carried
    q = tl.load(
        query + sample * query_b + rows[:, None] * query_n + depth[None, :] * query_d,
        mask=inside[:, None] & deep[None, :], other=0.0,
    )  # fmt: skip
    g = tl.load(
        grad + sample * grad_b + rows[:, None] * grad_n + all_carried[None, :] * grad_e,
        mask=inside[:, None] & wide[None, :], other=0.0,
    )  # fmt: skip
    log_sum = tl.load(log_sums + sample * queries + rows, mask=inside, other=float("inf"))
    offset = tl.load(along + sample * queries + rows, mask=inside, other=0.0)
    query_sum = tl.zeros([ROWS, D], tl.float32)
    for start in range(0, keys, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        there = columns < keys
        k = tl.load(
            key + sample * key_b + columns[:, None] * key_n + depth[None, :] * key_d,
            mask=there[:, None] & deep[None, :], other=0.0,
        )  # fmt: skip
        v = tl.load(
            value + sample * value_b + columns[:, None] * value_n + all_carried[None, :] * value_e,
            mask=there[:, None] & wide[None, :], other=0.0,
        )  # fmt: skip
        logits = tl.dot(q, tl.trans(k), input_precision=precise) * scale
        weights = tl.exp(tl.where(there[None, :], logits, -float("inf")) - log_sum[:, None])
        slopes = weights * (tl.dot(g, tl.trans(v), input_precision=precise) - offset[:, None])
        query_sum += tl.dot(slopes.to(k.dtype), k, input_precision=precise)
    tl.store(
        of_query + sample * width * queries + depth[None, :] * queries + rows[:, None],
        query_sum * scale, mask=inside[:, None] & deep[None, :],
    )  # fmt: skip


def fits(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Return whether the kernels support these: one precision, at most float32; no width beyond `WIDEST`; not empty."""
    return (
        query.dtype == key.dtype == value.dtype
        and query.dtype in (torch.float32, torch.float16, torch.bfloat16)
        and max(query.shape[2], value.shape[2]) <= WIDEST
        and min(query.numel(), key.numel(), value.numel()) > 0
    )


def forward(query: Tensor, key: Tensor, value: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Return the averages (B, N, E), channel first in memory, and the logarithms of the sums (B, N) in float32."""
    (batch, queries, width), (keys, carried) = query.shape, value.shape[1:]
    out = value.new_empty(batch, carried, queries)
    log_sums = query.new_empty(batch, queries, dtype=torch.float32)
    slice_width = min(_padded(carried), 256)
    rows, columns = _tile(query)
    grid = (triton.cdiv(queries, rows), triton.cdiv(carried, slice_width), batch)
    _forward[grid](
        query, key, value, out, log_sums, scale, queries, keys, width, carried,
        *query.stride(), *key.stride(), *value.stride(),
        precise=_precision(query), D=_padded(width), E=slice_width, ROWS=rows, COLUMNS=columns,
    )  # fmt: skip
    return out.mT, log_sums


def backward(
    query: Tensor, key: Tensor, value: Tensor, scale: float, out: Tensor, log_sums: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of queries, keys and values, each channel first in memory."""
    (batch, queries, width), (keys, carried) = query.shape, value.shape[1:]
    along = (grad.float() * out.float()).sum(dim=-1)
    of_query, of_key = query.new_empty(batch, width, queries), key.new_empty(batch, width, keys)
    of_value = value.new_empty(batch, carried, keys)
    sizes = (scale, queries, keys, width, carried)
    strides = (*query.stride(), *key.stride(), *value.stride(), *grad.stride())
    tile, short = _tile(query)
    constants = {"precise": _precision(query), "D": _padded(width), "E": _padded(carried)}
    read = (query, key, value, grad, log_sums, along)
    _of_keys_and_values[triton.cdiv(keys, short), batch](
        *read, of_key, of_value, *sizes, *strides, **constants, ROWS=tile, COLUMNS=short
    )
    _of_queries[triton.cdiv(queries, tile), batch](
        *read, of_query, *sizes, *strides, **constants, ROWS=tile, COLUMNS=short
    )
    return of_query.mT, of_key.mT, of_value.mT


def _padded(width: int) -> int:
    return max(_SMALLEST, 1 << (width - 1).bit_length())


def _tile(query: Tensor) -> tuple[int, int]:
    """Return the rows of a block of queries and of keys that fit on the chip together with rows of `WIDEST` numbers."""
    return (32, 16) if query.dtype == torch.float32 else (64, 32)


def _precision(query: Tensor) -> str:
    """Return TF32 for float32 only if the user allowed it for matrix products."""
    return "tf32" if query.dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32 else "ieee"
