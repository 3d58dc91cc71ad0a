"""Heads of key-point networks: transposed convolutions, if any, and one heat map per joint, or three.

B. Xiao, H. Wu, Y. Wei, "Simple Baselines for Human Pose Estimation and Tracking", ECCV 2018, arXiv:1804.06208.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from saccade.mechanisms.base import Layout, Published
from saccade.mechanisms.rules import positive
from saccade.networks.heads.layers import check_map


class KeypointHead(Published):
    """Compute one heat map per joint: transposed convolutions that double the size, then a 1x1 convolution.

    Args:
        channels: C, channels of the input feature map.
        num_keypoints: K.
        deconv_layers: Number n of transposed convolutions, each with a norm and a relu.
        deconv_channels: Width of the transposed convolutions.

    Shape: (B, C, H, W) -> (B, K, 2^n H, 2^n W).

    Raises:
        InputError: A number below 1 (for n, below 0), or a map of another shape.

    Start: convolutions are normal with a standard deviation of 0.001, as the authors' are.

    Example:
        >>> import torch
        >>> from saccade.networks.heads import KeypointHead
        >>> KeypointHead(64, num_keypoints=5, deconv_layers=2)(torch.randn(1, 64, 7, 9)).shape
        torch.Size([1, 5, 28, 36])
    """

    label = "KeypointHead"
    layouts = (
        Layout("leoxiaobin/deep-high-resolution-net.pytorch", {"deconv_layers.": "deconv.", "final_layer.": "final."}),
    )
    maps_per_joint: ClassVar[int] = 1

    def __init__(
        self, channels: int, num_keypoints: int, *, deconv_layers: int = 0, deconv_channels: int = 256
    ) -> None:
        super().__init__()
        positive(self.label, channels=channels, num_keypoints=num_keypoints, deconv_channels=deconv_channels)
        if deconv_layers != 0:
            positive(self.label, deconv_layers=deconv_layers)
        self.channels, self.num_keypoints = channels, num_keypoints
        layers: list[nn.Module] = []
        for _ in range(deconv_layers):
            widened = nn.ConvTranspose2d(channels, deconv_channels, kernel_size=4, stride=2, padding=1, bias=False)
            layers += [widened, nn.BatchNorm2d(deconv_channels), nn.ReLU()]
            channels = deconv_channels
        self.deconv = nn.Sequential(*layers)
        self.final = nn.Conv2d(channels, self.maps_per_joint * num_keypoints, kernel_size=1)
        for layer in self.modules():
            if isinstance(layer, (nn.ConvTranspose2d, nn.Conv2d)):
                nn.init.normal_(layer.weight, std=0.001)
        assert self.final.bias is not None
        nn.init.zeros_(self.final.bias)

    def forward(self, x: Tensor) -> Tensor:
        check_map(self.label, x, self.channels)
        maps: Tensor = self.final(self.deconv(x))
        return maps

    def extra_repr(self) -> str:
        return f"channels={self.channels}, num_keypoints={self.num_keypoints}"

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        last = tensors.get("final.weight")
        if last is None or len(last) % cls.maps_per_joint:
            return {}
        return {"num_keypoints": len(last) // cls.maps_per_joint}


class OffsetHead(KeypointHead):
    """Compute three maps per joint: a disc, and the offsets in x and in y to its centre; see :class:`KeypointHead`.

    Shape: (B, C, H, W) -> (B, 3 K, H, W).
    """

    label = "OffsetHead"
    maps_per_joint = 3
