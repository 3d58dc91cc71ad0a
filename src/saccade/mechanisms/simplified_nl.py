"""Simplified non-local block: a non-local block whose positions all share one attention map.

Y. Cao, J. Xu, S. Lin, F. Wei, H. Hu, "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond", ICCVW
2019, arXiv:1904.11492: the step from the non-local to the global context block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from saccade.mechanisms.base import Layout, Mechanism
from saccade.mechanisms.queries import rows_of
from saccade.mechanisms.rules import dims_option
from saccade.ops.axes import CONV, spread
from saccade.ops.context import context_weights
from saccade.ops.reading import Reading


class SimplifiedNonLocal(Mechanism):
    r"""Add one projected summary of the feature map to every position.

    .. math:: y_i = x_i + W_v \sum_j \mathrm{softmax}_j(w_k \cdot x_j + b_k)\, x_j + b_v

    The paper's letters here: W_k is `mask`, W_v `project`.

    Args:
        channels: C, of the input and of the output.
        dims: Number of map axes: 1 for sequences, 2 for images, 3 for volumes and clips.

    Shape: (B, C, H, W) -> (B, C, H, W); (B, C, T) and (B, C, T, H, W) for `dims` 1 and 3.

    Raises:
        InputError: `channels` below 1, or a map of another shape.

    Start: the identity, exactly: `project` is 0. `mask` starts as that of the global context block does.

    Cost: 2 C N + C^2 multiply-adds for N = H W, since the projection follows the sum; N map entries; C^2 + 2 C + 1
    parameters. Keeps the full resolution; the softmax is its only non-linearity.

    Example:
        >>> import torch, saccade
        >>> block = saccade.create("simplified_nl", channels=64)
        >>> block(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 64, 7, 9])
        >>> block.attention(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 1, 63])

    Differences: the paper prints the equation without biases, and released no code; the biases are there as in its
    global context block. b_k cannot change the output (a softmax ignores what all its entries share). The start at 0
    is ours, after that block's. It is that block with one 1x1 convolution as its transform.
    """

    label = "SimplifiedNL"
    layouts = (
        Layout("the names of xvjiarui/GCNet", {"conv_mask.": "mask.", "conv_value.": "project."}),
        Layout("the listing with one conv", {"conv_mask.": "mask.", "conv.": "project."}),
    )

    def __init__(self, channels: int, *, dims: int = 2) -> None:
        super().__init__(channels, dims=dims)
        self.mask = CONV[dims](channels, 1, kernel_size=1)
        self.project = nn.Linear(channels, channels)
        nn.init.kaiming_normal_(self.mask.weight, mode="fan_in", nonlinearity="relu")
        nn.init.zeros_(self.mask.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    @property
    def starts_as_identity(self) -> bool:
        return True

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        reading = Reading(x)
        context = reading.over_positions(context_weights(reading, self.mask))
        summary: Tensor = self.project(context).to(x.dtype)
        return reading.to_add() + spread(summary, self.dims)

    def attention(self, x: Tensor) -> Tensor:
        """Return the attention map, (B, 1, N): the one row that all positions share; it sums to 1."""
        self.check(x)
        return context_weights(Reading(x), self.mask)

    def weights(self, x: Tensor, queries: Sequence[tuple[int, ...]]) -> Tensor:
        """Return the row of :meth:`attention` once for each of `queries`, positions (y, x): (B, Q, H, W)."""
        count = len(rows_of(self.label, queries, x.shape[2:]))
        return self.attention(x).view(-1, 1, *x.shape[2:]).expand(-1, count, *x.shape[2:])

    def context_map(self, x: Tensor) -> Tensor:
        """Return the map that all positions share, (B, H, W); it sums to 1."""
        return self.attention(x).view(-1, *x.shape[2:])

    def extra_repr(self) -> str:
        return f"channels={self.channels}, dims={self.dims}"

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        dims = dims_option(tensors["mask.weight"]) if "mask.weight" in tensors else {}
        return {"channels": tensors["project.weight"].shape[0], **dims} if "project.weight" in tensors else {}
