"""Query dependence of attention: the mean distance between the rows of different queries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from saccade.mechanisms.rules import choose

MEASURES = ("moved", "cosine")


def mean_distance(rows: Tensor, measure: str = "moved") -> Tensor:
    r"""Return the mean distance over all pairs of rows, from 0 (all rows are equal) to 1.

    .. math:: \text{moved} = \frac{\sum_j |a_j - b_j|}{\sum_j |a_j| + |b_j|}, \quad
              \text{cosine} = \tfrac12 \Big(1 - \frac{a \cdot b}{|a|\,|b|}\Big)

    For rows that sum to 1, "moved" is the fraction of the weight that lies elsewhere: 1 for rows without a common
    source. "cosine" is the measure of Y. Cao et al., "GCNet", ICCVW 2019, arXiv:1904.11492, section 3; between rows
    without negative entries it is at most 1/2.

    Args:
        rows: (..., Q, M), any sign.
        measure: ``"moved"`` or ``"cosine"``.

    Returns:
        (...), 0 for a single row.
    """
    choose("mean_distance", "measure", measure, MEASURES)
    rows = rows.double() if rows.device.type != "mps" else rows.float()
    count = rows.shape[-2]
    if measure == "cosine":
        unit = torch.nn.functional.normalize(rows, dim=-1)
        distances = (1 - unit @ unit.mT) / 2
    else:
        size = rows.abs().sum(dim=-1)
        apart = torch.cdist(rows, rows, p=1.0)
        distances = apart / (size[..., :, None] + size[..., None, :]).clamp_min(torch.finfo(rows.dtype).tiny)
    # The distance of a row to itself is 0; rounding may give another value.
    off = 1 - torch.eye(count, dtype=rows.dtype, device=rows.device)
    return (distances.clamp_min(0) * off).sum(dim=(-2, -1)) / max(1, count * (count - 1))


def spread(count: int, samples: int) -> list[int]:
    """Return at most `samples` of 0 .. count - 1, evenly spaced, ends included."""
    taken = min(count, samples)
    return [round(step * (count - 1) / max(1, taken - 1)) for step in range(taken)]


def grid(size: Sequence[int], samples: int) -> list[tuple[int, ...]]:
    """Return about `samples` positions of a map on an even grid, as dense along every axis; all if it has fewer."""
    density = min(1.0, samples / math.prod(size)) ** (1 / len(size))
    return list(product(*(spread(length, max(1, round(length * density))) for length in size)))
