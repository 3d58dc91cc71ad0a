"""Position attention module of DANet: every position gathers from every other.

J. Fu, J. Liu, H. Tian, Y. Li, Y. Bao, Z. Fang, H. Lu, "Dual Attention Network for Scene Segmentation", CVPR 2019,
arXiv:1809.02983.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saccade.mechanisms.base import Layout, Mechanism
from saccade.mechanisms.queries import rows_of
from saccade.mechanisms.rules import dims_option, positive, reduced
from saccade.ops.axes import CONV
from saccade.ops.modes import by_definition
from saccade.ops.pairwise import add_attention, softmax_attention, softmax_weights

DANET_KEYS = {"query_conv.": "query.", "key_conv.": "key.", "value_conv.": "value.", "gamma": "gamma"}


class PositionAttention(Mechanism):
    r"""Add to each position an average of all positions, weighted by similarity of their projections.

    .. math:: y_i = \gamma \sum_j \mathrm{softmax}_j(q_i \cdot k_j)\, v_j + x_i,
              \quad q = W_q x + b_q, \; k = W_k x + b_k, \; v = W_v x + b_v

    The paper's letters here: B is `query`, C `key`, D `value`, alpha `gamma`. SAGAN, which PAM equals, writes g for
    `query`, f for `key` and h for `value`; the listings that circulate have f and g the other way round.

    Args:
        channels: C, of the input and of the output.
        reduction: `query` and `key` have max(1, C // reduction) channels. The authors' code takes 8; 1 gives the
            full width that the text of the paper prints.
        dims: Number of map axes: 1 for sequences, 2 for images, 3 for volumes and clips.

    Shape: (B, C, H, W) -> (B, C, H, W); (B, C, T) and (B, C, T, H, W) for `dims` 1 and 3.

    Raises:
        InputError: `channels` or `reduction` below 1, or a map of another shape.

    Start: the identity, exactly: gamma is 0. Until it moves, nothing else in the module has a gradient.

    Cost: with d = C // reduction and N = H W: N C (2 d + C) + N^2 (d + C) multiply-adds, N^2 map entries,
    (C + 1)(2 d + C) + 1 parameters. Keeps the full resolution; the softmax is its only non-linearity.

    Example:
        >>> import torch, saccade
        >>> pam = saccade.create("pam", channels=64)
        >>> pam(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 64, 7, 9])
        >>> pam.weights(torch.randn(2, 64, 7, 9), [(3, 4)]).shape
        torch.Size([2, 1, 7, 9])

    Differences: the logits are not scaled, as in the authors' code. Below 8 channels that code makes a layer of no
    channels and fails; ours keeps 1. The bias of `key` cannot change the output (a softmax ignores what all its
    entries share) and stays for the sake of the checkpoints.
    """

    label = "PAM"
    layouts = (
        Layout("junfu1115/DANet, heykeetae/Self-Attention-GAN", DANET_KEYS),
        Layout("the listing with f, g and h", {"f.": "query.", "g.": "key.", "h.": "value.", "gamma": "gamma"}),
    )

    def __init__(self, channels: int, *, reduction: int = 8, dims: int = 2) -> None:
        super().__init__(channels, dims=dims)
        positive(self.label, reduction=reduction)
        inner_channels = reduced(channels, reduction)
        self.reduction, conv = reduction, CONV[dims]
        self.query = conv(channels, inner_channels, kernel_size=1)
        self.key = conv(channels, inner_channels, kernel_size=1)
        self.value = conv(channels, channels, kernel_size=1)
        self.gamma = nn.Parameter(torch.zeros(1))

    @property
    def starts_as_identity(self) -> bool:
        return True

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        query, key = self.query(x).flatten(2).transpose(-2, -1), self.key(x).flatten(2).transpose(-2, -1)  # (B, N, D)
        if by_definition():
            context = softmax_attention(query, key, self.value(x).flatten(2).transpose(-2, -1)).transpose(-2, -1)
            # In x's precision, so that under autocast a half map stays half.
            return x + self.gamma.to(x.dtype) * torch.unflatten(context, 2, x.shape[2:])
        assert self.value.bias is not None
        return add_attention(x, query, key, self.gamma * self.value.weight, self.gamma * self.value.bias)

    def attention(self, x: Tensor) -> Tensor:
        """Return the attention map, (B, N, N): row i holds the weights of position i; rows sum to 1."""
        self.check(x)
        return softmax_weights(self.query(x).flatten(2).transpose(-2, -1), self.key(x).flatten(2).transpose(-2, -1))

    def weights(self, x: Tensor, queries: Sequence[tuple[int, ...]]) -> Tensor:
        """Return the rows of :meth:`attention` for `queries`, positions (y, x): (B, Q, H, W), in O(Q N)."""
        self.check(x)
        rows = rows_of(self.label, queries, x.shape[2:])
        weights = softmax_weights(
            self.query(x).flatten(2)[:, :, rows].transpose(-2, -1), self.key(x).flatten(2).transpose(-2, -1)
        )
        return torch.unflatten(weights, 2, x.shape[2:])

    def extra_repr(self) -> str:
        return f"channels={self.channels}, reduction={self.reduction}, dims={self.dims}"

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        if "query.weight" not in tensors:
            return {}
        inner_channels, channels = tensors["query.weight"].shape[:2]
        own = {"channels": channels, "reduction": channels // inner_channels}
        return own | dims_option(tensors["query.weight"])
