"""OCR's networks: class logits from the context of classes, at one scale or at several weighted pixel by pixel.

Y. Yuan, X. Chen, J. Wang, "Object-Contextual Representations for Semantic Segmentation", ECCV 2020, arXiv:1909.11065;
A. Tao, K. Sapra, B. Catanzaro, "Hierarchical Multi-Scale Attention for Semantic Segmentation", arXiv:2005.10821.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from saccade.errors import InputError
from saccade.mechanisms.base import Layout, Published
from saccade.networks.features import Norm
from saccade.networks.heads.layers import ConvNormReLU
from saccade.networks.heads.ocr import OCRHead
from saccade.networks.high_resolution import resized
from saccade.networks.segmentation import Segmenter

_COARSE = 0.4  # weight of the coarse logits' loss, as the authors have it


class OCRNet(Segmenter):
    """A backbone with :class:`~saccade.networks.heads.OCRHead`; in training it returns the coarse logits too."""

    def __init__(self, backbone: nn.Module, head: OCRHead) -> None:
        super().__init__(backbone, head, weights=(1.0, _COARSE), align_corners=False)

    def classified(self, maps: list[Tensor], *, every: bool) -> tuple[Tensor, ...]:
        prediction, coarse, _ = self.head(maps[-1])
        return (prediction, coarse) if every else (prediction,)


class ScaleWeights(Published):
    r"""Compute the weight of each pixel of one scale against those of the next larger one, from 0 to 1.

    .. math:: a = \sigma(W\,B_2(B_1(z)))

    with B a 3x3 convolution, norm and relu.

    Args:
        channels: C of the features z.
        inner_channels: Width of the convolutions.
        norm_layer: Constructor of a norm, called with its width.

    Shape: (B, C, H, W) -> (B, 1, H, W).
    """

    label = "ScaleWeights"
    layouts = (
        Layout(
            "DeLightCMU/PSA",
            {
                "conv0.": "first.conv.", "bn0.": "first.norm.", "conv1.": "second.conv.", "bn1.": "second.norm.",
                "conv2.": "classify.",
            },
        ),
    )  # fmt: skip

    def __init__(self, channels: int, *, inner_channels: int = 256, norm_layer: Norm = nn.BatchNorm2d) -> None:
        super().__init__()
        self.first = ConvNormReLU(channels, inner_channels, kernel_size=3, norm_layer=norm_layer)
        self.second = ConvNormReLU(inner_channels, inner_channels, kernel_size=3, norm_layer=norm_layer)
        self.classify = nn.Conv2d(inner_channels, 1, kernel_size=1, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        logits: Tensor = self.classify(self.second(self.first(z)))
        return logits.sigmoid()

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        first = tensors.get("first.conv.weight")
        return {} if first is None else {"channels": first.shape[1], "inner_channels": first.shape[0]}


class MultiScaleOCRNet(OCRNet):
    r"""OCR at several scales of the image, from the largest to the smallest, each weighted against those before.

    .. math:: y \leftarrow a_s\,y_s + (1 - a_s)\,y \quad\text{or, for } s < 1, \quad
              y \leftarrow \mathrm{up}(a_s\,y_s) + (1 - \mathrm{up}(a_s))\,y

    The logits y so far are brought to the size of a scale of 1 or more, and a smaller scale to theirs (bilinear).

    Args:
        backbone: Returns the feature maps of one scale.
        head: Head applied at each scale.
        scales: Distinct factors, 1 among them. The papers train with (0.5, 1) and evaluate with (0.5, 1, 2).
        norm_layer: Constructor of a norm, called with its width.

    Attributes:
        scales: Factors in use; may be changed.

    Raises:
        InputError: A scale is not a positive number or occurs twice, or 1 is missing.

    Shape: (B, 3, H, W) -> (B, K, H, W) in evaluation; in training (prediction, coarse logits) of that shape.
    """

    def __init__(
        self, backbone: nn.Module, head: OCRHead, *, scales: Sequence[float], norm_layer: Norm = nn.BatchNorm2d
    ) -> None:
        super().__init__(backbone, head)
        self.scales = _checked(scales)
        self.scale_weights = ScaleWeights(head.inner_channels, norm_layer=norm_layer)

    def logits(self, x: Tensor, *, every: bool = True) -> tuple[Tensor, ...]:
        largest, *others = sorted(_checked(self.scales), reverse=True)
        found: tuple[Tensor, ...] = self.at_scale(x, largest)[:-1]
        for scale in others:
            *smaller, weights = self.at_scale(x, scale)
            found = tuple(_weighed(y, y_s, weights, scale) for y, y_s in zip(found, smaller, strict=True))
        return found if every else found[:1]

    def at_scale(self, x: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return prediction, coarse logits and weights of one scale, at its size."""
        size = (max(1, int(x.shape[2] * scale)), max(1, int(x.shape[3] * scale)))
        scaled = resized(x, size)
        prediction, coarse, features = self.head(self.maps(scaled)[-1])
        weights = self.scale_weights(features)
        return tuple(self.enlarged(y, scaled) for y in (prediction, coarse, weights))  # type: ignore[return-value]


def _weighed(before: Tensor, found: Tensor, weights: Tensor, scale: float) -> Tensor:
    if scale >= 1:
        return weights * found + (1 - weights) * _to(before, found)
    return _to(weights * found, before) + (1 - _to(weights, before)) * before


def _to(x: Tensor, other: Tensor) -> Tensor:
    return F.interpolate(x, other.shape[2:], mode="bilinear", align_corners=False)


def _checked(scales: Sequence[float]) -> tuple[float, ...]:
    found = tuple(scales) if isinstance(scales, (tuple, list)) else ()
    numbers = all(isinstance(s, (int, float)) and not isinstance(s, bool) and s > 0 for s in found)
    if not numbers or 1 not in found or len(set(found)) < len(found):
        raise InputError(
            f"segmenter: `scales` must be different numbers above 0 with 1 among them; received {scales=}",
            "the papers train with (0.5, 1) and evaluate with (0.5, 1, 2)",
        )
    return found
