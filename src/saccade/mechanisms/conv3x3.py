"""A zero-started 3x3 convolution: the control with a mechanism's number of parameters and no attention."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from saccade.errors import InputError
from saccade.mechanisms.base import Mechanism
from saccade.mechanisms.rules import positive
from saccade.ops.axes import CONV, NORM


class Conv3x3(Mechanism):
    r"""Add a normalised 3x3 convolution of the feature map, started at zero.

    .. math:: y = x + \mathrm{BN}_0(W x), \qquad \text{or with a width:} \quad
              y = x + \mathrm{BN}_0(W_2\,\mathrm{relu}(\mathrm{BN}(W_1 x)))

    W are 3x3 convolutions (3x3x3 of volumes, 3 of sequences) without biases, BN_0 a batch normalisation whose weight
    starts at 0. If such a block gains as much as a mechanism of no more parameters, the gain says nothing about
    attention.

    Args:
        channels: C, of the input and of the output.
        dilation: Distance between the pixels that a kernel weighs; above 1 the field grows and the size does not, which
            is the control for what a larger field alone gains.
        width: Channels between two convolutions; None: one convolution from C to C.
            :func:`saccade.mechanisms.widths.control_width` finds the one that has at least as many parameters as the
            mechanism it is compared with.
        dims: Number of map axes: 1 for sequences, 2 for images, 3 for volumes and clips.

    Shape: (B, C, H, W) -> (B, C, H, W); (B, C, T) and (B, C, T, H, W) for `dims` 1 and 3.

    Raises:
        InputError: `channels`, `width` or `dilation` below 1, or a map of another shape.

    Start: the identity, exactly.

    Cost: 9 C^2 N multiply-adds and 9 C^2 + 2 C parameters for N = H W; with a width w 18 C w N and
    18 C w + 2 w + 2 C; with n dilations (2 C w + 9 n w^2) N and 2 C w + 9 n w^2 + 2 (n + 1) w + 2 C. Keeps the full
    resolution.

    Example:
        >>> import torch, saccade
        >>> saccade.create("conv3x3", channels=64)(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 64, 7, 9])

    Differences: none, as the block is ours.
    """

    label = "Conv3x3"

    def __init__(
        self, channels: int, *, width: int | None = None, dilation: int | Sequence[int] = 1, dims: int = 2
    ) -> None:
        super().__init__(channels, dims=dims)
        each = (dilation,) if isinstance(dilation, int) else tuple(dilation)
        several = not isinstance(dilation, int)
        for one in each:
            positive(self.label, dilation=one)
        if width is not None:
            positive(self.label, width=width)
        if several and (width is None or not each):
            raise InputError(
                f"{self.label}: several dilations need a width and at least one; received {width=}, {dilation=}",
                "give both, for example conv3x3[width=16,dilation=(1,3,9)]",
            )
        self.width, self.dilation = width, each if several else each[0]
        conv, norm = CONV[dims], NORM[dims]
        layers: list[nn.Module]
        if several and width is not None:
            layers = [conv(channels, width, kernel_size=1, bias=False)]
            for one in each:
                layers += [norm(width), nn.ReLU(inplace=True), _conv(width, width, one, dims)]
            layers += [norm(width), nn.ReLU(inplace=True)]
            layers += [conv(width, channels, kernel_size=1, bias=False)]
        elif width is not None:
            layers = [_conv(channels, width, each[0], dims), norm(width), nn.ReLU(inplace=True)]
            layers += [_conv(width, channels, each[0], dims)]
        else:
            layers = [_conv(channels, channels, each[0], dims)]
        self.body = nn.Sequential(*layers)
        self.norm = norm(channels)
        nn.init.zeros_(self.norm.weight)

    @property
    def starts_as_identity(self) -> bool:
        return True

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        branch: Tensor = self.norm(self.body(x))
        return x + branch

    def extra_repr(self) -> str:
        return f"channels={self.channels}, width={self.width}, dilation={self.dilation}, dims={self.dims}"


def _conv(channels: int, out_channels: int, dilation: int, dims: int) -> nn.Module:
    return CONV[dims](channels, out_channels, kernel_size=3, padding=dilation, dilation=dilation, bias=False)
