"""Learning-rate schedules as functions of the step alone: nothing to be kept, nothing to go wrong at a resume.

Each gives the rate of a step relative to the largest. Steps count from 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from saccade.training.recipe import Recipe


def one_cycle(step: int, steps: int, warmup: float) -> float:
    """Rise from 1/25 over the fraction `warmup` of the steps, then fall to 1e-5, both as cosines."""
    rising = max(1.0, warmup * steps - 1)
    if step <= rising:
        low, high, share = 1 / 25, 1.0, step / rising
    else:
        low, high, share = 1.0, 1e-5, (step - rising) / max(1.0, steps - 1 - rising)
    return high + (low - high) * (1 + math.cos(math.pi * share)) / 2


def cosine(step: int, steps: int) -> float:
    r"""Down to 0 as half a cosine, :math:`(1 + \cos(\pi t / T)) / 2`."""
    return (1 + math.cos(math.pi * step / steps)) / 2


def poly(step: int, steps: int, power: float) -> float:
    """Down to 0 as a power, (1 - t / T)^p, as segmentation networks are trained."""
    return float((1 - step / steps) ** power)


def stairs(step: int, steps: int, every: float, factor: float, first: float | None = None) -> float:
    """Multiply by `factor` after each fraction `every` of the steps, the first time after the fraction `first`."""
    # The share of a step is a quotient of whole numbers: what rounding takes from it must not delay a stair.
    early = 0.0 if first is None else first - every
    return float(factor ** max(0, math.floor((step / steps - early) / every + 1e-9)))


def rising(step: int, steps: int, warmup: float) -> float:
    """Rise from 1 / n to 1 along a line over the first n = `warmup` x steps; 1 afterwards."""
    return min(1.0, (step + 1) / max(1.0, warmup * steps))


SCHEDULES: dict[str, Callable[[int, Recipe], float]] = {
    "one-cycle": lambda step, recipe: one_cycle(step, recipe.steps, recipe.warmup),
    "cosine": lambda step, recipe: cosine(step, recipe.steps),
    "poly": lambda step, recipe: poly(step, recipe.steps, recipe.power),
    "step": lambda step, recipe: stairs(step, recipe.steps, recipe.decay_every, recipe.decay, recipe.decay_first),
    "constant": lambda step, recipe: 1.0,
}


def rate(step: int, recipe: Recipe) -> float:
    """The rate of a step relative to the largest; all but one-cycle, which rises by itself, begin with a line."""
    factor = SCHEDULES[recipe.schedule](step, recipe)
    return factor if recipe.schedule == "one-cycle" else factor * rising(step, recipe.steps, recipe.warmup)
