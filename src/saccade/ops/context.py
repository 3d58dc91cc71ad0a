"""One summary of a whole map: the step the global context block and the simplified non-local block share.

B batch, N positions. One map, (B, 1, N), weighs the positions for all queries alike.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from saccade.ops.precision import full_precision, wide
from saccade.ops.reading import Reading


def context_weights(reading: Reading, mask: nn.Conv2d | nn.Linear) -> Tensor:
    r"""The one row of weights, :math:`a_j = \mathrm{softmax}_j(w \cdot x_j + b)`.

    Args:
        reading: Of x, (B, C, H, W).
        mask: w, C numbers in any shape, and b, if there is one: a softmax ignores what all its entries share.

    Returns:
        (B, 1, N) in float32 or float64; sums to 1. Logits grow with the features, hence the precision.
    """
    with full_precision(reading.x):
        logits = reading.over_channels(wide(mask.weight).flatten()[None, None])
        return torch.softmax(logits if mask.bias is None else logits + wide(mask.bias), dim=-1)
