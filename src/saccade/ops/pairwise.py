"""Averages over all pairs of positions, as in PAM, Non-local and SAGAN, and over pairs of channels, as in CAM.

B batch, N queries, M keys, D numbers compared, E numbers carried. Every attention map is (B, N, M): row i holds the
weights of query i over keys. The ``..._weights`` functions compute it; no ``..._attention`` does, unless
:func:`saccade.ops.definitions` requests the definition, which is the sum of the values with those weights.

Logits are sums of products, often unscaled: in half precision CAM's overflow, and all of them lose the digits that
decide the softmax. So maps are computed in float32 at least, also under autocast, and only the sum over values is in
the precision of the values.
"""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.ops import nodes
from saccade.ops.blocks import softmax_attention as softmax_in_blocks
from saccade.ops.fused import on_gpu
from saccade.ops.matrices import multiply
from saccade.ops.modes import by_definition, exported
from saccade.ops.precision import full_precision, wide


def softmax_weights(query: Tensor, key: Tensor, *, scale: float = 1.0) -> Tensor:
    r"""Return rows of softmax weights, :math:`a_{ij} = \mathrm{softmax}_j(s\,q_i \cdot k_j)`.

    Args:
        query: (B, N, D).
        key: (B, M, D).
        scale: s; negative to attend to the least similar.

    Returns:
        (B, N, M) in float32 or float64; rows sum to 1.
    """
    with full_precision(query):
        return torch.softmax(wide(query) @ wide(key).transpose(-2, -1) * scale, dim=-1)


def softmax_attention(query: Tensor, key: Tensor, value: Tensor, *, scale: float = 1.0) -> Tensor:
    r"""Average values with softmax weights, :math:`y_i = \sum_j \mathrm{softmax}_j(s\,q_i \cdot k_j)\,v_j`.

    Takes (B, N, D), (B, M, D), (B, M, E); returns (B, N, E) in the precision of `value`. Time N M (D + E), memory
    N E and one block of weights.
    """
    if nodes.wanted():
        return nodes.softmax_attention(wide(query), wide(key), value, scale)
    if by_definition():
        return weighted_sum(softmax_weights(query, key, scale=scale), value)
    fused = on_gpu(query, key, value, scale) if query.is_cuda else None
    return softmax_in_blocks(query, key, value, scale) if fused is None else fused


def add_attention(x: Tensor, query: Tensor, key: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    r"""Add to a feature map the softmax averages of its own projection, :math:`x_i + \sum_j a_{ij} (W x_j + b)`.

    Rows of weights sum to 1, so the map itself is averaged and W and b are applied to the averages: no projection of
    the map is kept.

    Args:
        x: (B, C, ...), of N positions.
        query: (B, N, D).
        key: (B, N, D).
        weight: W, (C, C, 1, ...).
        bias: b, (C,).

    Returns:
        The map in the precision and layout of `x`.
    """
    averages = softmax_attention(query, key, x.to(query.dtype).flatten(2).transpose(-2, -1)).transpose(-2, -1)
    y = multiply(weight.flatten(1).expand(x.shape[0], -1, -1), averages, add=x.flatten(2))
    return torch.unflatten(y.add_(bias.to(y.dtype)[:, None]), 2, x.shape[2:])


def dot_product_weights(query: Tensor, key: Tensor) -> Tensor:
    r"""Return rows of dot products over the number of keys, :math:`a_{ij} = q_i \cdot k_j / M`: any sign, any sum.

    Takes (B, N, D), (B, M, D); returns (B, N, M) in float32 or float64.
    """
    with full_precision(query):
        return wide(query) @ wide(key).transpose(-2, -1) / key.shape[1]


def dot_product_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    r"""Sum values with dot products over the number of keys, :math:`y_i = \frac1M \sum_j (q_i \cdot k_j)\,v_j`.

    Takes (B, N, D), (B, M, D), (B, M, E); returns (B, N, E) in the precision of `value`. The products associate: keys
    and values make a D x E matrix first, time (N + M) D E.
    """
    if by_definition() and not exported():  # without loops, the lean form takes any size
        return weighted_sum(dot_product_weights(query, key), value)
    with full_precision(query):
        matrix = wide(key).transpose(-2, -1) @ wide(value) / key.shape[1]
        return (wide(query) @ matrix).to(value.dtype)


def concatenation_weights(query: Tensor, key: Tensor, score: Tensor) -> Tensor:
    r"""Return rows of rectified scores over the number of keys, :math:`a_{ij} = \mathrm{relu}(w \cdot [q_i; k_j]) / M`.

    The score of a pair is a number for the query plus a number for the key, so no pair is ever concatenated.

    Args:
        query: (B, N, D).
        key: (B, M, D).
        score: w, (2 D,): the first half reads the query, the second the key.

    Returns:
        (B, N, M) in float32 or float64; not negative, any sum.
    """
    with full_precision(query):
        # Columns, since ONNX Runtime multiplies a transposed matrix with a vector wrongly.
        for_query, for_key = wide(score)[:, None].chunk(2)
        sums = wide(query) @ for_query + (wide(key) @ for_key).transpose(-2, -1)
        return sums.relu() / key.shape[1]


def concatenation_attention(query: Tensor, key: Tensor, value: Tensor, score: Tensor) -> Tensor:
    r"""Sum values with rectified scores of pairs, :math:`y_i = \frac1M \sum_j \mathrm{relu}(w \cdot [q_i; k_j])\,v_j`.

    Takes (B, N, D), (B, M, D), (B, M, E), (2 D,); returns (B, N, E) in the precision of `value`.

    With :math:`a_i` the query's number and :math:`b_j` the key's, the pairs that count for a query are those with
    :math:`b_j > -a_i`: the first ones, once keys are sorted. So two running sums over the sorted keys, of
    :math:`v_j` and of :math:`b_j v_j`, contain every query's result, :math:`y_i = (a_i V_i + U_i) / M`, in time
    M log M + (N + M) E. Running sums lose digits, so they are float64 if the device supports it.
    """
    if by_definition():
        return weighted_sum(concatenation_weights(query, key, score), value)
    with full_precision(query):
        for_query, for_key = wide(score).chunk(2)
        of_query, of_key = wide(query) @ for_query, wide(key) @ for_key
        of_key, order = of_key.sort(dim=1, descending=True)
        sums = torch.float32 if query.device.type == "mps" else torch.float64
        sorted_values = value.gather(1, order[..., None].expand_as(value)).to(sums)
        counted = torch.searchsorted(-of_key.detach().contiguous(), of_query.detach().contiguous())  # b_j > -a_i
        running = torch.cat([sorted_values, sorted_values * of_key[..., None]], dim=2).cumsum(dim=1)
        running = torch.cat([torch.zeros_like(running[:, :1]), running], dim=1)  # nothing, before the first
        plain, scaled = running.gather(1, counted[..., None].expand(-1, -1, running.shape[2])).chunk(2, dim=2)
        return ((of_query[..., None] * plain + scaled) / key.shape[1]).to(value.dtype)


def weighted_sum(weights: Tensor, value: Tensor) -> Tensor:
    """Sum the values (B, M, E) with the rows of a map (B, N, M): (B, N, E) in the precision of `value`."""
    return weights.to(value.dtype) @ value
