"""Protocols of evaluation on images of any size: whole, in windows, at several scales, mirrored.

Numbers of different protocols are not comparable: the same weights give several points more or less of mIoU. So a
protocol has a name, and results carry it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.errors import InputError, near

MULTI_SCALE = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""The factors of most papers."""


@dataclass(frozen=True)
class Protocol:
    """One way to evaluate.

    Args:
        window: Height and width of the windows that an image is seen through; None: the whole image at once.
        step: Distance from one window to the next, relative to its side.
        scales: Factors by which the image is enlarged or reduced before.
        flip: True if each scale is seen mirrored too.
        longer_side: Longer side in pixels that images are brought to first; None: they keep their size.

    Raises:
        InputError: A window below 1 pixel, a step outside (0, 1], or factors that are not positive.

    Example:
        >>> str(Protocol())
        'whole image'
        >>> str(Protocol(window=(768, 768), scales=(0.75, 1.0), flip=True))
        'windows of 768 x 768, step 2/3; scales 0.75 1; mirrored'
    """

    window: tuple[int, int] | None = None
    step: float = 2 / 3
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    longer_side: int | None = None

    def __post_init__(self) -> None:
        if self.window is not None and min(self.window) < 1:
            raise InputError(f"protocol: `window` must be at least 1 x 1 pixel; received window={self.window}")
        if not 0 < self.step <= 1:
            raise InputError(f"protocol: `step` must be above 0, at most 1; received step={self.step}")
        if not self.scales or min(self.scales) <= 0:
            raise InputError(f"protocol: `scales` must be positive numbers; received scales={self.scales}")

    def __str__(self) -> str:
        told = ["whole image"]
        if self.window is not None:
            step = "2/3" if self.step == 2 / 3 else f"{self.step:g}"
            told = [f"windows of {self.window[0]} x {self.window[1]}, step {step}"]
        if self.longer_side is not None:
            told.append(f"longer side {self.longer_side}")
        if self.scales != (1.0,):
            told.append(f"scales {' '.join(f'{scale:g}' for scale in self.scales)}")
        return "; ".join([*told, *(["mirrored"] if self.flip else [])])


NAMES = ("whole", "sliding", "multi-scale")


def protocol_for(given: str | Protocol, size: int, *, longer_side: bool = False) -> Protocol:
    """A protocol by name: ``"whole"`` image, ``"sliding"`` windows, or those at six scales, mirrored too.

    Args:
        given: One of the names, or a protocol, which is given back.
        size: Side of the windows: that of the crops a network was trained on.
        longer_side: True if it was trained on whole images of that longer side; they are then brought to it.

    Raises:
        InputError: An unknown name.
    """
    if isinstance(given, Protocol):
        return given
    if given not in NAMES:
        raise InputError(f"unknown protocol {given!r}", near(given, NAMES))
    longest = size if longer_side else None
    if given == "whole":
        return Protocol(longer_side=longest)
    if given == "multi-scale":
        return Protocol((size, size), scales=MULTI_SCALE, flip=True, longer_side=longest)
    return Protocol((size, size), longer_side=longest)


class Seen(nn.Module):
    """A network as a protocol asks it: images to class probabilities, in evaluation mode.

    Args:
        net: A segmentation network.
        protocol: Views of the image.
    """

    def __init__(self, net: nn.Module, protocol: Protocol) -> None:
        super().__init__()
        self.net, self.protocol = net, protocol

    def forward(self, x: Tensor) -> Tensor:
        return classify(self.net, x, self.protocol)


@torch.inference_mode()
def classify(net: nn.Module, x: Tensor, protocol: Protocol | None = None) -> Tensor:
    """Class probabilities of images, as a protocol has it.

    Where windows overlap their logits are averaged; the probabilities of scales and mirror images are. Windows go one
    at a time, so that the memory they need does not grow with the image; the result does.

    Args:
        net: A segmentation network in evaluation mode.
        x: (B, 3, H, W), as the network reads it.
        protocol: Views of the image; by default the whole image.

    Shape: (B, K, H, W).

    Raises:
        InputError: The network is in training mode.
    """
    protocol = protocol or Protocol()
    if net.training:
        raise InputError("classify: the network is in training mode, where it returns several outputs", "net.eval()")
    size = (x.shape[2], x.shape[3])
    fit = 1.0 if protocol.longer_side is None else protocol.longer_side / max(size)
    total: Tensor | None = None
    views = 0
    for scale in protocol.scales:
        height, width = (max(1, round(length * fit * scale)) for length in size)
        scaled = _resized(x, (height, width), antialias=fit * scale < 1 and protocol.longer_side is not None)
        for mirrored in (False, True) if protocol.flip else (False,):
            logits = _seen(net, scaled.flip(-1) if mirrored else scaled, protocol)
            logits = _resized(logits.flip(-1) if mirrored else logits, size)
            probabilities = logits.softmax(dim=1)
            total = probabilities if total is None else total.add_(probabilities)
            views += 1
    assert total is not None
    return total.div_(views)


def windows(height: int, width: int, window: tuple[int, int], step: float) -> Iterator[tuple[slice, slice]]:
    """Places of windows that cover a map, evenly stepped; the last are moved back so that they end with it."""
    for top in _starts(height, window[0], step):
        for left in _starts(width, window[1], step):
            yield slice(top, min(height, top + window[0])), slice(left, min(width, left + window[1]))


def _starts(length: int, window: int, step: float) -> list[int]:
    if length <= window:
        return [0]
    stride = max(1, int(window * step))
    return [min(i * stride, length - window) for i in range(ceil((length - window) / stride) + 1)]


def _seen(net: nn.Module, x: Tensor, protocol: Protocol) -> Tensor:
    """Logits of one scale."""
    height, width = x.shape[2:]
    if protocol.window is None or (height <= protocol.window[0] and width <= protocol.window[1]):
        return _float(net(x))
    total: Tensor | None = None
    times = torch.zeros(1, 1, height, width, device=x.device)
    for place in windows(height, width, protocol.window, protocol.step):
        logits = _float(net(x[:, :, *place]))
        if total is None:
            total = logits.new_zeros(len(x), logits.shape[1], height, width)
        total[:, :, *place] += logits
        times[:, :, *place] += 1
    assert total is not None
    return total.div_(times)


def _float(logits: Tensor) -> Tensor:
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def _resized(x: Tensor, size: tuple[int, int], *, antialias: bool = False) -> Tensor:
    if x.shape[2:] == size:
        return x
    return F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=antialias)
