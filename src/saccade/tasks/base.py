"""The protocol of a task: everything the rest of saccade asks about one kind of problem.

A task is a class. Its class methods know folders ("is this mine, and what is in it?"), its instances know the labels
of one data set ("what is the loss, what does this output say, how good is it?"). An instance is described by plain
JSON values, which every saved network carries. Adding a task is one such class and one call of
:func:`saccade.tasks.register`.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from saccade.data import Arrays, OnProgress
from saccade.data.depth import ValueRange, check_values, find_range
from saccade.data.identity import DataFiles, Identity, identify, identify_samples
from saccade.data.layouts import Item
from saccade.data.notices import notices
from saccade.data.reading import AS_IT_IS, Reading
from saccade.data.statement import Statement
from saccade.data.tree import LeftOut
from saccade.errors import InputError, near
from saccade.networks.statistics import IMAGENET, Statistics
from saccade.runs.options import RunSpec
from saccade.tasks.evidence import Evidence, Floats, Group, images_in
from saccade.tasks.trees import named

if TYPE_CHECKING:
    from saccade.report.scenes import Answer, Case, Gallery
    from saccade.runs.open import Opened
    from saccade.training.composition import Composition
    from saccade.training.sources import Augment


@dataclass(frozen=True)
class Files:
    """The files of a folder, recognised but not read.

    Args:
        classes: Names of the classes, or of the outputs; empty where only the files themselves tell.
        train: Training images, in order of their names.
        val: Validation images, likewise.
        note: The layout of the folder, as recognised, as a sentence.
        reader: Whatever the task needs to read a target.
        others: Further files that decide what the data are, such as a list of classes.
        drawn: True if a seed drew the validation side, because the folder has none.
        pixels: Range of values of the images, once they were examined.
        meaning: Sentences on what pixels and targets mean, once they were examined.
        layout: Name of the layout.
        origin: Where the sides come from, in words.
        left_out: Files that are not used, with the reasons.
        problems: What makes a training on these sides dishonest, such as a group on both.
        counts: Training and validation images of each class by its name; counted from targets that are indices.
        allow_copies: True if an image may be under two classes, or on both sides.
        called: Word for what `classes` names.
        check: Refuses an item whose values do not fit those of the others, once they were examined.
    """

    classes: tuple[str, ...]
    train: tuple[Item, ...]
    val: tuple[Item, ...]
    note: str
    reader: Any = None
    others: tuple[Path, ...] = ()
    drawn: bool = False
    pixels: ValueRange = field(default_factory=ValueRange)
    meaning: tuple[str, ...] = ()
    layout: str = ""
    origin: str = ""
    left_out: tuple[LeftOut, ...] = ()
    problems: tuple[str, ...] = ()
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    allow_copies: bool = False
    called: str = "classes"
    check: Callable[[Item], None] | None = field(default=None, compare=False)

    @property
    def facts(self) -> dict[str, Any]:
        """Plain values of the examination that a trained network keeps, for it must read other images alike."""
        return {} if self.pixels.white is None else {"white": self.pixels.white}

    def under(self, folder: Path, task: str) -> DataFiles:
        """Return the files that tell these data from any others.

        Raises:
            InputError: Training on these sides would not be honest.
        """
        if self.problems:
            raise InputError(f"{folder}: {'; '.join(self.problems)}", "saccade data check shows them all")
        return DataFiles(
            folder, task, self.classes, self.train, self.val, self.others, self.statement(), self.allow_copies,
            self.check,
        )  # fmt: skip

    def statement(self) -> Statement:
        """Return what the folder was read as."""
        counts = dict(self.counts)
        if not counts and self.classes and all(isinstance(item.target, int) for item in (*self.train, *self.val)):
            train, val = (Counter(item.target for item in items) for items in (self.train, self.val))
            counts = {name: (train[index], val[index]) for index, name in enumerate(self.classes)}
        return Statement(
            note=self.note, layout=self.layout, split=self.origin, classes=self.classes, counts=counts,
            train=len(self.train), val=len(self.val), values=self.meaning, left_out=self.left_out,
            called=self.called,
        )  # fmt: skip


@dataclass(frozen=True)
class Side:
    """Training or validation samples.

    Args:
        samples: A torch Dataset of (image, target); targets are any tree of tensors and numbers.
        name: Gives the name of a sample by its index.
        names: Names of all samples, where they are files.
        alike: True if all images have one size, so that several can be scored at once.
        target: Reads the target of a sample without its image, in any thread; None: the sample is read.
        shards: Number of samples of each shard, where the samples are in shards.
    """

    samples: Dataset[Any]
    name: Callable[[int], str]
    names: Sequence[str] = ()
    alike: bool = True
    target: Callable[[int], Any] | None = None
    shards: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)  # type: ignore[arg-type]


@dataclass(frozen=True)
class TaskData:
    """The data of a run, with the task that they pose.

    Args:
        task: Labels, loss, predictions and scores.
        train: Training samples.
        val: Validation samples.
        note: The layout, as recognised, as a sentence.
        shape: Height and width of the training images.
        files: Files that the data are made of; None for samples that are not files.
        split: Names of the validation files, where the folder was split by a seed.
        values: Range and depth of the values of images and masks, in sentences.
    """

    task: Task
    train: Side
    val: Side
    note: str
    shape: tuple[int, int]
    files: DataFiles | None
    split: tuple[str, ...] = ()
    values: tuple[str, ...] = ()

    @property
    def statement(self) -> Statement:
        """The reading of the folder, as plain values."""
        found = self.files.statement if self.files is not None else None
        return (found or Statement(note=self.note)).of(self.note, self.task.classes, self.values)

    def standardising(self, statistics: Statistics, *, said: bool) -> TaskData:
        """The same data for a network whose images are standardised so; with `said`, the statement says it."""
        values = (*self.values, statistics.said()) if said else self.values
        return replace(self, task=self.task.standardising(statistics), values=values)

    def composition(self, on_progress: OnProgress | None = None) -> Composition:
        """Read the targets of all training samples once, for weights of classes and balanced sampling.

        Args:
            on_progress: Called with (done, total, what).

        Raises:
            InputError: A target cannot be read, or the task has no classes.
        """
        from saccade.training.composition import composition

        side = self.train
        target = side.target or (lambda index: side.samples[index][1])
        count, in_threads = len(side), side.target is not None
        return composition(self.task, target, count, in_threads=in_threads, on_progress=on_progress)

    def identity(self, record: Path | None = None, on_progress: OnProgress | None = None) -> Identity:
        """Compute what tells the data from any others; of files, their contents.

        Args:
            record: File with the state of the files as an earlier call found them.
            on_progress: Called with (done, total, what) while files are read.
        """
        if self.files is None:
            return identify_samples(self.task.classes, len(self.train), len(self.val))
        return identify(self.files, record, on_progress)


@dataclass(frozen=True)
class Held:
    """Images that a run did not train on, as its folder recorded them.

    Args:
        names: Relative paths.
        seed: Seed of the split.
        contents: Hash of the content of each of them, by name; empty where the run recorded none.
    """

    names: tuple[str, ...]
    seed: int
    contents: Mapping[str, str] = field(default_factory=dict)


class Task(ABC):
    """One kind of problem.

    Args:
        classes: Names of the classes, or of the outputs.
        size: Side of the images that networks see, in pixels.
        facts: Further plain values that reading images or targets depends on.
    """

    name: ClassVar[str]
    """Name in files and messages, such as ``"segmentation"``."""
    metric: str
    """Name of the score that chooses the best checkpoint and that comparisons judge."""
    statistics: Statistics = IMAGENET
    """Mean and standard deviation that images are standardised by."""
    metrics: ClassVar[tuple[str, ...]] = ()
    """Names of the scores that can be chosen as `metric`, the usual one first; empty if there is one only."""
    layouts: ClassVar[Mapping[str, str]] = {}
    """Folders it recognises: the name of a layout, as ``--layout`` takes it, to a line that error messages show."""
    competing: ClassVar[frozenset[str]] = frozenset()
    """Layouts that a folder of another task may be in by chance; any other layout is decisive."""
    reads: ClassVar[tuple[str, ...]] = ("layout", "split_seed", "allow_copies")
    """Fields of :class:`saccade.data.reading.Reading` that make sense for it."""
    recipe: ClassVar[str] = "default"
    """Name of the default recipe of ``saccade train``."""
    head_network: ClassVar[str | None] = None
    """Network that ``saccade compare`` puts on a backbone; None where the backbone itself answers."""
    image_metric: ClassVar[str | None] = None
    """Name of :meth:`image_scores`, where it is not `metric`."""
    compare_batch: ClassVar[int] = 32
    """Images per step of a comparison, by default."""
    unit: ClassVar[str] = "images"
    """Unit of the counts in ``saccade data check``."""
    called: ClassVar[str] = "classes"
    """Word for what `classes` names; ``"joints"`` where a network returns a heat map for each."""
    takes_boxes: ClassVar[bool] = False
    """True if ``saccade predict`` takes boxes of objects for it."""

    def __init__(self, classes: Sequence[str], *, size: int, **facts: Any) -> None:
        self.classes, self.size, self.facts = tuple(classes), size, facts
        if "score" in facts:
            self.metric = self._known_score(facts["score"])

    @classmethod
    def _known_score(cls, name: str) -> str:
        known = cls.metrics or (cls.metric,)
        if name not in known:
            raise InputError(f"--score {name}: no such score of {cls.name}", near(name, known))
        return name

    def scored_by(self, name: str | None) -> Self:
        """The same task with another `metric`, which files of networks record.

        Args:
            name: One of `metrics`; None leaves it as it is.

        Raises:
            InputError: No such score.
        """
        if name is None or self._known_score(name) == self.metric:
            return self
        task = copy.copy(self)
        task.metric, task.facts = name, {**self.facts, "score": name}
        return task

    def standardising(self, statistics: Statistics) -> Self:
        """The same task for a network whose images are standardised so, which files of networks record."""
        if statistics == self.statistics:
            return self
        task = copy.copy(self)
        task.statistics = statistics
        return task

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the images that networks see in training."""
        return self.size, self.size

    @property
    def white(self) -> float | None:
        """Stored value of white in images of more than 8 bits, as in training; None if training had none of them."""
        found = self.facts.get("white")
        return None if found is None else float(found)

    # ---------------------------------------------------------------- folders

    @classmethod
    @abstractmethod
    def recognises(cls, folder: Path, reading: Reading = AS_IT_IS) -> Mapping[str, str]:
        """Return the layouts that a folder may be in, and what each would make of it, in words; quick, never an error.

        None of them means that the folder is not for this task; two or more, that the user has to say which.
        """

    @classmethod
    def doubts(cls, folder: Path, reading: Reading, layout: str) -> tuple[str, str] | None:
        """Say what speaks against the only layout that was found, and what to do if it is right; None: nothing does.

        Args:
            folder: The folder.
            reading: How it is to be read.
            layout: The layout.
        """
        return None

    @classmethod
    @abstractmethod
    def files(cls, folder: Path, reading: Reading = AS_IT_IS) -> Files:
        """List the files of a folder; where it has no validation side, split it.

        Args:
            folder: A folder that :meth:`recognises` accepts.
            reading: How it is to be read; its `layout` is the one recognised, or the one that was asked for.

        Raises:
            InputError: The layout is not complete.
        """

    @classmethod
    def examined(
        cls,
        files: Files,
        reading: Reading = AS_IT_IS,
        *,
        where: str = "",
        on_progress: OnProgress | None = None,
    ) -> Files:
        """Determine what the values of pixels and targets mean, before anything is learned from them.

        The default finds the range of values that images of more than 8 bits use.

        Args:
            files: Files as they were recognised.
            reading: How the folder is to be read.
            where: The data in messages.
            on_progress: Called with (done, total, what).

        Raises:
            InputError: The meaning cannot be told; the message names the option that says it.
        """
        images = [item.image for item in (*files.train, *files.val)]
        pixels = find_range(images, bits=reading.bits, where=where)
        said = pixels.note or ("images have 8 bits per channel" if images else "")
        return replace(
            files, pixels=pixels, meaning=(*([said] if said else ()), *notices(images)),
            check=lambda item: check_values(item.image, pixels.white),
        )  # fmt: skip

    @classmethod
    def truths(cls, folder: Path) -> frozenset[Path]:
        """Return the images below a folder that are targets, such as masks, and no inputs; never an error."""
        return frozenset()

    @classmethod
    @abstractmethod
    def load(cls, spec: RunSpec, on_progress: OnProgress | None = None) -> TaskData:
        """Make the samples of a folder for training and validation."""

    @classmethod
    def load_arrays(
        cls,
        folder: Path,
        cache: Path,
        *,
        size: int,
        reading: Reading = AS_IT_IS,
        record: Path | None = None,
        on_progress: OnProgress | None = None,
    ) -> Arrays:
        """Read a folder once, into arrays that all runs of a comparison share.

        The default stores every sample of :meth:`load`, which must have one size then.
        """
        from saccade.tasks.storing import stored

        spec = RunSpec(data=str(folder), network="", size=size, augment="none", **reading.plain())
        return stored(cls, cls.load(spec, on_progress), folder, cache, record, on_progress)

    @classmethod
    def of_datasets(
        cls, pair: tuple[Dataset[Any], Dataset[Any]], spec: RunSpec, classes: Sequence[str], shape: tuple[int, int]
    ) -> TaskData:
        """Take two torch Datasets, of training and validation samples.

        Args:
            pair: The Datasets; images are tensors (3, H, W).
            spec: Run as specified.
            classes: Names of the classes.
            shape: Height and width of the first training image.
        """
        sides = [
            Side(one, f"{what} sample {{}}".format, target=_listed_target(one))
            for one, what in zip(pair, ("training", "validation"), strict=True)
        ]
        note = f"{type(pair[0]).__name__}: {cls.counted(len(classes), len(sides[0]), len(sides[1]))}"
        return TaskData(cls(classes, size=spec.size), sides[0], sides[1], note, shape, None)

    def held_out(self, folder: Path, recorded: Held | None, reading: Reading = AS_IT_IS) -> tuple[Side, str]:
        """Find the images of a folder that a trained network is to be scored on.

        Args:
            folder: Data, perhaps others than those of training.
            recorded: Images that training held out of a folder it split.
            reading: How the folder is to be read.

        Returns:
            The samples, and which they are, in words.
        """
        data = self.load(RunSpec(data=str(folder), network="", size=self.size, augment="none", **reading.plain()))
        return data.val, "the validation images"

    @classmethod
    def tally(cls, files: Files, item: Item, size: tuple[int, int]) -> Any:
        """Read the target of an item and count what it holds.

        Args:
            files: Files that it comes from.
            item: Image and target.
            size: Width and height of the image.

        Returns:
            A whole number for each class, or an empty list where nothing can be counted.

        Raises:
            UnreadableError: The target cannot be used.
        """
        return []

    @classmethod
    def remarks(cls, counts: Mapping[str, Mapping[str, int]]) -> Iterable[str]:
        """Say what is worth knowing of the counts of ``saccade data check``."""
        return ()

    @classmethod
    def findings(cls, files: Files) -> Iterable[str]:
        """Say what is odd in targets that can be read, for ``saccade data check``."""
        return ()

    @classmethod
    def sheet_rows(cls, files: Files, columns: int) -> list[tuple[str, list[Item]]]:
        """Choose items for a contact sheet: rows with a title each."""
        from saccade.data.sheet import spread

        some = spread(files.train, columns * 4)
        starts = range(0, len(some), columns)
        return [("" if start else "training", some[start : start + columns]) for start in starts]

    @classmethod
    def sheet_legend(cls, files: Files) -> list[tuple[str, tuple[int, int, int]]]:
        """Return the names and colours (red, green, blue) that :meth:`illustrated` draws with."""
        return []

    @classmethod
    def illustrated(cls, files: Files, item: Item, image: Any) -> Any:
        """Draw the target of an item over its image (Pillow); the default leaves the image as it is."""
        return image

    @staticmethod
    def counted(classes: int, train: int, val: int) -> str:
        """Say how many classes and images there are."""
        return f"{classes} classes, {train} training and {val} validation images"

    # ---------------------------------------------------------------- networks

    @classmethod
    def owns(cls, network: str) -> bool:
        """Return True if a network is for this task alone."""
        return False

    @classmethod
    def check_network(cls, spec: RunSpec) -> None:
        """Refuse a network, or options of one, that make no sense for this task; the default takes any of timm.

        Raises:
            InputError: See there.
        """
        if spec.backbone is not None:
            raise InputError(
                f"--backbone {spec.backbone}: {cls.name} networks have no head to be put on one",
                f"give it as the network: --network {spec.backbone}",
            )

    def network(self, spec: RunSpec) -> nn.Module:
        """Make the network of a run; random weights are drawn from torch's global generator."""
        from saccade.networks.make import classification_network

        return classification_network(
            spec.network, len(self.classes), mechanism=spec.mechanism, at=spec.at, pretrained=spec.pretrained,
            match=spec.match,
        )  # fmt: skip

    def fitted(
        self, net: nn.Module, *, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None
    ) -> Self:
        """The task as a run trains it: with the loss of a network that has its own, and with options of the recipe.

        Args:
            net: The network.
            label_smoothing: Fraction of the target that is given to all classes evenly.
            class_weights: Weight of each class in the loss; None weighs all alike.

        Raises:
            InputError: An option that this task does not have.
        """
        if label_smoothing:
            raise InputError(f"--label-smoothing: the loss of {self.name} has no such option", "leave it out")
        if class_weights is not None:
            raise InputError(f"--class-weights: the loss of {self.name} has no such option", "leave it out")
        return self

    def with_hardest(self, joints: int) -> Self:
        """The task with a loss of the `joints` hardest joints of each object; 0 takes all.

        Raises:
            InputError: The task has no joints, or fewer.
        """
        if joints:
            raise InputError(f"--hardest-joints: {self.name} has no joints", "leave it out")
        return self

    def amounts(self, target: Any) -> tuple[Any, Any]:
        """Count what the target of one sample holds, for weights of classes and balanced sampling.

        Returns:
            Indices of the classes that are in it, and the amount of each: samples, or pixels.

        Raises:
            InputError: The task has no classes to be weighed.
        """
        raise InputError(f"--class-weights, --sampling: {self.name} has no classes to be balanced", "leave it out")

    def balanced(self, found: Composition) -> Floats:
        """Compute the weights of ``--class-weights balanced`` from the classes of the training samples."""
        from saccade.training.composition import balanced_weights

        return balanced_weights(found.counts)

    # ---------------------------------------------------------------- training and scoring

    @abstractmethod
    def loss(self, outputs: Any, targets: Any) -> tuple[Tensor, Tensor]:
        """The training loss, as its sum over valid samples or pixels, and their number, both scalars.

        Where samples are weighted, the sum is weighted and the number is the sum of the weights.
        """

    @abstractmethod
    def predict(self, outputs: Any, size: tuple[int, int]) -> Any:
        """Turn the outputs of a network in evaluation mode into predictions: any tree of tensors, images first.

        Args:
            outputs: Output of the network.
            size: Height and width of the images.
        """

    @abstractmethod
    def evidence(self, predictions: Any, targets: Any, *, full: bool = False) -> Evidence:
        """Collect what scores need of each image.

        Args:
            predictions: Predictions that `predict` returned.
            targets: Targets of the same images.
            full: If True, also collect what :meth:`by_class` and :meth:`groups` need.
        """

    def settled(self, evidence: Evidence) -> Evidence:
        """Turn what :meth:`evidence` collected of all samples into evidence of images; the default has one per image.

        A task whose samples are parts of images groups them here, since an image is drawn or left out as a whole.
        """
        return evidence

    def pictured(self, evidence: Evidence) -> Any:
        """Return for each image of settled evidence the index of the sample that the report shows for it."""
        return np.arange(images_in(evidence))

    @abstractmethod
    def scores(self, evidence: Evidence, weights: Floats | None = None) -> dict[str, float]:
        """Compute all scores, that of `metric` first.

        Args:
            evidence: Evidence of any number of images.
            weights: (n_images,) of each image, at least 0; None counts each once.
        """

    def score(self, evidence: Evidence, weights: Floats | None = None) -> float:
        """Compute the score called `metric`."""
        return self.scores(evidence, weights)[self.metric]

    def resampled(self, evidence: Evidence, weights: Floats) -> Floats:
        """Compute the score for every row of weights (draws, n_images).

        The default asks :meth:`score` row by row; a score that is a ratio of sums has a faster way.
        """
        return np.array([self.score(evidence, row) for row in weights])

    def image_scores(self, evidence: Evidence) -> Floats:
        """Say how right the prediction of each image is, by what its picture shows; the default is its score alone."""
        images = np.arange(images_in(evidence))
        return np.array([self.score(evidence, np.equal(images, image).astype(np.float64)) for image in images])

    def by_class(self, evidence: Evidence) -> dict[str, float | None]:
        """Scores of single classes, from full evidence; None where a class does not occur."""
        return {}

    def groups(self, evidence: Evidence) -> dict[str, Group]:
        """Scores of parts of the data, from full evidence."""
        return {}

    # ---------------------------------------------------------------- using a trained network

    def under(self, net: nn.Module, protocol: Any, *, default: str = "whole") -> tuple[nn.Module, str | None]:
        """Wrap a network so that it sees images under a protocol of evaluation.

        Args:
            net: The network.
            protocol: Protocol as given; None means the default.
            default: Default protocol of the command.

        Returns:
            The network, and the protocol in words.

        Raises:
            InputError: A protocol, though this task has none.
        """
        if protocol not in (None, default):
            raise InputError(
                f"protocol {protocol!r} is for segmentation; this network is for {self.name}", "leave it out"
            )
        return net, None

    def input(self, image: Any) -> Tensor:
        """Turn a picture (Pillow, RGB) into what networks are given, uint8 (3, H, W)."""
        from saccade.tasks.classification.samples import scoring_transform

        return scoring_transform(self.size)(image)

    def row(self, prediction: Any) -> dict[str, Any]:
        """Say the prediction of one image as plain values, by their names; the default names every leaf of its tree."""
        return {name: leaf.tolist() for name, leaf in named("prediction", prediction).items()}

    def row_without(self) -> dict[str, Any]:
        """Plain values in the place of :meth:`row` for an image that could not be read."""
        return {}

    def cells(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Lay out what :meth:`row` said as cells of a table; the default takes it as it is."""
        return dict(row)

    def said(self, row: Mapping[str, Any]) -> str:
        """Say what :meth:`row` said in words."""
        return ", ".join(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values())

    def write_predictions(self, opened: Opened, images: Any, options: Any) -> Any:
        """Predict files and write what is asked for; the default writes a row per image, see :meth:`row`."""
        from saccade.runs.rows import write_rows

        return write_rows(self, opened, images, options)

    # ---------------------------------------------------------------- augmentation of comparisons, pictures, report

    def augment(
        self, images: Tensor, targets: Any, *, size: int, keys: Sequence[tuple[int, ...]]
    ) -> tuple[Tensor, Any]:
        """Change a training batch of a comparison, as a pure function of the keys; the default changes nothing."""
        return images, targets

    def augmentation(self, name: str | None) -> Augment | None:
        """Return the augmentation of a comparison called `name`; None: batches stay as they are.

        Args:
            name: ``"none"``, a name of the task, or None for :meth:`augment`.

        Raises:
            InputError: The task has none of that name.
        """
        if name is None:
            return self.augment
        if name == "none":
            return None
        raise InputError(f"unknown augmentation {name!r} of a comparison on {self.name}", "it is: none")

    def query(self, target: Any, control: Any, best: Any) -> tuple[int, int] | None:
        """Choose the pixel (y, x) whose attention the report shows; None takes the middle of the image.

        Args:
            target: Target of one image, as arrays.
            control: Prediction of the control.
            best: Prediction of the best arm.
        """
        return None

    def extent(self, image: Any, target: Any) -> tuple[int, int]:
        """Height and width of the part of an image array that the report shows, from its top left corner."""
        height, width = image.shape[:2]
        return height, width

    def ground_of(self, targets: Any) -> int | None:
        """The class that pictures of the report leave without colour; None: there is none."""
        return None

    def draw_truth(self, case: Case, target: Any) -> None:
        """Add the target of an image to its case of the report; the default writes it in words."""
        case.truth_name = str(target)

    def draw_answer(self, case: Case, answer: Answer, target: Any, prediction: Any) -> None:
        """Add the prediction of one arm to its answer in the report; the default writes it in words."""
        answer.words = "; ".join(f"{name} {value}" for name, value in self.row(prediction).items())

    def legend(self, gallery: Gallery) -> Sequence[str]:
        """Lines of the report's legend (HTML)."""
        return ()

    # ---------------------------------------------------------------- as plain values

    def to_json(self) -> dict[str, Any]:
        """Plain values that :func:`saccade.tasks.from_json` reads back."""
        own = {} if self.statistics == IMAGENET else {"statistics": self.statistics.to_json()}
        return {"task": self.name, "classes": list(self.classes), "size": self.size, **self.facts, **own}


def _listed_target(samples: Any) -> Callable[[int], Any] | None:
    """The targets that a data set lists without reading images, as those of torchvision do."""
    targets: Any = getattr(samples, "targets", None)
    plain = getattr(samples, "target_transform", None) is None and getattr(samples, "transforms", None) is None
    known = plain and hasattr(targets, "__getitem__") and hasattr(targets, "__len__")
    return targets.__getitem__ if known and len(targets) == len(samples) else None


def mean_loss(task: Task, outputs: Any, targets: Any) -> Tensor:
    """The loss of one batch alone; 0 where nothing in it is valid."""
    total, count = task.loss(outputs, targets)
    return total / divisor(count)


def divisor(count: Tensor) -> Tensor:
    """A count, or a sum of weights, that a sum is divided by; 1 where it is 0."""
    return torch.where(count > 0, count, torch.ones_like(count))


def unequal(class_weights: Sequence[float] | None) -> Tensor | None:
    """Weights of classes as a tensor; None where all are equal, since a mean does not change by them."""
    if class_weights is None or len(set(class_weights)) <= 1:
        return None
    return torch.tensor(class_weights, dtype=torch.float32)
