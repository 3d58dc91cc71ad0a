"""Sequential comparisons: calibrate their levels, and hold them to the design of a fixed number of seeds.

``python -m benchmarks.sequential`` prints the tables of docs/comparison.md; ``--calibrate`` prints the content of
``src/saccade/comparison/levels.py``. Everything follows from a seed.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from saccade.comparison.levels import ARMS, SEEDS
from saccade.comparison.sequential import LEVEL, Plan, plan_for, walk
from saccade.comparison.statistics import judge

Floats = NDArray[np.float64]
TARGET = 0.047
"""Share of tables with a wrong claim that the levels are calibrated to, below 5% by more than the simulation's error."""
CORRELATION = 0.3
"""Correlation between arms beyond what they share with the control; over the seeds of the demo arms correlate by 0.32."""


@dataclass(frozen=True)
class Chance:
    """A way in which scores vary.

    Args:
        name: Name in the tables.
        unequal: Deviations of arms and control drawn from 1/2 to 2, rather than all 1.
        correlation: Correlation between the arms beyond what they share with the control.
        images: Standard error from the test images, shared by all seeds of an arm.
    """

    name: str
    unequal: bool = False
    correlation: float = 0.0
    images: float = 0.0


CHANCES = (
    Chance("equal deviations"),
    Chance("deviations 1/2 to 2", unequal=True),
    Chance("correlated arms", correlation=CORRELATION),
    Chance("both", unequal=True, correlation=CORRELATION),
)
IMAGES = Chance("test images as uncertain as a seed", images=1.0)


def draw(chance: Chance, effects: Floats, seeds: int, count: int, random: np.random.Generator) -> Floats:
    """Return tables (count, arms + 1, seeds) in units of a seed's deviation, with `effects` (arms,) or (count, arms)."""
    arms = effects.shape[-1]
    noise = random.standard_normal((count, arms + 1, seeds))
    if chance.correlation:
        common = random.standard_normal((count, 1, seeds))
        noise[:, 1:] = math.sqrt(chance.correlation) * common + math.sqrt(1 - chance.correlation) * noise[:, 1:]
    if chance.unequal:
        noise *= np.exp(random.uniform(math.log(0.5), math.log(2), (count, arms + 1, 1)))
    noise += random.standard_normal((count, 1, seeds))  # what a seed does to all arms alike
    noise[:, 1:] += (effects + chance.images * random.standard_normal((count, arms)))[:, :, None]
    return noise


def calibrate(seeds: int, arms: int, count: int, random: np.random.Generator) -> float:
    """Return the level of the last stage at which the worst of `CHANCES` has `TARGET` tables with a wrong claim.

    Before its first claim a table does not depend on the levels: the smallest last level at which it makes one is the
    smallest p of a stage, times the number of arms, over the level of the table and the stage's share.
    """
    plan, scale = plan_for(seeds, arms), 1.0
    shares = [share / plan.levels[-1] for share in plan.levels]
    for chance in CHANCES[: 2 if arms == 1 else 4]:
        tables = draw(chance, np.zeros(arms), seeds, count, random)
        first = np.full(count, np.inf)
        for number, share in enumerate(shares):
            if share:
                # A plan that claims nothing before this stage, and at it everything judged, has p at the stage.
                levels = tuple(0.0 for _ in shares[:number]) + (1e-12,)
                cut = replace(plan, stages=plan.stages[: number + 1], levels=levels)
                found = walk(tables[:, :, : plan.stages[number]], cut)
                p = np.where(found.seeds == plan.stages[number], found.p, np.inf)
                first = np.minimum(first, p.min(axis=1) * arms / share / LEVEL)
        scale = min(scale, float(np.quantile(first, TARGET)))
    return math.floor(1000 * scale) / 1000


def print_levels(count: int, seed: int) -> None:
    """Print the content of ``levels.py``, a row for each number of seeds."""
    print("LEVELS = {")
    for seeds in SEEDS:
        row = [calibrate(seeds, arms, count, np.random.default_rng((seed, seeds, arms))) for arms in ARMS]
        print(f"    {seeds}: ({', '.join(map(str, row))}),", flush=True)
    print("}")
