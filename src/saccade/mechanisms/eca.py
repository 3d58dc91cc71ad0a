"""Efficient channel attention: one gate per channel, from the means of its neighbours in channel order.

Q. Wang, B. Wu, P. Zhu, P. Li, W. Zuo, Q. Hu, "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural
Networks", CVPR 2020, arXiv:1910.03151.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from saccade.mechanisms.base import Layout, Mechanism
from saccade.mechanisms.widths import neighbours
from saccade.ops.axes import spread
from saccade.ops.gates import scale
from saccade.ops.reading import Reading


class EfficientChannelAttention(Mechanism):
    r"""Scale each channel by a gate computed from the means of k neighbouring channels.

    .. math:: s_c = \sigma\Big(\sum_{j=1}^{k} w_j\, z_{c + j - (k+1)/2}\Big), \quad
              z_c = \frac{1}{HW}\sum_{hw} x_{chw}, \quad \tilde x_c = s_c x_c

    with z taken as 0 outside the channels. The paper's letters here: y is z, omega the gate, w `conv`.

    Args:
        channels: C, of the input and of the output.
        k: Number of neighbours a gate reads, odd. None means the paper's rule,
            :func:`saccade.mechanisms.widths.adaptive_kernel`.
        shared: If True, one filter for all channels; if False, one for each, the paper's unshared ablation.
        circular: If True, the channels close to a ring instead of zeros at both ends, as in timm's ``ceca``.
        dims: Number of map axes: 1 for sequences, 2 for images, 3 for volumes and clips.

    Shape: (B, C, H, W) -> (B, C, H, W); (B, C, T) and (B, C, T, H, W) for `dims` 1 and 3.

    Raises:
        InputError: `channels` below 1, an even `k` or one below 1, a ring that `k` winds round more than once, or a
            map of another shape.

    Start: not the identity; a new gate is about 0.5. Insertion wraps it.

    Cost: C k multiply-adds; k parameters, C k unshared. The map is read once for its means and once to be scaled; the
    sigmoid acts on vectors only.

    Example:
        >>> import torch, saccade
        >>> eca = saccade.create("eca", channels=256)
        >>> eca.k
        5
        >>> eca(torch.randn(2, 256, 7, 9)).shape
        torch.Size([2, 256, 7, 9])

    Differences: the authors' networks do not follow their rule: each has its own kernels for the four stages
    (3, 5, 5, 7 in ResNet-50), so their checkpoints require `k`. Many retellings add a bias; neither text nor
    code has one. timm takes at least k = 3, where the rule gives 1 below 8 channels. A gate depends on the *order* of
    the channels, so nothing around it may reorder them.
    """

    label = "ECA"
    layouts = (Layout("BangguWu/ECANet, timm", {"conv.weight": "conv.weight"}),)

    def __init__(
        self, channels: int, *, k: int | None = None, shared: bool = True, circular: bool = False, dims: int = 2
    ) -> None:
        super().__init__(channels, dims=dims)
        k = neighbours(self.label, channels, k, circular)
        self.k, self.shared, self.circular = k, shared, circular
        filters = 1 if shared else channels
        self.conv = nn.Conv1d(filters, filters, kernel_size=k, groups=filters, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        reading = Reading(x)
        gate = spread(self._gate(reading), self.dims)
        return scale(reading.x, gate)

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        """Return the channel gate, (B, C)."""
        return {"channel": self._gate(Reading(x))}

    def extra_repr(self) -> str:
        return f"channels={self.channels}, k={self.k}, shared={self.shared}, circular={self.circular}, dims={self.dims}"

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        if "conv.weight" not in tensors:
            return {}
        filters, _, k = tensors["conv.weight"].shape
        return {"k": k, "shared": True} if filters == 1 else {"channels": filters, "k": k, "shared": False}

    def _gate(self, reading: Reading) -> Tensor:
        self.check(reading.x)
        mean = reading.mean().flatten(1)
        padded = F.pad(mean[:, None], (self.k // 2, self.k // 2), mode="circular" if self.circular else "constant")
        if not self.shared:  # each channel's own filter sees its own window, as a signal of length k: (B, C, k)
            padded = padded[:, 0].unfold(1, self.k, 1)
        logits: Tensor = self.conv(padded)
        return logits.flatten(1).sigmoid()
