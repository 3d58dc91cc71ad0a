"""Object-contextual representations: gather one vector per class, then give each pixel a mixture of them.

Y. Yuan, X. Chen, J. Wang, "Object-Contextual Representations for Semantic Segmentation", ECCV 2020, arXiv:1909.11065;
as in DeLightCMU/PSA, whose Cityscapes networks end with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.errors import InputError
from saccade.mechanisms.base import Layout, Published
from saccade.mechanisms.rules import choose, positive
from saccade.networks.heads.layers import ConvNormReLU, Norm, check_dropout, check_map, check_norm, names
from saccade.ops.pairwise import softmax_attention, softmax_weights, weighted_sum
from saccade.ops.precision import full_precision, wide


class SpatialGather(nn.Module):
    r"""Compute one vector per class: the mean of the pixels, weighted by their resemblance to the class.

    .. math:: o_k = \sum_i \mathrm{softmax}_i(s\,l_{ki})\, x_i

    Args:
        scale: s, factor of the coarse logits.

    Shape: features (B, C, H, W) and logits (B, K, H, W) -> (B, C, K, 1).

    Raises:
        InputError: `scale` is not a positive number, or the maps differ in batch or size.

    Cost: N K C multiply-adds, N K map entries; no parameters.

    Example:
        >>> import torch
        >>> from saccade.networks.heads import SpatialGather
        >>> SpatialGather()(torch.randn(2, 16, 7, 9), torch.randn(2, 5, 7, 9)).shape
        torch.Size([2, 16, 5, 1])

    Differences: the authors' constructor takes the number of classes as well, and does not use it.
    """

    label = "SpatialGather"

    def __init__(self, *, scale: float = 1.0) -> None:
        super().__init__()
        if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0 < scale < math.inf:
            raise InputError(f"{self.label}: `scale` must be a finite number above 0; received {scale=}")
        self.scale = scale

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        if features.dim() != 4 or logits.dim() != 4 or _but_channels(features) != _but_channels(logits):
            raise InputError(
                f"{self.label}: expected features (B, C, H, W) and logits (B, K, H, W) of one batch and size; received "
                f"shapes {tuple(features.shape)} and {tuple(logits.shape)}"
            )
        with full_precision(logits):
            weights = torch.softmax(self.scale * wide(logits).flatten(2), dim=2)  # (B, K, N)
        return weighted_sum(weights, features.flatten(2).transpose(-2, -1)).transpose(-2, -1)[..., None]

    def extra_repr(self) -> str:
        return f"scale={self.scale}"


class ObjectAttention(Published):
    r"""Compute each pixel's mixture of the class vectors, weighted by similarity.

    .. math:: y_i = \rho\Big(\sum_k \mathrm{softmax}_k\big(d^{-1/2}\,\phi(x_i) \cdot \psi(o_k)\big)\,\delta(o_k)\Big)

    with d `key_channels`; phi and psi are two convolutions 1x1 with norm and relu, delta and rho one. The authors'
    f_pixel, f_object, f_down, f_up are `query`, `key`, `value`, `project` here.

    Args:
        channels: C, of the input and of the output.
        key_channels: d.
        scale: Factor by which pixels are pooled (maxima) first, and the result is enlarged (bilinear) again.
        align_corners: Alignment of corners in that enlargement.
        norm_layer: Constructor of a norm, called with its width.

    Shape: features (B, C, H, W) and class vectors (B, C, K, 1) -> (B, C, H, W).

    Raises:
        InputError: A width or `scale` below 1, maps of another shape or batch, or a map smaller than `scale`.
        TypeError: `norm_layer` that is not callable.

    Cost: (N + K) (2 C d + d^2) + 2 N K d multiply-adds and N K map entries, with N the pixels after pooling.

    Example:
        >>> import torch
        >>> from saccade.networks.heads import ObjectAttention
        >>> attention = ObjectAttention(16, 8).eval()
        >>> attention(torch.randn(2, 16, 7, 9), torch.randn(2, 16, 5, 1)).shape
        torch.Size([2, 16, 7, 9])

    Differences: the authors' code reads the norm and `align_corners` from its global configuration.
    """

    label = "ObjectAttention"
    layouts = (
        Layout(
            "DeLightCMU/PSA",
            {
                **names("f_pixel.", "query.0.", "1.0."),
                "f_pixel.2.": "query.1.conv.",
                "f_pixel.3.0.": "query.1.norm.",
                **names("f_object.", "key.0.", "1.0."),
                "f_object.2.": "key.1.conv.",
                "f_object.3.0.": "key.1.norm.",
                **names("f_down.", "value.", "1.0."),
                **names("f_up.", "project.", "1.0."),
            },
        ),
    )

    def __init__(
        self,
        channels: int,
        key_channels: int,
        *,
        scale: int = 1,
        align_corners: bool = False,
        norm_layer: Norm = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        positive(self.label, channels=channels, key_channels=key_channels, scale=scale)
        choose(self.label, "align_corners", align_corners, (False, True))
        check_norm(self.label, norm_layer)
        self.channels, self.key_channels, self.scale, self.align_corners = channels, key_channels, scale, align_corners

        def block(width: int, out: int) -> ConvNormReLU:
            return ConvNormReLU(width, out, kernel_size=1, norm_layer=norm_layer)

        self.query = nn.Sequential(block(channels, key_channels), block(key_channels, key_channels))
        self.key = nn.Sequential(block(channels, key_channels), block(key_channels, key_channels))
        self.value = block(channels, key_channels)
        self.project = block(key_channels, channels)

    def forward(self, features: Tensor, objects: Tensor) -> Tensor:
        query, key = self._query_and_key(features, objects)
        value = self.value(objects).flatten(2).transpose(-2, -1)
        context = softmax_attention(query, key, value, scale=self.key_channels**-0.5).transpose(-2, -1)
        height, width = features.shape[2] // self.scale, features.shape[3] // self.scale
        y: Tensor = self.project(torch.unflatten(context, 2, (height, width)))
        if self.scale > 1:
            y = F.interpolate(y, features.shape[2:], mode="bilinear", align_corners=self.align_corners)
        return y

    def attention(self, features: Tensor, objects: Tensor) -> Tensor:
        """Return the attention map, (B, N, K): row i holds the weights of pixel i over classes; rows sum to 1."""
        return softmax_weights(*self._query_and_key(features, objects), scale=self.key_channels**-0.5)

    def extra_repr(self) -> str:
        enlarged = f", align_corners={self.align_corners}" if self.scale > 1 else ""
        return f"channels={self.channels}, key_channels={self.key_channels}, scale={self.scale}{enlarged}"

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        value = tensors.get("value.conv.weight")
        return {} if value is None else {"channels": value.shape[1], "key_channels": value.shape[0]}

    def _query_and_key(self, features: Tensor, objects: Tensor) -> tuple[Tensor, Tensor]:
        check_map(self.label, features, self.channels)
        if objects.dim() != 4 or _but_channels(objects) != (features.shape[0], objects.shape[2], 1):
            raise InputError(
                f"{self.label}: expected class vectors (B, {self.channels}, K, 1) of the features' batch, "
                f"{features.shape[0]}; received shape {tuple(objects.shape)}"
            )
        check_map(f"{self.label}, class vectors", objects, self.channels)
        if min(features.shape[2:]) < self.scale:
            raise InputError(
                f"{self.label}: a map of {features.shape[2]} x {features.shape[3]} cannot be pooled by {self.scale}",
                "give a smaller scale",
            )
        pooled = F.max_pool2d(features, self.scale) if self.scale > 1 else features
        return self.query(pooled).flatten(2).transpose(-2, -1), self.key(objects).flatten(2).transpose(-2, -1)


class OCRHead(Published):
    r"""Compute class logits, coarse logits, and the features they come from.

    .. math:: f &= B_{3\times3}(x), \quad l = A(x), \quad o = \mathrm{gather}(f, l) \\
              z &= B_{1\times1}([\mathrm{attend}(f, o); f]), \quad y = (W z,\; l,\; z)

    with B a convolution, norm and relu, and A two convolutions 1x1. The authors' conv3x3_ocr is `features` here,
    aux_head `coarse_in` and `coarse`, ocr_distri_head `attention` and `fuse`, cls_head `classify`.

    Args:
        channels: C, channels of the input feature map.
        num_classes: K.
        inner_channels: Width of f and z.
        key_channels: Width of queries and keys of the attention.
        scale: Pooling factor of the pixels in the attention.
        align_corners: Alignment of corners when the result is enlarged.
        dropout: Fraction of channels of z dropped in training.
        norm_layer: Constructor of a norm, called with its width.

    Shape: (B, C, H, W) -> (B, K, H, W), (B, K, H, W) and (B, `inner_channels`, H, W). The authors' loss is that of the
    first and 0.4 of that of the second; the coarse logits are also trained through the gather.

    Raises:
        InputError: A width or `scale` below 1, a `dropout` outside [0, 1), or a map of another shape.
        TypeError: `norm_layer` that is not callable.

    Cost: N (9 C m + C^2 + C K + 2 m^2 + 2 m K) multiply-adds for m inner channels, plus those of the attention.

    Example:
        >>> import torch
        >>> from saccade.networks.heads import OCRHead
        >>> head = OCRHead(64, num_classes=19, inner_channels=32, key_channels=16).eval()
        >>> [tuple(y.shape) for y in head(torch.randn(1, 64, 7, 9))]
        [(1, 19, 7, 9), (1, 19, 7, 9), (1, 32, 7, 9)]

    Differences: the authors' code reads all but C from its global configuration.
    """

    label = "OCRHead"
    layouts = (
        Layout(
            "DeLightCMU/PSA",
            {
                **names("conv3x3_ocr.", "features.", "1.0."),
                **names("aux_head.", "coarse_in.", "1.0."),
                "aux_head.2.": "coarse.",
                **names("ocr_distri_head.conv_bn_dropout.", "fuse.", "1.0."),
                "cls_head.": "classify.",
                **{
                    f"ocr_distri_head.object_context_block.{theirs}": f"attention.{ours}"
                    for theirs, ours in ObjectAttention.layouts[0].names.items()
                },
            },
        ),
    )

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        inner_channels: int = 512,
        key_channels: int = 256,
        scale: int = 1,
        align_corners: bool = False,
        dropout: float = 0.05,
        norm_layer: Norm = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        positive(self.label, channels=channels, num_classes=num_classes, inner_channels=inner_channels)
        positive(self.label, key_channels=key_channels, scale=scale)
        choose(self.label, "align_corners", align_corners, (False, True))
        check_norm(self.label, norm_layer)
        check_dropout(self.label, dropout)
        self.attention = ObjectAttention(
            inner_channels, key_channels, scale=scale, align_corners=align_corners, norm_layer=norm_layer
        )
        self.channels, self.num_classes, self.inner_channels = channels, num_classes, inner_channels
        self.features = ConvNormReLU(channels, inner_channels, kernel_size=3, norm_layer=norm_layer, bias=True)
        self.coarse_in = ConvNormReLU(channels, channels, kernel_size=1, norm_layer=norm_layer, bias=True)
        self.coarse = nn.Conv2d(channels, num_classes, kernel_size=1)
        self.gather = SpatialGather()
        self.fuse = ConvNormReLU(2 * inner_channels, inner_channels, kernel_size=1, norm_layer=norm_layer)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(inner_channels, num_classes, kernel_size=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        check_map(self.label, x, self.channels)
        features, coarse = self.features(x), self.coarse(self.coarse_in(x))
        context = self.attention(features, self.gather(features, coarse))
        fused = self.dropout(self.fuse(torch.cat([context, features], dim=1)))
        return self.classify(fused), coarse, fused

    def extra_repr(self) -> str:
        return f"channels={self.channels}, num_classes={self.num_classes}, inner_channels={self.inner_channels}"

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        found = {
            "channels": ("features.conv.weight", 1),
            "inner_channels": ("features.conv.weight", 0),
            "key_channels": ("attention.value.conv.weight", 0),
            "num_classes": ("classify.weight", 0),
        }
        return {option: tensors[name].shape[axis] for option, (name, axis) in found.items() if name in tensors}


def _but_channels(x: Tensor) -> tuple[int, ...]:
    return x.shape[0], *x.shape[2:]
