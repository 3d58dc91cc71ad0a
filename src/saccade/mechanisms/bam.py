"""Bottleneck attention: one gate for channels and positions together, from two branches.

J. Park, S. Woo, J.-Y. Lee, I. S. Kweon, "BAM: Bottleneck Attention Module", BMVC 2018, arXiv:1807.06514.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.errors import InputError
from saccade.mechanisms.base import Layout, Mechanism
from saccade.mechanisms.rules import choose, dims_option, positive, width_options
from saccade.mechanisms.widths import hidden_width
from saccade.ops.axes import CONV, CONVS, NORM, spread
from saccade.ops.gates import scale_by
from saccade.ops.reading import Reading

_MOST_LAYERS = 10  # largest number of layers of a branch in the table of key names; the authors have 1 and 2


class BAM(Mechanism):
    r"""Scale a feature map by 1 plus a gate computed from a channel branch and a spatial branch.

    .. math:: \tilde x = x\,(1 + \sigma(M_c(x) \cdot M_s(x))), \quad
              M_c(x) = W_1\,\mathrm{relu}(\mathrm{BN}(W_0 \bar x + b_0)) + b_1

    with the mean over positions x-bar, and M_s a 1x1 convolution to the hidden width, two dilated 3x3 convolutions,
    each of these with a batch norm and a relu, and a 1x1 convolution to one plane. The product of (B, C, 1, 1) and
    (B, 1, H, W) is one of logits. The paper's letters here: r is `reduction`, d `dilation`; W_0 `channel.layers.0`,
    W_1 `channel.expand`; f_0 `spatial.reduce`, f_1 and f_2 `spatial.convs`, f_3 `spatial.project`.

    Args:
        channels: C, of the input and of the output.
        combine: ``"product"`` of the branches' logits, as released, or ``"sum"``, as printed.
        window: Region that the channel branch averages: the ``"whole"`` map, or, as ``"released"``, its left H x H
            square.
        reduction: Both branches have max(1, C // reduction) hidden channels.
        dilation: Dilation of the 3x3 convolutions, which are padded by as much.
        parts: ``"both"``, or one branch alone: ``"channel"``, ``"spatial"``; then its logits alone make the gate.
        num_layers: Hidden layers of the channel branch.
        num_convs: Dilated convolutions of the spatial branch.
        final_norm: If True, each branch ends in a batch norm, as printed. The released code has none.
        inner_channels: The hidden width itself, in place of `reduction`.
        dims: Number of map axes: 1 for sequences, 2 for images, 3 for volumes and clips.

    Shape: (B, C, H, W) -> (B, C, H, W); (B, C, T) and (B, C, T, H, W) for `dims` 1 and 3. ``window="released"`` takes
    maps of two axes with H <= W < 2 H.

    Raises:
        InputError: A size below 1, an unknown `combine`, `window` or part, a map of another shape or one that the
            released window does not fit, or training on what a batch norm cannot normalise: a single sample in the
            channel branch, a single value in the spatial one.

    Start: not the identity; the factor lies between 1 and 2, at first about 1.5. Insertion wraps it. Convolutions
    start Kaiming normal (fan out), biases at 0, as in the authors' network.

    Cost: for h hidden channels 2 C h + (C h + 18 h^2 + h) N multiply-adds for N = H W; 3 C h + C + 18 h^2 + 13 h + 1
    parameters. The channel branch keeps no resolution, the spatial branch the full one; relu after each norm.

    Example:
        >>> import torch, saccade
        >>> bam = saccade.create("bam", channels=64)
        >>> bam(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 64, 7, 9])
        >>> bam.gate(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 64, 7, 9])

    Differences: the paper adds the branches and normalises their ends, the released code and weights multiply and do
    not; the paper's form is ``combine="sum", final_norm=True``. The released code pools an H x H window whatever the
    width: right on square maps, silently a crop for H < W < 2 H, an error elsewhere. It stores an undefined name, so
    it needs one line less to run at all. A popular copy pads its dilated convolutions too little and so works for 7 x 7
    maps only. With C below `reduction` the authors' rule gives no hidden channel; ours keeps 1.
    """

    label = "BAM"
    layouts = (
        Layout(
            "Jongchan/attention-module",
            {
                "channel_att.gate_c.gate_c_fc_final.": "channel.expand.",
                "spatial_att.gate_s.gate_s_conv_reduce0.": "spatial.reduce.",
                "spatial_att.gate_s.gate_s_bn_reduce0.": "spatial.reduce_norm.",
                "spatial_att.gate_s.gate_s_conv_final.": "spatial.project.",
                **{f"channel_att.gate_c.gate_c_fc_{i}.": f"channel.layers.{i}." for i in range(_MOST_LAYERS)},
                **{f"channel_att.gate_c.gate_c_bn_{i + 1}.": f"channel.norms.{i}." for i in range(_MOST_LAYERS)},
                **{f"spatial_att.gate_s.gate_s_conv_di_{i}.": f"spatial.convs.{i}." for i in range(_MOST_LAYERS)},
                **{f"spatial_att.gate_s.gate_s_bn_di_{i}.": f"spatial.norms.{i}." for i in range(_MOST_LAYERS)},
            },
            needs={"combine": "product"},
        ),
    )

    def __init__(
        self,
        channels: int,
        *,
        combine: str = "product",
        window: str = "whole",
        reduction: int = 16,
        dilation: int = 4,
        parts: str = "both",
        num_layers: int = 1,
        num_convs: int = 2,
        final_norm: bool = False,
        inner_channels: int | None = None,
        dims: int = 2,
    ) -> None:
        super().__init__(channels, dims=dims)
        choose(self.label, "combine", combine, ("product", "sum"))
        choose(self.label, "window", window, ("whole", "released"))
        choose(self.label, "parts", parts, ("both", "channel", "spatial"))
        if window == "released" and dims != 2:
            raise InputError(
                f"{self.label}: the released window is a square of a map with two axes; received {dims=}",
                "window='whole' takes maps of any axes",
            )
        positive(self.label, reduction=reduction, dilation=dilation, num_layers=num_layers, num_convs=num_convs)
        width = hidden_width(self.label, channels, reduction, inner_channels)
        self.combine, self.window, self.parts, self.dilation = combine, window, parts, dilation
        self.channel = ChannelBranch(channels, width, num_layers, final_norm) if parts != "spatial" else None
        self.spatial = (
            SpatialBranch(channels, width, num_convs, dilation, final_norm, dims) if parts != "channel" else None
        )
        self._start_as_authors()

    def forward(self, x: Tensor) -> Tensor:
        if self.channel is None or self.spatial is None:
            return x * (1 + self.gate(x))
        reading = Reading(x)
        channel, spatial = self._logits(reading)
        assert channel is not None
        assert spatial is not None
        return scale_by(f"gated {self.combine}", reading.x, channel.to(x.dtype), spatial.to(x.dtype))

    def gate(self, x: Tensor) -> Tensor:
        """Return the gate of both branches together, which scales by 1 + itself: (B, C, H, W), or broadcast to it."""
        channel, spatial = self._logits(Reading(x))
        if channel is None or spatial is None:
            logits = spatial if channel is None else channel
        else:
            logits = channel * spatial if self.combine == "product" else channel + spatial
        assert logits is not None  # `parts` names one branch at least
        return logits.sigmoid()

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        """Return the gate that each branch would make alone, (B, C) and (B, 1, H, W); :meth:`gate` combines both."""
        channel, spatial = self._logits(Reading(x))
        gates = {} if channel is None else {"channel": channel.flatten(1).sigmoid()}
        return gates if spatial is None else gates | {"spatial": spatial.sigmoid()}

    def extra_repr(self) -> str:
        return (
            f"channels={self.channels}, combine={self.combine}, window={self.window}, parts={self.parts}, "
            f"dims={self.dims}"
        )

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        options: dict[str, Any] = {}
        for first in ("channel.layers.0.weight", "spatial.reduce.weight"):
            if first in tensors:
                inner_channels, channels = tensors[first].shape[:2]
                options |= {"channels": channels, **width_options(channels, inner_channels)}
        options |= dims_option(tensors["spatial.reduce.weight"]) if "spatial.reduce.weight" in tensors else {}
        for option, prefix in (("num_layers", "channel.layers."), ("num_convs", "spatial.convs.")):
            count = sum(name.startswith(prefix) and name.endswith(".weight") for name in tensors)
            options |= {option: count} if count else {}
        parts = [part for part in ("channel", "spatial") if any(name.startswith(f"{part}.") for name in tensors)]
        return options | ({"parts": parts[0]} if len(parts) == 1 else {})

    def _logits(self, reading: Reading) -> tuple[Tensor | None, Tensor | None]:
        self._check(reading.x)
        channel = None if self.channel is None else spread(self.channel(self._mean(reading)), self.dims)
        return channel, None if self.spatial is None else self.spatial.of(reading)

    def _mean(self, reading: Reading) -> Tensor:
        if self.window == "whole":
            return reading.mean().flatten(1)
        return reading.x[..., : reading.x.shape[2]].mean(dim=(2, 3))

    def _check(self, x: Tensor) -> None:
        self.check(x)
        batch, released = x.shape[0], self.window == "released"
        if self.channel is not None and released and not x.shape[2] <= x.shape[3] < 2 * x.shape[2]:
            raise InputError(
                f"{self.label}: the released window needs H <= W < 2 H; received shape {tuple(x.shape)}",
                "window='whole' takes any map, and is the same on square ones",
            )
        if self.training and self.channel is not None and batch == 1:
            raise InputError(
                f"{self.label}: in training the norm of its channel branch needs more than one sample; received shape "
                f"{tuple(x.shape)}",
                "take a larger batch, eval(), or parts='spatial', which has no such norm",
            )
        if self.training and batch * math.prod(x.shape[2:]) == 1:
            raise InputError(
                f"{self.label}: in training its norms need more than one position; received shape {tuple(x.shape)}",
                "take a larger batch or map, or eval()",
            )

    def _start_as_authors(self) -> None:
        for layer in self.modules():
            if isinstance(layer, CONVS):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(layer, (*CONVS, nn.Linear)):
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


class ChannelBranch(nn.Module):
    """Compute one logit per channel from the channel means: (B, C) to (B, C)."""

    def __init__(self, channels: int, inner_channels: int, num_layers: int, final_norm: bool) -> None:
        super().__init__()
        widths = [channels] + [inner_channels] * num_layers
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in widths[1:])
        self.expand = nn.Linear(inner_channels, channels)
        self.final_norm = nn.BatchNorm1d(channels) if final_norm else None

    def forward(self, mean: Tensor) -> Tensor:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            mean = F.relu(norm(layer(mean)))
        logits: Tensor = self.expand(mean)
        return logits if self.final_norm is None else self.final_norm(logits)


class SpatialBranch(nn.Module):
    """Compute one logit per position from a wide neighbourhood: (B, C, ...) to (B, 1, ...)."""

    def __init__(
        self, channels: int, inner_channels: int, num_convs: int, dilation: int, final_norm: bool, dims: int = 2
    ) -> None:
        super().__init__()
        conv, norm = CONV[dims], NORM[dims]
        self.reduce = conv(channels, inner_channels, kernel_size=1)
        self.reduce_norm = norm(inner_channels)
        self.convs = nn.ModuleList(
            conv(inner_channels, inner_channels, kernel_size=3, padding=dilation, dilation=dilation)
            for _ in range(num_convs)
        )
        self.norms = nn.ModuleList(norm(inner_channels) for _ in range(num_convs))
        self.project = conv(inner_channels, 1, kernel_size=1)
        self.final_norm = norm(1) if final_norm else None

    def forward(self, x: Tensor) -> Tensor:
        return self.of(Reading(x))

    def of(self, reading: Reading) -> Tensor:
        """Return the logits of a map that has other readers too."""
        size, bias = reading.x.shape[2:], self.reduce.bias
        assert bias is not None
        reduced = reading.over_channels(self.reduce.weight.flatten(1)[None].to(reading.x.dtype))
        x = F.relu(self.reduce_norm(torch.unflatten(reduced + bias.to(reduced.dtype)[:, None], 2, size)))
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x)))
        logits: Tensor = self.project(x)
        return logits if self.final_norm is None else self.final_norm(logits)
