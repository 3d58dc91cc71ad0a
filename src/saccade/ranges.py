"""Ranges of values, declared with an option and checked before any work, in Python and on the command line alike."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from saccade.errors import InputError, near

SEED = 2**32 - 1
"""The largest seed that numpy and torch both take."""
LARGEST_SIDE = 16384
"""The largest side of an image in pixels that a network is asked to work on."""


class Range(Protocol):
    """Values that an option takes."""

    def expected(self, value: Any) -> str | None:
        """Return what was expected instead, as the end of "NAME must be ..."; None for a value in the range."""


@dataclass(frozen=True)
class Whole:
    """Whole numbers, both limits included.

    Args:
        least: Smallest value.
        most: Largest value.
    """

    least: int
    most: int

    def expected(self, value: Any) -> str | None:
        if isinstance(value, int) and not isinstance(value, bool) and self.least <= value <= self.most:
            return None
        return f"a whole number from {self.least} to {self.most:,}"


@dataclass(frozen=True)
class Number:
    """Finite numbers, both limits included unless they are said to be left out.

    Args:
        least: Smallest value.
        most: Largest value.
        open: True leaves `least` out.
        below: True leaves `most` out.
    """

    least: float
    most: float
    open: bool = False
    below: bool = False

    def expected(self, value: Any) -> str | None:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            low = self.least < value if self.open else self.least <= value
            high = value < self.most if self.below else value <= self.most
            if low and high:
                return None
        first = f"above {self.least:g}" if self.open else f"from {self.least:g}"
        return f"a number {first} {'and below' if self.below else 'to'} {self.most:,.10g}"


@dataclass(frozen=True)
class OneOf:
    """Some words.

    Args:
        words: All of them.
    """

    words: Collection[str]

    def expected(self, value: Any) -> str | None:
        if isinstance(value, str) and value in self.words:
            return None
        known = f"one of {', '.join(self.words)}"
        close = near(value, self.words) if isinstance(value, str) and value else ""
        return f"{known} ({close})" if close.startswith("did you mean") else known


@dataclass(frozen=True)
class Factors:
    """Pairs of a pattern of names and a number from 0.

    Args:
        most: Largest number.
    """

    most: float

    def expected(self, value: Any) -> str | None:
        number: Number = Number(0, self.most)
        pairs: Sequence[Any] = value if isinstance(value, (tuple, list)) else [None]
        for pair in pairs:
            good = isinstance(pair, (tuple, list)) and len(pair) == 2 and isinstance(pair[0], str) and pair[0].strip()
            if not good or number.expected(pair[1]):
                return f"pairs of a pattern of names and {number.expected(None)}"
        return None


def check(name: str, value: Any, within: Range) -> None:
    """Refuse a value out of range.

    Raises:
        InputError: Naming the option, the range and the value.
    """
    wanted = within.expected(value)
    if wanted is not None:
        raise InputError(f"{name} must be {wanted}; received {shortened(value)}")


def shortened(value: Any) -> str:
    """Return a value as Python writes it, its middle left out if it is long."""
    try:
        text = repr(value)
    except ValueError:  # whole numbers of more digits than Python writes
        return f"a number of about {value.bit_length() * 3 // 10} digits"
    return text if len(text) <= 80 else f"{text[:60]} ... {text[-15:]}"
