"""The plain head: a convolution and a classifier. It is the control of every comparison.

J. Long, E. Shelhamer, T. Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015,
arXiv:1411.4038; this head is the baseline of J. Fu et al., "Dual Attention Network", CVPR 2019, arXiv:1809.02983.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from saccade.mechanisms.base import Layout, Published
from saccade.mechanisms.rules import choose, positive
from saccade.networks.heads.layers import ConvNormReLU, Norm, check_dropout, check_map, check_norm, head_width, names


class FCNHead(Published):
    r"""Compute class logits with one convolution and a classifier.

    .. math:: y = W\,\mathrm{relu}(\mathrm{BN}(K * x)) + b

    with a dropout of whole channels before W.

    Args:
        channels: C, channels of the input feature map.
        num_classes: K.
        inner_channels: Width of the convolution; None: max(1, C // 4).
        kernel_size: Kernel size of the convolution; HRNetV2 has 1, at full width.
        bias: If True, the convolution has a bias in front of the norm, as in HRNetV2.
        norm_layer: Constructor of a norm, called with its width.
        dropout: Fraction of channels dropped in training.

    Shape: (B, C, H, W) -> (B, K, H, W).

    Raises:
        InputError: A width below 1, a `dropout` outside [0, 1), or a map of another shape.
        TypeError: `norm_layer` that is not callable.

    Cost: N d (k^2 C + K) multiply-adds for d inner channels.

    Example:
        >>> import torch
        >>> from saccade.networks.heads import FCNHead
        >>> FCNHead(64, num_classes=19).eval()(torch.randn(1, 64, 7, 9)).shape
        torch.Size([1, 19, 7, 9])
    """

    label = "FCNHead"
    layouts = (Layout("junfu1115/DANet", names("conv5.", "block.") | {"conv5.4.": "classify."}),)

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        inner_channels: int | None = None,
        kernel_size: int = 3,
        bias: bool = False,
        norm_layer: Norm = nn.BatchNorm2d,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        positive(self.label, channels=channels, num_classes=num_classes)
        width = head_width(self.label, channels, inner_channels)
        choose(self.label, "kernel_size", kernel_size, (1, 3))
        check_norm(self.label, norm_layer)
        check_dropout(self.label, dropout)
        self.channels, self.num_classes, self.inner_channels = channels, num_classes, width
        self.block = ConvNormReLU(channels, width, kernel_size=kernel_size, norm_layer=norm_layer, bias=bias)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(width, num_classes, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        check_map(self.label, x, self.channels)
        logits: Tensor = self.classify(self.dropout(self.block(x)))
        return logits

    def extra_repr(self) -> str:
        return f"channels={self.channels}, num_classes={self.num_classes}, inner_channels={self.inner_channels}"

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        first, last = tensors.get("block.conv.weight"), tensors.get("classify.weight")
        options = {} if first is None else {"channels": first.shape[1], "inner_channels": first.shape[0]}
        return options | ({} if last is None else {"num_classes": last.shape[0]})
