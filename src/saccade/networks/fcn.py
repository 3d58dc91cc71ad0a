"""The plain segmentation network: a backbone and one convolution. The control of every comparison."""

from __future__ import annotations

from torch import Tensor, nn

from saccade.networks.features import widths
from saccade.networks.heads.fcn import FCNHead
from saccade.networks.segmentation import Segmenter


class FCN(Segmenter):
    """Classify each pixel from the deepest feature map of a backbone; one output in training, too.

    Args:
        backbone: Feature network, see :func:`saccade.networks.features.feature_network`.
        num_classes: Number of classes.

    Shape: (B, 3, H, W) -> (B, num_classes, H, W).
    """

    def __init__(self, backbone: nn.Module, num_classes: int) -> None:
        super().__init__(backbone, FCNHead(widths(backbone)[-1], num_classes), align_corners=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x)[0]
