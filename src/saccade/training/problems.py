"""What a run is about: the data of a task, the network for it, and what a scored network must know of its images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset

from saccade.data import Progress
from saccade.data.cifar import find_cifar
from saccade.data.crops import LabelledSamples, View, training_view
from saccade.data.identity import DataFiles, Identity, identify, identify_samples
from saccade.data.labelled import Labelled, Pair
from saccade.data.layouts import Item, find_layout
from saccade.data.mask_folder import find_files, load_labelled
from saccade.data.samples import ArraySamples, ImageSamples, image_names, scoring_transform, training_transform
from saccade.errors import InputError
from saccade.networks.make import is_segmenter, make_network
from saccade.training.tasks import Classification, Segmentation, Task, has_own_loss, task_for

_WHOLE = ("cifar", "shift", "none")  # augmentations of images that are scored as a whole
_MIDDLE = 224 / 256


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which data and which network, as asked."""

    data: str
    """Folder of the images."""
    network: str
    """Name of the network."""
    backbone: str | None = None
    """Of networks that are a head on a backbone."""
    mechanism: str | None = None
    """Inserted into the network."""
    at: str | None = None
    """Where."""
    pretrained: bool | str = False
    """timm's weights, or those of a file."""
    size: int = 224
    """Side of the images in pixels."""
    augment: str = "light"
    """Augmentation of the training images."""
    split_seed: int = 0
    """Decides a split that the folder does not give."""

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or self.size < 8:
            raise InputError(f"size must be a whole number of at least 8 pixels; received {self.size!r}")
        if self.split_seed < 0:
            raise InputError(f"split_seed must be at least 0; received {self.split_seed}")


@dataclass(frozen=True)
class Side:
    """Training or held-out samples.

    Args:
        samples: A torch Dataset of (image, target).
        name: What a sample is called.
        names: Of all samples, where they are files.
        alike: Whether images have one size, so that several can be scored at once.
    """

    samples: Dataset[Any]
    name: Callable[[int], str]
    names: Sequence[str] = ()
    alike: bool = True

    def __len__(self) -> int:
        return len(self.samples)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Problem:
    """A task with its data.

    Args:
        task: Loss, predictions and metrics.
        classes: Their names.
        train: What is learned from.
        val: What is scored.
        network: Makes the network.
        reading: How images are brought to the network: what must be known to use it.
        note: What was recognised, for people.
        shape: Height and width of the images.
        split: Names of the held-out files, where the folder was split by a seed.
        files: Finds the files that the samples are read from; None for samples that are no files.
    """

    task: Task
    classes: tuple[str, ...]
    train: Side
    val: Side
    network: Callable[[], nn.Module]
    reading: dict[str, Any] | None
    note: str
    shape: tuple[int, int]
    split: tuple[str, ...] = field(default=())
    files: Callable[[], DataFiles] | None = None

    def task_of(self, net: nn.Module) -> Task:
        """The task, with the loss of a network that has its own: segmenters weigh several outputs."""
        return task_for(self.task.name, len(self.classes), net) if has_own_loss(net) else self.task

    def identity(self, record: Path | None = None, on_progress: Progress | None = None) -> Identity:
        """Return the identity of the data; every file is read that `record` does not know as it is."""
        if self.files is None:
            return identify_samples(self.classes, len(self.train), len(self.val))
        return identify(self.files(), record, on_progress)


def find_problem(question: Question, label_smoothing: float = 0.0) -> Problem:
    """Recognise the data and decide on everything that does not depend on how it is trained.

    Args:
        question: As asked; the network says which task it is.
        label_smoothing: Of the loss of classification.

    Raises:
        InputError: Data that cannot be used, or options that make no sense for them.
    """
    _refuse_nonsense(question, label_smoothing)
    task = partial(Classification, label_smoothing=label_smoothing)
    if is_segmenter(question.network):
        return _pixels(question)
    path = Path(question.data)
    crop = crop_of(question.augment)
    train = training_transform(question.augment, question.size, crop)
    val = scoring_transform(question.size, crop=crop)
    cifar = find_cifar(path)
    if cifar is not None:
        sides = [Side(made, made.name) for made in (ArraySamples(cifar.train, train), ArraySamples(cifar.val, val))]
        held = DataFiles(path, "classification", cifar.classes, others=cifar.files)
        return _classification(question, task, cifar.classes, sides, cifar.name, lambda: held)
    layout = find_layout(path, question.split_seed)
    if layout.task != "classification":
        raise InputError(
            f"{path} holds masks: it is for segmentation, and {question.network} is a classification network",
            "give a folder with one folder for each class",
        )
    pairs = ((layout.train, train), (layout.val, val))
    sides = [side_of(items, path, transform, question.size) for items, transform in pairs]
    files, split = partial(DataFiles.of, path, layout), "split by seed" in layout.said
    return _classification(question, task, layout.classes, sides, layout.said, files, split=split)


