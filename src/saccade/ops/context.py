"""One summary of a whole feature map: the step that the global context block and the simplified non-local block share.

B batch, N positions. One attention map, (B, 1, N), weights the positions for all queries alike.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from saccade.ops.axes import Conv
from saccade.ops.precision import full_precision, wide
from saccade.ops.reading import Reading


def context_weights(reading: Reading, mask: Conv | nn.Linear) -> Tensor:
    r"""Return the one row of attention weights, :math:`a_j = \mathrm{softmax}_j(w \cdot x_j + b)`.

    Args:
        reading: Reading of x, (B, C, ...).
        mask: w, C numbers in any shape, and optionally b, which a softmax ignores as it is common to all entries.

    Returns:
        (B, 1, N) in float32 or float64; sums to 1. Logits grow with the features, hence the precision.
    """
    with full_precision(reading.x):
        logits = reading.over_channels(wide(mask.weight).flatten()[None, None])
        return torch.softmax(logits if mask.bias is None else logits + wide(mask.bias), dim=-1)
