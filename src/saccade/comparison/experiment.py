"""An experiment: settings with everything decided, from which any process can rebuild any of its networks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from saccade.comparison.arms import Arm
from saccade.comparison.demos import find_demo
from saccade.comparison.options import DEFAULT_EPOCHS, DEMO_BATCH, FEWEST_STEPS, MOST_STEPS
from saccade.comparison.settings import Settings
from saccade.comparison.tuning import Rates
from saccade.data import Arrays, OnProgress
from saccade.data.identity import Identity
from saccade.data.reading import Reading
from saccade.files import write_json
from saccade.insertion import insert
from saccade.networks.make import places_in
from saccade.networks.statistics import IMAGENET, Statistics, statistics_for
from saccade.runs.folder import OTHER_FOLDER
from saccade.runs.names import (
    CACHE,
    DATA,
    EVIDENCE,
    EXPERIMENT,
    LAST,
    RESULT,
    RUNS,
    SPLIT,
    START,
    TRIALS,
    TUNED,
)
from saccade.runs.options import RunSpec
from saccade.runs.records import ExperimentRecord, read_arrays, read_object, read_record
from saccade.tasks import find_task
from saccade.tasks.base import Task
from saccade.tasks.evidence import Evidence
from saccade.tasks.trees import taken
from saccade.training.checkpoint import load_weights
from saccade.training.composition import Composition, composition, weights_of
from saccade.training.recipe import Recipe
from saccade.training.sources import ArraySource, check_batch, check_memory, cores
from saccade.training.trial import check_network

CONTROL = "conv3x3"
FIELD = "dilated3x3"
_INSERTION_SEEDS = 10_000  # mechanisms draw from other seeds than the network they go into


@dataclass(frozen=True)
class Experiment:
    """Settings with everything decided.

    Args:
        folder: Folder that everything is written to.
        settings: Settings as asked.
        arms: The arms, the control first.
        steps: Training steps per run.
        batch: Images per step.
        learning_rate: Largest learning rate of the schedule.
        start_steps: Training steps of the shared start; 0 without one (only the demo has one).
        class_weights: Weight of each class in the loss; None weighs all alike.
        checkpoint_seconds: Seconds between two checkpoints of a run.
        statistics: Mean and standard deviation that images are standardised by.
        runs: Name of the folder of the runs.
    """

    folder: Path
    settings: Settings
    arms: tuple[Arm, ...]
    steps: int
    batch: int
    learning_rate: float
    start_steps: int
    class_weights: tuple[float, ...] | None = None
    checkpoint_seconds: float = 20.0
    statistics: Statistics = IMAGENET
    runs: str = RUNS

    @property
    def demo(self) -> bool:
        """True if it runs on the embedded demo."""
        return self.settings.data is None

    def data(self, on_progress: OnProgress | None = None) -> Arrays:
        """The data set, from the cache in the folder once it is there.

        Raises:
            InputError: Its files have changed since the comparison started.
        """
        data = load_data(self.settings, self.folder, on_progress)
        if data.identity is not None:
            check_unchanged(self.folder, self.settings, data.identity)
        return data

    def seed(self, arm: Arm, index: int) -> int:
        """Return the seed of run number `index` of an arm."""
        return index + arm.seed_offset

    def run_folder(self, arm: Arm, index: int) -> Path:
        """Return the folder of that run."""
        return self.folder / self.runs / arm.folder / str(index)

    def trial_folder(self, arm: Arm, index: int, number: int) -> Path:
        """Return the folder of a trial before that run."""
        return self.folder / TRIALS / arm.folder / str(index) / str(number)

    @property
    def tuned(self) -> Experiment:
        """The same experiment, whose runs are those with tuned settings."""
        return replace(self, runs=TUNED)

    @property
    def untuned(self) -> Rates:
        """The setting of runs without trials."""
        return Rates(learning_rate=self.learning_rate)

    def job_folder(self, job: Mapping[str, Any]) -> Path | None:
        """Return the folder that a job of a worker writes; None for one that is about all runs."""
        if job["job"] == "start":
            return self.start_folder(job["seed"])
        if job["job"] == "trial":
            return self.trial_folder(self.arms[job["arm"]], job["index"], job["number"])
        if job["job"] in ("run", "tuned"):
            found = self.tuned if job["job"] == "tuned" else self
            return found.run_folder(self.arms[job["arm"]], job["index"])
        return None

    def recipe(self, seed: int, setting: Rates | None = None) -> Recipe:
        """Return the recipe that every arm is trained with; in a trial and after trials with a setting of its own."""
        setting = setting or self.untuned
        return Recipe(
            steps=self.steps, batch=self.batch, learning_rate=setting.learning_rate, seed=seed, keep=1,
            device=self.settings.device, evaluate_every=max(1, self.steps // 6),
            checkpoint_seconds=self.checkpoint_seconds, gate_lr_factor=setting.gate_lr_factor,
        )  # fmt: skip

    def task(self, data: Arrays) -> Task:
        """The task of the data, with their labels."""
        return task_of(self.settings, data).standardising(self.statistics)

    def fitted(self, net: nn.Module, data: Arrays) -> Task:
        """The task as every arm is trained with it."""
        return self.task(data).fitted(net, class_weights=self.class_weights)

    def standardising(self, data: Arrays, *, resumed: bool) -> tuple[Experiment, Arrays]:
        """Decide what images are standardised by, as the pretrained weights expect; the statement of the data says it.

        Args:
            data: Data of the experiment.
            resumed: If True, its folder has runs: what they were trained with stays.
        """
        if not self.settings.pretrained:
            return self, data
        if resumed and (self.folder / EXPERIMENT).exists():
            found = read_record(self.folder / EXPERIMENT, ExperimentRecord).statistics
        else:
            found = statistics_for(self.base(data, 0), self.settings.pretrained)
        return replace(self, statistics=found), replace(data, values=(*data.values, found.said()))

    def source(self, data: Arrays) -> ArraySource:
        """Training batches, the same for every arm."""
        task = self.task(data)
        groups = composition_of(task, data).groups if self.settings.sampling else None
        return ArraySource(data, augment=None if self.demo else task.augmentation(self.settings.augment), groups=groups)

    def start_recipe(self, seed: int) -> Recipe:
        """Return the recipe of the demo's shared start: the same for all arms, on clean notes."""
        return Recipe(
            steps=self.start_steps,
            batch=self.batch,
            learning_rate=find_demo(self.settings.demo).start_rate,
            seed=seed,
            keep=1,
            device=self.settings.device,
            checkpoint_seconds=self.checkpoint_seconds,
        )

    def start_seed(self, seed: int) -> int:
        """Return the number of the shared start that a run with `seed` begins from."""
        return seed if self.settings.fresh_start else 0

    def start_folder(self, seed: int) -> Path:
        """Return the folder of the shared start for `seed`."""
        return self.folder / START / str(self.start_seed(seed))

    def base(self, data: Arrays, seed: int) -> nn.Module:
        """Make the network without attention; its weights depend on the seed alone, not on the arm."""
        torch.manual_seed(seed)
        task, settings = self.task(data), self.settings
        if self.demo:
            return find_demo(settings.demo).network(len(data.classes))
        head = task.head_network
        return task.network(
            RunSpec(
                data=str(settings.data), network=head or settings.backbone, backbone=head and settings.backbone,
                pretrained=settings.pretrained, match=settings.match, size=settings.size,
            )
        )  # fmt: skip

    def network(self, arm: Arm, seed: int, data: Arrays) -> nn.Module:
        """Make the network of an arm as its run begins."""
        net = self.base(data, seed)
        if self.start_steps and (self.start_folder(seed) / LAST).exists():
            load_weights(net, self.start_folder(seed) / LAST)
        if arm.spec is not None:
            torch.manual_seed(_INSERTION_SEEDS + seed)
            insert(net, arm.spec, at=places_in(arm.at))
        return net

    def trained(self, arm: Arm, index: int, data: Arrays) -> nn.Module:
        """Load the network of a finished run."""
        net = self.network(arm, self.seed(arm, index), data)
        load_weights(net, self.run_folder(arm, index) / LAST)
        return net

    def places(self, arm: Arm, data: Arrays) -> list[str]:
        """Return the names of the modules that the mechanism of an arm is attached to, after a trial of it.

        Raises:
            InputError: The network, or the mechanism where it goes, cannot work on images of this size, or batches.
        """
        net, (height, width) = self.network(arm, 0, data), data.val.images.shape[1:3]
        what = f"{arm.name}: {self.settings.backbone}"
        check_network(net, what, (height, width), self.batch, "choose another --size, --backbone or --at")
        report: Any = getattr(net, "saccade_report", None)
        return [str(place) for place in report.places] if report else []

    def save(self, data: Arrays) -> None:
        """Write what a worker needs to take part; refuse to resume on data that are not what they were.

        Raises:
            InputError: The folder holds runs on other data.
        """
        content = {
            "arms": [asdict(arm) for arm in self.arms],
            "steps": self.steps,
            "batch": self.batch,
            "learning_rate": self.learning_rate,
            "start_steps": self.start_steps,
            "class_weights": self.class_weights,
            "statistics": self.statistics.to_json(),
            "checkpoint_seconds": self.checkpoint_seconds,
            "settings": self.settings.to_json(),
            "identity": data.identity and data.identity.digest,
        }
        if data.identity is not None:
            check_unchanged(self.folder, self.settings, data.identity)
            data.identity.refuse_contradiction()
            data.identity.write(self.folder / DATA)
        if data.split:
            write_json(self.folder / SPLIT, {"seed": self.settings.split_seed, "held_out": list(data.split)})
        write_json(self.folder / EXPERIMENT, content)

    @classmethod
    def load(cls, folder: Path) -> Experiment:
        """Read what `save` wrote."""
        content = read_object(folder / EXPERIMENT)
        settings = content.pop("settings")
        del content["identity"]
        arms = tuple(Arm(**arm | {"options": _options(arm["options"])}) for arm in content.pop("arms"))
        weights = content.pop("class_weights", None)
        content["class_weights"] = weights and tuple(weights)
        content["statistics"] = Statistics.from_json(content.get("statistics"))
        return cls(folder, Settings(**settings | {"mechanisms": tuple(settings["mechanisms"])}), arms, **content)


