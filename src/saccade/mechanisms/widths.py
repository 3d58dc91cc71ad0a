"""The widths and defaults that mechanisms compute from their options: plain Python, for any framework.

One function for each rule that depends on more than one option; rules of a single option are in
:mod:`saccade.mechanisms.rules`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from saccade.errors import InputError
from saccade.mechanisms.rules import choose, divisible, positive, reduced


def hidden_width(
    label: str, channels: int, reduction: int, inner_channels: int | None, *, multiple_of: int | None = None
) -> int:
    """Return the hidden channels of SE, CBAM and BAM: `inner_channels`, else the reduced ones, rounded for timm.

    Args:
        label: Prefix of error messages.
        channels: C.
        reduction: Divisor of C.
        inner_channels: The width itself; None means C reduced by `reduction`.
        multiple_of: Divisor that timm rounds to; None: not rounded, max(1, C // reduction).

    Raises:
        InputError: A number below 1.

    Example:
        >>> hidden_width("SE", 64, 16, None), hidden_width("SE", 64, 16, None, multiple_of=8)
        (4, 8)
    """
    positive(label, reduction=reduction)
    if inner_channels is None:
        rounded = multiple_of is not None
        inner_channels = divisible(channels / reduction, multiple_of or 1) if rounded else reduced(channels, reduction)
    positive(label, inner_channels=inner_channels)
    return inner_channels


def adaptive_kernel(channels: int) -> int:
    r"""Return ECA's kernel size: the odd number at or above the whole part of :math:`|(\log_2 C + 1) / 2|`.

    Example:
        >>> [adaptive_kernel(channels) for channels in (4, 64, 256, 2048)]
        [1, 3, 5, 7]
    """
    t = int(abs(math.log2(channels) + 1) / 2)
    return t if t % 2 else t + 1


def neighbours(label: str, channels: int | None, k: int | None, circular: bool) -> int:
    """Return the number of neighbours that a gate of ECA reads: `k`, else the paper's rule.

    Args:
        label: Prefix of error messages.
        channels: C; None if it is not known yet.
        k: The number itself.
        circular: True if the channels close to a ring.

    Raises:
        InputError: An even `k`, one below 1, or a ring that `k` winds round more than once.
    """
    if k is None:
        k = 1 if channels is None else adaptive_kernel(channels)
    positive(label, k=k)
    if k % 2 == 0:
        raise InputError(f"{label}: `k` must be odd, so that a gate has a middle; received {k=}")
    if circular and channels is not None and k // 2 > channels:
        raise InputError(
            f"{label}: `k` is too large for a ring of channels; received {k=}, {channels=}",
            f"take k={2 * channels + 1} or less, or circular=False",
        )
    return k


def context_width(label: str, channels: int, ratio: float | None, inner_channels: int | None, variant: str) -> int:
    """Return the hidden channels of GC: `inner_channels`, else a fraction of C, by default 1/16 or timm's 1/8.

    Raises:
        InputError: A `ratio` outside (0, 1], or a width below 1.
    """
    if inner_channels is None:
        if ratio is None:
            ratio = 1 / 8 if variant == "timm" else 1 / 16
        if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0 < ratio <= 1:
            raise InputError(
                f"{label}: `ratio` must be a fraction above 0 and at most 1; received {ratio=}",
                "it multiplies the channels: write 1/16, not 16",
            )
        inner_channels = divisible(channels * ratio) if variant == "timm" else max(1, int(channels * ratio))
    positive(label, inner_channels=inner_channels)
    return inner_channels


@dataclass(frozen=True)
class Kernels:
    """Options that determine the layers of SK.

    Args:
        groups: Groups of each convolution.
        second: Kind of the later branches: ``"dilated"``, ``"5x5"`` or ``"grouped"``.
        split: True if each branch reads its own part of the channels.
        inner_channels: Width of z.
    """

    groups: int
    second: str
    split: bool
    inner_channels: int


def kernels(
    label: str,
    out_channels: int,
    *,
    groups: int | None,
    second: str | None,
    variant: str,
    split: bool | None,
    inner_channels: int | None,
) -> Kernels:
    """Fill in the options of SK with the defaults of the variant.

    Raises:
        InputError: An unknown `second`, or a number below 1.
    """
    timm, popular = variant == "timm", variant == "popular"
    groups = (1 if timm else 32) if groups is None else groups
    second = ("5x5" if popular else "dilated") if second is None else second
    choose(label, "second", second, ("dilated", "5x5", "grouped"))
    if inner_channels is None:
        least = 1 if second == "grouped" else 32
        inner_channels = divisible(out_channels / 16, 8, keep=0.9) if timm else max(out_channels // 16, least)
    positive(label, groups=groups, inner_channels=inner_channels)
    return Kernels(groups, second, timm if split is None else split, inner_channels)


def fusion_sizes(label: str, channels: int, kernel: int | None, groups: int | None) -> tuple[int, int]:
    """Return kernel and groups of the fusion of GSoP's "concat", by the authors' rule if they are not given.

    Raises:
        InputError: Channels without a rule, an even kernel, or groups that do not divide the channels.
    """
    if (kernel is None or groups is None) and (channels % 64 or channels > 2048):
        raise InputError(
            f"{label}: variant='concat' has a rule for multiples of 64 up to 2048; received {channels=}",
            "give fusion_kernel and fusion_groups, or take variant='sum' or 'max'",
        )
    groups = channels // 64 if groups is None else groups
    positive(label, fusion_groups=groups)
    kernel = 2 * int(math.log2(32 / groups)) + 5 if kernel is None else kernel
    positive(label, fusion_kernel=kernel)
    if kernel % 2 == 0 or channels % groups:
        raise InputError(
            f"{label}: `fusion_kernel` must be odd and `fusion_groups` divide {channels} channels; received "
            f"fusion_kernel={kernel}, fusion_groups={groups}"
        )
    return kernel, groups


@dataclass(frozen=True)
class PairwiseSource:
    """Defaults of one published code of the non-local block.

    Args:
        sub_sample: True if keys and values are pooled.
        pool_first: True if they are pooled before their projection; a maximum does not commute with it.
        scaled: True if embedded-Gaussian logits are scaled.
        norm: True if a batch normalisation ends the branch.
        eps: Epsilon of that normalisation.
        inner_init: Initialisation of query, key and value: ``"gaussian"`` (0.01), ``"kaiming"`` or ``"torch"``.
        outer_init: Initialisation of the other convolutions, before the last layer is set to zero.
    """

    sub_sample: bool
    pool_first: bool
    scaled: bool
    norm: bool
    eps: float
    inner_init: str
    outer_init: str


PAIRWISE_SOURCES = {
    "official": PairwiseSource(True, True, True, True, 1.0000001e-5, "gaussian", "gaussian"),
    "popular": PairwiseSource(True, False, False, True, 1e-5, "torch", "torch"),
    "mmcv": PairwiseSource(False, False, True, False, 1e-5, "gaussian", "kaiming"),
    "gcnet": PairwiseSource(False, False, True, False, 1e-5, "gaussian", "kaiming"),
    "timm": PairwiseSource(False, False, True, True, 1e-5, "kaiming", "kaiming"),
}
"""The variants of the non-local block."""


def pairwise_width(label: str, channels: int, variant: str, reduction: int | None, inner_channels: int | None) -> int:
    """Return the inner channels of the non-local block.

    Raises:
        InputError: Both widths, or a number below 1.
    """
    if inner_channels is not None:
        positive(label, inner_channels=inner_channels)
        if reduction is not None:
            raise InputError(
                f"{label}: `inner_channels` takes the place of `reduction`; received {inner_channels=}, {reduction=}",
                "give one of them",
            )
        return inner_channels
    if reduction is None:
        reduction = 8 if variant == "timm" else 2
    positive(label, reduction=reduction)
    return divisible(channels / reduction, 8, keep=0.9) if variant == "timm" else reduced(channels, reduction)


def pairwise_scale(channels: int, width: int, variant: str) -> float:
    """Return the factor on embedded-Gaussian logits of the non-local block."""
    if variant == "gcnet":
        return float(width**0.5)
    return float((channels if variant == "timm" else width) ** -0.5)


def control_width(channels: int, params: int) -> int | None:
    """Return the width of the 3x3 control with at least `params` parameters; None if one convolution suffices.

    Example:
        >>> control_width(64, 10_000), control_width(64, 100_000)
        (None, 87)
    """
    if params <= 9 * channels**2 + 2 * channels:
        return None
    return math.ceil((params - 2 * channels) / (18 * channels + 2))


def field_dilations(reach: int) -> tuple[int, ...]:
    """Return the dilations 1, 3, 9 ... of 3x3 convolutions that together see `reach` positions to each side, no gaps.

    Example:
        >>> field_dilations(11), field_dilations(13), field_dilations(14)
        ((1, 3, 9), (1, 3, 9), (1, 3, 9, 27))
    """
    found = [1]
    while sum(found) < reach:
        found.append(3 * found[-1])
    return tuple(found)


def field_width(channels: int, params: int, dilations: int) -> int:
    """Return the largest width with which the control of that many dilations has at most `params` parameters, or 1.

    Example:
        >>> field_width(64, 8_480, 3), field_width(64, 100, 3)
        (15, 1)
    """
    a, b, c = 9 * dilations, 2 * channels + 2 * (dilations + 1), 2 * channels - params
    return max(1, int((math.isqrt(b * b - 4 * a * c) - b) // (2 * a))) if c < 0 else 1
