"""Numbers as the page writes them: with few digits, and a dash where there is none."""

from __future__ import annotations

import math

NONE = "–"
"""Text for a missing number."""


def score(value: float | None) -> str:
    """Return a score such as mIoU or accuracy: 0.766."""
    return NONE if value is None else f"{value:.3f}".replace("-", "−")


def signed(value: float | None) -> str:
    """Return a difference of scores: +0.100, −0.012, and 0.000 without a sign."""
    if value is None:
        return NONE
    text = f"{value:+.3f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def between(interval: tuple[float, float] | None, *, sign: bool = False) -> str:
    """Return both ends of an interval: 0.763 … 0.769; a dash when there is none."""
    if interval is None:
        return NONE
    write = signed if sign else score
    return f"{write(interval[0])} … {write(interval[1])}"


def figures(value: float | None, digits: int = 3) -> str:
    """Return a number with `digits` significant figures and without exponent: 7.42, 182, 0.0312."""
    if value is None:
        return NONE
    if value == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, places):,.{max(0, places)}f}"


def signed_percent(value: float) -> str:
    """Return a difference of fractions in points of a per cent: +0.9%, −12.0%, and 0.0% without a sign."""
    text = f"{100 * value:+.1f}%"
    return text[1:] if float(text[:-1]) == 0 else text.replace("-", "−")


def amount(value: float | None) -> str:
    """Return a count in thousands (k), millions (M) or billions (G): 94.3 k, 14.1 M."""
    if value is None:
        return NONE
    for factor, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= factor:
            return figures(value / factor) + letter
    return figures(value)


def count(value: int | None) -> str:
    """Return an exact count with separated thousands: 94,267."""
    return NONE if value is None else f"{value:,}"


def seconds(value: float | None) -> str:
    """Return a duration: 8.8 s, 2 min 5 s, 1 h 12 min."""
    if value is None:
        return NONE
    if value < 60:
        return f"{figures(value, 2 if value < 10 else 3)} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def relative(value: float | None, reference: float | None) -> str:
    """Return the difference from `reference` in per cent: +9%, +0.3%; empty if it cannot be computed."""
    if value is None or not reference:
        return ""
    percent = 100 * (value / reference - 1)
    if abs(percent) < 0.05:
        return "+0%" if value == reference else "<+0.1%" if percent > 0 else "<−0.1%"
    return f"{percent:+.{0 if abs(percent) >= 9.95 else 1}f}%".replace("-", "−")


def p_value(value: float | None) -> str:
    """Return a p value: 0.034, <0.001; empty if there is none."""
    if value is None:
        return ""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def percent(value: float) -> str:
    """Return a fraction in per cent: 41%, 0.7%."""
    return f"{100 * value:.0f}%" if value >= 0.0995 or value == 0 else f"{100 * value:.1f}%"
