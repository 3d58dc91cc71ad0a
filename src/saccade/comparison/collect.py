"""Collecting the results of an experiment from its finished runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.comparison.arms import Arm
from saccade.comparison.experiment import Experiment, evidence_of
from saccade.comparison.results import ArmResult, DataSummary, Grouping, NetworkSummary, Results, Tuned
from saccade.comparison.sequential import Plan
from saccade.comparison.statistics import Difference, mean_interval
from saccade.data import Arrays
from saccade.environment import environment
from saccade.runs.names import COSTS, NODES, PLACES, RESULT
from saccade.runs.records import AGAIN, read_object, read_record
from saccade.tasks.evidence import Group, images_in
from saccade.version import __version__

Details = dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class RunResult:
    """The content of ``result.json`` of one run.

    Args:
        score: Score on the validation images.
        train_seconds: Training time in seconds.
        groups: Scores of parts of the validation images, by the name of the group.
        scores: All scores by name, `score` first.
        predictions: Hash of all predictions on the validation images; empty in older results.
    """

    score: float
    train_seconds: float
    groups: Mapping[str, Group] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    predictions: str = ""


@dataclass(frozen=True)
class Verdicts:
    """What was found about each arm.

    Args:
        seeds: Number of seeds of each arm, the control first.
        differences: Difference of each arm but the control.
        plan: The stages; None for a comparison that does all its runs.
        tuned: Runs with tuned settings of each arm; empty without trials.
    """

    seeds: Sequence[int]
    differences: Sequence[Difference]
    plan: Plan | None = None
    tuned: Sequence[Tuned] = ()


def collect(
    experiment: Experiment,
    data: Arrays,
    verdicts: Verdicts,
    *,
    command: str,
    jobs: int,
    measured_on: str | None = None,
) -> Results:
    """Return the results of an experiment, read from the folders of its runs.

    Args:
        experiment: The experiment, all of whose runs are done.
        data: Its data.
        verdicts: What was found about each arm.
        command: Command line that repeats it.
        jobs: Number of runs that were done at a time.
        measured_on: Node of a cluster that the costs were measured on; None: this machine.
    """
    arms, settings, task = experiment.arms, experiment.settings, experiment.task(data)
    folders = [
        [experiment.run_folder(arm, index) for index in range(count)]
        for arm, count in zip(arms, verdicts.seeds, strict=True)
    ]
    runs = [[read_run(folder / RESULT) for folder in row] for row in folders]
    scores = [np.array([run.score for run in row]) for row in runs]
    costs, places = read_object(experiment.folder / COSTS), read_object(experiment.folder / PLACES)
    tuned = verdicts.tuned or (None,) * len(arms)
    found = zip(arms, runs, scores, (None, *verdicts.differences), tuned, strict=True)
    return Results(
        saccade=__version__,
        finished=True,
        task=data.task,
        metric=task.metric,
        seeds=tuple(range(max(verdicts.seeds))),
        plan=verdicts.plan,
        steps=experiment.steps,
        batch=experiment.batch,
        size=settings.size,
        start=_start(experiment),
        data=DataSummary(
            name=data.name,
            demo=experiment.demo,
            note=data.note,
            classes=tuple(data.classes),
            train=len(data.train.images),
            val=len(data.val.images),
            path=settings.data,
            facts=dict(data.facts),
            statement={} if experiment.demo else data.statement.to_json(),
        ),
        network=NetworkSummary(
            name=settings.backbone, params=costs["arms"][arms[0].name]["params"], pretrained=settings.pretrained
        ),
        environment=_environment(experiment, measured_on) | {"jobs": jobs, "threads": costs["threads"]},
        command=command,
        settings=settings.to_json(),
        macs_input=tuple(costs["macs_input"]),
        latency_batch=1,
        latency_threads=costs["threads"],
        peak_batch=experiment.batch,
        test_images=images_in(evidence_of(folders[0][0])),
        groups=grouped(runs[0])[0],
        arms=tuple(
            _arm(
                arm,
                values,
                difference,
                place=tuple(places[arm.name]),
                train_seconds=float(np.mean([run.train_seconds for run in row])),
                details=grouped(row)[1],
                others=_others([run.scores for run in row], task.metric),
                tuned=retuned,
                **costs["arms"][arm.name],
            )
            for arm, row, values, difference, retuned in found
        ),
    )


def _environment(experiment: Experiment, measured_on: str | None) -> dict[str, Any]:
    """The environment of the machine that measured the costs, and those of all nodes of a cluster."""
    path = experiment.folder / NODES
    nodes = {"nodes": read_object(path)} if path.exists() else {}
    if measured_on is None:
        return environment(experiment.settings.device) | nodes
    return {**nodes["nodes"][measured_on], "measured_on": measured_on, **nodes}


def grouped(runs: Sequence[RunResult]) -> tuple[dict[str, Grouping], Details]:
    """Return how the scores of an arm are divided, and the mean over its runs of each part of each group."""
    first = runs[0].groups
    groups = {name: Grouping(names=tuple(group.values), limits=group.limits) for name, group in first.items()}
    return groups, {name: _means([run.groups[name].values for run in runs]) for name in groups}


def _means(parts: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The mean of each part over the runs in which it is not empty."""
    values = {name: [value for one in parts if (value := one[name]) is not None] for name in parts[0]}
    return {name: float(np.mean(found)) if found else None for name, found in values.items()}


def _others(runs: Sequence[Mapping[str, float]], metric: str) -> dict[str, float]:
    """The mean over runs of every score but the one that decides."""
    return {name: float(np.mean([run[name] for run in runs])) for name in runs[0] if name != metric}


def read_run(path: Path) -> RunResult:
    """Read the result of a run.

    Raises:
        InputError: The file is missing or damaged.
    """
    return read_record(path, RunResult, f"{AGAIN}: that run is trained again")


def _arm(arm: Arm, scores: NDArray[np.float64], difference: Difference | None, **measured: Any) -> ArmResult:
    mean, low, high = mean_interval(scores)
    return ArmResult(
        name=arm.name,
        folder=arm.folder,
        mechanism=arm.mechanism,
        options=dict(arm.options),
        at=arm.at,
        row=arm.row,
        scores=tuple(map(float, scores)),
        mean=mean,
        interval=None if low is None or high is None else (low, high),
        difference=difference,
        **measured,
    )


def _start(experiment: Experiment) -> str:
    if experiment.start_steps:
        return "fresh" if experiment.settings.fresh_start else "shared"
    return "pretrained" if experiment.settings.pretrained else "random"