def task_of(settings: Settings, data: Arrays) -> Task:
    """The task of the data, with their labels and the score that was chosen."""
    return find_task(data.task)(data.classes, size=settings.size, **data.facts).scored_by(settings.score)


def composition_of(task: Task, data: Arrays) -> Composition:
    """Count the classes of the training images."""
    return composition(task, lambda index: taken(data.train.targets, index), len(data.train.images))


def load_data(settings: Settings, folder: Path, on_progress: OnProgress | None = None) -> Arrays:
    """Load the demo's scenes, or the user's folder."""
    if settings.data is None:
        load = find_demo(settings.demo).load
        return load(folder / CACHE, kind="task", seed=settings.scenes, on_progress=on_progress)
    from saccade.data.folder import load_folder

    return load_folder(
        Path(settings.data), folder / CACHE, size=settings.size, reading=Reading.of(settings), record=folder / DATA,
        readers=settings.workers or min(8, cores()), on_progress=on_progress,
    )  # fmt: skip


def load_start(settings: Settings, folder: Path, on_progress: OnProgress | None = None) -> Arrays:
    """Load the demo's easier pictures, which the shared start is trained on."""
    load = find_demo(settings.demo).load
    return load(folder / CACHE, kind="start", seed=settings.scenes, on_progress=on_progress)


