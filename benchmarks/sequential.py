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
"""Share of tables with a wrong claim that the levels are calibrated to: below 5% by more than chance."""
MARGIN = 0.85
"""Factor on the levels of several arms, since tables in which some arms differ judge the others at higher levels."""
CORRELATION = 0.3
"""Correlation between arms beyond what they share with the control; that over the seeds of the demo is 0.32."""


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
    """Return tables (count, arms + 1, seeds) in units of a seed's deviation; `effects` are (arms,) or (count, arms)."""
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
    shares = np.array(plan.levels)[:, None] / plan.levels[-1]
    silent = replace(plan, levels=tuple(1e-12 if share else 0.0 for share in plan.levels))
    for chance in CHANCES[: 2 if arms == 1 else 4]:
        found = walk(draw(chance, np.zeros(arms), seeds, count, random), silent)
        with np.errstate(divide="ignore"):
            first = np.where(np.isnan(found.stages), np.inf, found.stages * arms / LEVEL / shares).min(axis=(1, 2))
        scale = min(scale, float(np.quantile(first, TARGET)))
    return math.floor(1000 * scale * (1.0 if arms == 1 else MARGIN)) / 1000


def print_levels(count: int, seed: int) -> None:
    """Print the content of ``levels.py``, a row for each number of seeds."""
    print("LEVELS = {")
    for seeds in SEEDS:
        # One arm is quick to simulate, and has no margin.
        row = [
            calibrate(seeds, arms, count * (5 if arms == 1 else 1), np.random.default_rng((seed, seeds, arms)))
            for arms in ARMS
        ]
        print(f"    {seeds}: ({', '.join(map(str, row))}),", flush=True)
    print("}")


EFFECTS = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 10.0)
"""Differences from the control, in units of a seed's deviation."""


@dataclass(frozen=True)
class Found:
    """Outcome of both designs on the same tables; in a pair the stages come first, then the fixed number of seeds.

    Args:
        wrong: Fractions of tables with a claim about an arm without a difference, or of the wrong sign.
        power: Fractions of the arms with a difference that are claimed with its sign.
        saved: Fraction of the fixed design's runs that the stages did not need.
        covered: Fractions of tables whose intervals all hold the true difference.
    """

    wrong: tuple[float, float]
    power: tuple[float, float]
    saved: float
    covered: tuple[float, float]


def compare(chance: Chance, effects: Floats, seeds: int, count: int, random: np.random.Generator) -> Found:
    """Take `count` tables through both designs."""
    arms = effects.shape[-1]
    plan: Plan = plan_for(seeds, arms)
    tables = draw(chance, effects, seeds, count, random)
    staged, fixed = walk(tables, plan, chance.images), judge(tables, chance.images)
    claims = staged.claim, np.where(fixed.claim, np.sign(fixed.mean), 0).astype(np.int64)
    truth = np.sign(effects).astype(np.int64)
    wrong = [float(((claim != 0) & (claim != truth)).any(axis=1).mean()) for claim in claims]
    real = truth != 0
    power = [float((claim == truth)[:, real].mean()) if real.any() else math.nan for claim in claims]
    covered = [float((np.abs(one.mean - effects) <= one.half_width).all(axis=1).mean()) for one in (staged, fixed)]
    runs = staged.seeds.sum(axis=1) + staged.seeds.max(axis=1)
    saved = 1 - float(runs.mean()) / (seeds * (arms + 1))
    return Found((wrong[0], wrong[1]), (power[0], power[1]), saved, (covered[0], covered[1]))


def alternatives(arms: int) -> list[Floats]:
    """Return differences of the arms: all alike, half of them, one of them, and a mixture of every size."""
    found = []
    for effect in EFFECTS[1:]:
        for many in sorted({1, (arms + 1) // 2, arms}):
            found.append(np.where(np.arange(arms) < many, effect, 0.0))
    return [np.zeros(arms), *found, np.resize(EFFECTS, arms)]


def look_and_add(first: int, more: int, arms: int, count: int, random: np.random.Generator) -> float:
    """Return the share of tables without a difference that are claimed by who adds seeds when nothing is decided."""
    tables = draw(CHANCES[0], np.zeros(arms), first + more, count, random)
    early, late = judge(tables[:, :, :first]).claim, judge(tables).claim
    return float((early | late).any(axis=1).mean())


def print_proof(count: int, seed: int, seeds: int = 5) -> None:
    """Print wrong claims, power and saved runs of stages and of fixed seeds, as Markdown."""
    random = np.random.default_rng(seed)
    print(f"{count:,} tables each, at most {seeds} seeds; in stages (fixed {seeds} seeds)\n")
    head = ("arms", "scores vary", "tables with a wrong claim", "the same, half the arms differing by 4 sd")
    print(f"| {' | '.join(head)} | intervals all hold | runs saved |")
    print("|---|---|---|---|---|---|")
    for arms in (1, 3, 8):
        for chance in (*CHANCES, IMAGES):
            null = compare(chance, np.zeros(arms), seeds, count, random)
            half = compare(chance, np.where(np.arange(arms) < arms // 2, 4.0, 0.0), seeds, count, random)
            cells = [_pair(null.wrong), _pair(half.wrong), _pair(null.covered), f"{null.saved:.0%}"]
            print(f"| {arms} | {chance.name} | {' | '.join(cells)} |")
    print("\n| arms | " + " | ".join(f"{effect:g} sd" for effect in EFFECTS[1:]) + " |")
    print("|---|" + "---|" * len(EFFECTS[1:]))
    for arms in (1, 3, 8):
        row = [compare(CHANCES[0], np.full(arms, effect), seeds, count, random) for effect in EFFECTS[1:]]
        print(f"| {arms} | " + " | ".join(f"{_pair(one.power, 0)}, {one.saved:.0%} saved" for one in row) + " |")
    every = {
        arms: [
            compare(chance, effects, seeds, count // 10, random).saved
            for chance in (*CHANCES, IMAGES)
            for effects in alternatives(arms)
        ]
        for arms in (1, 3, 8)
    }
    for arms, saved in every.items():
        print(f"\n{arms} arms, {len(saved)} alternatives: {np.mean(saved):.1%} of the runs saved on average")
    print(f"\nall: {np.mean([one for saved in every.values() for one in saved]):.1%}")
    for arms in (1, 3, 8):
        print(f"5 seeds, a look, then 3 more, {arms} arms: {look_and_add(5, 3, arms, count, random):.1%} wrong claims")


def _pair(values: tuple[float, float], places: int = 1) -> str:
    return f"{values[0]:.{places}%} ({values[1]:.{places}%})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calibrate", action="store_true", help="print the levels instead")
    parser.add_argument("--tables", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    (print_levels if given.calibrate else print_proof)(given.tables, given.seed)
