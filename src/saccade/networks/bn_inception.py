"""BN-Inception, the network of the first SE paper that neither torchvision nor timm has.

S. Ioffe, C. Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
ICML 2015, arXiv:1502.03167; the layout of the SE authors' definition for Caffe.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# One row per module: the channels of its 1x1 branch, of its 3x3 branch (reduced, out), of its double 3x3 branch
# (reduced, out) and of its pooling branch. A module without the first and the last halves the map, and pools as it is.
_MODULES = {
    "3a": (64, (64, 64), (64, 96), 32),
    "3b": (64, (64, 96), (64, 96), 64),
    "3c": (0, (128, 160), (64, 96), 0),
    "4a": (224, (64, 96), (96, 128), 128),
    "4b": (192, (96, 128), (96, 128), 128),
    "4c": (160, (128, 160), (128, 160), 128),
    "4d": (96, (128, 192), (160, 192), 128),
    "4e": (0, (128, 192), (192, 256), 0),
    "5a": (352, (192, 320), (160, 224), 128),
    "5b": (352, (192, 320), (192, 224), 128),
}
_MAXIMUM = "5b"  # the only module of stride 1 that pools by the maximum


class BNInception(nn.Module):
    """Ten inception modules after a stem of stride 8.

    Args:
        num_classes: Number of classes; 0 gives the pooled features.

    Shape: (B, 3, H, W) -> (B, num_classes), (B, 1024) without classes.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = _conv(3, 64, 7, stride=2)
        self.pool1 = _halved()
        self.conv2_reduce = _conv(64, 64, 1)
        self.conv2 = _conv(64, 192, 3)
        self.pool2 = _halved()
        channels = 192
        for name, widths in _MODULES.items():
            module = Inception(channels, *widths, maximum=name == _MAXIMUM)
            self.add_module(f"inception_{name}", module)
            channels = module.out_channels
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes) if num_classes else nn.Identity()
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.conv1(x))
        x = self.pool2(self.conv2(self.conv2_reduce(x)))
        for name in _MODULES:
            x = self.get_submodule(f"inception_{name}")(x)
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


class Inception(nn.Module):
    """Branches of several receptive fields, concatenated: (B, C, H, W) to (B, out_channels, H, W).

    With `single` = 0 it has stride 2, no 1x1 branch, and a pooling branch that keeps all channels.
    """

    def __init__(
        self,
        channels: int,
        single: int,
        triple: tuple[int, int],
        double: tuple[int, int],
        pooled: int,
        *,
        maximum: bool,
    ) -> None:
        super().__init__()
        stride = 1 if single else 2
        self.branch1x1 = _conv(channels, single, 1) if single else None
        self.branch3x3 = nn.Sequential(_conv(channels, triple[0], 1), _conv(triple[0], triple[1], 3, stride=stride))
        self.branch5x5 = nn.Sequential(
            _conv(channels, double[0], 1), _conv(double[0], double[1], 3), _conv(double[1], double[1], 3, stride=stride)
        )
        pool = nn.MaxPool2d(3, stride=1, padding=1) if maximum else nn.AvgPool2d(3, stride=1, padding=1)
        self.branch_pool = nn.Sequential(pool, _conv(channels, pooled, 1)) if single else _halved()
        self.out_channels = single + triple[1] + double[1] + (pooled if single else channels)

    def forward(self, x: Tensor) -> Tensor:
        first = [] if self.branch1x1 is None else [self.branch1x1(x)]
        return torch.cat([*first, self.branch3x3(x), self.branch5x5(x), self.branch_pool(x)], dim=1)


def _conv(inside: int, out: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    """Return a convolution, its batch norm and a ReLU."""
    return nn.Sequential(
        nn.Conv2d(inside, out, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
    )


def _halved() -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
