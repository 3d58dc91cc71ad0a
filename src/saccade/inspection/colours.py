"""Colour scales for the colour-blind that grow lighter all the way, so that they read without colour too."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

HEAT = ((16, 8, 44), (96, 22, 110), (196, 56, 78), (244, 132, 30), (252, 216, 90), (255, 252, 214))
"""Colours from least to most: dark violet over orange to pale yellow."""
BALANCE = ((28, 92, 196), (120, 170, 232), (238, 238, 236), (238, 160, 84), (196, 84, 0))
"""Colours from below to above zero: blue over grey to orange."""
LEAST_SPAN = 0.1
"""Least difference of two gates that are drawn in the darkest and the lightest colour."""
_CLEAR = ((0.0, 0.12, 0.5, 1.0), (0, 80, 175, 225))


def ramp(stops: tuple[tuple[int, int, int], ...] = HEAT, steps: int = 256, *, clear: bool = False) -> NDArray[np.uint8]:
    """Return the colours of `steps` even levels, (steps, 4) uint8; if `clear`, the lowest ones are transparent."""
    at = np.linspace(0, 1, steps)
    where = np.linspace(0, 1, len(stops))
    columns: list[Any] = [np.interp(at, where, [stop[k] for stop in stops]) for k in range(3)]
    columns.append(np.interp(at, *_CLEAR) if clear else np.full(steps, 255.0))
    return np.stack(columns, axis=1).astype(np.uint8)


def gate_limits(low: float, high: float) -> tuple[float, float]:
    """Return the values between which a gate is drawn: its own, 0.1 apart at least, so that a flat one looks flat."""
    start = low - max(0.0, LEAST_SPAN - (high - low)) / 2
    start = max(start, min(low, 0.0))  # a gate is not drawn as if it were negative
    return start, max(high, start + LEAST_SPAN)


def levels(values: NDArray[Any], low: float, high: float, steps: int = 256) -> NDArray[np.int64]:
    """Return the level of each value between `low` and `high`; values outside are clipped, NaN counts as 0."""
    shares = (np.nan_to_num(np.asarray(values, dtype=np.float64)) - low) / (high - low or 1.0)
    found: NDArray[np.int64] = np.clip(np.rint(shares * (steps - 1)), 0, steps - 1).astype(np.int64)
    return found
