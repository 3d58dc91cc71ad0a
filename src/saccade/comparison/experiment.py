"""An experiment: the settings with everything decided, so that any process can make any of its networks again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from saccade.comparison.arms import Arm
from saccade.comparison.settings import CACHE, Settings
from saccade.data import Dataset
from saccade.data.identity import RECORD, Identity
from saccade.errors import InputError
from saccade.files import read_json, write_json
from saccade.insertion import insert
from saccade.networks.make import DEMO, PLAIN_SEGMENTER, make_network, places_in
from saccade.training.checkpoint import load_weights
from saccade.training.loop import WEIGHTS
from saccade.training.recipe import Recipe
from saccade.training.sources import ArraySource

EXPERIMENT = "experiment.json"
CONTROL = "conv3x3"
_INSERTION_SEEDS = 10_000  # mechanisms draw from other seeds than the network they go into
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Experiment:
    """Settings, decided.

    Args:
        folder: Where everything is written.
        settings: As asked.
        arms: The first is the control.
        steps: Of every run.
        batch: Images a step.
        learning_rate: The largest of the schedule.
        start_steps: Of the shared start (the demo only), else 0.
        identity: Digest of the data, see :mod:`saccade.data.identity`.
    """

    folder: Path
    settings: Settings
    arms: tuple[Arm, ...]
    steps: int
    batch: int
    learning_rate: float
    start_steps: int
    identity: str = ""

    @property
    def demo(self) -> bool:
        """Whether it runs on the embedded demo."""
        return self.settings.data is None

    def data(self, on_progress: Progress | None = None) -> Dataset:
        """The data set, from the cache in the folder once it is there.

        Raises:
            InputError: Its files are not those the comparison started with.
        """
        found = identify_data(self.settings, self.folder, on_progress)
        check_data(self.settings, self.folder, found, self.identity)
        return load_data(self.settings, self.folder, on_progress, found)

    def seed(self, arm: Arm, index: int) -> int:
        """The seed of an arm's run number `index`."""
        return index + arm.seed_offset

    def run_folder(self, arm: Arm, index: int) -> Path:
        """Where that run writes."""
        return self.folder / "runs" / arm.folder / str(index)

    def recipe(self, seed: int) -> Recipe:
        """How every arm is trained."""
        return Recipe(
            steps=self.steps, batch=self.batch, learning_rate=self.learning_rate, seed=seed, keep=1,
            device=self.settings.device, evaluate_every=max(1, self.steps // 6),
        )  # fmt: skip

    def source(self, data: Dataset) -> ArraySource:
        """What every arm is fed with."""
        return ArraySource(data, augment=not self.demo)

    def start_recipe(self, seed: int) -> Recipe:
        """How the demo's shared start is trained: the same for all arms, on clean notes."""
        return Recipe(
            steps=self.start_steps,
            batch=self.batch,
            learning_rate=6e-3,
            seed=seed,
            keep=1,
            device=self.settings.device,
        )

    def start_seed(self, seed: int) -> int:
        """Which shared start a run with `seed` begins from."""
        return seed if self.settings.fresh_start else 0

    def start_folder(self, seed: int) -> Path:
        """Where the shared start for `seed` is kept."""
        return self.folder / "start" / str(self.start_seed(seed))

    def base(self, num_classes: int, task: str, seed: int) -> nn.Module:
        """The network without attention; the same weights for the same seed in every arm."""
        torch.manual_seed(seed)
        backbone, pretrained = self.settings.backbone, self.settings.pretrained
        if task == "segmentation" and backbone != DEMO:
            return make_network(task, PLAIN_SEGMENTER, num_classes, backbone=backbone, pretrained=pretrained)
        return make_network(task, backbone, num_classes, pretrained=pretrained)

    def network(self, arm: Arm, seed: int, num_classes: int, task: str, *, weights: Path | None = None) -> nn.Module:
        """The network of an arm as its run begins, or with the `weights` of a finished run."""
        net = self.base(num_classes, task, seed)
        if self.start_steps and weights is None and (self.start_folder(seed) / WEIGHTS).exists():
            load_weights(net, self.start_folder(seed) / WEIGHTS)
        if arm.spec is not None:
            torch.manual_seed(_INSERTION_SEEDS + seed)
            insert(net, arm.spec, at=places_in(arm.at))
        if weights is not None:
            load_weights(net, weights)
        return net

    def places(self, arm: Arm, data: Dataset) -> list[str]:
        """Names of the modules an arm's mechanism is attached to; its network has then read an image of the data.

        Raises:
            InputError: The network, or the mechanism where it goes, cannot work on images of this size.
        """
        net = self.network(arm, 0, len(data.classes), data.task).eval()
        height, width = data.val.images.shape[1:3]
        try:
            with torch.inference_mode():
                net(torch.zeros(1, 3, height, width))
        except Exception as cause:  # whatever a network says of a size it cannot take
            raise InputError(
                f"{arm.name}: {self.settings.backbone} cannot work on images of {height} x {width} ({cause})",
                "choose another --size, --backbone or --at",
            ) from cause
        report: Any = getattr(net, "saccade_report", None)
        return [str(place) for place in report.places] if report else []

    def save(self) -> None:
        """Write what a worker needs to take part."""
        content = {
            "arms": [asdict(arm) for arm in self.arms],
            "steps": self.steps,
            "batch": self.batch,
            "learning_rate": self.learning_rate,
            "start_steps": self.start_steps,
            "settings": self.settings.to_json(),
            "data": self.identity,
        }
        write_json(self.folder / EXPERIMENT, content)

    @classmethod
    def load(cls, folder: Path) -> Experiment:
        """Read what `save` wrote."""
        content: dict[str, Any] = read_json(folder / EXPERIMENT)
        settings = content.pop("settings")
        identity = content.pop("data")
        arms = tuple(Arm(**arm | {"options": _options(arm["options"])}) for arm in content.pop("arms"))
        asked = Settings(**settings | {"mechanisms": tuple(settings["mechanisms"])})
        return cls(folder, asked, arms, **content, identity=identity)


def identify_data(settings: Settings, folder: Path, on_progress: Progress | None = None) -> Identity:
    """Return the identity of the data as they are now; `folder` may know hashes of their files."""
    if settings.data is None:
        from saccade.data.notes import notes_identity

        return notes_identity(settings.scenes)
    from saccade.data.folder import folder_identity

    return folder_identity(settings.data, folder / RECORD, on_progress=on_progress)


def check_data(settings: Settings, folder: Path, found: Identity, started: str | None = None, hint: str = "") -> None:
    """Refuse data that are not those the comparison in `folder` started with; a folder without one is no obstacle.

    Args:
        settings: As asked.
        folder: Of the comparison.
        found: The identity of the data now.
        started: The digest the comparison started with; by default as its folder says.
        hint: What else could be done.

    Raises:
        InputError: Files have changed; some are named.
    """
    path = folder / EXPERIMENT
    if started is None:
        if not path.exists():
            return
        started = str(read_json(path).get("data"))
    advice = "put the files back, choose another folder with --out, or start again with --overwrite"
    found.check(started, folder / RECORD, data=settings.data or "the demo", hint=f"{advice}{hint}")


def load_data(
    settings: Settings, folder: Path, on_progress: Progress | None = None, identity: Identity | None = None
) -> Dataset:
    """The demo's scenes, or the user's folder, of which `identity` may be known."""
    if settings.data is None:
        from saccade.data.notes import load_notes

        return load_notes(folder / CACHE, seed=settings.scenes, on_progress=on_progress)
    from saccade.data.folder import load_folder

    digest = None if identity is None else identity.digest
    return load_folder(
        settings.data, folder / CACHE, size=settings.size, identity=digest, on_progress=on_progress
    )  # fmt: skip


def load_start(settings: Settings, folder: Path, on_progress: Progress | None = None) -> Dataset:
    """The demo's easier scenes, on which the shared start learns."""
    from saccade.data.notes import load_notes

    return load_notes(folder / CACHE, kind="start", seed=settings.scenes, on_progress=on_progress)


def decide(settings: Settings, arms: tuple[Arm, ...], data: Dataset, folder: Path) -> Experiment:
    """Fill in the defaults that depend on the data, and size the control of equal parameters."""
    demo = settings.data is None
    batch = settings.batch or (16 if demo else 32 if data.task == "classification" else 8)
    batch = min(batch, len(data.train.images))
    epoch = len(data.train.images) / batch
    if settings.steps is not None:
        steps = settings.steps
    elif settings.epochs is not None:
        steps = max(1, math.ceil(settings.epochs * epoch))
    else:
        steps = 300 if demo else int(min(2000, max(200, 10 * epoch)))
    rate = 3e-3 if demo else 3e-4 if settings.pretrained else 1e-3
    experiment = Experiment(folder, settings, arms, steps, batch, rate, 2 * steps if demo else 0, data.identity)
    return replace(experiment, arms=_with_control(experiment, data)) if settings.control_params else experiment


def _with_control(experiment: Experiment, data: Dataset) -> tuple[Arm, ...]:
    """The arms, with a 3x3 convolution that has at least the parameters the largest mechanism adds."""
    from saccade.mechanisms.conv3x3 import Conv3x3

    def report(arm: Arm) -> Any:
        return getattr(experiment.network(arm, 0, len(data.classes), data.task), "saccade_report", None)

    others = tuple(arm for arm in experiment.arms if arm.name != CONTROL)
    wanted = max((report(arm).params for arm in others if arm.mechanism not in (None, CONTROL)), default=0)
    control = Arm(CONTROL, CONTROL, {}, experiment.settings.at)
    plain = report(control)
    if plain.params < wanted:
        channels = min(place.channels for place in plain.places)
        width = Conv3x3.width_for(channels, math.ceil(wanted / len(plain.places)))
        control = replace(control, options={"width": width})
    return (*others, control)


def _options(options: dict[str, Any]) -> dict[str, Any]:
    """JSON has lists only; mechanisms take tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