def evidence_of(folder: Path) -> Evidence:
    """Read the evidence of a finished run."""
    hint = f"move {folder / RESULT} elsewhere and run the same command again: that run is trained again"
    return read_arrays(folder / EVIDENCE, hint)


def check_unchanged(folder: Path, settings: Settings, identity: Identity, *, hint: str = "") -> None:
    """Refuse data that are not those the comparison in a folder started with.

    Raises:
        InputError: The data differ; the message names a few of the files.
    """
    path = folder / EXPERIMENT
    if path.exists():
        started = read_record(path, ExperimentRecord).identity
        advice = f"put the files back, {OTHER_FOLDER}{hint}"
        identity.check(started or "", folder / DATA, data=str(settings.data), hint=advice)


def decide(settings: Settings, arms: tuple[Arm, ...], data: Arrays, folder: Path) -> Experiment:
    """Fill in the defaults that depend on the data, and size the control of equal parameters."""
    demo = find_demo(settings.demo) if settings.data is None else None
    if settings.batch is not None:
        check_batch(settings.batch, len(data.train.images))
    batch = settings.batch or min(DEMO_BATCH if demo else find_task(data.task).compare_batch, len(data.train.images))
    check_memory(batch, data.val.images.shape[1:3])
    epoch = len(data.train.images) / batch
    if settings.steps is not None:
        steps = settings.steps
    elif settings.epochs is not None:
        steps = max(1, math.ceil(settings.epochs * epoch))
    else:
        steps = demo.steps if demo else int(min(MOST_STEPS, max(FEWEST_STEPS, DEFAULT_EPOCHS * epoch)))
    rate = settings.learning_rate
    if rate is None:
        rate = demo.rate if demo else 3e-4 if settings.pretrained else 1e-3
    task = task_of(settings, data)
    task.augmentation(settings.augment)
    weights = weights_of(settings.class_weights, task, lambda: composition_of(task, data))
    experiment = Experiment(
        folder,
        settings,
        arms,
        steps,
        batch,
        rate,
        demo.start_steps * steps if demo else 0,
        weights,
        settings.checkpoint_seconds,
    )
    return replace(experiment, arms=_with_controls(experiment, data))


