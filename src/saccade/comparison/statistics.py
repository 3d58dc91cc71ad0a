"""The statistics rule: when a table of scores, arms by seeds, allows a claim, and how sure it is.

For arms compared with one control on the same few seeds. Few seeds give poor estimates of each arm's spread, so all
arms share one, unless an arm's own is larger; the finite test set is a second source of chance next to the seeds; and
several arms are several chances to be wrong.

Sources: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979;
B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7, 1979.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade.comparison.student import Floats, quantile, two_sided
from saccade.errors import InputError
from saccade.tasks.ratios import weighted

Verdict = Literal["better", "worse", "can't tell"]
TIE = "same score on every seed"
UNLIKELY = "stopped early"


def bootstrap_se(
    control: Sequence[Any],
    arm: Sequence[Any],
    *,
    resampled: Callable[[Any, Floats], Floats] = weighted,
    draws: int = 200,
    seed: int = 0,
) -> float:
    """Estimate how far the choice of test images moves the difference arm - control, averaged over the seeds.

    Test images are drawn with replacement, the same draw for both arms and all seeds; the standard deviation, over the
    draws, of the mean difference is returned. The draws depend on `seed` and the number of images alone.

    Args:
        control: Evidence of each seed: a dict of arrays whose first has a row per image, see
            :mod:`saccade.tasks.evidence`; or counts (n_images, K, 2) as for :func:`saccade.tasks.ratios.score`, of
            which a memory map is read in pieces.
        arm: The same, as many.
        resampled: Gives the scores (draws,) of one run's evidence for weights (draws, n_images) of its images.
        draws: Number of draws of the images.
        seed: Seed of the draws.

    Returns:
        The standard error, in units of the score. 0 for a single image, which says nothing about others. A draw in
        which no class occurs counts as a score of 0.

    Raises:
        InputError: Numbers of seeds or images that differ or are 0, or fewer than two draws.
    """
    counted = {len(next(iter(one.values())) if isinstance(one, Mapping) else one) for one in (*control, *arm)}
    if len(control) != len(arm) or len(counted) != 1 or 0 in counted or not len(arm):
        raise InputError(
            "bootstrap_se: expected the same numbers of seeds and images for control and arm; "
            f"received {len(control)} and {len(arm)} seeds, {' and '.join(map(str, sorted(counted)))} images"
        )
    if draws < 2:
        raise InputError(f"bootstrap_se: `draws` must be at least 2; received {draws=}")
    images, random = counted.pop(), np.random.default_rng(seed)
    times = np.empty((draws, images))  # how often each image is in each draw
    for row in times:
        row[:] = np.bincount(random.integers(images, size=images), minlength=images)
    difference = np.zeros(draws)
    for run_control, run_arm in zip(control, arm, strict=True):
        difference += resampled(run_arm, times) - resampled(run_control, times)
    return float(np.std(difference / len(arm), ddof=1))


def mean_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float | None, float | None]:
    """Mean of the scores of several seeds and its Student t interval: (mean, low, high); one seed has no interval.

    Args:
        values: (seeds,), at least one.
        level: Probability that the interval covers the mean over all seeds, between 0 and 1.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise InputError(f"mean_interval: expected at least one finite score; received {values.tolist()}")
    _between_0_and_1("mean_interval", level)
    mean = float(values.mean())
    if len(values) == 1:
        return mean, None, None
    half = quantile((1 + level) / 2, len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return mean, mean - half, mean + half


@dataclass(frozen=True)
class Difference:
    """Statement about one arm, compared with the control.

    Args:
        mean: Mean over seeds of arm - control.
        interval: Simultaneous over the arms of the table: all of them cover the truth with probability 1 - level.
        p: Two-sided, of this arm alone, before the correction for several arms; None where no test is made.
        verdict: Holm's procedure can claim a difference where the interval, which is wider, still touches 0.
        reason: Obstacle to any claim, whatever the scores: ``"identical runs"``, ``"same score on every seed"``,
            ``"fewer than 3 seeds"``, or ``"no spread to judge by"``. In a comparison in stages also
            ``"stopped early"``: by the last stage a claim had become unlikely.
    """

    mean: float
    interval: tuple[float, float] | None
    p: float | None
    verdict: Verdict
    reason: str | None


def differences(
    table: ArrayLike,
    test_se: ArrayLike = 0.0,
    level: float = 0.05,
    *,
    identical: Sequence[bool] | None = None,
    images: int | None = None,
) -> list[Difference]:
    """Judge every arm against the control by the rule of :func:`judge`.

    Special tables, in this order:

    * An arm that predicts what the control predicts, in every seed: "can't tell", ``identical runs``, interval [0, 0].
      It brings no information, so the rule is applied to the other arms as if it were not there.
    * One seed: no interval, no verdict. Two seeds: an interval, no verdict and no p.
    * The control's score in every seed, though not its predictions: a few images score coarsely, and arms that differ
      then tie by chance. "can't tell", ``same score on every seed``; the interval is the rule's, or, where no image
      tells the arms apart, plus and minus the largest share of images, 1 - (level / 2k)^(1 / images), on which they
      could differ and still agree on all of these.
    * No spread over seeds nor over test images, so that any difference would be certain: no claim and no interval,
      since a few coarse scores can agree by chance.

    Args:
        table: (arms + 1, seeds) scores; row 0 is the control, column j holds the same seed for all.
        test_se: Standard error from the test images (:func:`bootstrap_se`) of each arm, (arms,), or one for all.
        level: Probability of at least one wrong claim in the table that is accepted.
        identical: Whether an arm predicts what the control predicts, in every seed, (arms,); by default none does.
        images: Number of test images.

    Returns:
        One difference for each row after the first. No number in it is NaN or infinite.

    Raises:
        InputError: No arm or no seed, a score that is not finite (named), or a negative standard error.
    """
    table = _checked(table)
    test_se = _checked_se(test_se, len(table) - 1)
    _between_0_and_1("differences", level)
    equal = np.zeros(len(table) - 1, dtype=np.bool_) if identical is None else np.array(identical, dtype=np.bool_)
    judged = iter(_judge_different(table[np.append(True, ~equal)], test_se[~equal], level, images))
    return [
        Difference(0.0, (0.0, 0.0), None, "can't tell", "identical runs") if same else next(judged) for same in equal
    ]


def images_to_show(difference: float, arms: int = 1, level: float = 0.05) -> int:
    """Number of test images from which on an accuracy `difference` could show.

    An arm must be right, and the control wrong, on at least m images for the sign test to reach the level:
    2 (1/2)^m <= level / k. These are `difference` of all images, where nothing speaks for the control.

    Args:
        difference: Difference of accuracies, above 0, at most 1.
        arms: Number k of arms that are compared with the control.
        level: As for :func:`differences`.
    """
    return math.ceil(math.ceil(math.log2(2 * arms / level)) / difference)


def tied_share(images: int, arms: int, level: float = 0.05) -> float:
    """Return the largest share of images on which arms could differ and still agree on all of `images`.

    Args:
        images: Number of test images, on none of which they differ.
        arms: Number k of arms that are compared with the control.
        level: As for :func:`differences`.
    """
    share: float = 1 - (level / 2 / arms) ** (1 / images)
    return share


def _judge_different(table: Floats, test_se: Floats, level: float, images: int | None) -> list[Difference]:
    seeds = table.shape[1]
    means = (table[1:] - table[0]).mean(axis=1)
    if len(means) == 0:
        return []
    if seeds == 1:
        return [Difference(float(mean), None, None, "can't tell", "fewer than 3 seeds") for mean in means]
    judged = judge(table, test_se, level)
    tied = (table[1:] == table[0]).all(axis=1)
    if images is not None:  # where no image tells them apart
        judged.half_width[tied & (judged.half_width == 0)] = tied_share(images, len(means), level)
    found = []
    for mean, half, p, claim, tie in zip(judged.mean, judged.half_width, judged.p, judged.claim, tied, strict=True):
        interval = (float(mean - half), float(mean + half)) if half else None
        sign: Verdict = "better" if mean > 0 else "worse"
        if tie and seeds > 2:
            found.append(Difference(0.0, interval, None, "can't tell", TIE))
        elif half == 0:
            found.append(Difference(float(mean), None, None, "can't tell", "no spread to judge by"))
        elif seeds == 2:
            found.append(Difference(float(mean), interval, None, "can't tell", "fewer than 3 seeds"))
        else:
            found.append(Difference(float(mean), interval, float(p), sign if claim else "can't tell", None))
    return found


@dataclass(frozen=True)
class Judged:
    """The rule's answers for any number of tables, each (..., arms); `half_width` is 0 where no claim is possible."""

    mean: Floats
    half_width: Floats
    p: Floats
    claim: NDArray[np.bool_]


def judge(tables: Floats, test_se: ArrayLike = 0.0, level: float = 0.05) -> Judged:
    r"""The rule itself, for tables (..., arms + 1, seeds) of n >= 2 seeds, k arms and the control in row 0.

    .. math:: t = \bar d / se, \quad se^2 = 2 s^2 / n + se_{test}^2, \quad s = \max(s_{pool}, s_{own})

    d is the difference to the control seed by seed, s_pool the residual standard deviation of the two-way layout arm +
    seed (control included), s_own = sd(d) / sqrt(2). t is Student's with k (n - 1) degrees of freedom, and Holm's
    procedure at `level` runs over the k arms. With one arm and no test term this is the paired t test. The intervals
    are Bonferroni's: mean ± t(1 - level / 2k) se. Spreads that are equal and Gaussian keep wrong claims below `level`;
    pooling makes a few more where spreads differ widely and seeds are few.
    """
    arms, seeds = tables.shape[-2] - 1, tables.shape[-1]
    df = arms * (seeds - 1)
    d = tables[..., 1:, :] - tables[..., :1, :]
    mean = d.mean(axis=-1)
    spread = spreads(tables)
    se = np.sqrt(2 * spread**2 / seeds + np.square(test_se))
    # Scores that differ by a constant leave a spread of pure rounding: not a number to divide by.
    known = se > 16 * np.finfo(np.float64).eps * np.abs(tables).max(axis=(-2, -1))[..., None]
    se = np.where(known, se, 0.0)
    p = np.where(known, two_sided(mean / np.where(known, se, 1.0), df), 1.0)
    return Judged(mean, quantile(1 - level / 2 / arms, df) * se, p, holm(p, level))


def spreads(tables: Floats) -> Floats:
    """Return the deviation s of each arm (..., arms) as :func:`judge` has it: the pooled one, or its own if larger.

    Args:
        tables: Scores (..., arms + 1, seeds) of at least two seeds, the control in row 0.
    """
    d = tables[..., 1:, :] - tables[..., :1, :]
    found: Floats = np.maximum(_residual_sd(tables)[..., None], d.std(axis=-1, ddof=1) / math.sqrt(2))
    return found


def _residual_sd(tables: Floats) -> Floats:
    """Standard deviation of the residuals of the two-way layout arm + seed."""
    arms, seeds = tables.shape[-2:]
    residual = tables - tables.mean(axis=-1, keepdims=True) - tables.mean(axis=-2, keepdims=True)
    residual += tables.mean(axis=(-2, -1), keepdims=True)
    sd: Floats = np.sqrt(np.square(residual).sum(axis=(-2, -1)) / ((arms - 1) * (seeds - 1)))
    return sd


def holm(p: ArrayLike, level: float = 0.05) -> NDArray[np.bool_]:
    """Tell which of k hypotheses Holm's procedure rejects.

    The i-th smallest p (counted from 0) must be at most level / (k - i), and so must all smaller ones.

    Args:
        p: (..., k) p values; the last axis is one family.
        level: Probability of at least one wrong rejection in a family.

    Returns:
        Booleans of the same shape.
    """
    p = np.asarray(p, dtype=np.float64)
    order = p.argsort(axis=-1, kind="stable")
    limits = level / np.arange(p.shape[-1], 0, -1)
    passes = np.logical_and.accumulate(np.take_along_axis(p, order, axis=-1) <= limits, axis=-1)
    rejected = np.empty(p.shape, dtype=np.bool_)
    np.put_along_axis(rejected, order, passes, axis=-1)
    return rejected


def _checked(table: ArrayLike) -> Floats:
    table = np.asarray(table, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] < 1:
        raise InputError(
            f"differences: expected scores (arms + 1, seeds), the control in row 0; received shape {table.shape}"
        )
    for arm, seed in np.argwhere(~np.isfinite(table))[:1]:
        name = "the control (row 0)" if arm == 0 else f"arm {arm} (row {arm})"
        raise InputError(
            f"differences: the score of {name} in seed {seed} (column {seed}) is {table[arm, seed]}; expected a number",
            "see that run's log.csv: a loss that is not finite needs a lower learning rate",
        )
    return table


def _checked_se(test_se: ArrayLike, arms: int) -> Floats:
    test_se = np.asarray(test_se, dtype=np.float64)
    if test_se.shape not in ((), (arms,)) or not (np.isfinite(test_se) & (test_se >= 0)).all():
        raise InputError(
            f"differences: `test_se` must be one number or {arms}, all finite and at least 0; received {test_se}"
        )
    return np.broadcast_to(test_se, (arms,))


def _between_0_and_1(who: str, level: float) -> None:
    if not 0 < level < 1:
        raise InputError(f"{who}: `level` must lie between 0 and 1; received {level=}")
