"""Averages over all pairs of positions: the step PAM, Non-local and SAGAN share; over pairs of channels, CAM's.

B batch, N queries, M keys, D numbers compared, E numbers carried. Every map is (B, N, M): row i says how much query i
takes from each key. All functions here are the plain definition: they store the map.

Logits are sums of products, often unscaled: in half precision CAM's overflow, and everyone's lose the digits that
decide the softmax. So maps are computed in float32 at least, also under autocast, and only the sum over values is in
the precision of the values.
"""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.ops.precision import full_precision, wide


def softmax_weights(query: Tensor, key: Tensor, *, scale: float = 1.0) -> Tensor:
    r"""Rows of softmax weights, :math:`a_{ij} = \mathrm{softmax}_j(s\,q_i \cdot k_j)`.

    Args:
        query: (B, N, D).
        key: (B, M, D).
        scale: s; negative to attend to the least similar.

    Returns:
        (B, N, M) in float32 or float64; rows sum to 1.
    """
    with full_precision(query):
        return torch.softmax(wide(query) @ wide(key).mT * scale, dim=-1)


def softmax_attention(query: Tensor, key: Tensor, value: Tensor, *, scale: float = 1.0) -> Tensor:
    r"""Average values with softmax weights, :math:`y_i = \sum_j \mathrm{softmax}_j(s\,q_i \cdot k_j)\,v_j`.

    Takes (B, N, D), (B, M, D), (B, M, E); returns (B, N, E) in the precision of `value`. Time N M (D + E).
    """
    return weighted_sum(softmax_weights(query, key, scale=scale), value)


def dot_product_weights(query: Tensor, key: Tensor) -> Tensor:
    r"""Rows of dot products over the number of keys, :math:`a_{ij} = q_i \cdot k_j / M`: any sign, any sum.

    Takes (B, N, D), (B, M, D); returns (B, N, M) in float32 or float64.
    """
    with full_precision(query):
        return wide(query) @ wide(key).mT / key.shape[1]


def dot_product_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    r"""Sum values with dot products over the number of keys, :math:`y_i = \frac1M \sum_j (q_i \cdot k_j)\,v_j`.

    Takes (B, N, D), (B, M, D), (B, M, E); returns (B, N, E) in the precision of `value`.
    """
    return weighted_sum(dot_product_weights(query, key), value)


def concatenation_weights(query: Tensor, key: Tensor, score: Tensor) -> Tensor:
    r"""Rows of rectified scores over the number of keys, :math:`a_{ij} = \mathrm{relu}(w \cdot [q_i; k_j]) / M`.

    The score of a pair is a number for the query plus a number for the key, so no pair is ever concatenated.

    Args:
        query: (B, N, D).
        key: (B, M, D).
        score: w, (2 D,): the first half reads the query, the second the key.

    Returns:
        (B, N, M) in float32 or float64; not negative, any sum.
    """
    with full_precision(query):
        for_query, for_key = wide(score).chunk(2)
        sums = (wide(query) @ for_query)[:, :, None] + (wide(key) @ for_key)[:, None, :]
        return sums.relu() / key.shape[1]


def concatenation_attention(query: Tensor, key: Tensor, value: Tensor, score: Tensor) -> Tensor:
    r"""Sum values with rectified scores of pairs, :math:`y_i = \frac1M \sum_j \mathrm{relu}(w \cdot [q_i; k_j])\,v_j`.

    Takes (B, N, D), (B, M, D), (B, M, E), (2 D,); returns (B, N, E) in the precision of `value`.
    """
    return weighted_sum(concatenation_weights(query, key, score), value)


def weighted_sum(weights: Tensor, value: Tensor) -> Tensor:
    """Sum the values (B, M, E) with the rows of a map (B, N, M): (B, N, E) in the precision of `value`."""
    return weights.to(value.dtype) @ value
