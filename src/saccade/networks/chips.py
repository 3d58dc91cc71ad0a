"""The network of the demo "chips": heat maps at stride 4 from a small field, trained in seconds on one core."""

from __future__ import annotations

from torch import Tensor, nn

from saccade.mechanisms.rules import positive
from saccade.networks.notes import Block, ConvNorm


class ChipsNet(nn.Module):
    """Heat maps of key points by two strided convolutions and two residual blocks.

    A pixel of a map depends on 39 pixels of the input in each direction, 19 to either side, so that information from
    farther away reaches it by attention only.

    Args:
        num_keypoints: Number of key points.

    Shape: (B, 3, H, W) -> (B, num_keypoints, H / 4, W / 4), rounded up.

    Cost: 42,388 parameters with 4 key points.

    Example:
        >>> import torch
        >>> ChipsNet(4)(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 4, 16, 16])
    """

    def __init__(self, num_keypoints: int = 4) -> None:
        super().__init__()
        positive("ChipsNet", num_keypoints=num_keypoints)
        self.saccade_network = {"name": "chips", "options": {"num_keypoints": num_keypoints}}
        self.stem = nn.Sequential(ConvNorm(3, 16, 3, stride=2), ConvNorm(16, 32, 3, stride=2))
        self.block1 = Block(32, 32)
        self.block2 = Block(32, 32)
        self.final = nn.Conv2d(32, num_keypoints, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.final(self.block2(self.block1(self.stem(x))))
        return maps
