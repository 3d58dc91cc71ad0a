"""From the finished runs in a folder to verdicts: after the planned number of seeds, or in stages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from saccade import schema
from saccade.comparison.arms import Arm
from saccade.comparison.collect import RunResult, read_run
from saccade.comparison.experiment import Experiment, evidence_of
from saccade.comparison.sequential import FEWEST, Bools, Plan, Walk, plan_for, walk
from saccade.comparison.statistics import TIE, UNLIKELY, Difference, bootstrap_se, differences, tied_share
from saccade.comparison.student import Floats
from saccade.errors import InputError
from saccade.files import write_json
from saccade.runs.folder import OTHER_FOLDER
from saccade.runs.names import PLAN, RESULT
from saccade.runs.records import read_record
from saccade.tasks.base import Task
from saccade.tasks.evidence import images_in


@dataclass(frozen=True)
class Standing:
    """What is known after the runs that are finished.

    Args:
        needed: Number of seeds that each arm needs now, the control first.
        at_most: Number of seeds that each arm can come to need.
        over: True if no run is missing.
        news: What the last stage decided, in a sentence; empty before the first.
    """

    needed: tuple[int, ...]
    at_most: tuple[int, ...]
    over: bool
    news: str = ""


class Judging:
    """The verdicts of an experiment.

    Args:
        experiment: The experiment.
        task: The task of its data.
    """

    def __init__(self, experiment: Experiment, task: Task) -> None:
        self.experiment, self.task = experiment, task
        self.spread: dict[tuple[int, int], float] = {}

    @cached_property
    def plan(self) -> Plan | None:
        """The stages; None for a comparison that does all its runs."""
        if not self.experiment.settings.sequential:
            return None
        return plan_for(self.experiment.settings.seeds, len(self.experiment.arms) - 1)

    def standing(self) -> Standing:
        """Say which runs are needed next."""
        count, seeds = len(self.experiment.arms), self.experiment.settings.seeds
        if self.plan is None:
            done = all(self._result(arm, index) for arm in self.experiment.arms for index in range(seeds))
            return Standing((seeds,) * count, (seeds,) * count, done)
        found, absent = self._walked(self.plan)
        waiting = int(found.waiting)
        here = found.open & ~absent
        closed = np.where(absent, 2, found.seeds)
        needed = np.where(here, waiting, closed) if waiting else closed
        final = np.where(here, seeds, closed)
        return Standing(
            (int(needed.max()), *map(int, needed)), (int(final.max()), *map(int, final)), not waiting,
            self._news(self.plan, found, waiting),
        )  # fmt: skip

    def differences(self) -> list[Difference]:
        """Return the difference of each arm but the control, once no run is missing."""
        experiment = self.experiment
        if self.plan is not None:
            found, absent = self._walked(self.plan)
            return [self._stated(found, absent, number) for number in range(len(experiment.arms) - 1)]
        runs = [[self._result(arm, index) for index in range(experiment.settings.seeds)] for arm in experiment.arms]
        scores = [[run.score for run in row if run] for row in runs]
        test = [self.spread_over_images(number + 1, experiment.settings.seeds) for number in range(len(runs) - 1)]
        same = [self._identical(number + 1, experiment.settings.seeds) for number in range(len(runs) - 1)]
        return differences(scores, test, identical=same, images=self.images)

    @property
    def complete(self) -> int:
        """Number of seeds that every arm has finished."""
        seeds = self.experiment.settings.seeds
        return next(
            (index for index in range(seeds) if not all(self._result(arm, index) for arm in self.experiment.arms)),
            seeds,
        )

    def score(self, number: int, index: int) -> float:
        """Return the score of a finished run; NaN of one that is not."""
        found = self._result(self.experiment.arms[number], index)
        return found.score if found else float("nan")

    @property
    def images(self) -> int:
        """Number of test images."""
        return images_in(evidence_of(self.experiment.run_folder(self.experiment.arms[0], 0)))

    def _result(self, arm: Arm, index: int) -> RunResult | None:
        path = self.experiment.run_folder(arm, index) / RESULT
        return read_run(path) if path.exists() else None

    def _walked(self, plan: Plan) -> tuple[Walk, Bools]:
        results = [[self._result(arm, index) for index in range(plan.seeds)] for arm in self.experiment.arms]
        table: Floats = np.array([[run.score if run else np.nan for run in row] for row in results])
        absent = np.array([self._identical(number + 1, 2) for number in range(plan.arms)], dtype=np.bool_)
        found = walk(table, plan, self._spreads, absent=absent)
        return found, absent

    def _identical(self, number: int, seeds: int) -> bool:
        """Whether an arm predicts what the control predicts, in the first seeds."""
        control, arm = self.experiment.arms[0], self.experiment.arms[number]
        pairs = [(self._result(control, index), self._result(arm, index)) for index in range(seeds)]
        return all(one and other and one.predictions and one.predictions == other.predictions for one, other in pairs)

    def _spreads(self, seeds: int, wanted: Bools) -> Floats:
        return np.array(
            [self.spread_over_images(number + 1, seeds) if asked else 0.0 for number, asked in enumerate(wanted)]
        )

    def spread_over_images(self, number: int, seeds: int) -> float:
        """Return the standard error of the difference of an arm from the test images; it is kept for later stages."""
        if (number, seeds) not in self.spread:
            arms = self.experiment.arms
            control, arm = (
                [evidence_of(self.experiment.run_folder(one, index)) for index in range(seeds)]
                for one in (arms[0], arms[number])
            )
            self.spread[number, seeds] = bootstrap_se(control, arm, resampled=self.task.resampled)
        return self.spread[number, seeds]

    def _stated(self, found: Walk, absent: Bools, number: int) -> Difference:
        if absent[number]:
            return Difference(0.0, (0.0, 0.0), None, "can't tell", "identical runs")
        seeds, mean, half = int(found.seeds[number]), float(found.mean[number]), float(found.half_width[number])
        claim, p = int(found.claim[number]), float(found.p[number]) if seeds >= FEWEST else None
        control, arm = ([self._result(one, index) for index in range(seeds)] for one in self._pair(number + 1))
        if all(one and other and one.score == other.score for one, other in zip(control, arm, strict=True)):
            half = half or tied_share(self.images, len(absent))
            return Difference(0.0, (-half, half), None, "can't tell", TIE)
        if half == 0:
            return Difference(mean, None, None, "can't tell", "no spread to judge by")
        interval = (mean - half, mean + half)
        if claim:
            return Difference(mean, interval, p, "better" if claim > 0 else "worse", None)
        return Difference(mean, interval, p, "can't tell", UNLIKELY if found.unlikely[number] else None)

    def _pair(self, number: int) -> tuple[Arm, Arm]:
        return self.experiment.arms[0], self.experiment.arms[number]

    def _news(self, plan: Plan, found: Walk, waiting: int) -> str:
        """What the last stage decided, and how far the plan has come."""
        if waiting == plan.stages[0]:
            return f"stage 1 of {len(plan.stages)}: {waiting} seeds of every arm"
        at = plan.stages.index(waiting) if waiting else plan.stages.index(int(found.seeds.max()) or plan.stages[0]) + 1
        stage, names = plan.stages[at - 1], [arm.name for arm in self.experiment.arms[1:]]
        now = found.seeds == stage
        parts = [
            f"{', '.join(name for name, one in zip(names, chosen, strict=True) if one)} {what}"
            for chosen, what in (
                (now & (found.claim > 0), "better"),
                (now & (found.claim < 0), "worse"),
                (now & found.unlikely, "stopped: a claim had become unlikely"),
            )
            if chosen.any()
        ]
        decided = "; ".join(parts) or "nothing decided"
        left = f"; stage {at + 1}: {waiting} seeds of {int(found.open.sum())} open" if waiting else ""
        return f"stage {at} of {len(plan.stages)} ({stage} seeds): {decided}{left}"


def keep_plan(folder: Path, plan: Plan | None) -> None:
    """Write the plan into the folder of a comparison that begins, and refuse one that is not what it began with.

    Raises:
        InputError: The folder's plan is damaged, missing or another, though runs are there.
    """
    if plan is None:
        return
    path = folder / PLAN
    if path.exists():
        kept = read_record(path, Plan, f"restore it from a copy, {OTHER_FOLDER}")
        if kept != plan:
            raise InputError(
                f"{path} is not the plan that {plan.seeds} seeds and {plan.arms} arms have ({_changes(kept, plan)}): "
                "a plan is fixed before the first run",
                f"restore it from a copy, {OTHER_FOLDER}",
            )
    elif any(folder.glob(f"runs/*/*/{RESULT}")):
        raise InputError(
            f"{path} is missing: a plan is fixed before the first run", f"restore it from a copy, {OTHER_FOLDER}"
        )
    write_json(path, schema.to_json(plan))


def _changes(kept: Plan, plan: Plan) -> str:
    before, now = schema.to_json(kept), schema.to_json(plan)
    return "; ".join(
        f"{name}: {before[name]} there, {value} now" for name, value in now.items() if before[name] != value
    )
