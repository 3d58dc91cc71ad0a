"""Adaptive means that keep free sizes in exported graphs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from saccade.ops.modes import exported


def adaptive_mean(x: Tensor, size: tuple[int, int]) -> Tensor:
    r"""Return the means over bins, which overlap where sizes do not divide: (B, C, H, W) to (B, C, h, w).

    Bin i of h covers the rows :math:`\lfloor i H / h \rfloor` to :math:`\lceil (i + 1) H / h \rceil - 1`.

    In exported graphs it is two products with matrices made from the sizes: torch's own decomposition keeps the bins of
    the example's size, which are wrong at any other.
    """
    if not exported():
        return F.adaptive_avg_pool2d(x, size)
    return _bins(x.shape[-2], size[0], x) @ x @ _bins(x.shape[-1], size[1], x).transpose(-2, -1)


def _bins(length: int, bins: int, like: Tensor) -> Tensor:
    """Weights of `length` positions in each bin, (bins, length)."""
    number = torch.arange(bins, device=like.device)[:, None]
    first = torch.div(number * length, bins, rounding_mode="floor")
    end = torch.div((number + 1) * length + bins - 1, bins, rounding_mode="floor")
    position = torch.arange(length, device=like.device)
    inside = (position >= first) & (position < end)
    return inside.to(like.dtype) / (end - first).to(like.dtype)
