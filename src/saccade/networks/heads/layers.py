"""Building blocks and checks shared by the heads."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from saccade.errors import InputError
from saccade.mechanisms.rules import positive, reduced

Norm = Callable[[int], nn.Module]


class ConvNormReLU(nn.Module):
    """Convolution (same size), norm, relu: (B, C, H, W) to (B, out, H, W)."""

    def __init__(self, channels: int, out: int, *, kernel_size: int, norm_layer: Norm, bias: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel_size, padding=kernel_size // 2, bias=bias)
        self.norm = norm_layer(out)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


def names(theirs: str, ours: str, norm: str = "1.") -> dict[str, str]:
    """Return the key names of a convolution and its norm that a `Sequential` of the authors holds."""
    return {f"{theirs}0.": f"{ours}conv.", f"{theirs}{norm}": f"{ours}norm."}


def head_width(label: str, channels: int, inner_channels: int | None) -> int:
    """Return the width inside a head: the one given, or a quarter of the map's channels."""
    width = reduced(channels, 4) if inner_channels is None else inner_channels
    positive(label, inner_channels=width)
    return width


def check_map(label: str, x: Tensor, channels: int) -> None:
    """Refuse any input but (B, C, H, W) with these channels."""
    if x.dim() != 4 or x.shape[1] != channels:
        raise InputError(f"{label}: expected a feature map (B, {channels}, H, W); received shape {tuple(x.shape)}")


def check_norm(label: str, norm_layer: Norm) -> None:
    """Refuse a `norm_layer` that cannot make a norm."""
    if not callable(norm_layer):
        raise TypeError(
            f"{label}: `norm_layer` must make a norm from a width, as torch.nn.BatchNorm2d does; received "
            f"{norm_layer!r}"
        )


def check_dropout(label: str, dropout: float) -> None:
    """Refuse a `dropout` outside [0, 1)."""
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
        raise InputError(f"{label}: `dropout` must be at least 0 and below 1; received {dropout=}")
