"""Selective kernels: convolutions of several receptive fields, and a softmax over them for each channel.

X. Li, W. Wang, X. Hu, J. Yang, "Selective Kernel Networks", CVPR 2019, arXiv:1903.06586.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.errors import InputError
from saccade.mechanisms.base import Layout, Mechanism
from saccade.mechanisms.rules import choose, dims_option, positive
from saccade.mechanisms.widths import kernels
from saccade.ops.axes import CONV, NORM, Conv, memory_format, positions, spread

VARIANTS = ("official", "popular", "timm")
_MOST_BRANCHES = 8  # largest number in the table of key names; the paper has up to 3


class SelectiveKernel(Mechanism):
    r"""Replace a 3x3 convolution by several of different receptive field, mixed channel by channel.

    .. math:: U_i = \mathrm{relu}(\mathrm{BN}(f_i * x)), \quad
              z = \mathrm{relu}(\mathrm{BN}(W_z\,\overline{\textstyle\sum_i U_i})), \quad
              a = \mathrm{softmax}_i(W_i z), \quad \tilde x_c = \sum_i a_{ic}\, U_{ic}

    with the bar for the mean over positions. The paper's letters here: M is `branches`, G `groups`, d
    `inner_channels`; W_z is `reduce`, and A and B, the rows W_i, `select`.

    Args:
        channels: C, of the input and of the output.
        groups: Groups of each convolution; None means 32, for timm 1.
        branches: M, the number of convolutions; at least 2.
        stride: Stride of each convolution. Above 1 the output is smaller: ceil(H / stride) x ceil(W / stride).
        second: Kind of the branches after the plain 3x3: ``"dilated"`` 3x3 (dilation 2, 3, ...), as released, true
            ``"5x5"`` (7x7, ...) convolutions, or plain 3x3 that alone are ``"grouped"``, next to a dense first one, as
            in the first author's later SK-ResNet*. None means ``"dilated"``, for popular ``"5x5"``.
        variant: ``"official"``; ``"popular"``, the most copied PyTorch code: biases everywhere, neither norm nor relu
            on z, a layer of its own to select each branch; ``"timm"``: each branch reads its part of the channels.
        split: If True, each branch reads 1 / M of the channels instead of all; None means for timm only.
        out_channels: Channels of the output; None means C.
        inner_channels: d; None: max(C // 16, 32), with grouped branches max(C // 16, 1), timm's C / 16 rounded to a
            multiple of 8.
        dims: Number of map axes: 1 for sequences, 2 for images, 3 for volumes and clips.

    Shape: (B, C, H, W) -> (B, C, H, W), or smaller maps for a `stride` above 1, or `out_channels` of them; (B, C, T)
    and (B, C, T, H, W) for `dims` 1 and 3.

    Raises:
        InputError: A size below 1, fewer than 2 branches, an unknown `second` or `variant`, `groups` (or a split) that
            do not divide the channels, a map of another shape, or training on what a batch norm cannot normalise: a
            single sample, of which z is one number per channel (popular: a single value).

    Start: not the identity: it is a convolution. In a trained network insert adds it as a branch that starts at 0. As
    in the authors' definition, the layers around z start with deviation 0.01, so that branches count alike; all else as
    PyTorch's.

    Cost: M (9 C^2 / G) N + (M + 1) C d multiply-adds for N = H W, and M (9 C^2 / G + 2 C) + (M + 1) C d + 2 d
    parameters for dilated branches at stride 1. The branches keep the full resolution, the selection none; relu after
    each convolution.

    Example:
        >>> import torch, saccade
        >>> sk = saccade.create("sk", channels=64)
        >>> sk(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 64, 7, 9])
        >>> sk.shares(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 2, 64])

    Differences: the text draws a 5x5 branch; the released networks have a 3x3 of dilation 2. Released as Caffe
    definitions only, whose layers around z have no biases. timm's own small networks split the channels, which is
    another network; with ``split=False`` and 32 groups its layers are the authors'.
    """

    label = "SK"
    layouts = (
        Layout(
            "implus/SKNet",
            {
                "fc1.": "reduce.",
                "fc1_bn.": "reduce_norm.",
                "fc2.": "select.0.",
                **{f"conv{i}.": f"convs.{i}." for i in range(_MOST_BRANCHES)},
                **{f"bn{i}.": f"norms.{i}." for i in range(_MOST_BRANCHES)},
            },
            needs={"variant": "official"},
        ),
        Layout(
            "implus/PytorchInsight",
            {
                "conv2.": "convs.0.",
                "bn2.": "norms.0.",
                "conv2g.": "convs.1.",
                "bn2g.": "norms.1.",
                "conv_fc1.": "reduce.",
                "bn_fc1.": "reduce_norm.",
                "conv_fc2.": "select.0.",
            },
            needs={"second": "grouped"},
        ),
        Layout(
            "pppLang/SKNet",
            {
                "fc.": "reduce.",
                **{f"fcs.{i}.": f"select.{i}." for i in range(_MOST_BRANCHES)},
                **{f"convs.{i}.0.": f"convs.{i}." for i in range(_MOST_BRANCHES)},
                **{f"convs.{i}.1.": f"norms.{i}." for i in range(_MOST_BRANCHES)},
            },
            needs={"variant": "popular"},
        ),
        Layout(
            "timm",
            {
                "attn.fc_reduce.": "reduce.",
                "attn.bn.": "reduce_norm.",
                "attn.fc_select.": "select.0.",
                **{f"paths.{i}.conv.": f"convs.{i}." for i in range(_MOST_BRANCHES)},
                **{f"paths.{i}.bn.": f"norms.{i}." for i in range(_MOST_BRANCHES)},
            },
            # By shapes alone a split branch could pass for one of two groups.
            needs={"variant": "timm"},
        ),
    )

    def __init__(
        self,
        channels: int,
        *,
        groups: int | None = None,
        branches: int = 2,
        stride: int = 1,
        second: str | None = None,
        variant: str = "official",
        split: bool | None = None,
        out_channels: int | None = None,
        inner_channels: int | None = None,
        dims: int = 2,
    ) -> None:
        super().__init__(channels, dims=dims)
        out = self.out_channels = channels if out_channels is None else out_channels
        choose(self.label, "variant", variant, VARIANTS)
        positive(self.label, branches=branches, stride=stride, out_channels=out)
        decided = kernels(
            self.label, out, groups=groups, second=second, variant=variant, split=split, inner_channels=inner_channels
        )
        inner_channels, popular = decided.inner_channels, variant == "popular"
        self.groups, self.branches, self.stride = decided.groups, branches, stride
        self.second, self.variant, self.split = decided.second, variant, decided.split
        width = self._width_of_a_branch()
        self.convs = nn.ModuleList(self._conv(i, width) for i in range(branches))
        self.norms = nn.ModuleList(NORM[dims](out) for _ in range(branches))
        self.reduce = nn.Linear(out, inner_channels, bias=popular)
        self.reduce_norm = None if popular else nn.BatchNorm1d(inner_channels)
        widths = [out] * branches if popular else [out * branches]
        self.select = nn.ModuleList(nn.Linear(inner_channels, width, bias=popular) for width in widths)
        if variant == "official":
            for layer in (self.reduce, *self.select):
                nn.init.normal_(layer.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        maps = self._maps(x)
        shares = self._shares(maps)
        mixed = sum(spread(shares[:, i], self.dims) * u for i, u in enumerate(maps))
        assert isinstance(mixed, Tensor)
        # Convolutions of three axes forget the layout.
        return mixed.to(x.dtype, memory_format=memory_format(x)) if self.dims == 3 else mixed.to(x.dtype)

    def shares(self, x: Tensor) -> Tensor:
        """Return the weights of each channel over the branches, (B, branches, C); they sum to 1."""
        return self._shares(self._maps(x))

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        """Return the fraction of each channel that comes from the wider branches, not from the plain 3x3: (B, C)."""
        return {"channel": self.shares(x)[:, 1:].sum(dim=1).clamp(max=1)}

    def extra_repr(self) -> str:
        return (
            f"channels={self.channels}, groups={self.groups}, branches={self.branches}, stride={self.stride}, "
            f"second={self.second}, variant={self.variant}, split={self.split}, out_channels={self.out_channels}, "
            f"dims={self.dims}"
        )

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        options: dict[str, Any] = {}
        count = sum(name.startswith("convs.") and name.endswith(".weight") for name in tensors)
        if {"convs.0.weight", "convs.1.weight"} <= set(tensors):
            out, width = tensors["convs.1.weight"].shape[:2]
            options |= {"channels": out, "branches": count, "groups": max(1, out // width)}
            options |= dims_option(tensors["convs.1.weight"])
            if tensors["convs.0.weight"].shape[1] > width:
                options["second"] = "grouped"
        if "reduce.weight" in tensors:
            options["inner_channels"] = tensors["reduce.weight"].shape[0]
        return options

    def _width_of_a_branch(self) -> int:
        """Return the number of channels each branch reads; refuse a width that cannot be divided so."""
        if self.branches < 2:
            raise InputError(f"{self.label}: `branches` must be at least 2, to select from; received {self.branches}")
        if self.split and self.channels % self.branches:
            raise InputError(
                f"{self.label}: {self.channels} channels do not split into {self.branches} branches",
                "split=False gives every branch all channels",
            )
        width = self.channels // self.branches if self.split else self.channels
        if self.out_channels % self.groups or width % self.groups:
            raise InputError(
                f"{self.label}: `groups` must divide the channels each branch reads and writes; received groups="
                f"{self.groups}, channels {width} and {self.out_channels}",
                "give groups=1, or another divisor",
            )
        return width

    def _conv(self, index: int, width: int) -> Conv:
        grouped = self.second == "grouped"
        reach = 1 if grouped else index + 1
        return CONV[self.dims](
            width,
            self.out_channels,
            kernel_size=2 * reach + 1 if self.second == "5x5" else 3,
            stride=self.stride,
            padding=reach,
            dilation=reach if self.second == "dilated" else 1,
            groups=1 if grouped and index == 0 else self.groups,
            bias=self.variant == "popular",
        )

    def _maps(self, x: Tensor) -> list[Tensor]:
        self._check(x)
        read = x.chunk(self.branches, dim=1) if self.split else [x] * self.branches
        return [F.relu(norm(conv(part))) for conv, norm, part in zip(self.convs, self.norms, read, strict=True)]

    def _shares(self, maps: list[Tensor]) -> Tensor:
        z = self.reduce(torch.stack(maps).sum(dim=0).mean(dim=positions(maps[0])))
        if self.reduce_norm is not None:
            z = F.relu(self.reduce_norm(z))
        logits = torch.cat([layer(z) for layer in self.select], dim=1)
        return logits.view(-1, self.branches, self.out_channels).softmax(dim=1)

    def _check(self, x: Tensor) -> None:
        self.check(x)
        if not self.training:
            return
        batch, sides = x.shape[0], x.shape[2:]
        if self.reduce_norm is not None and batch == 1:
            raise InputError(
                f"{self.label}: in training the norm on z needs more than one sample; received shape {tuple(x.shape)}",
                "take a larger batch, eval(), or variant='popular', which has no such norm",
            )
        if batch == 1 and max(sides) <= self.stride:
            raise InputError(
                f"{self.label}: in training its norms need more than one position; received shape {tuple(x.shape)}",
                "take a larger batch or map, or eval()",
            )
