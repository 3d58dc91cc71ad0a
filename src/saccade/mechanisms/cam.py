"""Channel attention module of DANet: every channel gathers from every other.

J. Fu, J. Liu, H. Tian, Y. Li, Y. Bao, Z. Fang, H. Lu, "Dual Attention Network for Scene Segmentation", CVPR 2019,
arXiv:1809.02983.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from saccade.mechanisms.base import Layout, Mechanism
from saccade.mechanisms.queries import rows_of
from saccade.mechanisms.rules import choose
from saccade.ops.matrices import gram, multiply
from saccade.ops.modes import by_definition, exported
from saccade.ops.pairwise import softmax_weights, weighted_sum
from saccade.ops.precision import full_precision, wide


class ChannelAttention(Mechanism):
    r"""Add to each channel an average of all channels, weighted by dissimilarity (or similarity, as printed).

    .. math:: y_c = \gamma \sum_d \mathrm{softmax}_d(s\, x_c \cdot x_d)\, x_d + x_c, \quad s = -1

    with the products taken over all positions. The paper's letters here: A is the input, X the map, beta `gamma`.

    Args:
        channels: C, of the input and of the output.
        sign: ``"released"``: s = -1, as in the authors' code, which subtracts the products from the largest of
            their row; each channel attends to those *least* like it. All published numbers come from this.
            ``"printed"``: s = +1, as in the paper's equation.
        dims: Number of map axes: 1 for sequences, 2 for images, 3 for volumes and clips.

    Shape: (B, C, H, W) -> (B, C, H, W); (B, C, T) and (B, C, T, H, W) for `dims` 1 and 3.

    Raises:
        InputError: `channels` below 1, an unknown `sign`, or a map of another shape.

    Start: the identity, exactly: gamma, its only parameter, is 0.

    Cost: 2 C^2 N multiply-adds and C^2 map entries for N = H W; 1 parameter. Keeps the full resolution; the softmax
    is its only non-linearity.

    Example:
        >>> import torch, saccade
        >>> cam = saccade.create("cam", channels=64)
        >>> cam(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 64, 7, 9])
        >>> cam.attention(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 64, 64])

    Differences: row c of the map is the channel that gathers, as in the authors' code and the paper's sum; some
    retellings multiply by the transposed map, which is another function. The products are sums over all positions
    and reach thousands, where half precision has no fractions left, so they are float32 or better whatever the input.
    """

    label = "CAM"
    layouts = (Layout("junfu1115/DANet", {"gamma": "gamma"}),)

    def __init__(self, channels: int, *, sign: str = "released", dims: int = 2) -> None:
        super().__init__(channels, dims=dims)
        choose(self.label, "sign", sign, ("released", "printed"))
        self.sign = sign
        self.gamma = nn.Parameter(torch.zeros(1))

    @property
    def starts_as_identity(self) -> bool:
        return True

    def forward(self, x: Tensor) -> Tensor:
        weights, channels = self.attention(x), x.flatten(2)
        if by_definition():
            context = weighted_sum(weights, channels)
            return x + self.gamma.to(x.dtype) * torch.unflatten(context, 2, x.shape[2:])
        # gamma scales the small matrix, and the residual is part of the product.
        y = multiply((self.gamma * weights).to(x.dtype), channels, add=channels)
        return torch.unflatten(y, 2, x.shape[2:])

    def attention(self, x: Tensor) -> Tensor:
        """Return the attention map, (B, C, C): row c holds the weights of channel c; rows sum to 1."""
        self.check(x)
        scale = -1.0 if self.sign == "released" else 1.0
        channels = x.flatten(2)
        if exported():
            # Written out, the maximum keeps OpenVINO from fusing a traced softmax(X X^T) X over the wrong axes.
            energies = scale * (wide(channels) @ wide(channels).transpose(-2, -1))
            return torch.softmax(energies - energies.amax(dim=-1, keepdim=True), dim=-1)
        if by_definition():
            return softmax_weights(channels, channels, scale=scale)
        with full_precision(x):
            return torch.softmax(scale * gram(channels), dim=-1)

    def channel_weights(self, x: Tensor, channels: Sequence[int]) -> Tensor:
        """Return the rows of :meth:`attention` for chosen `channels`, (B, Q, C), in O(Q C N)."""
        self.check(x)
        rows = rows_of(self.label, [(channel,) for channel in channels], (self.channels,))
        flat = x.flatten(2)
        return softmax_weights(flat[:, rows], flat, scale=-1.0 if self.sign == "released" else 1.0)

    def extra_repr(self) -> str:
        return f"channels={self.channels}, sign={self.sign}, dims={self.dims}"
