"""Attention between channels, strip by strip: FLA's step.

B batch, S strips (the columns or the rows of a map), C channels, L positions in a strip. In every strip channels are
compared with descriptors that belong to the whole map, (B, L, C): one for each position along the strip.
"""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.ops.pairwise import weighted_sum
from saccade.ops.precision import full_precision, wide


def strip_weights(strips: Tensor, descriptors: Tensor) -> Tensor:
    r"""Rows of softmax weights, :math:`a_{scd} = \mathrm{softmax}_d(\sum_l x_{scl}\,e_{ld})`.

    Args:
        strips: (B, S, C, L).
        descriptors: (B, 1, L, C), for all strips of a sample, or (B, S, L, C).

    Returns:
        (B, S, C, C) in float32 or float64; rows sum to 1.
    """
    with full_precision(strips):
        return torch.softmax(wide(strips) @ wide(descriptors), dim=-1)


def strip_attention(strips: Tensor, descriptors: Tensor) -> Tensor:
    """Each channel's average of the channels of its strip: (B, S, C, L) in the precision of `strips`."""
    return weighted_sum(strip_weights(strips, descriptors), strips)
