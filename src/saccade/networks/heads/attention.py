"""Head with any mechanism of the catalog between two convolutions, with which the papers compare mechanisms.

The order of J. Fu et al., "Dual Attention Network for Scene Segmentation", CVPR 2019, arXiv:1809.02983, for each of
its two branches; Non-local and GC networks for segmentation have the same.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from saccade.catalog import check_options, option_names, parse
from saccade.mechanisms.rules import positive
from saccade.networks.heads.layers import ConvNormReLU, Norm, check_dropout, check_map, check_norm, head_width

NONE = "none"


class AttentionHead(nn.Module):
    r"""Compute class logits from a feature map that one mechanism has changed.

    .. math:: y = W\,B_2(A(B_1(x))) + b

    with B a 3x3 convolution, norm and relu, A the mechanism in its paper's form, and a dropout of whole channels
    before W.

    Args:
        channels: C, channels of the input feature map.
        num_classes: K.
        mechanism: A name of the catalog, options in brackets (``"psa[variant=sequential]"``); ``"none"``: the same
            layers without one.
        inner_channels: Width that the mechanism works at; None: max(1, C // 4).
        norm_layer: Constructor of a norm, called with its width; the mechanism gets it too if it has one.
        dropout: Fraction of channels dropped in training.
        options: Further options of the mechanism.

    Shape: (B, C, H, W) -> (B, K, H, W).

    Raises:
        InputError: An unknown mechanism or option, a width below 1, a `dropout` outside [0, 1), or a map of another
            shape.
        TypeError: `norm_layer` that is not callable.

    Cost: for d inner channels N d (9 C + 9 d + K) multiply-adds in addition to those of the mechanism.

    Example:
        >>> import torch
        >>> from saccade.networks.heads import AttentionHead
        >>> AttentionHead(64, num_classes=19, mechanism="pam").eval()(torch.randn(1, 64, 7, 9)).shape
        torch.Size([1, 19, 7, 9])
    """

    label = "AttentionHead"

    def __init__(
        self,
        channels: int,
        num_classes: int,
        mechanism: str = NONE,
        *,
        inner_channels: int | None = None,
        norm_layer: Norm = nn.BatchNorm2d,
        dropout: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__()
        positive(self.label, channels=channels, num_classes=num_classes)
        width = head_width(self.label, channels, inner_channels)
        check_norm(self.label, norm_layer)
        check_dropout(self.label, dropout)
        self.channels, self.num_classes, self.inner_channels = channels, num_classes, width
        self.before = ConvNormReLU(channels, width, kernel_size=3, norm_layer=norm_layer)
        self.attention = _made(mechanism, width, norm_layer, options)
        self.after = ConvNormReLU(width, width, kernel_size=3, norm_layer=norm_layer)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(width, num_classes, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        check_map(self.label, x, self.channels)
        logits: Tensor = self.classify(self.dropout(self.after(self.attention(self.before(x)))))
        return logits

    def extra_repr(self) -> str:
        return f"channels={self.channels}, num_classes={self.num_classes}, inner_channels={self.inner_channels}"


def _made(mechanism: str, channels: int, norm_layer: Norm, options: dict[str, Any]) -> nn.Module:
    if mechanism == NONE:
        return nn.Identity()
    spec = parse(mechanism)
    given = {**spec.options, **options}
    check_options(spec.entry, given)
    if "norm_layer" in option_names(spec.entry):
        given.setdefault("norm_layer", norm_layer)
    return spec.entry.make(channels, **given)
