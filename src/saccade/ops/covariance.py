"""Second-order statistics: the covariance of rows, the square root of that matrix, and its lower triangle as a vector.

B batch, R rows (channels, or positions), M numbers in each. All results are in float32 or better whatever the input:
a covariance subtracts large numbers, and the root divides by its trace.
"""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.ops.matrices import gram
from saccade.ops.modes import by_definition
from saccade.ops.precision import full_precision, wide


def covariance(rows: Tensor) -> Tensor:
    r"""Return the covariance of rows over their columns, :math:`S = \frac1M (x - \bar x)(x - \bar x)^\top`.

    Takes (B, R, M), returns (B, R, R) in float32 or float64. Means are subtracted first, which loses fewer digits than
    the difference of two products.
    """
    with full_precision(rows):
        centred = wide(rows) - wide(rows).mean(dim=-1, keepdim=True)
        if by_definition():
            return centred @ centred.transpose(-2, -1) / rows.shape[-1]
        return gram(centred) / rows.shape[-1]


def matrix_sqrt(matrix: Tensor, iterations: int) -> Tensor:
    r"""Return square roots of symmetric positive semi-definite matrices, by coupled Newton-Schulz iterations.

    .. math:: A = S / \mathrm{tr} S, \quad T = \tfrac12(3 I - Z Y), \quad Y \leftarrow Y T, \quad Z \leftarrow T Z,
              \quad \sqrt S \approx \sqrt{\mathrm{tr} S}\; Y

    from Y = A, Z = I. Li et al., CVPR 2018, arXiv:1712.01034.

    Args:
        matrix: S, (B, R, R).
        iterations: Number of multiplications of Y; the last leaves Z unchanged.

    Returns:
        (B, R, R) in float32 or float64. A matrix of trace 0, as of a constant feature map, has the root 0 with gradient
        0, where the formula divides by 0. So does a matrix whose trace is below the smallest normal number, where the
        quotient of its gradient overflows.
    """
    with full_precision(matrix):
        matrix = wide(matrix)
        trace = matrix.diagonal(dim1=-2, dim2=-1).sum(dim=-1)[:, None, None]
        empty = trace.abs() < torch.finfo(matrix.dtype).tiny
        trace = torch.where(empty, 1.0, trace)
        three = 3 * torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        y = matrix / trace
        z = (three - y) / 2  # T of the first step, in which Z is I
        y = y @ z
        for _ in range(iterations - 2):
            t = (three - z @ y) / 2
            y, z = y @ t, t @ z
        if iterations > 1:
            y = y @ (three - z @ y) / 2
        return torch.where(empty, 0.0, trace.sqrt() * y)


def lower_triangle(matrix: Tensor) -> Tensor:
    """Return the lower triangle with its diagonal, row by row: (B, R, R) to (B, R (R + 1) / 2)."""
    rows, columns = torch.tril_indices(matrix.shape[-2], matrix.shape[-1], device=matrix.device)
    return matrix[:, rows, columns]
