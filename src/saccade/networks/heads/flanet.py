"""FLANet's output head: enlarge by two, convolve, classify.

Q. Song, J. Li, C. Li, H. Guo, R. Huang, "Fully Attentional Network for Semantic Segmentation", AAAI 2022,
arXiv:2112.04108.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from saccade.mechanisms.base import Layout, Published
from saccade.mechanisms.rules import positive
from saccade.networks.heads.layers import ConvNormReLU, Norm, check_dropout, check_map, check_norm


class FLANetHead(Published):
    r"""Compute class logits at twice the size of the feature map.

    .. math:: y = W\,\mathrm{relu}(\mathrm{BN}(K_{3\times3} * \mathrm{up}_2(x))) + b

    with up_2 repeating each position (nearest), and a dropout of whole channels before W.

    Args:
        channels: C, channels of the input feature map.
        inner_channels: Width of the convolution.
        num_classes: K.
        norm_layer: Constructor of a norm, called with its width.
        dropout: Fraction of channels dropped in training.

    Shape: (B, C, H, W) -> (B, K, 2 H, 2 W). The network enlarges this to the image (bilinear, corners aligned).

    Raises:
        InputError: A width below 1, a `dropout` outside [0, 1), or a map of another shape.
        TypeError: `norm_layer` that is not callable.

    Cost: 4 N d (9 C + K) multiply-adds for d inner channels.

    Example:
        >>> import torch
        >>> from saccade.networks.heads import FLANetHead
        >>> FLANetHead(64, 16, num_classes=19).eval()(torch.randn(1, 64, 7, 9)).shape
        torch.Size([1, 19, 14, 18])

    Differences: the authors' head always has a synchronised batch norm.
    """

    label = "FLANetHead"
    layouts = (
        Layout(
            "Ilareina/FullyAttentional", {"conv.1.": "block.conv.", "conv.2.": "block.norm.", "conv.5.": "classify."}
        ),
    )

    def __init__(
        self,
        channels: int,
        inner_channels: int,
        num_classes: int,
        *,
        norm_layer: Norm = nn.BatchNorm2d,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        positive(self.label, channels=channels, inner_channels=inner_channels, num_classes=num_classes)
        check_norm(self.label, norm_layer)
        check_dropout(self.label, dropout)
        self.channels, self.inner_channels, self.num_classes = channels, inner_channels, num_classes
        self.block = ConvNormReLU(channels, inner_channels, kernel_size=3, norm_layer=norm_layer)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(inner_channels, num_classes, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        check_map(self.label, x, self.channels)
        logits: Tensor = self.classify(self.dropout(self.block(F.interpolate(x, scale_factor=2.0, mode="nearest"))))
        return logits

    def extra_repr(self) -> str:
        return f"channels={self.channels}, inner_channels={self.inner_channels}, num_classes={self.num_classes}"

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        first, last = tensors.get("block.conv.weight"), tensors.get("classify.weight")
        options = {} if first is None else {"channels": first.shape[1], "inner_channels": first.shape[0]}
        return options | ({} if last is None else {"num_classes": last.shape[0]})
