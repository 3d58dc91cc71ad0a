"""One summary of a whole map: the step the global context block and the simplified non-local block share.

B batch, C channels, N positions. One map, (B, 1, N), weighs the positions for all queries alike.
"""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.ops.precision import full_precision, wide


def context_weights(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    r"""The one row of weights, :math:`a_j = \mathrm{softmax}_j(w \cdot x_j + b)`.

    Args:
        x: (B, C, H, W).
        weight: w, C numbers in any shape.
        bias: b, one number; without effect, as a softmax ignores what all its entries share.

    Returns:
        (B, 1, N) in float32 or float64; sums to 1. Logits grow with the features, hence the precision.
    """
    with full_precision(x):
        logits = wide(weight).flatten()[None, None] @ wide(x).flatten(2) + wide(bias)
        return torch.softmax(logits, dim=-1)


def context(x: Tensor, weights: Tensor) -> Tensor:
    r"""What the row gathers, :math:`g = \sum_j a_j x_j`: (B, C) in the precision of `x`."""
    with full_precision(x):
        return (wide(x).flatten(2) @ weights.mT)[:, :, 0].to(x.dtype)
