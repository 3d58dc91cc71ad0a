"""HRNet for segmentation: the branches are fused by bilinear interpolation, and their last maps are concatenated.

K. Sun et al., "High-Resolution Representations for Labeling Pixels and Regions", arXiv:1904.04514 (HRNetV2). The
branches are timm's, which fuses by repeating pixels, as classifiers may.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def is_high_resolution(net: nn.Module) -> bool:
    """Return whether `net` is timm's HRNet, whose maps are to be joined."""
    return any(isinstance(module, BilinearFusion) for module in net.modules())


def fuse_bilinearly(net: nn.Module) -> nn.Module:
    """Make timm's HRNet fuse its branches bilinearly, in place; no name changes."""
    for path, module in list(net.named_modules()):
        if hasattr(module, "branches") and hasattr(module, "fuse_layers"):
            parent, _, name = path.rpartition(".")
            setattr(net.get_submodule(parent), name, BilinearFusion(module))
    return net


class BilinearFusion(nn.Module):
    r"""Fuse parallel branches of residual blocks: each receives the features of all others.

    .. math:: y_i = \mathrm{relu}\Big(\sum_j \mathrm{to}_i(F_{ij}(x_j))\Big)

    with F a 1x1 convolution from coarser branches, strided 3x3 ones from finer, and to_i the bilinear resizing to the
    size of branch i, which may be any size: the image need not be a multiple of 32.

    Args:
        module: timm's module, whose layers are reused.

    Shape: a list of maps -> a list of maps of the same shapes.
    """

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.branches, self.fuse_layers, self.fuse_act = module.branches, module.fuse_layers, module.fuse_act
        for layer in self.fuse_layers.modules():
            if isinstance(layer, nn.Sequential) and isinstance(layer[-1], nn.Upsample):
                layer[-1] = nn.Identity()

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        return [self._fused(i, maps) for i in range(len(self.fuse_layers))]

    def _fused(self, i: int, maps: list[Tensor]) -> Tensor:
        layers: Any = self.fuse_layers[i]
        parts = [resized(layer(x), maps[i].shape[2:]) for layer, x in zip(layers, maps, strict=True)]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        fused: Tensor = self.fuse_act(total)
        return fused


def joined(maps: list[Tensor]) -> Tensor:
    """Concatenate all maps at the size of the first."""
    return torch.cat([resized(x, maps[0].shape[2:]) for x in maps], dim=1)


def resized(x: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    """Resize bilinearly, corners not aligned; a map that has the size already is returned unchanged."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)
