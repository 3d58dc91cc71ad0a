"""Double attention: a few descriptors gathered from all positions, then given back to each as it needs them.

Y. Chen, Y. Kalantidis, J. Li, S. Yan, J. Feng, "A^2-Nets: Double Attention Networks", NeurIPS 2018, arXiv:1810.11579.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saccade.errors import InputError
from saccade.mechanisms.base import Layout, Mechanism
from saccade.mechanisms.queries import rows_of
from saccade.mechanisms.rules import choose, positive, reduced
from saccade.ops.axes import CONV, CONVOLVE, memory_format
from saccade.ops.double import distributing, double_attention, gathering, pair_weights
from saccade.ops.modes import by_definition


class DoubleAttention(Mechanism):
    r"""Add to each position its own mixture of descriptors that were gathered from the whole feature map.

    .. math:: A = W_\phi x, \quad B = \mathrm{softmax}_\mathrm{positions}(W_\theta x), \quad
              V = \mathrm{softmax}_\mathrm{descriptors}(W_\rho x), \quad y = x + W_z\,(A B^\top) V

    with a bias in each convolution. The paper's letters here: phi is `value`, theta `gather`, rho `distribute`, the
    last convolution `project`; m is `value_channels`, n (the number of descriptors) `key_channels`.

    Args:
        channels: C, of the input and of the output.
        value_channels: m; None: max(1, C // 2).
        key_channels: n; None: max(1, C // 2).
        reconstruct: If True, a last convolution brings m channels back to C; otherwise the output has m channels.
        residual: If True, x is added.
        dims: Number of map axes: 1 for sequences, 2 for images, 3 for volumes and clips.

    Shape: (B, C, H, W) -> (B, C, H, W), or (B, m, H, W) without `reconstruct`; (B, C, T) and (B, C, T, H, W) for
    `dims` 1 and 3.

    Raises:
        InputError: A width below 1, `residual` without `reconstruct` although m is not C, an option that is not true or
            false, unknown `dims`, or a map of another shape.

    Start: the identity, exactly, with both `reconstruct` and `residual`: `project` is 0. The rest starts as in
    PyTorch.

    Cost: for N positions N (C m + 3 C n + m n) + C m n multiply-adds, since the last convolution is applied to the
    descriptors, and 2 n N map entries; never N x N.
    2 m C + 2 n C + m + 2 n + C parameters. Keeps the full resolution; the two softmaxes are its only non-linearities.

    Example:
        >>> import torch, saccade
        >>> a2 = saccade.create("a2", channels=64)
        >>> a2(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 64, 7, 9])
        >>> a2.weights(torch.randn(2, 64, 7, 9), [(3, 4)]).shape
        torch.Size([2, 1, 7, 9])

    Differences: the authors' code is not public. The axes are the paper's, as in nguyenvo09/Double-Attention-Network,
    which adds no x (``residual=False``). The copy that gives its softmaxes no axis takes them over the batch. C / 2
    fits the size of the paper's networks; the start at 0 is ours: the paper does not say how the branch ends. The bias
    of `gather` cannot change the output (a softmax ignores what all its entries share).
    """

    label = "A2"
    layouts = (
        Layout(
            "nguyenvo09/Double-Attention-Network",
            {"convA.": "value.", "convB.": "gather.", "convV.": "distribute.", "conv_reconstruct.": "project."},
        ),
    )

    def __init__(
        self,
        channels: int,
        *,
        value_channels: int | None = None,
        key_channels: int | None = None,
        reconstruct: bool = True,
        residual: bool = True,
        dims: int = 2,
    ) -> None:
        super().__init__(channels, dims=dims)
        choose(self.label, "reconstruct", reconstruct, (True, False))
        choose(self.label, "residual", residual, (True, False))
        self.value_channels = reduced(channels, 2) if value_channels is None else value_channels
        self.key_channels = reduced(channels, 2) if key_channels is None else key_channels
        positive(self.label, value_channels=self.value_channels, key_channels=self.key_channels)
        if residual and not reconstruct and self.value_channels != channels:
            raise InputError(
                f"{self.label}: without `reconstruct` the output has {self.value_channels} channels and cannot be "
                f"added to {channels}",
                f"give residual=False, or value_channels={channels}",
            )
        self.reconstruct, self.residual = reconstruct, residual
        conv = CONV[dims]
        self.value = conv(channels, self.value_channels, kernel_size=1)
        self.gather = conv(channels, self.key_channels, kernel_size=1)
        self.distribute = conv(channels, self.key_channels, kernel_size=1)
        self.project = conv(self.value_channels, channels, kernel_size=1) if reconstruct else nn.Identity()
        if self.starts_as_identity:
            for parameter in self.project.parameters():
                nn.init.zeros_(parameter)

    @property
    def starts_as_identity(self) -> bool:
        return self.reconstruct and self.residual

    def forward(self, x: Tensor) -> Tensor:
        if self.reconstruct and self.residual and not by_definition():
            return self._folded(x)
        gather, distribute = self._maps(x)
        mixture = double_attention(self.value(x).flatten(2), gather, distribute)
        branch: Tensor = self.project(torch.unflatten(mixture, 2, x.shape[2:]))
        if self.residual:
            return x + branch.to(x.dtype)
        return branch.to(x.dtype, memory_format=memory_format(x))

    def attention(self, x: Tensor) -> Tensor:
        """Return the weights between all positions, (B, N, N); rows sum to 1. The forward pass never computes them."""
        return pair_weights(*self._maps(x))

    def weights(self, x: Tensor, queries: Sequence[tuple[int, ...]]) -> Tensor:
        """Return the rows of :meth:`attention` for `queries`, positions (y, x): (B, Q, H, W), in O(Q n N)."""
        gather, distribute = self._maps(x)
        rows = rows_of(self.label, queries, x.shape[2:])
        return torch.unflatten(pair_weights(gather, distribute[:, :, rows]), 2, x.shape[2:])

    def descriptors(self, x: Tensor) -> Tensor:
        """Return the gathered descriptors, (B, m, n), one column for each."""
        gather, _ = self._maps(x)
        value: Tensor = self.value(x).flatten(2)
        return value @ gather.to(value.dtype).transpose(-2, -1)

    def gathered_from(self, x: Tensor) -> Tensor:
        """Return the weights of descriptors over positions, (B, n, H, W); each map sums to 1."""
        return torch.unflatten(self._maps(x)[0], 2, x.shape[2:])

    def distribution(self, x: Tensor) -> Tensor:
        """Return the weights of positions over descriptors, (B, n, H, W); they sum to 1 at each position."""
        return torch.unflatten(self._maps(x)[1], 2, x.shape[2:])

    def extra_repr(self) -> str:
        return (
            f"channels={self.channels}, value_channels={self.value_channels}, key_channels={self.key_channels}, "
            f"reconstruct={self.reconstruct}, residual={self.residual}, dims={self.dims}"
        )

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        if not {"value.weight", "gather.weight"} <= set(tensors):
            return {}
        value_channels, channels, *kernel = tensors["value.weight"].shape
        return {
            "channels": channels,
            "value_channels": value_channels,
            "key_channels": tensors["gather.weight"].shape[0],
            "reconstruct": "project.weight" in tensors,
            "dims": len(kernel),
        }

    def _folded(self, x: Tensor) -> Tensor:
        """Apply the last convolution to the few descriptors, not to the map made of them; the map is read once."""
        self.check(x)
        layers = (self.value, self.gather, self.distribute)
        weights = torch.cat([layer.weight for layer in layers])
        biases = torch.cat([layer.bias for layer in layers])  # type: ignore[misc]
        made = CONVOLVE[x.dim() - 2](x, weights, biases).flatten(2)
        value, gather, distribute = torch.split(made, [len(layer.weight) for layer in layers], dim=1)
        gather, distribute = gathering(gather), distributing(distribute)
        weight, bias = (parameter.to(value.dtype) for parameter in self.project.parameters())
        # Columns of `distribute` sum to 1, so a bias on the descriptors is one on the map.
        descriptors = weight.flatten(1) @ (value @ gather.to(value.dtype).transpose(-2, -1)) + bias[:, None]
        return x + torch.unflatten(descriptors @ distribute.to(value.dtype), 2, x.shape[2:]).to(x.dtype)

    def _maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights of descriptors over positions, and of positions over descriptors: (B, n, N) each."""
        self.check(x)
        return gathering(self.gather(x).flatten(2)), distributing(self.distribute(x).flatten(2))
