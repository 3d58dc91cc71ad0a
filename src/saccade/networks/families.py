"""Insertion of attention into a backbone for each family of named classifiers: the places and sizes of its authors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from saccade.catalog import create
from saccade.errors import InputError
from saccade.insertion import Place, insert
from saccade.networks.heads import MetaLayer

Options = Mapping[str, Any]

# The kernel sizes of the released ECA networks, one digit per stage, as in their names.
ECA_KERNELS = {18: "3577", 34: "3357", 50: "3557", 101: "3357", 152: "3357"}
_WIDTH = 2048  # of the last stage of bottlenecks
_NARROW = 96  # ECA-MobileNetV2 has a kernel of 1 in blocks narrower than this, else of 3


def gate(net: nn.Module, mechanism: str, options: Options) -> nn.Module:
    """Insert the mechanism at the end of every residual branch, before the addition."""
    return _insert(net, mechanism, _branch_ends(net), options)


def natural(net: nn.Module, mechanism: str, options: Options) -> nn.Module:
    """Insert the mechanism at its natural places."""
    return _insert(net, mechanism, None, options)


def eca(net: nn.Module, mechanism: str, options: Options, *, kernels: str = "3333") -> nn.Module:
    """Insert ECA at the end of every residual branch, with one kernel size per stage.

    Args:
        net: The backbone.
        mechanism: ``"eca"``.
        options: Options of the mechanism.
        kernels: One digit for each of the four stages.
    """
    if not (isinstance(kernels, str) and re.fullmatch(r"[13579]{4}", kernels)):
        raise InputError(
            f"ECA-ResNet: `kernels` must be four odd digits, one per stage; received {kernels=}",
            "the released networks have 3577 (ResNet-18), 3557 (50), 3357 (34, 101, 152)",
        )
    return _insert(net, mechanism, _branch_ends(net), lambda place: {"k": int(kernels[_stage(place) - 1]), **options})


def eca_mobilenet(net: nn.Module, mechanism: str, options: Options) -> nn.Module:
    """Insert ECA after the projection of every inverted residual block, with or without a shortcut."""
    ends = [
        f"{name}.{len(list(module.children())) - 1}"
        for name, module in net.named_modules()
        if re.fullmatch(r"features\.\d+\.conv", name)
    ]
    return _insert(net, mechanism, ends, lambda place: {"k": 1 if place.channels < _NARROW else 3, **options})


def bam(net: nn.Module, mechanism: str, options: Options) -> nn.Module:
    """Insert the mechanism after each stage but the last."""
    return _insert(net, mechanism, ["layer1", "layer2", "layer3"], options)


def gc(net: nn.Module, mechanism: str, options: Options, *, stages: str = "c3-c5") -> nn.Module:
    """Insert GC at the end of every residual branch of some stages.

    Args:
        net: The backbone.
        mechanism: ``"gc"``.
        options: Options of the mechanism.
        stages: ``"c3-c5"`` or ``"c4"``: c2 is the first stage.
    """
    found = re.fullmatch(r"c([2-5])(?:-c([2-5]))?", stages) if isinstance(stages, str) else None
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if first > last:
        raise InputError(f"GC-ResNet: `stages` must be like 'c3-c5', from c2 to c5; received {stages=}")
    places = [f"layer{stage - 1}.*.bn3" for stage in range(first, last + 1)]
    return _insert(net, mechanism, places, options)


def gsop(net: Any, mechanism: str, options: Options, tail: str = "average") -> nn.Module:
    """Insert GSoP at the end of the last residual branch of each stage; the last stage keeps the size of its maps.

    Args:
        net: The backbone.
        mechanism: ``"gsop"``.
        options: Options of the mechanism.
        tail: ``"average"`` for GSoP-Net1; ``"covariance"`` for GSoP-Net2, which has no gate in the last stage.
    """
    net.layer4[0].conv2.stride = net.layer4[0].downsample[0].stride = (1, 1)
    stages = [net.layer1, net.layer2, net.layer3, *([net.layer4] if tail == "average" else [])]
    places = [f"layer{i}.{len(stage) - 1}.bn3" for i, stage in enumerate(stages, start=1)]
    _insert(net, mechanism, places, lambda place: {"stride": 2 if place.channels <= 256 else 1, **options})
    if tail == "covariance":
        net.avgpool = MetaLayer(_WIDTH)
        if isinstance(net.fc, nn.Linear):
            net.fc = nn.Linear(net.avgpool.dim * (net.avgpool.dim + 1) // 2, net.fc.out_features)
    made: nn.Module = net
    return made


def blocks(net: Any, mechanism: str, options: Options) -> nn.Module:
    """Insert after every second block of the stages of stride 8 and 16; every seventh in a stage of 23 or more."""
    places = [
        f"layer{stage}.{i}"
        for stage, found in ((2, net.layer2), (3, net.layer3))
        for every in [7 if len(found) >= 23 else 2]
        for i in range(every - 1, len(found), every)
    ]
    return _insert(net, mechanism, places, options)


def selective_kernels(
    net: nn.Module, mechanism: str, options: Options, reduction: int = 16, least: int | None = None
) -> nn.Module:
    """Replace the 3x3 convolution of every bottleneck (the first one of basic blocks), with its norm and ReLU.

    Args:
        net: The backbone.
        mechanism: ``"sk"``.
        options: Options of the mechanism.
        reduction: Divisor of the hidden channels, which are C // reduction.
        least: Lower bound of the hidden channels; None means the mechanism's own rule.
    """
    for block in _blocks(net):
        index = 2 if hasattr(block, "conv3") else 1
        conv: Any = getattr(block, f"conv{index}")
        sizes = {"out_channels": conv.out_channels, "stride": conv.stride[0]}
        if least is not None:
            sizes["inner_channels"] = max(conv.out_channels // reduction, least)
        kernels: Any = create(mechanism, conv.in_channels, **{**sizes, **options})
        for layer in kernels.convs:
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        setattr(block, f"conv{index}", kernels)
        setattr(block, f"bn{index}", nn.Identity())  # the ReLU after it passes values that are not negative
    return net


def inception(net: nn.Module, mechanism: str, options: Options) -> nn.Module:
    """Insert the mechanism after every inception module."""
    return _insert(net, mechanism, "inception_*", options)


def _branch_ends(net: nn.Module) -> list[str]:
    """Names of the last norm of every residual block; the layouts are known here, so no tracing is needed."""
    ends = {
        name: "bn3" if hasattr(module, "bn3") else "bn2"
        for name, module in net.named_modules()
        if re.fullmatch(r"layer\d\.\d+", name)
    }
    return [f"{block}.{norm}" for block, norm in ends.items()]


def _blocks(net: nn.Module) -> list[nn.Module]:
    return [module for name, module in net.named_modules() if re.fullmatch(r"layer\d\.\d+", name)]


def _stage(place: Place) -> int:
    return int(place.name.removeprefix("layer")[0])


def _insert(net: nn.Module, mechanism: str, at: Any, options: Options | Callable[[Place], Options]) -> nn.Module:
    return insert(net, mechanism, at=at, start="paper", options=options)
