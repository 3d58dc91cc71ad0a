"""From the finished runs of an experiment to its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade import schema
from saccade.comparison.arms import Arm
from saccade.comparison.experiment import Experiment
from saccade.comparison.results import ArmResult, DataSummary, Group, NetworkSummary, Results
from saccade.comparison.statistics import Difference, bootstrap_se, differences, mean_interval
from saccade.data import Dataset
from saccade.environment import environment
from saccade.files import read_json
from saccade.version import __version__

Details = dict[str, dict[str, float | None]]


def collect(experiment: Experiment, data: Dataset, *, command: str, jobs: int) -> Results:
    """Return the results of an experiment, read from the folders of its runs.

    Args:
        experiment: The experiment, all of whose runs are done.
        data: Its data.
        command: Command line that repeats it.
        jobs: Number of runs that were done at a time.
    """
    arms, settings = experiment.arms, experiment.settings
    runs = [[experiment.run_folder(arm, index) for index in range(settings.seeds)] for arm in arms]
    done = [[read_json(folder / "result.json") for folder in row] for row in runs]
    scores = np.array([[run["score"] for run in row] for row in done])
    seconds = [float(np.mean([run["train_seconds"] for run in row])) for row in done]
    costs = read_json(experiment.folder / "costs.json")
    places = read_json(experiment.folder / "places.json")
    found = zip(arms, runs, scores, _differences(runs, scores), seconds, strict=True)
    return Results(
        saccade=__version__,
        finished=True,
        task=data.task,
        metric="mIoU" if data.task == "segmentation" else "accuracy",
        seeds=tuple(range(settings.seeds)),
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
        ),
        network=NetworkSummary(
            name=settings.backbone, params=costs["arms"][arms[0].name]["params"], pretrained=settings.pretrained
        ),
        environment=environment(settings.device, jobs=jobs, threads=costs["threads"]),
        command=command,
        settings=settings.to_json(),
        macs_input=tuple(costs["macs_input"]),
        latency_batch=1,
        latency_threads=costs["threads"],
        peak_batch=experiment.batch,
        test_images=len(data.val.images),
        groups=read_breakdowns(runs[0])[0],
        arms=tuple(
            _arm(
                arm,
                row,
                difference,
                place=tuple(places[arm.name]),
                train_seconds=time,
                details=read_breakdowns(folders)[1],
                **costs["arms"][arm.name],
            )
            for arm, folders, row, difference, time in found
        ),
    )


def read_breakdowns(folders: Sequence[Path]) -> tuple[dict[str, Group], Details]:
    """Return the groups that the runs of an arm are broken down by, and the mean over the runs of each part.

    Args:
        folders: Folders of the runs; a task without breakdowns writes none.
    """
    paths = [folder / "breakdown.json" for folder in folders]
    contents = [read_json(path) for path in paths if path.exists()]
    if not contents:
        return {}, {}
    groups = schema.from_json(dict[str, Group], contents[0]["buckets"], source=str(paths[0]))
    return groups, {name: _means([content[name] for content in contents]) for name in groups}


def _means(parts: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The mean of each part over the runs in which it is not empty."""
    values = {name: [value for one in parts if (value := one[name]) is not None] for name in parts[0]}
    return {name: float(np.mean(found)) if found else None for name, found in values.items()}


def _differences(runs: Sequence[Sequence[Path]], scores: NDArray[np.float64]) -> list[Difference | None]:
    control, *others = ([folder / "counts.npy" for folder in row] for row in runs)
    test = [bootstrap_se(_stacked(control), _stacked(row)) for row in others]
    return [None, *differences(scores, np.array(test))]


def _stacked(paths: Sequence[Path]) -> NDArray[np.int64]:
    return np.stack([np.load(path) for path in paths])


def _arm(arm: Arm, scores: NDArray[np.float64], difference: Difference | None, **measured: Any) -> ArmResult:
    mean, low, high = mean_interval(scores)
    return ArmResult(
        name=arm.name,
        folder=arm.folder,
        mechanism=arm.mechanism,
        options=dict(arm.options),
        at=arm.at,
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
