"""Equally tuned arms: before each run the same number of trials, of which the best one's setting is taken.

Each run, that is each seed of each arm, has trials of its own, on an inner split of the training images. One search for
all seeds of an arm would be cheaper, and wrong: its luck is then in all seeds of the arm alike, the spread over seeds
does not show it, and equal arms differ (``benchmarks/tuning.py`` counts how often). With a search for each run the
search is part of what a seed decides, and the rule of :mod:`saccade.comparison.statistics` holds as it is.

The first half of the trials is the untuned setting and settings drawn evenly, which are the same for all arms of a
seed; the rest, in two rounds, Optuna's TPE proposes from those before. A proposal depends on the seed and on earlier
trials alone, so that a comparison that was stopped resumes with the same ones.

Sources: X. Bouthillier et al., "Accounting for Variance in Machine Learning Benchmarks", MLSys 2021; J. Bergstra,
R. Bardenet, Y. Bengio, B. Kégl, "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from saccade.errors import require
from saccade.runs.records import AGAIN, read_record
from saccade.training.recipe import RecipeOptions

WIDTH = 10.0
"""Largest factor between a rate, or a gate factor, that is tried and the untuned one."""
_LARGEST = 1e9  # learning rate that a recipe takes


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Rates that trials vary.

    Args:
        learning_rate: Largest learning rate of the schedule.
        gate_lr_factor: Learning rate of the mechanism's identity-start factors and gammas, relative to the rest.
    """

    learning_rate: float
    gate_lr_factor: float = RecipeOptions.gate_lr_factor


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A finished trial: the content of its ``result.json``.

    Args:
        learning_rate: Largest learning rate of the schedule.
        gate_lr_factor: See :class:`Rates`.
        score: Score on the held-out part of the training images; None if the training diverged.
        train_seconds: Training time in seconds.
    """

    learning_rate: float
    gate_lr_factor: float
    score: float | None
    train_seconds: float

    @property
    def setting(self) -> Rates:
        """The setting that was tried."""
        return Rates(learning_rate=self.learning_rate, gate_lr_factor=self.gate_lr_factor)


def rounds(trials: int) -> tuple[range, ...]:
    """Return the numbers of the trials of each round: a half, then twice half of the rest.

    Example:
        >>> rounds(8), rounds(3)
        ((range(0, 4), range(4, 6), range(6, 8)), (range(0, 2), range(2, 3)))
    """
    first = -(-trials // 2)
    second = first + -(-(trials - first) // 2)
    found = (range(first), range(first, second), range(second, trials))
    return tuple(one for one in found if len(one))


def proposed(untuned: Rates, before: Sequence[Trial], count: int, seed: int, *, gated: bool) -> list[Rates]:
    """Return the settings of the next round.

    Args:
        untuned: The setting of a comparison without trials.
        before: The trials of the rounds before; none for the first.
        count: Number of settings.
        seed: Seed of the run.
        gated: True if the network has parameters that `gate_lr_factor` acts on; otherwise that stays as it is.
    """
    if not before:
        return [untuned, *_drawn(untuned, count - 1, seed, gated)]
    optuna = require("optuna", extra="tune")
    rate, factor = (optuna.distributions.FloatDistribution(*ends, log=True) for ends in _ranges(untuned))
    space = {"learning_rate": rate} | ({"gate_lr_factor": factor} if gated else {})
    scores = [trial.score for trial in before if trial.score is not None]
    worst = min(scores, default=0.0)
    told = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        sampler = optuna.samplers.TPESampler(seed=_seed(seed, len(before)), n_startup_trials=1)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for trial in before:
            values = {name: getattr(trial, name) for name in space}
            score = worst if trial.score is None else trial.score
            study.add_trial(optuna.trial.create_trial(params=values, distributions=space, value=score))
        asked = [study.ask(space).params for _ in range(count)]
    finally:
        optuna.logging.set_verbosity(told)
    return [Rates(**{"gate_lr_factor": untuned.gate_lr_factor, **params}) for params in asked]


def best_first(untuned: Rates, trials: Sequence[Trial]) -> list[Rates]:
    """Return the settings in the order of their scores, of equal ones the earlier first; diverged ones are left out.

    The untuned setting, with which an untuned run was trained, is the last resort.
    """
    scored = [(-trial.score, number) for number, trial in enumerate(trials) if trial.score is not None]
    found = [trials[number].setting for _, number in sorted(scored)]
    return list(dict.fromkeys([*found, untuned]))


def read_trial(path: Path) -> Trial:
    """Read the result of a trial.

    Raises:
        InputError: The file is missing or damaged.
    """
    return read_record(path, Trial, f"{AGAIN}: that trial is done again")


def next_trials(
    untuned: Rates, done: Sequence[Trial | None], seed: int, *, gated: Callable[[], bool]
) -> list[tuple[int, Rates]]:
    """Return the trials that a run needs now, with their numbers; none once all are done.

    Args:
        untuned: The setting of a comparison without trials.
        done: The trials by number; None for one that is not done.
        seed: Seed of the run.
        gated: See :func:`proposed`; called if a setting is proposed.
    """
    for numbers in rounds(len(done)):
        if all(done[number] is not None for number in numbers):
            continue
        before = [trial for trial in done[: numbers.start] if trial is not None]
        settings = proposed(untuned, before, len(numbers), seed, gated=gated())
        return [(number, one) for number, one in zip(numbers, settings, strict=True) if done[number] is None]
    return []


def _drawn(untuned: Rates, count: int, seed: int, gated: bool) -> list[Rates]:
    """Settings with one rate in each of `count` equal parts of the range of its logarithm, and likewise the factor."""
    random = np.random.default_rng(_seed(seed, 0))
    parts = [(random.permutation(count) + random.uniform(size=count)) / max(count, 1) for _ in range(2)]
    (low, high), (least, most) = _ranges(untuned)
    rates = low * (high / low) ** parts[0]
    factors = least * (most / least) ** parts[1]
    return [
        Rates(learning_rate=float(rate), gate_lr_factor=float(factor) if gated else untuned.gate_lr_factor)
        for rate, factor in zip(rates, factors, strict=True)
    ]


def _ranges(untuned: Rates) -> tuple[tuple[float, float], tuple[float, float]]:
    """Ends of the ranges of rate and factor."""
    return (
        (untuned.learning_rate / WIDTH, min(untuned.learning_rate * WIDTH, _LARGEST)),
        (untuned.gate_lr_factor / WIDTH, untuned.gate_lr_factor * WIDTH),
    )


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def typical(values: Sequence[float]) -> float:
    """Return the geometric mean."""
    return math.exp(sum(map(math.log, values)) / len(values))
