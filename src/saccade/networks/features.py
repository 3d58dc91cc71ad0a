"""timm's networks as sources of feature maps for segmentation: their stride, dilations and norm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from saccade.errors import InputError, near, require
from saccade.mechanisms.rules import choose
from saccade.networks.high_resolution import fuse_bilinearly, is_high_resolution

Norm = Callable[[int], nn.Module]
STRIDES = (8, 16, 32)


def feature_network(
    backbone: str,
    *,
    output_stride: int = 8,
    last: int = 1,
    multi_grid: Sequence[int] | None = None,
    first_block: str = "half",
    norm_layer: Norm = nn.BatchNorm2d,
    pretrained: bool = False,
    fusion: str = "bilinear",
) -> nn.Module:
    """Build a network of timm that returns its last feature maps, with random weights or timm's.

    A ResNet keeps timm's names. An HRNet returns its four maps, which `high_resolution.joined` joins at stride 4.

    Args:
        backbone: A timm name.
        output_stride: Side of the image over side of the last map: 8, 16 or 32. A stage that loses its stride, and all
            stages after it, are dilated instead. HRNets have the fixed stride 4.
        last: Number of maps to return.
        multi_grid: Dilations of the blocks of the last stage, such as (4, 8, 16); ResNets only.
        first_block: ``"half"``: the first block of a dilated stage has the dilation of the stage before, as in timm
            and in DANet's code; ``"full"``: it has the dilation of its own stage, as in FLANet's code. ResNets only.
        norm_layer: Constructor of a norm, called with its width; replaces every batch norm.
        pretrained: If True, load timm's weights (downloaded once).
        fusion: ``"bilinear"``, or ``"nearest"``: an HRNet fuses its branches by repeating pixels, and needs images
            whose sides are multiples of 32.

    Raises:
        InputError: The backbone or stride is unknown, or the backbone does not support the options.
    """
    timm: Any = require("timm", extra="train")
    if not timm.is_model(backbone):
        raise InputError(f"unknown backbone {backbone!r}", near(str(backbone), timm.list_models()))
    choose(backbone, "output_stride", output_stride, STRIDES)
    choose(backbone, "first_block", first_block, ("half", "full"))
    choose(backbone, "fusion", fusion, ("bilinear", "nearest"))
    if backbone.startswith("hrnet"):
        made = _high_resolution(timm, backbone, output_stride, multi_grid, pretrained, fusion)
    else:
        made = _at_stride(timm, backbone, output_stride, tuple(range(-last, 0)), pretrained)
    if first_block == "full":
        for stage, name in ((16, "layer3"), (32, "layer4")):
            _dilate(_stage(made, backbone, name, "first_block")[:1], [max(1, stage // output_stride)])
    if multi_grid is not None:
        _set_grid(_stage(made, backbone, "layer4", "multi_grid"), multi_grid, backbone)
    if norm_layer is not nn.BatchNorm2d:
        replace_norms(made, norm_layer)
    return made


def widths(backbone: Any) -> list[int]:
    """Return the channels of the maps that a segmentation network gets from a feature network."""
    channels: list[int] = backbone.feature_info.channels()
    return [sum(channels)] if is_high_resolution(backbone) else channels


def without_values(timm: Any, backbone: str) -> nn.Module:
    """Return the classification network with names and shapes only; uses no memory and no random numbers."""
    with torch.device("meta"):
        made: nn.Module = timm.create_model(backbone)
    return made


def _at_stride(timm: Any, backbone: str, stride: int, indices: tuple[int, ...], pretrained: bool) -> nn.Module:
    try:
        made: Any = timm.create_model(
            backbone, features_only=True, out_indices=indices, output_stride=stride, pretrained=pretrained
        )
    except (TypeError, NotImplementedError, AttributeError, AssertionError) as cause:
        convolutions = sum(isinstance(module, nn.Conv2d) for module in without_values(timm, backbone).modules())
        # Transformers and mixers have one convolution, which cuts the image into patches.
        reason = ": it is not convolutional" if convolutions < 2 else ""
        raise InputError(
            f"{backbone} cannot be used at stride {stride}, which segmentation needs{reason}",
            "choose another backbone, such as resnet18, resnet50 or regnety_008",
        ) from cause
    network: nn.Module = made
    return network


def _high_resolution(
    timm: Any, backbone: str, output_stride: int, multi_grid: Sequence[int] | None, pretrained: bool, fusion: str
) -> nn.Module:
    if output_stride != STRIDES[0] or multi_grid is not None:
        raise InputError(
            f"{backbone} keeps stride 4 and has no dilations; received {output_stride=}, {multi_grid=}",
            "leave both out, or choose a ResNet",
        )
    made: nn.Module = timm.create_model(
        backbone, features_only=True, feature_location="", out_indices=(1, 2, 3, 4), pretrained=pretrained
    )
    return fuse_bilinearly(made) if fusion == "bilinear" else made


def _stage(net: Any, backbone: str, name: str, option: str) -> list[nn.Module]:
    stage = getattr(net, name, None)
    if not isinstance(stage, nn.Sequential):
        raise InputError(f"{backbone}: `{option}` is for ResNets, whose stages are called layer1 to layer4")
    return list(stage)


def _set_grid(blocks: list[nn.Module], grid: Sequence[int], backbone: str) -> None:
    whole = all(isinstance(d, int) and d > 0 for d in grid)
    if len(grid) != len(blocks) or not whole:
        raise InputError(
            f"{backbone}: `multi_grid` must be {len(blocks)} dilations, one per block of the last stage; "
            f"received multi_grid={grid!r}"
        )
    _dilate(blocks, grid)


def _dilate(blocks: Sequence[nn.Module], dilations: Sequence[int]) -> None:
    for block, dilation in zip(blocks, dilations, strict=True):
        for layer in block.modules():
            if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
                layer.dilation = layer.padding = (dilation, dilation)


def replace_norms(net: nn.Module, norm_layer: Norm) -> None:
    """Put another norm in place of every batch norm, with the numbers that both have; timm's fused relu follows it."""
    for path, old in list(net.named_modules()):
        if not isinstance(old, nn.BatchNorm2d):
            continue
        norm = norm_layer(old.num_features)
        own = norm.state_dict()
        norm.load_state_dict(
            {k: v for k, v in old.state_dict().items() if k in own and v.shape == own[k].shape}, strict=False
        )
        activation = getattr(old, "act", None)
        parent, _, name = path.rpartition(".")
        setattr(net.get_submodule(parent), name, norm if activation is None else nn.Sequential(norm, activation))
