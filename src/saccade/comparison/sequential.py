"""Seeds in stages: a comparison that stops each arm when it is decided, planned before the first run.

At each stage the rule of :mod:`saccade.comparison.statistics` judges the arms that are still open, at a level that the
plan sets for that stage; the level saved by a claim passes to the other arms, as in Holm's procedure. An arm that has
become unlikely to be decided by the last stage stops without a claim. The levels are calibrated by simulation: with
Student's t, deviations that are estimated and pooled, and arms that stop, all stages of all arms together make a wrong
claim in at most 5% of tables. ``benchmarks/sequential.py`` computes :data:`saccade.comparison.levels.LEVELS` and shows
what follows.

Sources: Y. Ye, A. Li, L. Liu, B. Yao, "A group sequential Holm procedure with multiple primary endpoints", Statistics
in Medicine 32, 2013; K. K. G. Lan, R. Simon, M. Halperin, "Stochastically curtailed tests in long-term clinical
trials", Sequential Analysis 1, 1982; C. Jennison, B. W. Turnbull, "Group Sequential Methods", 2000, chapter 9.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade.comparison.levels import ARMS, LEVELS, SEEDS
from saccade.comparison.student import Floats, quantile, two_sided
from saccade.errors import InputError

FEWEST = 3
"""Smallest number of seeds that allows a claim."""
CHANCE = 0.1
"""Chance of a claim at the last stage, if the difference is as it looks, below which an arm stops."""
EARLY = 0.3
"""Level of a stage before the last, relative to that of the last."""
LEVEL = 0.05

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The stages of a sequential comparison.

    Args:
        seeds: Largest number of seeds.
        arms: Number k of arms that are compared with the control.
        stages: Numbers of seeds after which the open arms are judged; the last is `seeds`.
        levels: Share of the level at each stage: an arm is claimed where its p is at most share x level / (arms not yet
            claimed); 0 allows no claim.
        level: Probability of at least one wrong claim in the table, over all stages.
        chance: Chance of a claim at the last stage below which an arm stops.
    """

    seeds: int
    arms: int
    stages: tuple[int, ...]
    levels: tuple[float, ...]
    level: float = LEVEL
    chance: float = CHANCE


def stages_of(seeds: int) -> tuple[int, ...]:
    """Return the stages for at most that many seeds: 2, where arms can only stop, then 3 and up to three more.

    Example:
        >>> stages_of(5), stages_of(20)
        ((2, 3, 4, 5), (2, 3, 6, 11, 20))
    """
    if seeds <= 6:
        return tuple(range(2, seeds + 1))
    between = [round(FEWEST * (seeds / FEWEST) ** (step / 3)) for step in (1, 2)]
    return (2, FEWEST, *between, seeds)


def plan_for(seeds: int, arms: int) -> Plan:
    """Return the plan for `arms` arms, the control not counted, with at most `seeds` seeds.

    Raises:
        InputError: Fewer seeds than a claim needs, or more arms than the levels are calibrated for.
    """
    if seeds < FEWEST:
        raise InputError(f"a sequential comparison needs at least {FEWEST} seeds; received {seeds=}")
    if arms > ARMS[-1]:
        raise InputError(
            f"sequential: the levels are calibrated for at most {ARMS[-1]} arms next to the control; received {arms}",
            "leave arms out, or compare them without sequential",
        )
    stages = stages_of(seeds)
    last = scale_for(seeds, arms)
    levels = (0.0 if stage < FEWEST else round(EARLY * last, 6) if stage < seeds else last for stage in stages)
    return Plan(seeds=seeds, arms=arms, stages=stages, levels=tuple(levels))


def scale_for(seeds: int, arms: int) -> float:
    """Return the calibrated level of the last stage; between the entries of the table the smaller neighbour's."""
    column = bisect_left(ARMS, arms)
    row = min(bisect_left(SEEDS, seeds), len(SEEDS) - 1)
    rows = {row} if SEEDS[row] <= seeds else {row, row - 1}
    columns = {column} if ARMS[column] == arms else {column, column - 1}
    return min(LEVELS[SEEDS[r]][c] for r in rows for c in columns)


