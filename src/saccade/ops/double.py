"""Gather, then distribute: attention over positions through a few descriptors, the step of A2-Net.

B batch, N positions, m numbers gathered, n descriptors. No attention map over pairs of positions is needed: the
product of three matrices is computed from the left.
"""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.ops.precision import full_precision, wide


def gathering(logits: Tensor) -> Tensor:
    """Return the weights of descriptors over positions: (B, n, N) logits to weights that sum to 1 over positions."""
    with full_precision(logits):
        return torch.softmax(wide(logits), dim=2)


def distributing(logits: Tensor) -> Tensor:
    """Return the weights of positions over descriptors: (B, n, N) logits to weights that sum to 1 over descriptors."""
    with full_precision(logits):
        return torch.softmax(wide(logits), dim=1)


def double_attention(value: Tensor, gather: Tensor, distribute: Tensor) -> Tensor:
    r"""Gather descriptors, then give each position its mixture of them, :math:`Z = (A B^\top) V`.

    Args:
        value: A, (B, m, N).
        gather: B, (B, n, N), from :func:`gathering`.
        distribute: V, (B, n, N), from :func:`distributing`.

    Returns:
        (B, m, N) in the precision of `value`. 2 N m n multiply-adds, m n entries in addition to the maps.
    """
    descriptors = value @ gather.to(value.dtype).transpose(-2, -1)
    return descriptors @ distribute.to(value.dtype)


def pair_weights(gather: Tensor, distribute: Tensor) -> Tensor:
    r"""Return the total weight of position j for position i, :math:`\sum_k v_{ki} b_{kj}`; rows sum to 1.

    Takes (B, n, M) and (B, n, Q), the columns of V for Q chosen positions or all; returns (B, Q, M).
    """
    with full_precision(gather):
        return distribute.transpose(-2, -1) @ gather
