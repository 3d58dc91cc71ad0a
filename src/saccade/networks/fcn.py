"""The plain segmentation network: a backbone at stride 8 and two convolutions. The control of every comparison.

The head is the "FCN head" of J. Fu et al., "Dual Attention Network", CVPR 2019 (its baseline), after J. Long et al.,
"Fully Convolutional Networks for Semantic Segmentation", CVPR 2015, arXiv:1411.4038.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class FCN(nn.Module):
    r"""Classify each pixel from the deepest map of a backbone.

    .. math:: y = \mathrm{up}(W\,\mathrm{dropout}(\mathrm{relu}(\mathrm{BN}(K_{3\times 3} f(x)))))

    Args:
        backbone: Returns a list of maps, of which the last is read.
        channels: Of that map.
        num_classes: Of the output.
        drop_rate: Share of the channels that dropout removes in training.

    Shape: (B, 3, H, W) -> (B, num_classes, H, W).
    """

    def __init__(self, backbone: nn.Module, channels: int, num_classes: int, *, drop_rate: float = 0.1) -> None:
        super().__init__()
        inner_channels = max(1, channels // 4)
        self.backbone = backbone
        self.head = nn.Sequential(
            nn.Conv2d(channels, inner_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(inner_channels),
            nn.ReLU(inplace=True),
            nn.Dropout2d(drop_rate),
            nn.Conv2d(inner_channels, num_classes, kernel_size=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits = self.head(self.backbone(x)[-1])
        return F.interpolate(logits, x.shape[-2:], mode="bilinear", align_corners=False)
