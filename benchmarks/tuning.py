"""Equal arms, tuned: how often a comparison with trials claims a difference that is not there.

``python -m benchmarks.tuning`` simulates tables of arms that are all alike. A cheap function stands for a training: the
score falls off on both sides of the best learning rate, three times as fast above it, and every training adds chance of
the size of a seed's. Each run is preceded by trials that :mod:`saccade.comparison.tuning` proposes, Optuna included,
and the tuned scores are judged by the rule of :mod:`saccade.comparison.statistics`. The second table draws all settings
evenly, without Optuna, for many more tables, and holds a search for each run to one search for each arm.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from numpy.typing import NDArray

from saccade.comparison.statistics import judge
from saccade.comparison.tuning import WIDTH, Rates, Trial, best_first, next_trials

Floats = NDArray[np.float64]
UNTUNED = Rates(learning_rate=1e-3)
DROPS = (0.5, 2.0, 5.0, 20.0)
"""Fall of the score, in units of a seed's deviation, at a tenth of the best learning rate."""


def expected(rate: Floats | float, drop: float) -> Floats:
    """Return the mean score at learning rates relative to the untuned one; the best lies a little above it."""
    x = np.log(rate) / math.log(WIDTH) - 0.2
    return -drop * np.where(x > 0, 3.0, 1.0) * np.square(x)


def tuned_score(trials: int, seed: int, drop: float, random: np.random.Generator) -> float:
    """Return the score of one run after the trials that the comparison would make."""

    def score(setting: Rates) -> float:
        return float(expected(setting.learning_rate / UNTUNED.learning_rate, drop) + random.standard_normal())

    done: list[Trial | None] = [None] * trials
    while asked := next_trials(UNTUNED, done, seed, gated=lambda: False):
        for number, setting in asked:
            done[number] = Trial(learning_rate=setting.learning_rate, gate_lr_factor=10.0, score=score(setting),
                                 train_seconds=0.0)  # fmt: skip
    return score(best_first(UNTUNED, [trial for trial in done if trial])[0])


def tables(count: int, arms: int, seeds: int, trials: int, drop: float, random: np.random.Generator) -> Floats:
    """Return tables (count, arms + 1, seeds) of equal arms, every run tuned by the code of the comparison."""
    shape = (count, arms + 1, seeds)
    found = [tuned_score(trials, int(random.integers(2**31)), drop, random) for _ in range(math.prod(shape))]
    return np.array(found).reshape(shape)


def drawn_tables(
    count: int, arms: int, seeds: int, trials: int, drop: float, random: np.random.Generator, *, each_run: bool
) -> Floats:
    """Return the same with settings drawn evenly, by a search for each run, or by one for each arm."""
    shape = (count, arms + 1, seeds if each_run else 1, trials)
    rates = WIDTH ** random.uniform(-1, 1, shape)
    rates[..., 0] = 1.0
    scores = expected(rates, drop) + random.standard_normal(shape)
    best = np.take_along_axis(rates, scores.argmax(axis=-1)[..., None], axis=-1)[..., 0]
    return expected(best, drop) + random.standard_normal((count, arms + 1, seeds))


def wrong(found: Floats) -> float:
    """Return the share of tables with a claim."""
    return float(judge(found).claim.any(axis=1).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=200, help="tables with Optuna in the loop")
    parser.add_argument("--many", type=int, default=10_000, help="tables with settings drawn evenly")
    given = parser.parse_args()
    random = np.random.default_rng(0)
    print("| arms | seeds | trials | fall of the score | tables with a wrong claim |\n|---|---|---|---|---|")
    for arms, seeds, trials, drop in ((1, 3, 6, 5.0), (3, 3, 6, 20.0)):
        share = wrong(tables(given.tables, arms, seeds, trials, drop, random))
        print(f"| {arms} | {seeds} | {trials} | {drop:g} sd | {share:.1%} of {given.tables} |", flush=True)
    print("\n| arms | seeds | trials | fall of the score | a search for each run | one for each arm |")
    print("|---|---|---|---|---|---|")
    for arms in (1, 4):
        for seeds, trials in ((3, 8), (5, 8), (5, 20)):
            for drop in DROPS:
                row = [
                    wrong(drawn_tables(given.many, arms, seeds, trials, drop, random, each_run=each_run))
                    for each_run in (True, False)
                ]
                print(f"| {arms} | {seeds} | {trials} | {drop:g} sd | {row[0]:.1%} | {row[1]:.1%} |", flush=True)


if __name__ == "__main__":
    main()
