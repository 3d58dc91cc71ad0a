"""Charts as HTML and inline SVG that follow the width of the page.

Horizontal positions are per cent, vertical ones pixels, and labels HTML, so nothing is squeezed on a phone. Colours are
CSS variables, so charts follow the light and dark themes of the page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

from saccade.comparison.results import ArmResult
from saccade.comparison.statistics import Difference
from saccade.report import numbers
from saccade.report.texts import both, breakable, known, shown

Scale = Callable[[float], float]

ROW = 34
"""Height of the row of an arm in pixels; the style sheet has the same number."""
COLOURS = 6
LONG = 14
"""Longest name, in letters, that fits next to a plot on a phone."""
SHAPES = ("circle", "square", "diamond", "triangle")


def domain(values: Sequence[float], *, pad: float = 0.05) -> tuple[float, float]:
    """Return the range of the values with some room on both sides; it is never empty."""
    low, high = min(values), max(values)
    room = (high - low) * pad if high > low else abs(high) * 0.05 or 1.0
    return low - room, high + room


def scale(limits: tuple[float, float], *, start: float = 0.0, end: float = 100.0) -> Scale:
    """Return a linear function that maps `limits` to `start` ... `end`."""
    low, high = limits
    return lambda value: start + (end - start) * (value - low) / (high - low)


def ticks(limits: tuple[float, float], about: int = 4) -> list[float]:
    """Return about `about` round numbers (1, 2 or 5 times a power of ten) inside `limits`."""
    low, high = limits
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.75)
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def tick_text(value: float, values: Sequence[float], *, sign: bool = False) -> str:
    """Return the label of a tick, with as many decimals as the step between `values` needs."""
    step = min((b - a for a, b in pairwise(values)), default=abs(value) or 1.0)
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    if abs(value) < step / 2:
        return "0"
    return f"{value:{'+' if sign else ''},.{places}f}".replace("-", "−")


def percent(value: float) -> str:
    """Return a length or position in per cent, as CSS and SVG write it."""
    return f"{value:.2f}%"


def seed_differences(arm: ArmResult, reference: ArmResult) -> list[float]:
    """Return the score of the arm minus that of the reference, seed by seed, for the seeds that the arm has."""
    return [own - other for own, other in zip(arm.scores, reference.scores, strict=False)]


def difference_chart(arms: Sequence[ArmResult], reference: ArmResult) -> str:
    """Return one row per arm: the difference of each seed, their mean, its interval, and the verdict."""
    compared = [(arm, arm.difference) for arm in arms if arm.difference is not None]
    if not compared:
        return ""
    values = [0.0]
    for arm, difference in compared:
        values += [*seed_differences(arm, reference), difference.mean, *(difference.interval or ())]
    limits = domain(values)
    x = scale(limits)
    rows = "".join(_difference_row(arm, difference, reference, x) for arm, difference in compared)
    axis = f'<div class="row last"><span></span>{_axis(limits, sign=True)}</div>'
    return f'<div class="forest" {_name_width([arm for arm, _ in compared])}>{rows}{axis}</div>'


def _difference_row(arm: ArmResult, difference: Difference, reference: ArmResult, x: Scale) -> str:
    middle = ROW / 2
    marks = f'<line class="zero" x1="{percent(x(0))}" x2="{percent(x(0))}" y1="0" y2="{ROW}"/>'
    if difference.interval:
        low, high = map(percent, map(x, difference.interval))
        marks += f'<line class="interval" x1="{low}" x2="{high}" y1="{middle}" y2="{middle}"/>'
    for value in seed_differences(arm, reference):
        marks += f'<circle class="dot" cx="{percent(x(value))}" cy="{middle}" r="3.5"/>'
    mean = percent(x(difference.mean))
    marks += f'<line class="mean" x1="{mean}" x2="{mean}" y1="{middle - 10}" y2="{middle + 10}"/>'
    return (
        f'<div class="row {css_class(difference.verdict)}">{_name(arm)}'
        f'<svg class="plot" height="{ROW}" aria-hidden="true">{marks}</svg>'
        f'<span class="gain">{numbers.signed(difference.mean)}</span>{verdict_chip(difference)}</div>'
    )


def verdict_chip(difference: Difference | None) -> str:
    """Return the verdict as a coloured word, with its reason."""
    if difference is None:
        return f'<span class="chip">{both("reference")}</span>'
    verdict, reason = difference.verdict, difference.reason
    chip = f'<span class="chip {css_class(verdict)}">{shown(*map(escape, known(verdict)))}</span>'
    return f"<span>{chip} <small>{shown(*map(escape, known(reason)))}</small></span>" if reason else chip


def css_class(verdict: str) -> str:
    """Return the CSS class that gives a verdict its colour."""
    return verdict if verdict in ("better", "worse") else "unclear"


def _name(arm: ArmResult) -> str:
    return f'<span class="name" title="{escape(arm.name)}">{breakable(arm.name)}</span>'


def _name_width(arms: Sequence[ArmResult]) -> str:
    """The length of the longest name, from which the style sheet takes the width of the column of names."""
    return f'style="--name: {max(len(arm.name) for arm in arms) + 1}ch"'


def _axis(limits: tuple[float, float], *, sign: bool = False) -> str:
    x, values = scale(limits), ticks(limits)
    labels = "".join(_tick(x(value), tick_text(value, values, sign=sign)) for value in values)
    return f'<div class="axis" aria-hidden="true">{labels}</div>'


def _tick(across: float, text: str) -> str:
    """A label under its position; near an end it moves inwards, so that it stays on the page."""
    side = ' class="right"' if across > 92 else ' class="left"' if across < 4 else ""
    return f'<span{side} style="left:{percent(across)}">{text}</span>'


def seed_chart(arms: Sequence[ArmResult], seeds: Sequence[int], *, centred: bool = False) -> str:
    """Return a row per arm with a dot per seed at its score.

    Args:
        arms: The arms.
        seeds: Their seeds.
        centred: Subtract the mean of each arm, and join the dots of a seed.
    """
    scores = [[score - (arm.mean if centred else 0) for score in arm.scores] for arm in arms]
    limits = domain([score for row in scores for score in row])
    x = scale(limits)
    groups = "".join(_one_seed(scores, number, seed, x, joined=centred) for number, seed in enumerate(seeds))
    means = ""
    for row, arm in enumerate(arms):
        at, top = percent(x(0 if centred else arm.mean)), row * ROW
        means += f'<line class="mean-tick" x1="{at}" x2="{at}" y1="{top + 6}" y2="{top + ROW - 6}"/>'
    names = "".join(_name(arm) for arm in arms)
    return (
        f'<div class="seeds" {_name_width(arms)}><div class="names">{names}</div><div>'
        f'<svg class="plot" height="{len(arms) * ROW}" aria-hidden="true">{means}{groups}</svg>'
        f"{_axis(limits, sign=centred)}</div></div>"
    )


def _one_seed(scores: Sequence[Sequence[float]], number: int, seed: int, x: Scale, *, joined: bool) -> str:
    points = [
        (percent(x(row[number])), k * ROW + ROW / 2, row[number]) for k, row in enumerate(scores) if number < len(row)
    ]
    dots = "".join(
        f'<circle cx="{left}" cy="{top}" r="4"><title>{seed}: {numbers.score(value)}</title></circle>'
        for left, top, value in points
    )
    neighbours = pairwise(points) if joined else ()
    lines = "".join(f'<line x1="{a[0]}" y1="{a[1]}" x2="{b[0]}" y2="{b[1]}"/>' for a, b in neighbours)
    return f'<g class="seed" data-seed="{number}">{lines}{dots}</g>'


def mark(index: int, left: str, top: float) -> str:
    """Return the mark of an arm, the same in every chart: a colour, and another shape when the colours are used up."""
    shape = SHAPES[0] if index == 0 else SHAPES[(index - 1) // COLOURS % len(SHAPES)]
    outline = {
        "circle": '<circle r="6"/>',
        "square": '<rect x="-5.5" y="-5.5" width="11" height="11"/>',
        "diamond": '<rect x="-5" y="-5" width="10" height="10" transform="rotate(45)"/>',
        "triangle": '<path d="M0 -7L6.5 5H-6.5Z"/>',
    }[shape]
    return f'<svg class="mark {arm_class(index)}" x="{left}" y="{top:.1f}" overflow="visible">{outline}</svg>'


def arm_class(index: int) -> str:
    """Return the CSS class with the colour of an arm; the first, without attention, is grey."""
    return f"arm{(index - 1) % COLOURS + 1 if index else 0}"


def spread(wanted: Sequence[float], gap: float, high: float) -> list[float]:
    """Return positions near `wanted`, in the same order, at least `gap` apart and at most `high`."""
    order = sorted(range(len(wanted)), key=lambda k: wanted[k])
    placed = [wanted[k] for k in order]
    for k in range(1, len(placed)):
        placed[k] = max(placed[k], placed[k - 1] + gap)
    limit = high
    for k in reversed(range(len(placed))):
        placed[k] = min(placed[k], limit)
        limit = placed[k] - gap
    result = [0.0] * len(wanted)
    for position, k in zip(placed, order, strict=True):
        result[k] = position
    return result


def frame(
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
    marks: str,
    ends: Sequence[tuple[int, str, float, float | None]],
    *,
    x_text: Callable[[float], str],
) -> str:
    """Return a plot with axes, and the names of the arms in a column to the right.

    Args:
        x_limits: Values at the left and at the right end.
        y_limits: Values at the bottom and at the top.
        marks: SVG of the plot; horizontal positions in per cent, vertical ones in pixels of `height_for`.
        ends: Index, name, y in pixels of each arm, and x in per cent where the line to its name starts (None: no line).
        x_text: Function that writes a tick of the horizontal axis.
    """
    height = height_for(len(ends))
    x, y = scale(x_limits), scale(y_limits, start=height, end=0)
    y_ticks = ticks(y_limits)
    grid = "".join(f'<line class="grid" x1="0" x2="100%" y1="{y(v):.1f}" y2="{y(v):.1f}"/>' for v in y_ticks)
    left = "".join(f'<span style="top:{y(v):.1f}px">{tick_text(v, y_ticks)}</span>' for v in y_ticks)
    below = "".join(_tick(x(value), x_text(value)) for value in ticks(x_limits))
    tops = spread([end[2] for end in ends], 18, height)
    leaders, names = "", ""
    for (index, name, top, start), place in zip(ends, tops, strict=True):
        if start is not None:
            leaders += f'<line class="leader" x1="{percent(start)}" y1="{top:.1f}" x2="100%" y2="{place:.1f}"/>'
        sign = f'<svg class="key" width="16" height="16">{mark(index, "8", 8)}</svg>'
        names += f'<span style="top:{place:.1f}px" title="{escape(name)}">{sign}{breakable(name)}</span>'
    long = " long" if max(len(end[1]) for end in ends) > LONG else ""
    return (
        f'<div class="frame{long}"><div class="y-axis" style="height:{height}px">{left}</div>'
        f'<svg class="plot" height="{height}" aria-hidden="true">{grid}{leaders}{marks}</svg>'
        f'<div class="ends" style="height:{height}px">{names}</div><div class="axis">{below}</div></div>'
    )


def height_for(arms: int) -> float:
    """Return the height in pixels of a plot whose names stand in one column."""
    return max(240.0, 20.0 * arms)


def cost_chart(arms: Sequence[ArmResult], cost: str) -> str:
    """Return the score against one cost, named as in :class:`~saccade.comparison.results.ArmResult`."""
    costs = [float(getattr(arm, cost)) for arm in arms]
    y_limits = domain([value for arm in arms for value in (arm.mean, *(arm.interval or ()))], pad=0.08)
    x_limits = domain(costs, pad=0.1)
    x, y = scale(x_limits), scale(y_limits, start=height_for(len(arms)), end=0)
    bars, points, ends = "", "", []
    for index, (arm, value) in enumerate(zip(arms, costs, strict=True)):
        left, top = x(value), y(arm.mean)
        if arm.interval:
            low, high = (f"{y(end):.1f}" for end in arm.interval)
            across = f'x1="{percent(left)}" x2="{percent(left)}"'
            bars += f'<line class="bar {arm_class(index)}" {across} y1="{low}" y2="{high}"/>'
        points += mark(index, percent(left), top)
        ends.append((index, arm.name, top, left))
    return frame(x_limits, y_limits, bars + points, ends, x_text=_cost_tick)


def _cost_tick(value: float) -> str:
    number, space, letter = numbers.amount(value).partition(" ")
    return (number.rstrip("0").rstrip(".") if "." in number else number) + space + letter


Curve = tuple[list[float], list[float], list[float], list[float]]
"""Steps, and the mean, lowest and highest value over the seeds."""


def curve_chart(
    arms: Sequence[ArmResult],
    curves: Mapping[int, Curve],
    *,
    x_text: Callable[[float], str] = "{:,.0f}".format,
) -> str:
    """Return a line with a band per arm over the training steps; `curves` are given by the index of the arm."""
    if not curves:
        return ""
    x_limits = domain([step for steps, *_ in curves.values() for step in steps], pad=0.0)
    y_limits = domain([v for _, _, low, high in curves.values() for v in (*low, *high)])
    height = height_for(len(curves))
    x, y = scale(x_limits), scale(y_limits, end=0, start=100)
    bands, lines, ends = "", "", []
    for index, (steps, mean, low, high) in curves.items():
        across = [x(step) for step in steps]
        upper, lower = _path(across, map(y, high)), _path(across[::-1], map(y, reversed(low)))
        bands += f'<path class="band {arm_class(index)}" d="M{upper}L{lower}Z"/>'
        dashed = " dashed" if index > COLOURS else ""
        lines += f'<path class="curve {arm_class(index)}{dashed}" d="M{_path(across, map(y, mean))}"/>'
        ends.append((index, arms[index].name, y(mean[-1]) * height / 100, None))
    stretched = f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" width="100%" height="100%">{bands}{lines}</svg>'
    return frame(x_limits, y_limits, stretched, ends, x_text=x_text)


def _path(across: Sequence[float], down: Any) -> str:
    return "L".join(f"{a:.2f} {d:.2f}" for a, d in zip(across, down, strict=True))
