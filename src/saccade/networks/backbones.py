"""The plain networks that the named classifiers put attention into: torchvision's and timm's, in known layouts.

Each is built by torchvision or timm and then changed where the authors' network differs (position of a stage's stride,
pooling of the stem). Only the small ResNets for 32 x 32 images, which neither library has, are assembled here from
torchvision's blocks.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from saccade.errors import require
from saccade.mechanisms.rules import choose

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def resnet(
    depth: int, groups: int, num_classes: int, *, stem: str = "imagenet", stride: str = "torchvision"
) -> nn.Module:
    """Return torchvision's ResNet, or ResNeXt for 32 groups of 4 d.

    Args:
        depth: 18, 34, 50, 101 or 152.
        groups: 1 for ResNet, 32 for ResNeXt.
        num_classes: Number of classes; 0 gives the pooled features.
        stem: ``"imagenet"``, or ``"cifar"`` for 32 x 32 images: a 3x3 convolution at stride 1 and no pooling.
        stride: Position of a stage's stride, and pooling of the stem. ``"torchvision"``: stride on the 3x3
            convolution, pooling padded; ``"caffe"``, as in the networks of Caffe: stride on the first 1x1 convolution
            (ResNeXt: on the 3x3 as well), pooling not padded but rounded up.
    """
    choose(f"ResNet-{depth}", "stem", stem, ("imagenet", "cifar"))
    choose(f"ResNet-{depth}", "stride", stride, ("torchvision", "caffe"))
    models: Any = require("torchvision.models.resnet", extra="train")
    block = models.BasicBlock if depth < 50 else models.Bottleneck
    width = 64 if groups == 1 else 4
    net: Any = models.ResNet(block, BLOCKS[depth], num_classes or 1, groups=groups, width_per_group=width)
    if stem == "cifar":
        net.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
        nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
        net.maxpool = nn.Identity()
    elif stride == "caffe":
        net.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
    if stride == "caffe" and depth >= 50 and groups == 1:
        for stage in (net.layer2, net.layer3, net.layer4):
            stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return _headed(net, "fc", num_classes)


def senet154(num_classes: int) -> nn.Module:
    """Return timm's ResNeXt-152 64x4d changed to the authors' SENet-154 in Caffe: stem pooling not padded, dropout 0.2.

    Three 3x3 convolutions in the stem, 3x3 projections, first convolutions of half the width.
    """
    models: Any = require("timm.models.resnet", extra="train")
    net: Any = models.ResNet(
        models.Bottleneck, BLOCKS[152], num_classes, cardinality=64, base_width=4, stem_type="deep",
        block_reduce_first=2, down_kernel_size=3, drop_rate=0.2, zero_init_last=False,
    )  # fmt: skip
    net.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
    made: nn.Module = net
    return made


def mobilenet_v2(num_classes: int) -> nn.Module:
    """Return torchvision's MobileNetV2, with the dropout of ECA's authors."""
    models: Any = require("torchvision.models", extra="train")
    net: Any = models.mobilenet_v2(num_classes=num_classes or 1, dropout=0.25)
    return _headed(net, "classifier", num_classes)


def of_timm(name: str, num_classes: int) -> nn.Module:
    """Return any network of timm."""
    made: nn.Module = require("timm", extra="train").create_model(name, num_classes=num_classes)
    return made


class CifarResNet(nn.Module):
    """ResNet for 32 x 32 images, of 6 n + 2 layers: three stages of n basic blocks, with 16, 32 and 64 channels.

    K. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv:1512.03385, section 4.2; projections
    where the width changes.

    Shape: (B, 3, H, W) -> (B, num_classes).
    """

    def __init__(self, depth: int, num_classes: int) -> None:
        super().__init__()
        block: Any = require("torchvision.models.resnet", extra="train").BasicBlock
        self.conv1 = nn.Conv2d(3, 16, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1, self.layer2, self.layer3 = (
            _cifar_stage(block, inside, out, (depth - 2) // 6) for inside, out in ((16, 16), (16, 32), (32, 64))
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, num_classes) if num_classes else nn.Identity()
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


def _cifar_stage(block: Any, inside: int, out: int, blocks: int) -> nn.Sequential:
    stride, projection = 1, None
    if inside != out:
        stride = 2
        projection = nn.Sequential(nn.Conv2d(inside, out, 1, stride, bias=False), nn.BatchNorm2d(out))
    return nn.Sequential(block(inside, out, stride, projection), *(block(out, out) for _ in range(blocks - 1)))


def _headed(net: nn.Module, head: str, num_classes: int) -> nn.Module:
    """Remove the classifier of `net` if no classes are asked for."""
    if num_classes == 0:
        setattr(net, head, nn.Identity())
    return net
