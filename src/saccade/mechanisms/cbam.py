"""Convolutional block attention: a gate for each channel, then a gate for each position.

S. Woo, J. Park, J.-Y. Lee, I. S. Kweon, "CBAM: Convolutional Block Attention Module", ECCV 2018, arXiv:1807.06521.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.errors import InputError
from saccade.mechanisms.base import Layout, Mechanism
from saccade.mechanisms.rules import choose, dims_option, positive, several, width_options
from saccade.mechanisms.widths import hidden_width
from saccade.ops.axes import CONV, NORM, spread
from saccade.ops.gates import scale_by
from saccade.ops.precision import wide
from saccade.ops.reading import Reading, largest
from saccade.ops.volumes import to_one_plane

POOLS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "avg": lambda x: x.mean(dim=-1),
    "max": lambda x: largest(x, -1),
    # The norm's gradient at a channel of zeros is 0, where that of a square root of a sum is infinite.
    "lp": lambda x: torch.linalg.vector_norm(wide(x), dim=-1),
    "lse": lambda x: torch.logsumexp(wide(x), dim=-1),
}
"""Summaries of a channel by name: functions of (B, C, N) that return (B, C)."""


def _swap_planes(key: str, tensor: Tensor) -> Tensor:
    """Reorder the [mean, max] of most copies to the [max, mean] of the authors."""
    return tensor.flip(1) if key == "spatial.conv.weight" and tensor.dim() > 2 else tensor


class CBAM(Mechanism):
    r"""Scale each channel, then each position, by gates computed from their means and maxima.

    .. math:: y = x \cdot \sigma\Big(\sum_{p} \mathrm{MLP}(p(x))\Big), \quad
              \tilde x = y \cdot \sigma\big(\mathrm{BN}(f * [\max_c y_c;\ \mathrm{mean}_c\, y_c])\big)

    over the pools p, with MLP(v) = W_1 relu(W_0 v + b_0) + b_1, so b_1 counts once for each pool. The paper's letters
    here: M_c is the channel gate, M_s the spatial one, W_0 `channel.reduce`, W_1 `channel.expand`, f `spatial.conv`.

    Args:
        channels: C, of the input and of the output.
        variant: ``"official"``; ``"popular"``: no biases in the MLP and no norm after the convolution, as in the
            listings that circulate; ``"timm"``: no biases, and a norm of momentum 0.1 in place of 0.01.
        reduction: The MLP has max(1, C // reduction) hidden channels; timm rounds C / reduction, halves up.
        pools: Summaries of each channel that the MLP reads: any of ``"avg"``, ``"max"``, ``"lp"`` (root of the sum of
            squares), ``"lse"`` (logarithm of the sum of exponentials).
        kernel_size: Side of the spatial convolution along every axis, odd; the authors have 7, copies also 3.
        parts: ``"both"``, or one gate alone: ``"channel"``, ``"spatial"``.
        spatial: False is the authors' ``no_spatial``, the same as ``parts="channel"``.
        bias: If True, the MLP has biases; None means as in the variant.
        inner_channels: The hidden width itself, in place of `reduction` and of any rounding.
        dims: Number of map axes: 1 for sequences, 2 for images, 3 for volumes and clips.

    Shape: (B, C, H, W) -> (B, C, H, W); (B, C, T) and (B, C, T, H, W) for `dims` 1 and 3.

    Raises:
        InputError: A size below 1, an even `kernel_size`, an unknown `variant`, part or pool, no pool, a pool named
            twice, ``spatial=False`` with ``parts="spatial"``, a map of another shape, or training on a single value,
            which the norm cannot normalise.

    Start: not the identity. Officially the norm's weight starts at 0, so the spatial gate is exactly 0.5 and the
    channel gate, whose biases start at 0, near 0.5. Insertion wraps it, with a norm that starts at 1.

    Cost: for h hidden channels, P pools and a k x k convolution: 2 P C h + 2 k^2 N multiply-adds for N = H W;
    2 C h + h + C + 2 k^2 + 2 parameters officially. The spatial gate keeps the full resolution.

    Example:
        >>> import torch, saccade
        >>> cbam = saccade.create("cbam", channels=64)
        >>> cbam(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 64, 7, 9])
        >>> {name: tuple(gate.shape) for name, gate in cbam.gates(torch.randn(2, 64, 7, 9)).items()}
        {'channel': (2, 64), 'spatial': (2, 1, 7, 9)}

    Differences: the text draws no biases and no norm; the authors' code has both, and their parameter counts confirm
    it. The convolution reads [max, mean]; most copies, timm among them, [mean, max]. Here the planes always lie as the
    authors have them, and :func:`saccade.load_official` swaps those of the other layouts. Gradients of tied maxima
    (common after a ReLU) go to the first of them, as in the authors' code; timm spreads them evenly. With C below
    `reduction` the authors' rule gives no hidden channel; ours keeps 1.
    """

    label = "CBAM"
    layouts = (
        Layout(
            "Jongchan/attention-module",
            {
                "ChannelGate.mlp.1.": "channel.reduce.",
                "ChannelGate.mlp.3.": "channel.expand.",
                "SpatialGate.spatial.conv.": "spatial.conv.",
                "SpatialGate.spatial.bn.": "spatial.norm.",
            },
        ),
        Layout(
            "timm",
            {
                "channel.fc1.": "channel.reduce.",
                "channel.fc2.": "channel.expand.",
                "spatial.conv.conv.": "spatial.conv.",
                "spatial.conv.bn.": "spatial.norm.",
            },
            options="variant='timm'",
            convert=_swap_planes,
        ),
        Layout(
            "blog listings (sharedMLP, conv)",
            {"sharedMLP.0.": "channel.reduce.", "sharedMLP.2.": "channel.expand.", "conv.": "spatial.conv."},
            options="variant='popular'",
            convert=_swap_planes,
        ),
    )

    def __init__(
        self,
        channels: int,
        *,
        variant: str = "official",
        reduction: int = 16,
        pools: Sequence[str] | str = ("avg", "max"),
        kernel_size: int = 7,
        parts: str = "both",
        spatial: bool = True,
        bias: bool | None = None,
        inner_channels: int | None = None,
        dims: int = 2,
    ) -> None:
        super().__init__(channels, dims=dims)
        choose(self.label, "variant", variant, ("official", "popular", "timm"))
        choose(self.label, "parts", parts, ("both", "channel", "spatial"))
        positive(self.label, reduction=reduction, kernel_size=kernel_size)
        if not spatial and parts == "spatial":
            raise InputError(
                f"{self.label}: no part is left; received {spatial=}, {parts=}",
                "spatial=False keeps the channel gate alone; parts='spatial' the spatial gate alone",
            )
        if kernel_size % 2 == 0:
            raise InputError(
                f"{self.label}: `kernel_size` must be odd, to keep the map's size; received {kernel_size=}"
            )
        rounding = 1 if variant == "timm" else None
        width = hidden_width(self.label, channels, reduction, inner_channels, multiple_of=rounding)
        self.variant, self.parts = variant, parts if spatial else "channel"
        self.pools = several(self.label, "pools", pools, tuple(POOLS), "pool")
        bias = variant == "official" if bias is None else bias
        momentum = {"official": 0.01, "popular": None, "timm": 0.1}[variant]
        self.channel = None if self.parts == "spatial" else ChannelGate(channels, width, self.pools, bias)
        self.spatial = None if self.parts == "channel" else SpatialGate(kernel_size, momentum, dims)
        if variant == "official":
            self._start_as_authors()

    def forward(self, x: Tensor) -> Tensor:
        self._check(x)
        if self.channel is None or self.spatial is None:
            gate = self.spatial if self.channel is None else self.channel
            return x if gate is None else x * gate(x)
        reading = Reading(x)
        channel = self.channel.of(reading).to(x.dtype)
        spatial = self.spatial.of_planes(reading.largest_and_mean_channel(channel)).to(x.dtype)
        return scale_by("product", reading.x, channel, spatial)

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        """Return the gates: ``"channel"`` (B, C), and ``"spatial"`` (B, 1, H, W) of the map scaled by the first one."""
        self._check(x)
        gates = {}
        if self.channel is not None:
            gate = self.channel(x)
            gates["channel"], x = gate.flatten(1), x * gate
        if self.spatial is not None:
            gates["spatial"] = self.spatial(x)
        return gates

    def extra_repr(self) -> str:
        return (
            f"channels={self.channels}, variant={self.variant}, parts={self.parts}, pools={self.pools}, "
            f"dims={self.dims}"
        )

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if "channel.reduce.weight" in tensors:
            inner_channels, channels = tensors["channel.reduce.weight"].shape[:2]
            options = {"channels": channels, **width_options(channels, inner_channels)}
            options["bias"] = "channel.reduce.bias" in tensors
        if "spatial.conv.weight" in tensors:
            options |= {"kernel_size": tensors["spatial.conv.weight"].shape[-1]}
            options |= dims_option(tensors["spatial.conv.weight"])
        parts = [part for part in ("channel", "spatial") if any(name.startswith(f"{part}.") for name in tensors)]
        return options | ({"parts": parts[0]} if len(parts) == 1 else {})

    def start_open(self) -> None:
        if self.spatial is not None and self.spatial.norm is not None:
            nn.init.ones_(self.spatial.norm.weight)

    def _check(self, x: Tensor) -> None:
        self.check(x)
        normalises = self.spatial is not None and self.spatial.norm is not None
        if self.training and normalises and x.shape[0] * math.prod(x.shape[2:]) == 1:
            raise InputError(
                f"{self.label}: in training its norm needs more than one position; received shape {tuple(x.shape)}",
                "take a larger batch or map, eval(), or variant='popular', which has no norm",
            )

    def _start_as_authors(self) -> None:
        """Initialise as the authors' network does its CBAM modules: all biases 0, and the spatial norm's weight too."""
        for name, parameter in self.named_parameters():
            if name.endswith(".bias") or name == "spatial.norm.weight":
                nn.init.zeros_(parameter)
        if self.spatial is not None:
            nn.init.kaiming_normal_(self.spatial.conv.weight, mode="fan_out", nonlinearity="relu")


class ChannelGate(nn.Module):
    """First stage: one factor per channel, from an MLP that all pools share."""

    def __init__(self, channels: int, inner_channels: int, pools: tuple[str, ...], bias: bool) -> None:
        super().__init__()
        self.pools = pools
        self.reduce = nn.Linear(channels, inner_channels, bias=bias)
        self.expand = nn.Linear(inner_channels, channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.of(Reading(x))

    def of(self, reading: Reading) -> Tensor:
        """Return the gate of a map that has other readers too: (B, C, 1, ...)."""
        if self.pools == ("avg", "max"):
            pooled = reading.mean_and_largest_position()
        else:
            x, positions = reading.x, reading.x.flatten(2)
            pooled = torch.stack([POOLS[pool](positions).to(x.dtype) for pool in self.pools], dim=1)  # (B, pools, C)
        logits: Tensor = self.expand(F.relu(self.reduce(pooled)))
        return spread(logits.sum(dim=1).sigmoid(), reading.x.dim() - 2)


class SpatialGate(nn.Module):
    """Second stage: one factor per position, from the maximum and the mean of its channels."""

    def __init__(self, kernel_size: int, momentum: float | None, dims: int = 2) -> None:
        super().__init__()
        self.conv = CONV[dims](2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = None if momentum is None else NORM[dims](1, momentum=momentum)

    def forward(self, x: Tensor) -> Tensor:
        return self.of_planes(torch.cat([largest(x, 1, keepdim=True), x.mean(dim=1, keepdim=True)], dim=1))

    def of_planes(self, planes: Tensor) -> Tensor:
        """Compute the gate from two planes, the maximum and the mean over channels: (B, 2, ...) to (B, 1, ...)."""
        logits = to_one_plane(self.conv, planes)
        if self.norm is not None:
            logits = self.norm(logits)
        return logits.sigmoid()
