"""Global second-order pooling: gates from the covariance of channels, or of positions.

Z. Gao, J. Xie, Q. Wang, P. Li, "Global Second-order Pooling Convolutional Networks", CVPR 2019, arXiv:1811.12006.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.errors import InputError
from saccade.mechanisms.base import Layout, Mechanism
from saccade.mechanisms.rules import choose, dims_option, positive
from saccade.mechanisms.widths import fusion_sizes
from saccade.ops.adaptive import adaptive_mean
from saccade.ops.axes import CONV, CONVS, NORM, spread
from saccade.ops.covariance import covariance
from saccade.ops.precision import full_precision, wide
from saccade.ops.rectify import rectified

VARIANTS = ("channel", "spatial", "sum", "max", "concat")


class GSoP(Mechanism):
    r"""Scale channels, positions or both by gates computed from a covariance matrix, row by row.

    .. math:: h &= \mathrm{relu}(\mathrm{BN}(W_h\,\mathrm{relu}(x))), \quad
              S = \tfrac{1}{M}(h - \bar h)(h - \bar h)^\top, \quad
              s = \sigma(W_s\,\mathrm{rows}(\mathrm{BN}(S))), \quad y_\mathrm{ch} = s\,x \\
              k &= \mathrm{pool}(\mathrm{BN}(W_k\,\mathrm{relu}(x))), \quad
              K = \tfrac{1}{P} k^\top k - \tfrac{1}{P^2} u^\top u, \quad
              y_\mathrm{sp} = \mathrm{relu}(x\,\mathrm{pool}(\sigma(W_a\,\mathrm{relu}(\mathrm{rows}(\mathrm{BN}(K))))))

    with M positions of h, P = grid^2 positions of k, u the sums of k over its channels, and rows() a layer from each
    row to four numbers. Both pools are adaptive means, to the grid and from it to the size of x. The paper's letters
    here: c' is `dim`, h x w (its fixed size) `grid`.

    Args:
        channels: C, of the input and of the output.
        variant: ``"channel"``: y_ch; ``"spatial"``: y_sp; ``"sum"`` and ``"max"`` of the two; ``"concat"``: the norm
            of the sum of a vertical convolution of each.
        dim: Channels after the reductions, the side of S.
        grid: Side of the fixed map whose P positions K compares.
        stride: Stride of the reduction before S. The authors' network has 2 for C <= 256, else 1.
        covariance: ``"released"``: K as above; ``"true"``: divided by `dim` instead of P, as in a covariance.
        fusion_kernel: Height of the convolutions of "concat", odd; None: 2 int(log2(32 / groups)) + 5.
        fusion_groups: Number of their groups; None means C / 64.
        dims: Number of map axes: 1 for sequences, 2 for images, 3 for volumes and clips. Spatial gates have 2.

    Shape: (B, C, H, W) -> (B, C, H, W); (B, C, T) and (B, C, T, H, W) for `dims` 1 and 3.

    Raises:
        InputError: A size below 1, an unknown `variant` or `covariance`, "concat" of channels without the authors'
            rule (no multiple of 64, or above 2048) or with an even kernel or groups that do not divide them, a spatial
            gate of other than two axes, a map of another shape, or training on a single value, which the norms cannot
            normalise.

    Start: not the identity; a new gate is about 0.5. Insertion wraps it. Convolutions start Kaiming normal (fan out).

    Cost: channel: C d M + d^2 M + 4 d^2 + 4 d C multiply-adds for d = `dim`, d^2 map entries, and 5 C d + 4 d^2 + 9 d
    + C parameters; spatial: C d N + d P^2 + 8 P^2, P^2 entries, and C d + 3 d + 8 P^2 + 7 P parameters. The channel
    gate keeps no resolution, the spatial one that of the grid.

    Example:
        >>> import torch, saccade
        >>> gsop = saccade.create("gsop", channels=64, variant="sum", dim=16)
        >>> gsop(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 64, 7, 9])
        >>> {name: tuple(gate.shape) for name, gate in gsop.gates(torch.randn(2, 64, 7, 9)).items()}
        {'channel': (2, 64), 'spatial': (2, 1, 7, 9)}

    Differences: the released K has the divisors of another matrix, so it is not a covariance and may have negative
    eigenvalues; the released networks use it. The paper has a non-linearity after the row-wise layer of the channel
    gate, the code has none. "sum" is called average there, without division by 2. Covariances are float32 or better
    whatever the input, and means are taken off first, where the authors subtract two large products. A 1 x 1 map has
    no covariance: its channel gate is a constant.
    """

    label = "GSoP"
    layouts = (
        Layout(
            "ZilinGao/Global-Second-order-Pooling-Convolutional-Networks",
            {
                "conv_for_DR.": "channel.reduce.",
                "bn_for_DR.": "channel.reduce_norm.",
                "row_bn.": "channel.row_norm.",
                "row_conv_group.": "channel.rows.",
                "fc_adapt_channels.": "channel.expand.",
                "conv_for_DR_spatial.": "spatial.reduce.",
                "bn_for_DR_spatial.": "spatial.reduce_norm.",
                "row_bn_for_spatial.": "spatial.row_norm.",
                "row_conv_group_for_spatial.": "spatial.rows.",
                "fc_adapt_channels_for_spatial.": "spatial.expand.",
                "dilate_conv_for_concat1.": "fusion.channel.",
                "dilate_conv_for_concat2.": "fusion.spatial.",
                "bn_for_concat.": "fusion.norm.",
            },
        ),
    )

    def __init__(
        self,
        channels: int,
        *,
        variant: str = "channel",
        dim: int = 128,
        grid: int = 8,
        stride: int = 1,
        covariance: str = "released",
        fusion_kernel: int | None = None,
        fusion_groups: int | None = None,
        dims: int = 2,
    ) -> None:
        super().__init__(channels, dims=dims)
        choose(self.label, "variant", variant, VARIANTS)
        choose(self.label, "covariance", covariance, ("released", "true"))
        if variant != "channel" and dims != 2:
            raise InputError(
                f"{self.label}: variant={variant!r} compares positions of a square grid of two axes; received {dims=}",
                "variant='channel' takes maps of any axes",
            )
        positive(self.label, dim=dim, grid=grid, stride=stride)
        self.variant, self.dim, self.grid, self.stride, self.covariance = variant, dim, grid, stride, covariance
        self.channel = ChannelGate(channels, dim, stride, dims) if variant != "spatial" else None
        self.spatial = SpatialGate(channels, dim, grid, covariance == "true") if variant != "channel" else None
        self.fusion = None
        if variant == "concat":
            self.fusion = Fusion(channels, *fusion_sizes(self.label, channels, fusion_kernel, fusion_groups))
        for layer in self.modules():
            if isinstance(layer, CONVS):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        self._check(x)
        of_channels = None if self.channel is None else x * self.channel(x)
        of_positions = None if self.spatial is None else rectified(x * self.spatial(x))
        if of_channels is None or of_positions is None:
            return _the_one(of_channels, of_positions)
        if self.fusion is not None:
            fused: Tensor = self.fusion(of_channels, of_positions)
            return fused.to(x.dtype)
        return of_channels + of_positions if self.variant == "sum" else torch.maximum(of_channels, of_positions)

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        """Return the gates, ``"channel"`` (B, C) and ``"spatial"`` (B, 1, H, W), both of `x` itself."""
        self._check(x)
        gates = {} if self.channel is None else {"channel": self.channel(x).flatten(1)}
        return gates if self.spatial is None else gates | {"spatial": self.spatial(x)}

    def covariances(self, x: Tensor) -> dict[str, Tensor]:
        """Return S of the reduced channels, ``"channel"`` (B, dim, dim), and K of the grid, ``"spatial"`` (B, P, P)."""
        self._check(x)
        found = {} if self.channel is None else {"channel": self.channel.matrix(x)}
        return found if self.spatial is None else found | {"spatial": self.spatial.matrix(x)}

    def extra_repr(self) -> str:
        return (
            f"channels={self.channels}, variant={self.variant}, dim={self.dim}, grid={self.grid}, "
            f"stride={self.stride}, covariance={self.covariance}, dims={self.dims}"
        )

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        parts = {part: f"{part}.reduce.weight" for part in ("channel", "spatial")}
        there = [part for part, name in parts.items() if name in tensors]
        if not there:
            return {}
        dim, channels = tensors[parts[there[0]]].shape[:2]
        options: dict[str, Any] = {"channels": channels, "dim": dim}
        if "spatial.row_norm.weight" in tensors:
            options["grid"] = math.isqrt(tensors["spatial.row_norm.weight"].shape[0])
        if "fusion.channel.weight" in tensors:
            _, width, kernel, _ = tensors["fusion.channel.weight"].shape
            return options | {"variant": "concat", "fusion_kernel": kernel, "fusion_groups": channels // width}
        options |= dims_option(tensors[parts[there[0]]])
        return options | ({"variant": there[0]} if len(there) == 1 else {"variant": "sum"})

    def _check(self, x: Tensor) -> None:
        self.check(x)
        stride = 1 if self.channel is None else self.stride
        if self.training and x.shape[0] == 1 and max(x.shape[2:]) <= stride:
            raise InputError(
                f"{self.label}: in training its norms need more than one position (after stride {stride}); received "
                f"shape {tuple(x.shape)}",
                "take a larger batch or map, or eval()",
            )


class ChannelGate(nn.Module):
    """Compute one factor per channel from the covariance of the reduced channels: (B, C, 1, ...)."""

    def __init__(self, channels: int, dim: int, stride: int, dims: int = 2) -> None:
        super().__init__()
        self.dims = dims
        self.reduce = CONV[dims](channels, dim, kernel_size=1, stride=stride)
        self.reduce_norm = NORM[dims](dim)
        self.row_norm = nn.BatchNorm2d(dim)
        self.rows = nn.Conv2d(dim, 4 * dim, kernel_size=(dim, 1), groups=dim)
        self.expand = nn.Conv2d(4 * dim, channels, kernel_size=1)

    def matrix(self, x: Tensor) -> Tensor:
        """Return the covariance of the reduced channels, (B, dim, dim)."""
        return covariance(F.relu(self.reduce_norm(self.reduce(F.relu(x)))).flatten(2))

    def forward(self, x: Tensor) -> Tensor:
        rows = self.row_norm(self.matrix(x).to(x.dtype)[..., None])
        logits: Tensor = self.expand(self.rows(rows))
        return spread(logits.sigmoid().flatten(1), self.dims)


class SpatialGate(nn.Module):
    """Compute one factor per position from the covariance of the positions of a fixed grid: (B, 1, H, W)."""

    def __init__(self, channels: int, dim: int, grid: int, true_covariance: bool) -> None:
        super().__init__()
        positions = grid * grid
        self.grid, self.true_covariance = grid, true_covariance
        self.reduce = nn.Conv2d(channels, dim, kernel_size=1)
        self.reduce_norm = nn.BatchNorm2d(dim)
        self.row_norm = nn.BatchNorm2d(positions)
        self.rows = nn.Conv2d(positions, 4 * positions, kernel_size=(positions, 1), groups=positions)
        self.expand = nn.Conv2d(4 * positions, positions, kernel_size=1)

    def matrix(self, x: Tensor) -> Tensor:
        """Return the covariance of the positions of the grid, (B, P, P)."""
        reduced = self.reduce_norm(self.reduce(F.relu(x)))
        k = adaptive_mean(reduced, (self.grid, self.grid)).flatten(2).transpose(-2, -1)  # (B, P, dim)
        return covariance(k) if self.true_covariance else _released(k)

    def forward(self, x: Tensor) -> Tensor:
        rows = F.relu(self.rows(self.row_norm(self.matrix(x).to(x.dtype)[..., None])))
        gate = self.expand(rows).sigmoid().view(-1, 1, self.grid, self.grid)
        # Also to a larger map: bins then overlap, as in the authors' code.
        return adaptive_mean(gate, (x.shape[2], x.shape[3]))


class Fusion(nn.Module):
    """Combine both gated maps for the variant "concat"."""

    def __init__(self, channels: int, kernel: int, groups: int) -> None:
        super().__init__()
        sizes: dict[str, Any] = {"kernel_size": (kernel, 1), "padding": (kernel // 2, 0), "groups": groups}
        self.channel = nn.Conv2d(channels, channels, **sizes)
        self.spatial = nn.Conv2d(channels, channels, **sizes)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, of_channels: Tensor, of_positions: Tensor) -> Tensor:
        fused: Tensor = self.norm(self.channel(of_channels) + self.spatial(of_positions))
        return fused


def _released(rows: Tensor) -> Tensor:
    """Return the authors' matrix of (B, P, d): divided by P and P^2, where a covariance has d and d^2."""
    with full_precision(rows):
        rows, count = wide(rows), rows.shape[1]
        sums = rows.sum(dim=-1, keepdim=True)
        return rows @ rows.transpose(-2, -1) / count - sums @ sums.transpose(-2, -1) / count**2


def _the_one(first: Tensor | None, second: Tensor | None) -> Tensor:
    """Return the one that is given; a variant has at least one gate."""
    found = second if first is None else first
    assert found is not None
    return found
