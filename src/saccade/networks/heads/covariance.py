"""Second-order pooling: the covariance of the channels in place of their means, as in GSoP-Net2's end.

P. Li, J. Xie, Q. Wang, Z. Gao, "Towards Faster Training of Global Covariance Pooling Networks by Iterative Matrix
Square Root Normalization", CVPR 2018, arXiv:1712.01034; Z. Gao, J. Xie, Q. Wang, P. Li, "Global Second-order Pooling
Convolutional Networks", CVPR 2019, arXiv:1811.12006.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from saccade.errors import InputError
from saccade.mechanisms.base import Layout, Published
from saccade.mechanisms.rules import positive
from saccade.networks.heads.layers import ConvNormReLU, Norm, check_map, check_norm
from saccade.ops.covariance import covariance, lower_triangle, matrix_sqrt


class CovariancePooling(nn.Module):
    r"""Compute the covariance of the channels over a feature map, :math:`S = \frac1N (x - \bar x)(x - \bar x)^\top`.

    Shape: (B, C, H, W) -> (B, C, C), in float32 or better.

    Raises:
        InputError: Another number of axes.

    Cost: C^2 N multiply-adds, C^2 entries; no parameters.

    Example:
        >>> import torch
        >>> from saccade.networks.heads import CovariancePooling
        >>> CovariancePooling()(torch.randn(2, 16, 7, 9)).shape
        torch.Size([2, 16, 16])

    Differences: the authors' code multiplies x by I / N - 1 1^T / N^2 and by its transpose; here means come off first,
    which is the same in exact arithmetic and loses fewer digits.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 4:
            raise InputError(f"CovariancePooling: expected a feature map (B, C, H, W); received shape {tuple(x.shape)}")
        return covariance(x.flatten(2))


class MatrixSquareRoot(nn.Module):
    r"""Compute square roots of covariances by coupled Newton-Schulz iterations.

    .. math:: A = S / \mathrm{tr} S, \quad T = \tfrac12(3 I - Z Y), \quad Y \leftarrow Y T, \quad Z \leftarrow T Z,
              \quad \sqrt S \approx \sqrt{\mathrm{tr} S}\; Y

    from Y = A, Z = I; see :func:`saccade.ops.covariance.matrix_sqrt`.

    Args:
        iterations: The papers' N: multiplications of Y; 1 is a single A (3 I - A) / 2. GSoP-Net2 has 3, iSQRT-COV 5.

    Shape: (B, C, C) -> (B, C, C), in float32 or better. A matrix of trace 0 has the root 0 with gradient 0.

    Raises:
        InputError: `iterations` is below 1, or the matrices are not square.

    Cost: (3 iterations - 3) C^3 multiply-adds, at least C^3; no parameters.

    Example:
        >>> import torch
        >>> from saccade.networks.heads import MatrixSquareRoot
        >>> MatrixSquareRoot(iterations=20)(4 * torch.eye(2)[None]).round().tolist()
        [[[2.0, 0.0], [0.0, 2.0]]]

    Differences: the authors' code has a backward pass written by hand, of the same gradient; it computes in the default
    precision whatever the input's, and divides by a trace of 0.
    """

    def __init__(self, iterations: int = 3) -> None:
        super().__init__()
        positive("MatrixSquareRoot", iterations=iterations)
        self.iterations = iterations

    def forward(self, matrix: Tensor) -> Tensor:
        _check_square("MatrixSquareRoot", matrix)
        return matrix_sqrt(matrix, self.iterations)

    def extra_repr(self) -> str:
        return f"iterations={self.iterations}"


class TriangleVector(nn.Module):
    """Return the lower triangle of a matrix with its diagonal, row by row; the gradient flows to this triangle only.

    Shape: (B, C, C) -> (B, C (C + 1) / 2).

    Raises:
        InputError: The matrices are not square.

    Cost: no multiply-adds, no parameters.

    Example:
        >>> import torch
        >>> from saccade.networks.heads import TriangleVector
        >>> TriangleVector()(torch.arange(9).view(1, 3, 3))
        tensor([[0, 3, 4, 6, 7, 8]])

    Differences: none from the authors' code. The weights of the classifier after it depend on this order; that of the
    upper triangle row by row is another.
    """

    def forward(self, matrix: Tensor) -> Tensor:
        _check_square("TriangleVector", matrix)
        return lower_triangle(matrix)


class MetaLayer(Published):
    r"""The end of GSoP-Net2: reduce channels, take the square root of the covariance, return it as a vector.

    .. math:: h = \mathrm{relu}(\mathrm{BN}(W x)), \quad y = \mathrm{vec}\Big(\sqrt{\mathrm{cov}(h)}\Big)

    The authors' layer_reduce and layer_reduce_bn are `reduce.conv` and `reduce.norm` here, their iterN `iterations`.

    Args:
        channels: C, channels of the input feature map.
        dim: d, channels of h.
        iterations: Number of iterations of the square root.
        norm_layer: Constructor of a norm, called with its width.

    Shape: (B, C, H, W) -> (B, d (d + 1) / 2).

    Raises:
        InputError: A size below 1, or a map of another shape.
        TypeError: `norm_layer` that is not callable.

    Cost: C d N + d^2 N + (3 iterations - 3) d^3 multiply-adds, at least d^3; C d + 2 d parameters.

    Example:
        >>> import torch
        >>> from saccade.networks.heads import MetaLayer
        >>> MetaLayer(64, dim=16).eval()(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 136])

    Differences: the authors' code divides by 0 for a map that does not vary; here that is the root 0.
    """

    label = "MetaLayer"
    layouts = (
        Layout(
            "ZilinGao/Global-Second-order-Pooling-Convolutional-Networks",
            {"layer_reduce.": "reduce.conv.", "layer_reduce_bn.": "reduce.norm."},
        ),
    )

    def __init__(
        self, channels: int, *, dim: int = 256, iterations: int = 3, norm_layer: Norm = nn.BatchNorm2d
    ) -> None:
        super().__init__()
        positive(self.label, channels=channels, dim=dim, iterations=iterations)
        check_norm(self.label, norm_layer)
        self.channels, self.dim, self.iterations = channels, dim, iterations
        self.reduce = ConvNormReLU(channels, dim, kernel_size=1, norm_layer=norm_layer)
        nn.init.kaiming_normal_(self.reduce.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        check_map(self.label, x, self.channels)
        root = matrix_sqrt(covariance(self.reduce(x).flatten(2)), self.iterations)
        return lower_triangle(root).to(x.dtype)

    def extra_repr(self) -> str:
        return f"channels={self.channels}, dim={self.dim}, iterations={self.iterations}"

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        weight = tensors.get("reduce.conv.weight")
        return {} if weight is None else {"channels": weight.shape[1], "dim": weight.shape[0]}


def _check_square(label: str, matrix: Tensor) -> None:
    if matrix.dim() != 3 or matrix.shape[1] != matrix.shape[2]:
        raise InputError(f"{label}: expected square matrices (B, C, C); received shape {tuple(matrix.shape)}")
