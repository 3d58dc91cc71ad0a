"""Squeeze-and-excitation without its hidden layer: three gates on the channel means.

Q. Wang, B. Wu, P. Zhu, P. Li, W. Zuo, Q. Hu, "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural
Networks", CVPR 2020, arXiv:1910.03151: the ablations before ECA itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.mechanisms.base import Mechanism
from saccade.ops.axes import spread
from saccade.ops.gates import scale
from saccade.ops.reading import Reading


class _MeanGate(Mechanism):
    """Base of gates with one factor per channel: the sigmoid of some function of the channel means."""

    def forward(self, x: Tensor) -> Tensor:
        reading = Reading(x)
        gate = spread(self._gate(reading), self.dims)
        return scale(reading.x, gate)

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        """Return the channel gate, (B, C)."""
        return {"channel": self._gate(Reading(x))}

    def extra_repr(self) -> str:
        return f"channels={self.channels}, dims={self.dims}"

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        return {"channels": tensors["weight"].shape[0]} if "weight" in tensors else {}

    def _gate(self, reading: Reading) -> Tensor:
        self.check(reading.x)
        return self._logits(reading.mean().flatten(1)).sigmoid()

    def _logits(self, mean: Tensor) -> Tensor:
        """Compute the logits from the means, both (B, C)."""
        raise NotImplementedError


class SEVar1(_MeanGate):
    r"""Scale each channel by the sigmoid of its mean: a gate without parameters.

    .. math:: \tilde x_c = \sigma(y_c)\, x_c, \quad y_c = \frac{1}{HW}\sum_{hw} x_{chw}

    Args:
        channels: C, of the input and of the output.
        dims: Number of map axes: 1 for sequences, 2 for images, 3 for volumes and clips.

    Shape: (B, C, H, W) -> (B, C, H, W); (B, C, T) and (B, C, T, H, W) for `dims` 1 and 3.

    Raises:
        InputError: `channels` below 1, or a map of another shape.

    Start: not the identity; channels of mean 0 are halved. Insertion wraps it.

    Cost: no parameters and no multiply-adds but for the means and the scaling. No channel depends on another.

    Example:
        >>> import torch, saccade
        >>> gate = saccade.create("se_var1", channels=64)
        >>> gate(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 64, 7, 9])

    Differences: none known; the paper gives the equation, no code was released.
    """

    label = "SE-Var1"

    def __init__(self, channels: int, *, dims: int = 2) -> None:
        super().__init__(channels, dims=dims)

    def _logits(self, mean: Tensor) -> Tensor:
        return mean


class SEVar2(_MeanGate):
    r"""Scale each channel by the sigmoid of its mean times a weight of its own.

    .. math:: \tilde x_c = \sigma(w_c\, y_c)\, x_c, \quad y_c = \frac{1}{HW}\sum_{hw} x_{chw}

    Args:
        channels: C, of the input and of the output.
        dims: Number of map axes: 1 for sequences, 2 for images, 3 for volumes and clips.

    Shape: (B, C, H, W) -> (B, C, H, W); (B, C, T) and (B, C, T, H, W) for `dims` 1 and 3.

    Raises:
        InputError: `channels` below 1, or a map of another shape.

    Start: not the identity. The weights start at 1, where it is SE-Var1. Insertion wraps it.

    Cost: C parameters, C multiply-adds. No channel depends on another.

    Example:
        >>> import torch, saccade
        >>> gate = saccade.create("se_var2", channels=64)
        >>> sum(p.numel() for p in gate.parameters())
        64

    Differences: the paper gives the equation and the count of parameters, no code and no start; the start is ours.
    """

    label = "SE-Var2"

    def __init__(self, channels: int, *, dims: int = 2) -> None:
        super().__init__(channels, dims=dims)
        self.weight = nn.Parameter(torch.ones(channels))

    def _logits(self, mean: Tensor) -> Tensor:
        return mean * self.weight.to(mean.dtype)


class SEVar3(_MeanGate):
    r"""Scale each channel by a gate computed from all channel means with one full matrix.

    .. math:: \tilde x = \sigma(W y)\, x, \quad y_c = \frac{1}{HW}\sum_{hw} x_{chw}

    Args:
        channels: C, of the input and of the output.
        dims: Number of map axes: 1 for sequences, 2 for images, 3 for volumes and clips.

    Shape: (B, C, H, W) -> (B, C, H, W); (B, C, T) and (B, C, T, H, W) for `dims` 1 and 3.

    Raises:
        InputError: `channels` below 1, or a map of another shape.

    Start: not the identity; the matrix starts as that of a linear layer of PyTorch, and a new gate is about 0.5.
    Insertion wraps it.

    Cost: C^2 parameters, C^2 multiply-adds: much more than SE, whose hidden layer is narrow.

    Example:
        >>> import torch, saccade
        >>> gate = saccade.create("se_var3", channels=64)
        >>> sum(p.numel() for p in gate.parameters())
        4096

    Differences: the paper gives the equation and the count of parameters, no code and no start; the start is ours.
    """

    label = "SE-Var3"

    def __init__(self, channels: int, *, dims: int = 2) -> None:
        super().__init__(channels, dims=dims)
        self.weight = nn.Parameter(torch.empty(channels, channels))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def _logits(self, mean: Tensor) -> Tensor:
        return F.linear(mean, self.weight)
