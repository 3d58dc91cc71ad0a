"""The network of the demo: residual blocks, small enough to be trained in seconds on one core.

Its receptive field is at most 55 of the 96 pixels, so information from farther away reaches a pixel by attention only.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from saccade.mechanisms.rules import positive


class ConvNorm(nn.Sequential):
    """Convolution and batch normalisation, followed by a ReLU unless `activated` is false."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, activated: bool = True
    ) -> None:
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)
        super().__init__(conv, nn.BatchNorm2d(out_channels), *([nn.ReLU(inplace=True)] if activated else []))


class Block(nn.Module):
    r"""A basic residual block, :math:`y = \mathrm{relu}(s(x) + \mathrm{BN}(K_2\,\mathrm{relu}(\mathrm{BN}(K_1 x))))`.

    s is the identity, or a 1x1 convolution with a norm where the shape changes.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        changes = stride > 1 or in_channels != out_channels
        self.shortcut = ConvNorm(in_channels, out_channels, 1, stride=stride, activated=False) if changes else None
        self.act2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.shortcut is None else self.shortcut(x)
        branch = self.act1(self.bn1(self.conv1(x)))
        branch = self.bn2(self.conv2(branch))
        out: Tensor = self.act2(branch + shortcut)
        return out


class NotesNet(nn.Module):
    """Segment small images: two strided convolutions, two residual blocks and a top-down step.

    Args:
        num_classes: Number of classes.

    Shape: (B, 3, H, W) -> (B, num_classes, H / 4, W / 4), rounded up: logits at stride 4.

    Cost: 94,267 parameters with 11 classes.

    Example:
        >>> import torch
        >>> NotesNet(11)(torch.zeros(1, 3, 96, 96)).shape
        torch.Size([1, 11, 24, 24])
    """

    def __init__(self, num_classes: int = 11) -> None:
        super().__init__()
        positive("NotesNet", num_classes=num_classes)
        self.stem = nn.Sequential(ConvNorm(3, 16, 3, stride=2), ConvNorm(16, 32, 3, stride=2))
        self.block1 = Block(32, 32)
        self.block2 = Block(32, 64, stride=2)
        self.top = ConvNorm(64, 32, 1)
        self.lateral = ConvNorm(32, 32, 1)
        self.smooth = ConvNorm(32, 32, 3)
        self.classify = nn.Conv2d(32, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.block1(self.stem(x))
        deep = self.block2(fine)
        top = F.interpolate(self.top(deep), size=fine.shape[-2:], mode="bilinear", align_corners=False)
        logits: Tensor = self.classify(self.smooth(top + self.lateral(fine)))
        return logits
