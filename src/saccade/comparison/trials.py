"""The trials of a comparison, from its folder: which are to be done next, and what follows from those that are done."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from functools import cached_property, partial

from saccade import schema
from saccade.comparison.backends.base import Event
from saccade.comparison.collect import read_run
from saccade.comparison.experiment import Experiment
from saccade.comparison.inner import held_out
from saccade.comparison.judging import Judging
from saccade.comparison.results import Tuned
from saccade.comparison.statistics import Difference, mean_interval
from saccade.comparison.tuning import Rates, Trial, best_first, next_trials, read_trial
from saccade.data import Arrays
from saccade.data.reading import Reading
from saccade.errors import InputError
from saccade.files import replacing
from saccade.insertion import parameter_groups
from saccade.runs.names import CONFIG, EVIDENCE, LAST, LOG, RESULT
from saccade.runs.records import read_record

_SAME = (CONFIG, LOG, LAST, EVIDENCE, RESULT)  # the result last: it marks a run as done


class Trials:
    """The trials before each run of an experiment, and the runs with the settings that they chose.

    Args:
        experiment: The experiment.
        data: Its data.
    """

    def __init__(self, experiment: Experiment, data: Arrays) -> None:
        self.experiment, self.data = experiment, data
        self.count = experiment.settings.tune or 0

    @property
    def runs(self) -> Iterator[tuple[int, int]]:
        """Every run as (arm, index), seed by seed."""
        arms = range(len(self.experiment.arms))
        return ((arm, index) for index in range(self.experiment.settings.seeds) for arm in arms)

    def trials(self, arm: int, index: int) -> list[Trial | None]:
        """Return the trials before a run, by number; None for those that are not done."""
        chosen = self.experiment.arms[arm]
        paths = [self.experiment.trial_folder(chosen, index, number) / RESULT for number in range(self.count)]
        return [read_trial(path) if path.exists() else None for path in paths]

    def next_jobs(self) -> list[Event]:
        """Return the trials that can be done now, of all runs; none once all are done."""
        untuned, found = self.experiment.untuned, []
        for arm, index in self.runs:
            seed = self.experiment.seed(self.experiment.arms[arm], index)
            trials = next_trials(untuned, self.trials(arm, index), seed, gated=partial(self._is_gated, arm))
            found += [
                {"job": "trial", "arm": arm, "index": index, "number": number, **schema.to_json(setting)}
                for number, setting in trials
            ]
        return found

    def tuned_jobs(self) -> list[Event]:
        """Return the runs with chosen settings that are not done; one with the untuned setting is that without trials.

        Its files are copied.
        """
        found: list[Event] = []
        for arm, index in self.runs:
            settings = best_first(self.experiment.untuned, [one for one in self.trials(arm, index) if one])
            if self._done(arm, index):
                continue
            if settings[0] == self.experiment.untuned:
                self._copy(arm, index)
            else:
                plain = [schema.to_json(one) for one in settings]
                found.append({"job": "tuned", "arm": arm, "index": index, "settings": plain})
        return found

    @property
    def steps_left(self) -> int:
        """Training steps of trials and tuned runs that are still to be done, at most."""
        undone = sum(trial is None for arm, index in self.runs for trial in self.trials(arm, index))
        undone += sum(not self._done(arm, index) for arm, index in self.runs) if self.count else 0
        return undone * self.experiment.steps

    @cached_property
    def gated(self) -> list[bool]:
        """True for the arms whose mechanism has parameters that learn at a rate of their own."""
        nets = (self.experiment.network(arm, 0, self.data) for arm in self.experiment.arms)
        groups = (parameter_groups(net, lr=1.0, weight_decay=0.0) for net in nets)
        return [any(group["name"] == "gates" for group in found) for found in groups]

    def _is_gated(self, arm: int) -> bool:
        return self.gated[arm]

    def refuse_too_few(self) -> None:
        """Refuse data with too few training images to be divided again.

        Raises:
            InputError: What is left for a trial is less than a batch, or nothing is held out.
        """
        if not self.count:
            return
        images, settings = len(self.data.train.images), self.experiment.settings
        held = len(held_out(self.data, 0, Reading.of(settings)))
        if not held or images - held < self.experiment.batch:
            raise InputError(
                f"tune: of {images} training images {images - held} are left for a trial, and {held} to score it on; "
                f"expected at least a batch of {self.experiment.batch}, and one",
                "choose a smaller --batch, or leave --tune out",
            )

    def found(self) -> tuple[Tuned, ...]:
        """Return scores, settings and verdict of each arm, once all runs with chosen settings are done."""
        experiment, seeds = self.experiment, range(self.experiment.settings.seeds)
        judged = Judging(experiment.tuned, experiment.task(self.data)).differences()
        return tuple(
            self._arm(arm, [self._run(arm, index) for index in seeds], difference)
            for arm, difference in enumerate((None, *judged))
        )

    def _arm(self, arm: int, runs: Sequence[tuple[float, Rates]], difference: Difference | None) -> Tuned:
        mean, low, high = mean_interval([score for score, _ in runs])
        return Tuned(
            settings=tuple(setting for _, setting in runs),
            trials=tuple(tuple(one for one in self.trials(arm, index) if one) for index in range(len(runs))),
            scores=tuple(score for score, _ in runs),
            mean=mean,
            interval=None if low is None or high is None else (low, high),
            difference=difference,
        )

    def _run(self, arm: int, index: int) -> tuple[float, Rates]:
        """The score of a tuned run, and the setting it was trained with."""
        folder = self.experiment.tuned.run_folder(self.experiment.arms[arm], index)
        return read_run(folder / RESULT).score, read_record(folder / CONFIG, Rates)

    def _done(self, arm: int, index: int) -> bool:
        path = self.experiment.tuned.run_folder(self.experiment.arms[arm], index) / RESULT
        if path.exists():
            read_run(path)  # better said now than at the end, if it is damaged
        return path.exists()

    def _copy(self, arm: int, index: int) -> None:
        chosen = self.experiment.arms[arm]
        here, there = self.experiment.run_folder(chosen, index), self.experiment.tuned.run_folder(chosen, index)
        shutil.rmtree(there, ignore_errors=True)
        there.mkdir(parents=True)
        for name in _SAME:
            if (here / name).exists():
                with replacing(there / name) as temporary:
                    shutil.copyfile(here / name, temporary)
