"""Classification: one class per image; the metric is top-1 accuracy."""

from __future__ import annotations

import copy
import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.data import Arrays, OnProgress
from saccade.data.folder import read_arrays, values_key
from saccade.data.images import centre, read_image, square
from saccade.data.layouts import Item, listed, relative, unwrapped
from saccade.data.reading import AS_IT_IS, Reading
from saccade.data.shard_names import is_shards, name_of
from saccade.data.shards import kinds_in, numbers_of
from saccade.data.sheet import spread
from saccade.data.tree import scan
from saccade.errors import InputError, near
from saccade.networks.make import is_classifier
from saccade.runs.options import RunSpec
from saccade.tasks import layout_of
from saccade.tasks.base import Files, Held, Side, TaskData, unequal
from saccade.tasks.classification.cifar import Cifar, find_cifar, is_cifar
from saccade.tasks.classification.layout import (
    CLASSES,
    SIDES,
    class_doubts,
    class_readings,
    find_classes,
    scored_images,
)
from saccade.tasks.classification.samples import (
    ArraySamples,
    ImageSamples,
    image_names,
    scoring_transform,
    training_transform,
)
from saccade.tasks.classification.shards import SHARDS, find_shards, scored_shards
from saccade.tasks.classification.table import TABLE, find_labels, scored_labels, table_readings
from saccade.tasks.evidence import Evidence, Floats
from saccade.tasks.held import recorded_of
from saccade.tasks.ratios import RatioTask, sums_by_class

if TYPE_CHECKING:
    from saccade.report.scenes import Answer, Case
    from saccade.training.sources import Augment

_WHOLE = ("cifar", "shift", "none")  # augmentations of images that are scored as a whole
_MIDDLE = 224 / 256
_STORED = 8 / 7  # side of the stored training images of a comparison, relative to what networks see
_RARE = 10  # images of a class below which it is mentioned
_SHOWN = 5
_COLUMNS = ("class", "probability")