def problem_of(
    data: tuple[Dataset[Any], Dataset[Any]],
    question: Question,
    classes: Sequence[str] | None,
    label_smoothing: float = 0.0,
) -> Problem:
    """A problem of any two torch Datasets, training and held-out, that give (image, class), or (image, classes (H, W)).

    Images are uint8 (3, H, W), or floats as the network is to read them. In training they have one size; held-out
    images with masks may have any.

    Raises:
        InputError: Samples of another kind, or classes that neither `classes` nor the data set names.
    """
    _refuse_nonsense(question, label_smoothing)
    train = data[0]
    names = classes or getattr(train, "classes", None)
    if not names:
        raise InputError(f"{type(train).__name__} does not say its classes", "name them: classes=[...]")
    image, target = train[0]
    masks = is_segmenter(question.network)
    if not isinstance(image, Tensor) or image.dim() != 3:
        raise InputError(
            f"{type(train).__name__}: expected tensors (3, H, W) as images; received {type(image).__name__}",
            "end its transform with torchvision.transforms.v2.PILToTensor()",
        )
    if masks and (not isinstance(target, Tensor) or target.shape != image.shape[1:]):
        raise InputError(
            f"{type(train).__name__}: expected classes {tuple(image.shape[1:])} as the target of each image; received "
            f"{tuple(target.shape) if isinstance(target, Tensor) else type(target).__name__}"
        )
    named = zip(data, ("training", "held-out"), strict=True)
    sides = [Side(one, f"{what} sample {{}}".format, alike=not masks) for one, what in named]
    note = f"{type(train).__name__}: {len(names)} classes, {len(sides[0])} training and {len(sides[1])} held-out images"
    shape = (int(image.shape[1]), int(image.shape[2]))
    task = Segmentation(len(names)) if masks else Classification(len(names), label_smoothing=label_smoothing)
    network = _network_for(question, len(names))
    return Problem(task, tuple(map(str, names)), sides[0], sides[1], network, None, note, shape)


def _refuse_nonsense(question: Question, label_smoothing: float) -> None:
    """Options of the other task."""
    if not is_segmenter(question.network):
        if question.backbone is not None:
            raise InputError(
                f"--backbone {question.backbone}: classification networks have no head to be put on one",
                f"give it as the network: --network {question.backbone}",
            )
        return
    if label_smoothing:
        raise InputError("--label-smoothing: the losses of segmentation networks know none", "leave it out")


def _pixels(question: Question) -> Problem:
    """Of images with a class for each pixel; held-out images are scored whole, each at its own size."""
    path = Path(question.data)
    data = load_labelled(path, split_seed=question.split_seed)
    view = training_view(question.augment, question.size)
    train, val = pixel_side(data, data.train, path, view), pixel_side(data, data.val, path)
    reading = {"task": "segmentation", "classes": list(data.classes), "size": question.size, "palette": data.palette}
    split = tuple(val.names) if "split by seed" in data.note else ()
    shape, task = (question.size, question.size), Segmentation(len(data.classes))
    network = _network_for(question, len(data.classes))
    files = partial(_labelled_files, path, question.split_seed)
    return Problem(task, data.classes, train, val, network, reading, data.note, shape, split, files)


def _labelled_files(path: Path, split_seed: int) -> DataFiles:
    return DataFiles.of(path, find_files(path, split_seed)[0])


def pixel_side(data: Labelled, pairs: Sequence[Pair], folder: Path, view: View | None = None) -> Side:
    """Images with masks as samples."""
    samples = LabelledSamples(data, pairs, view)
    names = [pair.image.relative_to(folder).as_posix() for pair in pairs if pair.image.is_relative_to(folder)]
    return Side(samples, samples.name, names, alike=False)


def _network_for(question: Question, num_classes: int) -> Callable[[], nn.Module]:
    return partial(
        make_network, "segmentation" if is_segmenter(question.network) else "classification", question.network,
        num_classes, backbone=question.backbone, mechanism=question.mechanism, at=question.at,
        pretrained=question.pretrained,
    )  # fmt: skip


def crop_of(augment: str) -> float:
    """The part of the shorter side that is scored: images that training sees as a whole are scored as a whole."""
    return 1.0 if augment in _WHOLE else _MIDDLE


def _classification(
    question: Question,
    task: Callable[[int], Task],
    classes: tuple[str, ...],
    sides: Sequence[Side],
    said: str,
    files: Callable[[], DataFiles],
    *,
    split: bool = False,
) -> Problem:
    train, val = sides

    counts = f"{len(classes)} classes, {len(train)} training and {len(val)} held-out images"
    reading = {
        "task": "classification", "classes": list(classes), "size": question.size, "crop": crop_of(question.augment),
    }  # fmt: skip
    return Problem(
        task(len(classes)),
        classes,
        train,
        val,
        _network_for(question, len(classes)),
        reading,
        f"{said}: {counts}",
        (question.size, question.size),
        tuple(val.names) if split else (),
        files,
    )


def side_of(items: Sequence[Item], folder: Path, transform: Any, size: int) -> Side:
    """Labelled files as samples. JPEGs are decoded at no less than four times the size: crops are cut from them."""
    samples = ImageSamples(items, transform, near=2 * size)
    return Side(samples, samples.name, image_names(items, folder))
