"""Rules that the options of mechanisms keep to, and the rounding of widths: plain Python, for any framework."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from saccade.errors import InputError, near


def choose(label: str, option: str, value: Any, known: tuple[Any, ...]) -> None:
    """Refuse a value that is not one of `known`; the error lists the nearest ones."""
    if value not in known:
        raise InputError(f"{label}: unknown {option}={value!r}", near(str(value), map(str, known)))


def positive(label: str, **options: Any) -> None:
    """Refuse options that must be whole numbers of at least 1."""
    for option, value in options.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{label}: `{option}` must be a whole number of at least 1; received {option}={value!r}")


def several(
    label: str, option: str, given: Sequence[str] | str, known: tuple[str, ...], one: str = ""
) -> tuple[str, ...]:
    """Return an option that names one or several of `known`; refuse none, one named twice, and an unknown one.

    Args:
        label: Prefix of error messages.
        option: Name of the option.
        given: One name or several.
        known: Names that are valid.
        one: What a single name is called in messages; by default the name of the option.
    """
    names = (given,) if isinstance(given, str) else tuple(given)
    for name in names:
        choose(label, one or option, name, known)
    if not names or len(set(names)) < len(names):
        least = f"at least one {one}" if one else ", ".join(map(repr, known[:-1])) + f", {known[-1]!r} or several"
        raise InputError(f"{label}: `{option}` must name {least}, and none twice; received {option}={names}")
    return names


def reduced(channels: int, reduction: int) -> int:
    """Return C // reduction, but at least 1: a layer of no channels would make the gate a constant."""
    return max(1, channels // reduction)


def dims_option(kernel: Any) -> dict[str, int]:
    """Return the option of a module that would hold a kernel (out, in, ...) of other than two axes."""
    axes = len(kernel.shape) - 2
    return {"dims": axes} if axes in (1, 3) else {}


def width_options(channels: int, inner_channels: int) -> dict[str, int]:
    """Return the options that give a hidden layer of `inner_channels`: a reduction if possible, else the width."""
    reduction = channels // inner_channels
    if reduction and reduced(channels, reduction) == inner_channels:
        return {"reduction": reduction}
    return {"inner_channels": inner_channels}


def divisible(width: float, divisor: int = 1, *, keep: float = 0.0) -> int:
    """Return the reduced width by timm's rule: the multiple of `divisor` nearest to `width`, halves up, at least one.

    Args:
        width: Channels over reduction, before any rounding.
        divisor: The result is a multiple of this.
        keep: Smallest fraction of `width` to keep: one multiple more if need be. timm's own layers differ here: SE,
            CBAM and GC keep 0, non-local and SK 0.9.
    """
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < keep * width else rounded