@dataclass(frozen=True)
class Walk:
    """Tables (..., k arms) after the stages whose scores are there.

    Args:
        claim: 1 for better, -1 for worse, 0 for no claim.
        seeds: Seeds of each arm at the stage that decided it, or at the last one it was judged at; 0 before any.
        open: True for the arms that are neither claimed nor stopped.
        unlikely: True for the arms that stopped because a claim had become unlikely.
        waiting: Number of seeds that the open arms and the control need for the next stage, (...); 0 at the end.
        mean: Mean difference from the control over `seeds`.
        half_width: Half of the interval at that stage; the intervals of all arms hold at all stages together. 0 where
            nothing is known of the spread.
        p: Two-sided, before any correction.
        stages: The same p at every stage, (..., stages, k); NaN where an arm was not judged.
    """

    claim: Ints
    seeds: Ints
    open: Bools
    unlikely: Bools
    waiting: Ints
    mean: Floats
    half_width: Floats
    p: Floats
    stages: Floats


SpreadOverImages = ArrayLike | Callable[[int, Bools], ArrayLike]


def walk(tables: ArrayLike, plan: Plan, test_se: SpreadOverImages = 0.0, *, absent: ArrayLike = False) -> Walk:
    """Take tables through the stages of a plan, as far as their scores go.

    The pooled deviation at a stage is that of the additive layout arm + seed of all scores that were used until then,
    those of stopped arms included; an arm's own, and the standard error, are those of
    :func:`saccade.comparison.statistics.judge`.

    Args:
        tables: Scores (..., k + 1, seeds), the control in row 0; NaN for a run that is not done.
        plan: The plan, for k arms.
        test_se: Standard error from the test images, (..., k) or one for all; or a function of the number of seeds and
            of the arms that are asked for, (k,), for a single table.
        absent: True for arms that take no part, (..., k), such as those that predict what the control predicts. They
            count among the k, and bring no scores.
    """
    tables = np.asarray(tables, dtype=np.float64)
    shape = tables.shape[:-2]
    tables = tables.reshape(-1, *tables.shape[-2:])
    count, arms = len(tables), tables.shape[1] - 1
    here = ~np.broadcast_to(absent, (*shape, arms)).reshape(count, arms)
    open_ = here.copy()
    claim, seeds = np.zeros((count, arms), dtype=np.int64), np.zeros((count, arms), dtype=np.int64)
    unlikely = np.zeros((count, arms), dtype=np.bool_)
    mean, half, p = (np.full((count, arms), value) for value in (0.0, 0.0, 1.0))
    squares, df = np.zeros(count), np.zeros(count, dtype=np.int64)
    waiting, live = np.zeros(count, dtype=np.int64), np.ones(count, dtype=np.bool_)
    before, each = 1, np.full((count, len(plan.stages), arms), np.nan)
    for number, (stage, share) in enumerate(zip(plan.stages, plan.levels, strict=True)):
        used = np.concatenate([open_.any(axis=1, keepdims=True), open_], axis=1)
        missing = (np.isnan(tables[:, :, :stage]).any(axis=2) & used).any(axis=1) & live
        waiting[missing] = stage
        live = live & ~missing & used[:, 0]
        if not live.any():
            break
        for seed in range(before, stage):
            _add_seed(tables, seed, used & live[:, None], squares, df)
        before = stage
        judged = open_ & live[:, None]
        images = np.broadcast_to(_asked(test_se, stage, judged), (*shape, arms)).reshape(count, arms)
        d = np.where(judged[:, :, None], tables[:, 1:, :stage] - tables[:, :1, :stage], 0.0)
        now = d.mean(axis=2)
        pooled = np.sqrt(squares / np.maximum(df, 1))[:, None]
        spread = np.maximum(pooled, d.std(axis=2, ddof=1) / math.sqrt(2))
        se = np.sqrt(2 * spread**2 / stage + np.square(images))
        largest = np.abs(np.where(used[:, :, None], tables[:, :, :stage], 0.0)).max(axis=(1, 2))
        known = se > 16 * np.finfo(np.float64).eps * largest[:, None]
        found = _p(np.where(known, now / np.where(known, se, 1.0), 0.0), df, judged)
        left = arms - (claim != 0).sum(axis=1)
        width = _quantiles(df, left * 0 + arms, plan.level * (share or 1.0))[:, None] * np.where(known, se, 0.0)
        for kept, value in ((mean, now), (half, width), (p, found)):
            kept[judged] = value[judged]
        each[:, number][judged] = found[judged]
        seeds[judged] = stage
        if share:
            rejected = _holm(np.where(judged, found, 2.0), left, share * plan.level) & judged
            claim[rejected] = np.sign(now[rejected]).astype(np.int64)
            open_ &= ~rejected
            judged &= ~rejected
        if stage < plan.seeds:
            # The chance of a claim at the last stage if the difference is what it looks, Lan, Simon, Halperin.
            final = df + judged.sum(axis=1) * (plan.seeds - stage)
            needed = _quantiles(final, left, plan.level)[:, None]
            needed = needed * np.sqrt(2 * spread**2 / plan.seeds + np.square(images))
            moves = spread * math.sqrt(2 * (1 / stage - 1 / plan.seeds))
            hopeless = judged & known & (np.abs(now) < needed + NormalDist().inv_cdf(plan.chance) * moves)
            unlikely |= hopeless
            open_ &= ~hopeless
        else:
            open_ &= ~live[:, None]
    arrays = (claim, seeds, open_, unlikely, waiting, mean, half, p, each)
    return Walk(*(array.reshape((*shape, *array.shape[1:])) for array in arrays))


