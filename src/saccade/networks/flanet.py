"""FLANet: the fully attentional block on a dilated backbone, and two auxiliary classifiers.

Q. Song, J. Li, C. Li, H. Guo, R. Huang, "Fully Attentional Network for Semantic Segmentation", AAAI 2022,
arXiv:2112.04108.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from saccade.mechanisms.fla import FullyAttentional
from saccade.mechanisms.rules import reduced
from saccade.networks.features import Norm, widths
from saccade.networks.heads.flanet import FLANetHead
from saccade.networks.heads.layers import ConvNormReLU, check_norm, head_width
from saccade.networks.segmentation import Segmenter

_AUXILIARY = 0.4  # the authors published no training code; most networks of this kind use this weight


class FLANet(Segmenter):
    r"""Classify from the last feature map concatenated with the block's output; in training also from two earlier maps.

    .. math:: a = \mathrm{FLA}(B_2(B_1(x_4))), \quad y = (H([x_4; a]),\; H_1(x_2),\; H_2(x_3))

    with B a 3x3 convolution, norm and relu, and H a :class:`~saccade.networks.heads.FLANetHead`. The authors' `conv` is
    `reduce` here, `fully` `attention`, `conv_out1` `head`, `conv_out2` and `conv_out3` `auxiliary`.

    Args:
        backbone: Returns three maps.
        num_classes: K.
        inner_channels: Width of the block; None: max(1, C // 4) for the C channels of the last map.
        norm_layer: Constructor of a norm, called with its width.
        dropout: Fraction of channels dropped in training.
        options: Options of the block.

    Shape: (B, 3, H, W) -> (B, K, H, W) in evaluation; in training three of these.
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int,
        *,
        inner_channels: int | None = None,
        norm_layer: Norm = nn.BatchNorm2d,
        dropout: float = 0.1,
        **options: Any,
    ) -> None:
        second, third, last = widths(backbone)
        width = head_width("FLANet", last, inner_channels)
        check_norm("FLANet", norm_layer)

        def head(channels: int, inner: int) -> FLANetHead:
            return FLANetHead(channels, inner, num_classes, norm_layer=norm_layer, dropout=dropout)

        super().__init__(backbone, head(last + width, width), weights=(1.0, _AUXILIARY, _AUXILIARY))
        self.reduce = nn.Sequential(
            ConvNormReLU(last, width, kernel_size=3, norm_layer=norm_layer),
            ConvNormReLU(width, width, kernel_size=3, norm_layer=norm_layer),
        )
        self.attention = FullyAttentional(width, norm_layer=norm_layer, **options)
        self.auxiliary = nn.ModuleList(head(channels, reduced(width, 8)) for channels in (second, third))
        for part in (self.reduce, self.attention, self.head, self.auxiliary):
            _start_as_authors(part)

    def classified(self, maps: list[Tensor], *, every: bool) -> tuple[Tensor, ...]:
        attended = self.attention(self.reduce(maps[-1]))
        prediction: Tensor = self.head(torch.cat([maps[-1], attended], dim=1))
        others = zip(self.auxiliary, maps, strict=False) if every else ()
        return prediction, *(head(x) for head, x in others)


def _start_as_authors(part: nn.Module) -> None:
    for layer in part.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, a=1)
