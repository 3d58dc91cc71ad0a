r"""The difference a comparison can find: from a design to the difference, and from the difference to a design.

The rule of :mod:`saccade.comparison.statistics` claims a difference d of n seeds and m test images where

.. math:: |\bar d| \ge t_{1 - \alpha / 2k}\, \sqrt{2 \hat s^2 / n + \sigma^2 / m}

with k arms, an estimated deviation over seeds and the deviation sigma of a difference over images. The smallest true
difference that is claimed with 90% is a quantile of the right side minus the error of the mean; with up to 20 seeds the
distribution of the estimate, the larger of the pooled deviation and the arm's own, is drawn 10,000 times. Where other
arms differ too, Holm's procedure finds a little more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from saccade.comparison.experiment import Experiment
from saccade.comparison.judging import Judging
from saccade.comparison.options import MOST_SEEDS, CompareOptions
from saccade.comparison.sequential import FEWEST
from saccade.comparison.statistics import spreads
from saccade.comparison.student import Floats, quantile
from saccade.errors import InputError
from saccade.runs.names import EXPERIMENT
from saccade.tasks.base import Task

POWER = 0.9
"""Probability with which a difference is to be found."""
_FEW, _DRAWS = 20, 10_000
_PILOT = (
    "do a few seeds first in a folder of their own, and give it with --out; or state the deviations: "
    "--seed-deviation 0.005 --image-deviation 0.2"
)
_MOST_IMAGES = 1024
"""Largest number of times the held-out images that a design asks for."""


@dataclass(frozen=True, kw_only=True)
class Deviations:
    """What makes scores vary.

    Args:
        seed: Deviation of a run over seeds, after what a seed does to all arms alike.
        image: Deviation of a difference over images: its standard error from m images is this over the root of m.
        source: Where they come from, in words.
    """

    seed: float
    image: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Design:
    """A number of seeds and of held-out images that finds the difference.

    Args:
        seeds: Seeds of every arm; None if no number up to 1,000 is enough with these images.
        images: Held-out images.
        runs: Number of runs of all arms.
        seconds: Estimated time of the training in seconds.
    """

    seeds: int | None
    images: int
    runs: int | None
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Designs:
    """Designs that find a difference.

    Args:
        difference: The difference.
        power: Probability of finding it.
        deviations: What they are computed from.
        designs: Designs from the number of images there are to the number with which the fewest seeds suffice.
    """

    difference: float
    power: float
    deviations: Deviations
    designs: tuple[Design, ...]


def detectable(deviations: Deviations, arms: int, seeds: int, images: int) -> float:
    """Return the smallest difference that a design finds with probability 0.9."""
    return _smallest(2 * deviations.seed**2 / seeds, deviations.image**2 / images, arms, seeds)


def detected(half_width: float, arms: int, seeds: int) -> float:
    """Return the same for an arm whose interval is known, from half of its width."""
    return _smallest((half_width / _limit(arms, seeds)) ** 2, 0.0, arms, seeds)


def _limit(arms: int, seeds: int, level: float = 0.05) -> float:
    """The number of standard errors that half an interval has."""
    return quantile(1 - level / (2 * arms), arms * (seeds - 1))


def _smallest(over_seeds: float, over_images: float, arms: int, seeds: int) -> float:
    """The smallest difference that is found with `POWER`, from the two parts of the squared standard error."""
    squares, errors = _drawn(arms, seeds)
    needed = _limit(arms, seeds) * np.sqrt(over_seeds * squares + over_images)
    return float(np.quantile(needed - math.sqrt(over_seeds + over_images) * errors, POWER))


@cache
def _drawn(arms: int, seeds: int) -> tuple[Floats, Floats]:
    """Squared estimates of a deviation of 1, and errors of a mean difference in units of its standard error."""
    random = np.random.default_rng(0)
    errors = random.standard_normal(_DRAWS)
    if seeds > _FEW:
        return np.ones(_DRAWS), errors
    return np.square(spreads(random.standard_normal((_DRAWS, arms + 1, seeds)))[:, 0]), errors


def designs_for(difference: float, deviations: Deviations, *, arms: int, images: int, seconds: float) -> Designs:
    """Return designs that find a difference, from the images there are to the number with which three seeds suffice.

    Args:
        difference: The difference, above 0.
        deviations: What makes scores vary.
        arms: Number k of arms that are compared with the control.
        images: Held-out images that there are.
        seconds: Time of one seed of all arms.
    """
    found: list[Design] = []
    times = 1
    while times <= _MOST_IMAGES:
        seeds = _fewest(difference, deviations, arms, images * times)
        if seeds is not None or times == 1:
            runs, time = (None, None) if seeds is None else (seeds * (arms + 1), seeds * seconds)
            better = not found or found[-1].seeds is None or (seeds is not None and seeds < found[-1].seeds)
            if better:
                found.append(Design(seeds=seeds, images=images * times, runs=runs, seconds=time))
        if seeds == FEWEST:
            break
        times *= 2
    return Designs(difference=difference, power=POWER, deviations=deviations, designs=tuple(found))


def _fewest(difference: float, deviations: Deviations, arms: int, images: int) -> int | None:
    """The smallest number of seeds that finds the difference: more seeds never find less."""
    low, high = FEWEST, MOST_SEEDS
    if detectable(deviations, arms, high, images) > difference:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if detectable(deviations, arms, middle, images) <= difference else (middle + 1, high)
    return low


@dataclass(frozen=True)
class Asked:
    """A difference that a comparison is to find.

    Args:
        difference: The difference.
        seed: Deviation over seeds as the user states it; None: from finished runs.
        image: Deviation over images, likewise.
        folder: Folder of the finished runs.
    """

    difference: float
    seed: float | None
    image: float | None
    folder: Path

    @classmethod
    def by(cls, options: CompareOptions, folder: Path) -> Asked | None:
        """Return what the options ask for.

        Raises:
            InputError: Deviations without a difference, one of the two, or a difference without ``dry_run``.
        """
        seed, image = options.seed_deviation, options.image_deviation
        if options.detect is None:
            if seed is not None or image is not None:
                raise InputError(
                    "seed_deviation and image_deviation say what detect computes with", "add --detect 0.01"
                )
            return None
        if not options.dry_run:
            raise InputError("detect plans a comparison, and trains nothing", "add --dry-run")
        if (seed is None) != (image is None):
            raise InputError("seed_deviation and image_deviation: give both, or neither")
        return cls(options.detect, seed, image, folder)

    def answer(self, task: Task, arms: int, images: int, seconds: float, planned: Experiment | None = None) -> Designs:
        """Return the designs.

        Args:
            task: The task of the data.
            arms: Number of arms, the control counted.
            images: Held-out images that there are.
            seconds: Time of one seed of all arms.
            planned: The comparison that is planned; what finished runs differ in is said.

        Raises:
            InputError: There are no finished runs to learn the deviations from.
        """
        if self.seed is not None and self.image is not None:
            found = Deviations(seed=self.seed, image=self.image, source="as stated")
        elif (self.folder / EXPERIMENT).exists():
            pilot = Experiment.load(self.folder)
            found = of_pilot(pilot, task)
            other = "" if planned is None else differing(pilot, planned)
            if other:
                found = replace(found, source=f"{found.source}, whose settings are others: {other}")
        else:
            raise InputError(f"detect: there is no comparison in {self.folder} to learn deviations from", _PILOT)
        return designs_for(self.difference, found, arms=arms - 1, images=images, seconds=seconds)


_FREE = frozenset({"mechanisms", "seeds", "sequential", "tune", "steps", "epochs", "batch", "learning_rate"})
"""Settings that a pilot may have otherwise, or that count as they were decided."""


def differing(pilot: Experiment, planned: Experiment) -> str:
    """Say in which settings that change scores a pilot and a planned comparison differ; empty if in none."""
    before, now = (
        {name: value for name, value in one.settings.to_json().items() if name not in _FREE}
        | {"steps": one.steps, "batch": one.batch, "learning_rate": one.learning_rate}
        for one in (pilot, planned)
    )
    return "; ".join(
        f"{name}: {before.get(name)!r} there, {value!r} now" for name, value in now.items() if before.get(name) != value
    )


def of_pilot(experiment: Experiment, task: Task) -> Deviations:
    """Return the deviations of the finished runs of an experiment: root mean squares over its arms.

    Raises:
        InputError: Fewer than two seeds of every arm are finished.
    """
    judging, arms = Judging(experiment, task), len(experiment.arms) - 1
    seeds = judging.complete
    if seeds < 2:
        raise InputError(
            f"detect: a pilot needs 2 finished seeds of every arm; {experiment.folder} has {seeds}",
            _PILOT,
        )
    table = np.array([[judging.score(number, index) for index in range(seeds)] for number in range(arms + 1)])
    square = float(np.square(spreads(table)).mean())
    images = judging.images
    image = [judging.spread_over_images(number + 1, seeds) ** 2 * images for number in range(arms)]
    return Deviations(
        seed=math.sqrt(square), image=math.sqrt(float(np.mean(image))),
        source=f"{seeds} seeds of {arms + 1} arms in {experiment.folder}",
    )  # fmt: skip
