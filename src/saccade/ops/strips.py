"""Attention between channels, strip by strip: FLA's step.

B batch, S strips (the columns or the rows of a map), C channels, L positions in a strip. In every strip channels are
compared with descriptors that belong to the whole map, (B, L, C): one for each position along the strip.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from saccade.ops.modes import by_definition
from saccade.ops.pairwise import weighted_sum
from saccade.ops.precision import full_precision, wide

_GROUP = 8  # strips


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


def strip_attention(strips: Tensor, descriptors: Tensor, *, lean: bool = False) -> Tensor:
    """Each channel's average of the channels of its strip: (B, S, C, L) in the precision of `strips`.

    PyTorch's fused attention, with channels as the sequence, strips as heads, and the descriptors as keys that all
    heads share; memory S C L. Or, with `lean`, a few strips at a time, whose weights the backward pass makes again.
    """
    if by_definition():
        return weighted_sum(strip_weights(strips, descriptors), strips)
    if lean:
        return _in_groups(strips, descriptors)
    with full_precision(strips):
        query = wide(strips).contiguous()
        key = wide(descriptors).mT.contiguous().expand(-1, strips.shape[1], -1, -1)
        return scaled_dot_product_attention(query, key, query, scale=1.0).to(strips.dtype)


def _in_groups(strips: Tensor, descriptors: Tensor) -> Tensor:
    def attend(group: Tensor, seen: Tensor) -> Tensor:
        return weighted_sum(strip_weights(group, seen), group)

    groups = torch.split(strips, _GROUP, dim=1)
    shared = descriptors.shape[1] == 1
    seen = [descriptors] * len(groups) if shared else torch.split(descriptors, _GROUP, dim=1)
    made = [checkpoint(attend, *pair, use_reentrant=False) for pair in zip(groups, seen, strict=True)]
    return torch.cat(made, dim=1)
