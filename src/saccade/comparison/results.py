"""The results of a comparison: the one declaration of ``results.json``, which every renderer takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from saccade import schema
from saccade.comparison.sequential import Plan
from saccade.comparison.statistics import Difference
from saccade.comparison.tuning import Rates, Trial
from saccade.errors import InputError
from saccade.files import read_json, write_json
from saccade.runs.names import RESULTS

SCHEMA = 2
"""Number of the form of ``results.json``: 2 has groups and details where 1 had buckets, by_size and by_thinness."""

_MOVE = "move it elsewhere and run the same saccade compare command again: finished runs are kept"

Role = Literal["success", "typical", "failure"]
"""Reason to show an image: the best arm gained most there, lost most there, or neither."""


@dataclass(frozen=True, kw_only=True)
class DataSummary:
    """The data of a comparison.

    Args:
        name: Name of the data set.
        demo: True for the embedded demo.
        note: The layout of the folder, as recognised, in a sentence.
        classes: Names of the classes, in the order of their indices.
        train: Number of training images.
        val: Number of validation images.
        path: Absolute path of the folder; None for the demo.
        facts: Further plain values that the task needs to read images or targets.
        statement: What the folder was read as: layout, classes with counts, sides, values, files left out.
    """

    name: str
    demo: bool
    note: str
    classes: tuple[str, ...]
    train: int
    val: int
    path: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    statement: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NetworkSummary:
    """The network without attention.

    Args:
        name: Name of the backbone.
        params: Number of parameters of the control.
        pretrained: True if training began from timm's weights, or the file it began from.
    """

    name: str
    params: int
    pretrained: bool | str = False


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """A way to divide what is scored into parts, such as objects by size.

    Args:
        names: Names of the parts, in order.
        limits: Values between one part and the next, in the unit of the group; None with too little to divide.
    """

    names: tuple[str, ...]
    limits: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The runs of an arm before each of which settings were tried.

    Args:
        settings: Learning rate and gate factor of each seed, those of its best trial.
        trials: Trials of each seed, in order.
        scores: Score of each seed with its setting.
        mean: Mean of the scores.
        interval: 95% interval of the mean over the seeds; None with one seed.
        difference: Difference from the control, which was tuned likewise; None for the control itself.
    """

    settings: tuple[Rates, ...]
    trials: tuple[tuple[Trial, ...], ...]
    scores: tuple[float, ...]
    mean: float
    interval: tuple[float, float] | None
    difference: Difference | None


@dataclass(frozen=True, kw_only=True)
class ArmResult:
    """Scores and costs of one arm.

    Args:
        name: Name of the arm, as it was given.
        folder: Name of its folder in ``runs/``.
        mechanism: Catalog name of its mechanism; None for the network as it is.
        options: Options of the mechanism.
        at: Place that was asked for; None for the natural place of the mechanism.
        place: Names of the modules that the mechanism is attached to.
        scores: Score of each seed, in the order of `Results.seeds`; in a comparison in stages the first of them.
        mean: Mean of the scores.
        interval: 95% interval of the mean over the seeds; None with one seed.
        difference: Difference from the control with its verdict; None for the control itself.
        params: Number of parameters.
        macs: Multiply-adds of one image.
        latency_ms: Median time of a forward pass in milliseconds.
        peak_mib: Peak memory of a training step in MiB, above network and images.
        train_seconds: Mean training time of a run in seconds.
        others: Mean over the seeds of every other score of the task, by name.
        details: Mean score over the seeds of each part of each group, by group and by part; None where a part is empty.
        row: Row of a mechanism that is not part of saccade, as :meth:`saccade.catalog.Entry.to_json` writes it.
        tuned: The same with tuned settings; None without trials.
    """

    name: str
    folder: str
    mechanism: str | None
    options: Mapping[str, Any]
    at: str | None = None
    place: tuple[str, ...]
    scores: tuple[float, ...]
    mean: float
    interval: tuple[float, float] | None
    difference: Difference | None
    params: int
    macs: int
    latency_ms: float
    peak_mib: float
    train_seconds: float
    others: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    row: Mapping[str, Any] | None = None
    tuned: Tuned | None = None