def _add_seed(tables: Floats, seed: int, used: Bools, squares: Floats, df: Ints) -> None:
    """Add what one more seed says of the deviation: how far its arms move apart from their means so far.

    These are the recursive residuals of the layout arm + seed, whose squares add up to those of the least-squares fit
    whenever an arm that stops stays away.
    """
    means = np.where(used, tables[:, :, :seed].mean(axis=2), 0.0)
    moved = (np.where(used, tables[:, :, seed], 0.0) - means) * math.sqrt(seed / (seed + 1))
    arms = used.sum(axis=1)
    middle = moved.sum(axis=1) / np.maximum(arms, 1)
    squares += np.where(used, np.square(moved - middle[:, None]), 0.0).sum(axis=1)
    df += np.maximum(arms - 1, 0)


def _asked(test_se: SpreadOverImages, stage: int, judged: Bools) -> ArrayLike:
    return test_se(stage, judged[0]) if callable(test_se) else test_se


def _p(t: Floats, df: Ints, judged: Bools) -> Floats:
    p = np.ones_like(t)
    for each in np.unique(df[judged.any(axis=1)]):
        rows = df == each
        p[rows] = two_sided(t[rows], float(each))
    return p


def _quantiles(df: Ints, arms: Ints, level: float) -> Floats:
    """Student's t of 1 - level / (2 arms) for each table; 0 where no arm or degree of freedom is left."""
    found = np.zeros(len(df))
    for freedom, count in {(int(f), int(a)) for f, a in zip(df, arms, strict=True) if f > 0 and a > 0}:
        found[(df == freedom) & (arms == count)] = _quantile(1 - level / (2 * count), freedom)
    return found


@cache
def _quantile(probability: float, df: int) -> float:
    return quantile(probability, df)


def _holm(p: Floats, left: Ints, level: float) -> Bools:
    """Holm's procedure where only `left` hypotheses are not yet rejected."""
    order = p.argsort(axis=1, kind="stable")
    limits = level / np.maximum(left[:, None] - np.arange(p.shape[1]), 1)
    passes = np.logical_and.accumulate(np.take_along_axis(p, order, axis=1) <= limits, axis=1)
    rejected = np.empty(p.shape, dtype=np.bool_)
    np.put_along_axis(rejected, order, passes, axis=1)
    return rejected
