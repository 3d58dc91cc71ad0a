"""DANet's head: position and channel attention in parallel, each between two convolutions.

J. Fu, J. Liu, H. Tian, Y. Li, Y. Bao, Z. Fang, H. Lu, "Dual Attention Network for Scene Segmentation", CVPR 2019,
arXiv:1809.02983.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from saccade.mechanisms.base import Layout, Published
from saccade.mechanisms.cam import ChannelAttention
from saccade.mechanisms.pam import DANET_KEYS, PositionAttention
from saccade.mechanisms.rules import choose, positive
from saccade.networks.heads.layers import ConvNormReLU, Norm, check_dropout, check_map, check_norm, head_width, names


class DANetHead(Published):
    r"""Compute three maps of class logits: from both attentions together and from each alone.

    .. math:: p &= B_2(\mathrm{PAM}(B_1(x))), \quad c = B_4(\mathrm{CAM}(B_3(x))) \\
              y &= (W_8(p + c),\; W_6\,p,\; W_7\,c)

    with B a 3x3 convolution, norm and relu, and W a dropout of whole channels and a 1x1 convolution. The authors'
    conv5a, sa, conv51 are `position_in`, `position`, `position_out` here; conv5c, sc, conv52 the same of `channel`;
    conv8, conv6, conv7 `classify`, `classify_position`, `classify_channel`.

    Args:
        channels: C, channels of the input feature map: the last stage of the backbone.
        num_classes: K.
        inner_channels: Width of both branches; None: max(1, C // 4).
        norm_layer: Constructor of a norm, called with its width.
        dropout: Fraction of channels dropped in training.
        auxiliary: If True, each branch is also classified by itself.

    Shape: (B, C, H, W) -> three of (B, K, H, W): fused, position, channel; without `auxiliary` the fused one alone. In
    the network they are enlarged to the image (bilinear, corners aligned); the fused one is the prediction, all three
    have a loss.

    Raises:
        InputError: A width below 1, a `dropout` outside [0, 1), or a map of another shape.
        TypeError: `norm_layer` that is not callable.

    Cost: for d inner channels 18 (C d + d^2) N + 3 d K N multiply-adds in addition to those of both attentions.

    Example:
        >>> import torch
        >>> from saccade.networks.heads import DANetHead
        >>> head = DANetHead(64, num_classes=19).eval()
        >>> [tuple(y.shape) for y in head(torch.randn(1, 64, 7, 9))]
        [(1, 19, 7, 9), (1, 19, 7, 9), (1, 19, 7, 9)]

    Differences: the authors' head has no default for `norm_layer`.
    """

    label = "DANetHead"
    layouts = (
        Layout(
            "junfu1115/DANet",
            names("conv5a.", "position_in.")
            | names("conv51.", "position_out.")
            | names("conv5c.", "channel_in.")
            | names("conv52.", "channel_out.")
            | {f"sa.{theirs}": f"position.{ours}" for theirs, ours in DANET_KEYS.items()}
            | {"sc.gamma": "channel.gamma"}
            | {"conv8.1.": "classify.", "conv6.1.": "classify_position.", "conv7.1.": "classify_channel."},
        ),
    )

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        inner_channels: int | None = None,
        norm_layer: Norm = nn.BatchNorm2d,
        dropout: float = 0.1,
        auxiliary: bool = True,
    ) -> None:
        super().__init__()
        positive(self.label, channels=channels, num_classes=num_classes)
        width = head_width(self.label, channels, inner_channels)
        check_norm(self.label, norm_layer)
        check_dropout(self.label, dropout)
        choose(self.label, "auxiliary", auxiliary, (True, False))
        self.channels, self.num_classes, self.inner_channels = channels, num_classes, width
        self.auxiliary = auxiliary
        self.position_in = ConvNormReLU(channels, width, kernel_size=3, norm_layer=norm_layer)
        self.position = PositionAttention(width)
        self.position_out = ConvNormReLU(width, width, kernel_size=3, norm_layer=norm_layer)
        self.channel_in = ConvNormReLU(channels, width, kernel_size=3, norm_layer=norm_layer)
        self.channel = ChannelAttention(width)
        self.channel_out = ConvNormReLU(width, width, kernel_size=3, norm_layer=norm_layer)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(width, num_classes, kernel_size=1)
        if auxiliary:
            self.classify_position = nn.Conv2d(width, num_classes, kernel_size=1)
            self.classify_channel = nn.Conv2d(width, num_classes, kernel_size=1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        check_map(self.label, x, self.channels)
        position = self.position_out(self.position(self.position_in(x)))
        channel = self.channel_out(self.channel(self.channel_in(x)))
        fused = self.classify(self.dropout(position + channel))
        if not self.auxiliary:
            return (fused,)
        return (
            fused,
            self.classify_position(self.dropout(position)),
            self.classify_channel(self.dropout(channel)),
        )

    def extra_repr(self) -> str:
        return f"channels={self.channels}, num_classes={self.num_classes}, inner_channels={self.inner_channels}"

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        first, last = tensors.get("position_in.conv.weight"), tensors.get("classify.weight")
        options = {} if first is None else {"channels": first.shape[1], "inner_channels": first.shape[0]}
        return options | ({} if last is None else {"num_classes": last.shape[0]})