def _with_controls(experiment: Experiment, data: Arrays) -> tuple[Arm, ...]:
    """The arms, with the controls that are asked for, whose sizes follow from the largest mechanism."""
    settings, arms = experiment.settings, experiment.arms
    if not (settings.control_params or settings.control_field):
        return arms

    def report(arm: Arm) -> Any:
        return getattr(experiment.network(arm, 0, data), "saccade_report", None)

    wanted = max((report(arm).params for arm in arms if arm.mechanism not in (None, CONTROL)), default=0)
    plain = Arm(CONTROL, CONTROL, {}, settings.at)
    found = report(plain)
    if settings.control_params:
        arms = (*(arm for arm in arms if arm.name != CONTROL), _of_size(plain, found, wanted))
    return (*arms, _of_field(found, wanted, settings.at)) if settings.control_field else arms


def _of_size(control: Arm, report: Any, params: int) -> Arm:
    """A 3x3 convolution that has at least the parameters the largest mechanism adds."""
    from saccade.mechanisms.widths import control_width

    if report.params >= params:
        return control
    channels = min(place.channels for place in report.places)
    return replace(control, options={"width": control_width(channels, math.ceil(params / len(report.places)))})


def _of_field(report: Any, params: int, at: str | None) -> Arm:
    """Dilated convolutions that see the whole map, with at most the parameters the largest mechanism adds."""
    from saccade.mechanisms.widths import field_dilations, field_width

    dilations = field_dilations(max(max(place.height, place.width) for place in report.places) - 1)
    channels = max(place.channels for place in report.places)
    width = field_width(channels, params // len(report.places), len(dilations))
    return Arm(FIELD, CONTROL, {"width": width, "dilation": dilations}, at)


def _options(options: dict[str, Any]) -> dict[str, Any]:
    """Turn the lists of JSON into the tuples that mechanisms take."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