class Classification(RatioTask):
    """One class per image.

    Args:
        classes: Their names.
        size: Side of the images in pixels.
        crop: Fraction of the shorter side that is scored, in the middle.
    """

    name = "classification"
    metric = "accuracy"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "balanced_accuracy", "macro_f1")
    image_metric = "probability of the true class"
    layouts: ClassVar = {
        "train-val/classes": "train/CLASS/*.jpg and val/CLASS/*.jpg (val, valid, validation or test)",
        "classes": "CLASS/*.jpg, split 80/20",
        TABLE: "images in any folders and labels.csv of FILE,CLASS lines",
        SHARDS: "shards NAME-{000..127}.tar of WebDataset with NAME.jpg and NAME.cls or NAME.json",
        "cifar": "CIFAR-10 and CIFAR-100, the binary versions",
    }
    competing = frozenset({CLASSES, SIDES, TABLE})
    reads = ("layout", "classes", "split", "split_seed", "group", "bits", "allow_copies")

    samples: ClassVar[Any] = None
    """Dataset of files with their classes, made of their number and the arguments of `ImageSamples`; None: that one."""

    def __init__(self, classes: Sequence[str], *, size: int = 224, crop: float = 1.0, **facts: Any) -> None:
        super().__init__(classes, size=size, crop=crop, **facts)
        self.crop, self.label_smoothing = crop, 0.0
        self.class_weights: Tensor | None = None

    @classmethod
    def recognises(cls, folder: Path, reading: Reading = AS_IT_IS) -> Mapping[str, str]:
        if is_shards(folder):
            kinds = kinds_in(folder) if SHARDS in cls.layouts else {}
            return {SHARDS: kinds["label"]} if "label" in kinds else {}
        if is_cifar(folder):
            return {"cifar": "CIFAR-10 or CIFAR-100"}
        table, certain = table_readings(folder, reading)
        own = {name: words for name, words in table.items() if name in cls.layouts}
        if certain or (table and len(unwrapped(scan(folder)).inside()) < 2):  # one folder is no two classes
            return own
        return {**own, **class_readings(folder, reading)}

    @classmethod
    def doubts(cls, folder: Path, reading: Reading, layout: str) -> tuple[str, str] | None:
        return class_doubts(folder, reading, layout) if layout in (CLASSES, SIDES) else None

    @classmethod
    def files(cls, folder: Path, reading: Reading = AS_IT_IS) -> Files:
        layout = layout_of(cls, folder, reading)
        if layout == "cifar":
            cifar = _cifar(folder)
            sides = [
                np.bincount(side.targets, minlength=len(cifar.classes)).tolist() for side in (cifar.train, cifar.val)
            ]
            counts = dict(zip(cifar.classes, zip(*sides, strict=True), strict=True))
            return Files(cifar.classes, (), (), cifar.name, others=cifar.files, layout=layout, counts=counts)
        return cls._listed_files(folder, reading, layout)

    @classmethod
    def _listed_files(cls, folder: Path, reading: Reading, layout: str) -> Files:
        if layout == SHARDS:
            return find_shards(folder, reading)
        return (find_labels if layout == TABLE else find_classes)(folder, reading, layout)

    @classmethod
    def _scored(
        cls, folder: Path, classes: Sequence[str], reading: Reading, layout: str
    ) -> tuple[tuple[Item, ...], str | None]:
        """Images that a trained network is scored on, and the name of their side."""
        if layout == SHARDS:
            return scored_shards(folder, classes, reading)
        return (scored_labels if layout == TABLE else scored_images)(folder, classes, reading, layout)

    @classmethod
    def array_target(cls, files: Files, item: Item) -> Any:
        """The target of an item as arrays of a comparison hold it."""
        return item.target

    @classmethod
    def load(cls, spec: RunSpec, on_progress: OnProgress | None = None) -> TaskData:
        path, crop = Path(spec.data), _crop_of(spec.augment)
        train = training_transform(spec.augment, spec.size, crop)
        val = scoring_transform(spec.size, crop=crop)
        found = cls.files(path, spec)
        if found.layout == "cifar":
            cifar = _cifar(path)
            arrays = ArraySamples(cifar.train, train), ArraySamples(cifar.val, val)
            both = [Side(made, made.name, target=made.target) for made in arrays]
            return cls._data(spec, both, found)
        found = cls.examined(found, spec, where=str(path))
        white = found.pixels.white
        count = len(found.classes)
        given = (found.train, train), (found.val, val)
        both = [cls._side(count, items, path, way, spec.size, white) for items, way in given]
        return cls._data(spec, both, found)

    @classmethod
    def _data(cls, spec: RunSpec, sides: Sequence[Side], files: Files) -> TaskData:
        train, val = sides
        return TaskData(
            cls(files.classes, size=spec.size, crop=_crop_of(spec.augment), **files.facts), train, val,
            f"{files.note}: {cls.counted(len(files.classes), len(train), len(val))}", (spec.size, spec.size),
            files.under(Path(spec.data), cls.name), tuple(val.names) if files.drawn else (),
        )  # fmt: skip

    @classmethod
    def _side(
        cls, count: int, items: Sequence[Item], folder: Path, transform: Any, size: int, white: float | None
    ) -> Side:
        """Labelled files as samples. JPEGs are decoded at no less than four times the size: crops are cut from them."""
        made = ImageSamples if cls.samples is None else functools.partial(cls.samples, count)
        samples: ImageSamples = made(items, transform, near=2 * size, white=white)
        shards = numbers_of([item.image for item in items])
        return Side(samples, samples.name, image_names(items, folder), target=samples.target, shards=shards)

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
        """Reduce images to their centre square.

        Training images have a side of round(size * 8 / 7), from which augmentation crops; validation images are the
        middle of such a square.
        """
        if layout_of(cls, folder, reading) == "cifar":
            return super().load_arrays(
                folder, cache, size=size, reading=reading, record=record, on_progress=on_progress
            )
        files, stored = cls.files(folder, reading), round(size * _STORED)
        length = {"train": stored, "val": size}
        examined = functools.cache(lambda: cls.examined(files, reading, where=str(folder)))

        def row(item: Item, side: str) -> tuple[Any, Any]:
            image = read_image(item.image, near=stored, white=examined().pixels.white)
            return centre(square(image, stored), length[side]), cls.array_target(files, item)

        def finish() -> dict[str, Any]:
            return {"values": list(examined().meaning), **examined().facts}

        target = np.asarray(cls.array_target(files, files.train[0]))
        shapes = {side: ((length[side], length[side], 3), target.shape, str(target.dtype)) for side in length}
        splits, facts = read_arrays(
            folder, cls.name, files, cache, shapes, row, size=size, finish=finish,
            record=record, on_progress=on_progress, how=values_key(reading),
        )  # fmt: skip
        note = f"{files.note}: {cls.counted(len(files.classes), len(files.train), len(files.val))}"
        values, own = tuple(facts.pop("values")), {"crop": 1 / _STORED, **facts}
        return Arrays(name_of(folder), cls.name, files.classes, **splits, note=note, facts=own, values=values)

    def held_out(self, folder: Path, recorded: Held | None, reading: Reading = AS_IT_IS) -> tuple[Side, str]:
        transform = scoring_transform(self.size, crop=self.crop)
        layout = layout_of(type(self), folder, reading)
        if layout == "cifar":
            cifar = _cifar(folder)
            if cifar.classes != self.classes:
                raise InputError(f"{folder} is {cifar.name}, whose classes the network does not know")
            samples = ArraySamples(cifar.val, transform)
            return Side(samples, samples.name), "the test images"
        items, side = self._scored(folder, self.classes, reading, layout)
        if side is not None:
            what = f"those of {side}/"
        else:
            held, what = recorded_of({relative(item.image, folder): item for item in items}, folder, recorded)
            items = tuple(held)
        return self._side(len(self.classes), items, folder, transform, self.size, self.white), what

    @classmethod
    def tally(cls, files: Files, item: Item, size: tuple[int, int]) -> Any:
        return np.eye(len(files.classes), dtype=np.int64)[item.target]

    @classmethod
    def remarks(cls, counts: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
        train = {name: n["train"] for name, n in counts.items()}
        rare = [name for name, n in train.items() if 0 < n < _RARE]
        if rare:
            yield f"fewer than {_RARE} training images: {listed(rare)}"
        most, least = max(train.values(), default=0), min((n for n in train.values() if n), default=0)
        if least and most / least >= _RARE:
            yield f"the largest class has {most / least:.0f} times the images of the smallest: look at scores by class"

    @classmethod
    def sheet_rows(cls, files: Files, columns: int) -> list[tuple[str, list[Item]]]:
        by_class = Counter(item.target for item in files.train)
        return [
            (name, spread([item for item in files.train if item.target == index], columns))
            for index, name in enumerate(files.classes)
            if by_class[index]
        ]

    @classmethod
    def owns(cls, network: str) -> bool:
        return is_classifier(network)

    def fitted(
        self, net: nn.Module, *, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None
    ) -> Self:
        task = copy.copy(self)
        task.label_smoothing, task.class_weights = label_smoothing, unequal(class_weights)
        return task

    def amounts(self, target: Any) -> tuple[Any, Any]:
        return [int(target)], [1]

    def loss(self, outputs: Any, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the cross-entropy summed over images, and their number; with weights, of both the weighted sums."""
        weight = None if self.class_weights is None else self.class_weights.to(outputs)
        total = F.cross_entropy(outputs, targets, weight=weight, reduction="sum", label_smoothing=self.label_smoothing)
        if weight is not None:
            return total, weight[targets].sum()
        return total, torch.tensor(len(targets), device=total.device)

    def predict(self, outputs: Any, size: tuple[int, int]) -> Tensor:
        """Class probabilities (B, K)."""
        probabilities: Tensor = outputs.float().softmax(dim=1)
        return probabilities

    def evidence(self, predictions: Tensor, targets: Tensor, *, full: bool = False) -> Evidence:
        """Per image: the counts (1, 2) of accuracy, whether the class is among the first five, the class, the guess.

        Full evidence also has the probability of the class.
        """
        guess = predictions.argmax(dim=1)
        right = (guess == targets).long()
        first = predictions.topk(min(_SHOWN, predictions.shape[1]), dim=1).indices
        among = (first == targets[:, None]).any(dim=1).long()
        counts = torch.stack([right, torch.ones_like(right)], dim=1)[:, None]
        found = {"counts": counts, "among": among, "class": targets.long(), "guess": guess}
        found |= {"probability": predictions.gather(1, targets[:, None].long())[:, 0]} if full else {}
        return {name: tensor.cpu().numpy() for name, tensor in found.items()}

    def sums(self, metric: str, evidence: Evidence, weights: Floats) -> Floats:
        r"""Compute the parts of a score for every row of weights.

        Of accuracy: right images over all images. Of ``balanced_accuracy``: of each class that occurs, right images
        over its images; the mean over classes is the mean recall. Of ``macro_f1``: of each class that occurs or is
        guessed, :math:`2 TP / (2 TP + FP + FN)`.
        """
        if metric == "accuracy":
            return super().sums(metric, evidence, weights)
        count, right = len(self.classes), evidence["counts"][:, 0, 0]
        hits = sums_by_class(evidence["class"], count, weights * right)
        there = sums_by_class(evidence["class"], count, weights)
        if metric == "balanced_accuracy":
            return np.stack([hits, there], axis=-1)
        guessed = sums_by_class(evidence["guess"], count, weights)
        return np.stack([2 * hits, there + guessed], axis=-1)

    def scores(self, evidence: Evidence, weights: Floats | None = None) -> dict[str, float]:
        found = self.chosen_first(evidence, weights)
        if len(self.classes) > _SHOWN:
            found["top-5 accuracy"] = float(np.average(evidence["among"], weights=weights))
        return found

    def image_scores(self, evidence: Evidence) -> Floats:
        """Probability of the true class of each image."""
        return np.asarray(evidence["probability"], dtype=np.float64)

    def by_class(self, evidence: Evidence) -> dict[str, float | None]:
        """Accuracy of the classes that occur."""
        right, there = evidence["counts"][:, 0, 0], evidence["class"]
        total = np.bincount(there, minlength=len(self.classes))
        hits = np.bincount(there, weights=right, minlength=len(self.classes))
        return {name: float(h / n) for name, h, n in zip(self.classes, hits, total, strict=True) if n}

    def input(self, image: Any) -> Tensor:
        return scoring_transform(self.size, crop=self.crop)(image)

    def row(self, prediction: Tensor) -> dict[str, Any]:
        """The likeliest classes, the first five at most, each with its probability."""
        values, indices = prediction.topk(min(_SHOWN, len(self.classes)))
        pairs = zip(indices.tolist(), values.tolist(), strict=True)
        return {"classes": [[self.classes[index], value] for index, value in pairs]}

    def row_without(self) -> dict[str, Any]:
        return {"classes": []}

    def cells(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Columns ``class_1``, ``probability_1``, ``class_2``, ..."""
        pairs = enumerate(row["classes"], 1)
        return {f"{what}_{n}": value for n, pair in pairs for what, value in zip(_COLUMNS, pair, strict=True)}

    def said(self, row: Mapping[str, Any]) -> str:
        return ", ".join(f"{name} {probability:.3f}" for name, probability in row["classes"][:3])

    def augment(
        self, images: Tensor, targets: Any, *, size: int, keys: Sequence[tuple[int, ...]]
    ) -> tuple[Tensor, Any]:
        from saccade.data.augment import crops

        return crops(images, size=size, keys=keys), targets

    def augmentation(self, name: str | None) -> Augment | None:
        from saccade.data import augment

        known = {None: augment.crops, "light": augment.crops, "shift": augment.windows, "none": augment.middles}
        if name not in known:
            raise InputError(
                f"unknown augmentation {name!r} of a comparison", near(str(name), ["light", "shift", "none"])
            )
        view = known[name]
        return lambda images, targets, *, size, keys: (view(images, size=size, keys=keys), targets)

    def draw_truth(self, case: Case, target: Any) -> None:
        case.truth_name = self.classes[int(target)]

    def draw_answer(self, case: Case, answer: Answer, target: Any, prediction: Any) -> None:
        from saccade.report.scenes import Guess

        true, best = int(target), np.argsort(-prediction, kind="stable")[:3]
        answer.guesses = [Guess(self.classes[k], float(prediction[k]), int(k) == true) for k in best]
        answer.right = int(best[0]) == true


def _cifar(folder: Path) -> Cifar:
    found = find_cifar(folder)
    if found is None:
        raise InputError(f"{folder} holds neither CIFAR-10 nor CIFAR-100", "unpack the binary version there")
    return found


def _crop_of(augment: str) -> float:
    """Fraction of the shorter side that is scored: images that training sees as a whole are scored as a whole."""
    return 1.0 if augment in _WHOLE else _MIDDLE