@dataclass(frozen=True, kw_only=True)
class ShownImage:
    """A validation image whose pictures the report shows.

    Args:
        index: Index in the validation images.
        name: Name of its file.
        role: Reason for showing it.
        query: Pixel (y, x) that attention is shown for; None for the middle.
        gain: Its own score with the best arm minus that with the control.
    """

    index: int
    name: str
    role: Role = "typical"
    query: tuple[int, int] | None = None
    gain: float | None = None


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The content of ``pictures/index.json``.

    Args:
        images: The images, in the order of the arrays next to it.
        size: Height and width of the images in pixels.
        best: Name of the arm whose gains they were chosen by.
    """

    images: tuple[ShownImage, ...]
    size: tuple[int, int]
    best: str | None = None


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything a finished comparison found.

    Args:
        saccade: Version that wrote it.
        finished: True if all runs are done.
        task: Name of the task.
        metric: Name of the score.
        seeds: Seeds of the runs.
        steps: Training steps per run.
        batch: Images per step.
        size: Side of the images in pixels.
        start: Weights at the start of training: ``"shared"``, ``"fresh"``, ``"pretrained"`` or ``"random"``.
        data: The data.
        network: The network without attention.
        environment: Versions and machine, by name.
        command: Command line that repeats the comparison.
        settings: All settings, as they were asked for.
        macs_input: Shape (N, C, H, W) of the input that multiply-adds were counted on.
        latency_batch: Images per forward pass when latency was measured.
        latency_threads: Threads when latency was measured; None where it was not recorded.
        peak_batch: Images per training step when memory was measured.
        test_images: Number of images that scores come from.
        groups: Partition of `ArmResult.details`, by the name of the group.
        plan: Stages in which seeds were added, fixed before the first run; None if every arm has all seeds.
        arms: The arms, the control first.
    """

    saccade: str
    finished: bool
    task: str
    metric: str
    seeds: tuple[int, ...]
    steps: int
    batch: int
    size: int
    start: str
    data: DataSummary
    network: NetworkSummary
    environment: Mapping[str, Any]
    command: str
    settings: Mapping[str, Any]
    macs_input: tuple[int, ...]
    latency_batch: int
    latency_threads: int | None = None
    peak_batch: int
    test_images: int
    groups: Mapping[str, Grouping] = field(default_factory=dict)
    plan: Plan | None = None
    arms: tuple[ArmResult, ...]

    @property
    def runs(self) -> int:
        """Number of runs of all arms."""
        return sum(len(arm.scores) for arm in self.arms)

    @property
    def reference(self) -> ArmResult:
        """The arm the others are compared with: the first without a mechanism and without a difference."""
        return next((arm for arm in self.arms if not arm.difference and not arm.mechanism), self.arms[0])

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``results.json``."""
        return {"schema": SCHEMA, **schema.to_json(self)}

    @classmethod
    def from_json(cls, content: Any, *, source: str = "results") -> Results:
        """Return what :meth:`to_json` wrote.

        Args:
            content: Plain values.
            source: Name of the document, for messages.

        Raises:
            InputError: Another schema, a key that is missing or unknown, or a value of another type.
        """
        found = content.get("schema") if isinstance(content, dict) else None
        if found != SCHEMA:
            raise InputError(
                f"{source} has schema {found!r}; this version of saccade reads {SCHEMA}",
                f"if it was written by this version, it is damaged: {_MOVE}",
            )
        plain = {key: value for key, value in content.items() if key != "schema"}
        hint = f"the file was changed or is damaged: {_MOVE}"
        results = schema.from_json(cls, plain, source=source, hint=hint)
        problem = results._problem()
        if problem:
            raise InputError(f"{source}: {problem}", hint)
        return results

    def _problem(self) -> str:
        """Return what contradicts itself, though every value is of its type."""
        for name in ("arms", "seeds"):
            if not getattr(self, name):
                return f"{name}: expected at least one"
        if len(self.macs_input) != 4:
            return f"macs_input: expected the shape (N, C, H, W); received {list(self.macs_input)}"
        for arm in self.arms:
            fits = 0 < len(arm.scores) <= len(self.seeds) if self.plan else len(arm.scores) == len(self.seeds)
            if not fits:
                return f"arms: {arm.name} has {len(arm.scores)} scores, and there are {len(self.seeds)} seeds"
            if (arm.tuned is None) != (self.arms[0].tuned is None):
                return f"arms: {arm.name} and {self.arms[0].name}: only one of them is tuned"
            if arm.tuned and {len(arm.tuned.scores), len(arm.tuned.settings), len(arm.tuned.trials)} != {
                len(self.seeds)
            }:
                return f"arms: {arm.name} is tuned for another number of seeds than {len(self.seeds)}"
        return ""


def write_results(folder: Path, results: Results) -> None:
    """Write ``results.json`` into the folder of a comparison."""
    write_json(folder / RESULTS, results.to_json())


def read_results(folder: Path) -> Results:
    """Return the results in the folder of a comparison.

    Raises:
        InputError: There is no ``results.json``, it has another schema, or it is damaged.
    """
    path = folder / RESULTS
    if not path.exists():
        above = next((place for place in folder.absolute().parents[:4] if (place / RESULTS).exists()), None)
        whole = "the folder of a comparison, as written by saccade compare --out"
        raise InputError(f"no {RESULTS} in {folder}", f"give {whole if above is None else above}")
    return Results.from_json(read_json(path, _MOVE), source=str(path))
