"""A function of each query and of everything else, computed for a block of queries at a time, and again in backward.

A map over pairs of positions, (B, N, M), is stored neither by the forward nor by the backward pass: both make a block
of its rows at a time. Each backend has its own loop; on PyTorch the operations of :mod:`saccade.ops` take its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras

from saccade.keras.modes import by_definition

Function = Callable[..., Any]

_ENTRIES = 2**20  # of one block of the map, for all samples: 4 MiB
_SAMPLE = 2**17  # of one block of one sample, where the number of samples is not known


def in_blocks(function: Function, query: Any, others: tuple[Any, ...], *, entries: int | None = None) -> Any:
    """Return ``function(query, *others)``, whose rows along axis 1 each depend on one row of `query` alone.

    A map of one block is computed at once, and so is every map inside :func:`saccade.keras.definitions`.

    Args:
        function: With two or more `others` its result is (B, N, E), in the precision of the second and of its width;
            with one it is like `query`.
        query: (B, N, ...).
        others: The first is the key, (B, M, ...).
        entries: Entries of the map for one row and one sample; None means M.
    """
    rows = _rows(query.shape, others[0].shape[1] if entries is None else entries, 32 if entries is None else 1)
    if by_definition() or rows is None:
        return function(query, *others)
    return _LOOPS[keras.backend.backend()](function, query, others, rows)


def _rows(queries: tuple[int | None, ...], entries: int | None, least: int) -> int | None:
    """Return the number of queries of a block; None: all at once."""
    batch, count = queries[:2]
    if entries is None:
        return 128
    budget = _SAMPLE if batch is None else _ENTRIES // max(batch, 1)
    rows = max(least, budget // entries)
    return None if count is not None and count <= rows else rows


def _in_jax(function: Function, query: Any, others: tuple[Any, ...], rows: int) -> Any:
    import jax
    from jax import numpy as jnp

    batch, count = query.shape[:2]
    blocks = math.ceil(count / rows)
    padding = [(0, 0), (0, blocks * rows - count), *((0, 0) for _ in query.shape[2:])]
    stacked = jnp.moveaxis(jnp.pad(query, padding).reshape(batch, blocks, rows, *query.shape[2:]), 1, 0)
    again = jax.checkpoint(lambda block: function(block, *others))
    found = jnp.moveaxis(jax.lax.map(again, stacked), 0, 1)
    return found.reshape(batch, blocks * rows, *found.shape[3:])[:, :count]


def _in_tensorflow(function: Function, query: Any, others: tuple[Any, ...], rows: int) -> Any:
    import tensorflow as tf

    count = tf.shape(query)[1] if query.shape[1] is None else query.shape[1]
    blocks = -(-count // rows)
    block_shape = tf.TensorShape([query.shape[0], rows, *query.shape[2:]])

    def padded(x: Any) -> Any:
        return tf.pad(x, [[0, 0], [0, blocks * rows - count], *([0, 0] for _ in x.shape[2:])])

    def block_of(x: Any, index: Any) -> Any:
        begin = [0, index * rows, *(0 for _ in x.shape[2:])]
        found = tf.slice(x, begin, [-1, rows, *(-1 for _ in x.shape[2:])])
        found.set_shape([x.shape[0], rows, *x.shape[2:]])
        return found

    def joined(array: Any, shape: Any) -> Any:
        """Return the rows of all blocks, (B, N, E)."""
        stacked = array.stack()  # (blocks, B, rows, E)
        stacked = tf.transpose(stacked, [1, 0, *range(2, len(stacked.shape))])
        whole = tf.concat([tf.shape(stacked)[:1], [-1], tf.shape(stacked)[3:]], axis=0)
        found = tf.reshape(stacked, whole)[:, :count]
        found.set_shape([shape[0], query.shape[1], *shape[2:]])
        return found

    def loop(body: Callable[..., Any], carried: list[Any]) -> list[Any]:
        found = tf.while_loop(
            lambda index, *_: index < blocks,
            lambda index, *state: (index + 1, *body(index, *state)),
            [tf.constant(0), *carried],
            parallel_iterations=1,
        )
        return list(found[1:])

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def run(given: Any, *rest: Any) -> Any:
        whole = padded(given)
        several = len(rest) > 1
        like = tf.TensorShape([query.shape[0], rows, rest[1].shape[-1]]) if several else block_shape
        kept = tf.TensorArray(rest[1].dtype if several else given.dtype, blocks, element_shape=like)

        def forward(index: Any, array: Any) -> tuple[Any]:
            return (array.write(index, function(block_of(whole, index), *rest)),)

        (array,) = loop(forward, [kept])
        output = joined(array, like)

        def backward(upstream: Any) -> tuple[Any, ...]:
            over = padded(upstream)

            def step(index: Any, array: Any, *sums: Any) -> tuple[Any, ...]:
                block = block_of(whole, index)
                with tf.GradientTape() as tape:
                    tape.watch([block, *rest])
                    found = function(block, *rest)
                of_block, *of_rest = tape.gradient(
                    found, [block, *rest], block_of(over, index), unconnected_gradients="zero"
                )
                return array.write(index, of_block), *(old + new for old, new in zip(sums, of_rest, strict=True))

            kept = tf.TensorArray(given.dtype, blocks, element_shape=block_shape)
            array, *sums = loop(step, [kept, *(tf.zeros_like(each) for each in rest)])
            return joined(array, block_shape), *sums

        return output, backward

    return run(query, *others)


def _in_torch(function: Function, query: Any, others: tuple[Any, ...], rows: int) -> Any:
    import torch
    from torch.utils.checkpoint import checkpoint

    from saccade.ops import pairwise

    named: dict[str, Callable[..., Any]] = {
        "_softmax_attention": pairwise.softmax_attention,
        "_concatenation_attention": pairwise.concatenation_attention,
    }
    if function.__name__ in named:
        return named[function.__name__](query, *others)
    return torch.cat([checkpoint(function, block, *others, use_reentrant=False) for block in query.split(rows, 1)], 1)


_LOOPS = {"jax": _in_jax, "tensorflow": _in_tensorflow, "torch": _in_torch}
