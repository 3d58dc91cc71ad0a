"""``--dry-run``: the plan of a comparison, the costs of its networks, and the time it would take on this machine."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from saccade import schema
from saccade.comparison.arms import Arm
from saccade.comparison.costs import macs, now, step_of
from saccade.comparison.detecting import Asked, Designs
from saccade.comparison.experiment import Experiment, decide, load_data
from saccade.comparison.judging import Judging
from saccade.comparison.options import MOST_SEEDS
from saccade.comparison.progress import ComparisonProgress
from saccade.comparison.settings import Settings
from saccade.comparison.trials import Trials
from saccade.data import Arrays
from saccade.training.inputs import to_input
from saccade.training.progress import duration

_REST = 15.0  # seconds for the workers' start, costs, pictures and the page


@dataclass(frozen=True, kw_only=True)
class ArmForecast:
    """An arm before it is trained.

    Args:
        name: Name of the arm.
        place: Names of the modules that its mechanism would be attached to.
        params: Number of parameters.
        macs: Multiply-adds of one image.
    """

    name: str
    place: tuple[str, ...]
    params: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The plan of a comparison, and the time it would take on this machine.

    Args:
        note: The layout of the data, as recognised, in a sentence.
        arms: The arms, the control first.
        runs: Number of runs of all arms.
        steps: Training steps per run.
        batch: Images per step.
        jobs: Number of runs at a time.
        seconds: Estimated time in seconds.
        trials: Number of trials of all runs.
        fewest: Smallest number of runs, which differs from `runs` where seeds are added in stages.
        designs: Designs that find the difference that was asked for.
    """

    note: str
    arms: tuple[ArmForecast, ...]
    runs: int
    steps: int
    batch: int
    jobs: int
    seconds: float
    trials: int = 0
    fewest: int | None = None
    designs: Designs | None = None
    report = None

    def table(self) -> str:
        """Return the arms with their places and costs, and the estimated time, as lines of text."""
        lines = [self.note, ""]
        width = max(len(arm.name) for arm in self.arms)
        for arm in self.arms:
            where = ", ".join(arm.place) or "no attention"
            lines.append(f"{arm.name:<{width}}  {arm.params:>12,} params  {arm.macs / 1e6:>9,.1f} MMACs  {where}")
        number = f"{self.runs}" if self.fewest is None else f"{self.fewest} to {self.runs}"
        runs = f"{number} runs of {self.steps} steps, batch {self.batch}, {self.jobs} at a time"
        if self.trials:
            runs = f"{self.trials} trials and {runs}"
        about = "about" if self.fewest is None else "at most about"
        lines += ["", f"{runs}: {about} {duration(self.seconds)}"]
        return "\n".join([*lines, "", *_designed(self.designs)] if self.designs else lines)

    def to_json(self) -> dict[str, Any]:
        """Return the same as plain values."""
        found: dict[str, Any] = schema.to_json(self)
        return found

    def __str__(self) -> str:
        return self.table()


def _designed(designs: Designs) -> list[str]:
    """The designs as lines of text."""
    found = designs.deviations
    lines = [
        f"to find a difference of {designs.difference:g} with {designs.power:.0%} (deviation over seeds "
        f"{found.seed:.2g}, over images {found.image:.2g}: {found.source}):"
    ]
    for one in designs.designs:
        what = f"{one.images:>9,} held-out images: "
        if one.seeds is None or one.seconds is None:
            lines.append(f"{what}no number of seeds up to {MOST_SEEDS:,}")
        else:
            lines.append(f"{what}{one.seeds} seeds, {one.runs} runs, about {duration(one.seconds)}")
    return lines


def forecast(
    settings: Settings, arms: tuple[Arm, ...], jobs: int, *, shown: bool, asked: Asked | None = None
) -> Forecast:
    """Build every network, time a few training steps of each, and estimate the time of the comparison.

    Args:
        settings: Settings of the comparison.
        arms: The arms, the control first.
        jobs: Number of runs at a time.
        shown: True shows progress.
        asked: Difference to be found, for which designs are computed.
    """
    with (
        tempfile.TemporaryDirectory(prefix="saccade-") as scratch,
        ComparisonProgress(shown=shown, steps=0) as speaking,
    ):
        data = load_data(settings, Path(scratch), speaking.counting)
        if data.identity is not None:
            data.identity.refuse_contradiction()
        experiment = decide(settings, arms, data, Path(scratch))
        found, seconds = [], 0.0
        for arm in experiment.arms:
            net = experiment.network(arm, 0, data).to(memory_format=torch.channels_last)
            height, width = data.val.images.shape[1:3]
            image = to_input(torch.zeros(1, 3, height, width, dtype=torch.uint8), torch.device("cpu"))
            params, place = sum(p.numel() for p in net.parameters()), tuple(experiment.places(arm, data))
            found.append(ArmForecast(name=arm.name, place=place, params=params, macs=macs(net, image)))
            seconds += _seconds_per_step(net.to(settings.device), data, experiment) * experiment.steps * settings.seeds
        one_run = seconds / (len(experiment.arms) * settings.seeds)
        starts = settings.seeds if settings.fresh_start else 1
        seconds += one_run * starts * experiment.start_steps / experiment.steps
        Trials(experiment, data).refuse_too_few()
        trials = (settings.tune or 0) * settings.seeds * len(found)
        every = (settings.tune or 0) + 2 if settings.tune else 1  # trainings of each seed of each arm, at most
        seconds += (every - 1) * one_run * len(found) * settings.seeds
        note = str(data.statement)
        plan = Judging(experiment, experiment.task(data)).plan
        per_seed = seconds / jobs / settings.seeds
        designs = (
            asked.answer(experiment.task(data), len(experiment.arms), len(data.val.images), per_seed, experiment)
            if asked
            else None
        )
        del data
    return Forecast(
        note=note,
        arms=tuple(found),
        runs=len(found) * settings.seeds * (2 if settings.tune else 1),
        trials=trials,
        steps=experiment.steps,
        batch=experiment.batch,
        jobs=jobs,
        seconds=seconds / jobs + _REST,
        fewest=plan.stages[0] * len(found) if plan else None,
        designs=designs,
    )


def _seconds_per_step(net: torch.nn.Module, data: Arrays, experiment: Experiment) -> float:
    """The shorter of two training steps after a warm-up step, on one thread as in the workers."""
    device, threads = torch.device(experiment.settings.device), torch.get_num_threads()
    torch.set_num_threads(1)
    step = step_of(net.train(), data, experiment, device)
    times = []
    for _ in range(3):
        started = now(device)
        step()
        times.append(now(device) - started)
    torch.set_num_threads(threads)
    return min(times[1:])
