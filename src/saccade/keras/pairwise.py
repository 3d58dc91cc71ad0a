"""Averages over all pairs of positions, as in PAM, Non-local and SAGAN, on any backend.

B batch, N queries, M keys, D numbers compared, E numbers carried. Every attention map is (B, N, M): row i holds the
weights of query i over keys. The ``..._weights`` functions compute it in float32 at least; no ``..._attention`` does,
unless :func:`saccade.keras.definitions` requests the definition or the map is small.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from saccade.keras.blocks import in_blocks
from saccade.keras.pieces import multiply, softmax, wide


def softmax_weights(query: Any, key: Any, scale: float = 1.0) -> Any:
    r"""Return rows of softmax weights, :math:`a_{ij} = \mathrm{softmax}_j(s\,q_i \cdot k_j)`.

    Takes (B, N, D), (B, M, D); returns (B, N, M), whose rows sum to 1.
    """
    return softmax(_products(query, key) * scale, axis=-1)


def softmax_attention(query: Any, key: Any, value: Any, scale: float = 1.0) -> Any:
    r"""Average values with softmax weights, :math:`y_i = \sum_j \mathrm{softmax}_j(s\,q_i \cdot k_j)\,v_j`.

    Takes (B, N, D), (B, M, D), (B, M, E); returns (B, N, E) in the precision of `value`. Time N M (D + E), memory N E
    and one block of weights.
    """
    # Scaled here, so that every block has the scaled queries.
    return in_blocks(_softmax_attention, wide(query) * scale if scale != 1 else query, (key, value))


def dot_product_weights(query: Any, key: Any) -> Any:
    r"""Return rows of dot products over the number of keys, :math:`a_{ij} = q_i \cdot k_j / M`."""
    return _products(query, key) / _count(key)


def concatenation_weights(query: Any, key: Any, score: Any) -> Any:
    r"""Return rows of rectified scores over the number of keys, :math:`a_{ij} = \mathrm{relu}(w \cdot [q_i; k_j]) / M`.

    Takes (B, N, D), (B, M, D) and w, (2 D,). The score of a pair is a number for the query plus a number for the key,
    so no pair is ever concatenated.
    """
    for_query, for_key = ops.split(wide(score), 2)
    sums = ops.expand_dims(_dot(query, for_query), 2) + ops.expand_dims(_dot(key, for_key), 1)
    return ops.relu(sums) / _count(key)


def concatenation_attention(query: Any, key: Any, value: Any, score: Any) -> Any:
    r"""Sum values with rectified scores of pairs, :math:`y_i = \frac1M \sum_j \mathrm{relu}(w \cdot [q_i; k_j])\,v_j`.

    Takes (B, N, D), (B, M, D), (B, M, E), (2 D,); returns (B, N, E) in the precision of `value`.
    """
    return in_blocks(_concatenation_attention, query, (key, value, score))


def weighted_sum(weights: Any, value: Any) -> Any:
    """Return the sums of values, (B, M, E), with rows of weights, (B, N, M), in the precision of the values."""
    return multiply(ops.cast(weights, value.dtype), value)


def _softmax_attention(query: Any, key: Any, value: Any) -> Any:
    return weighted_sum(softmax_weights(query, key), value)


def _concatenation_attention(query: Any, key: Any, value: Any, score: Any) -> Any:
    return weighted_sum(concatenation_weights(query, key, score), value)


def _products(query: Any, key: Any) -> Any:
    return multiply(wide(query), ops.transpose(wide(key), (0, 2, 1)))


def _dot(rows: Any, vector: Any) -> Any:
    return ops.squeeze(multiply(wide(rows), ops.expand_dims(vector, 1)), 2)


def _count(key: Any) -> Any:
    return ops.cast(ops.shape(key)[1], wide(key).dtype)
