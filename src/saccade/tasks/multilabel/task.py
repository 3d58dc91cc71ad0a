"""Multi-label classification: any number of classes per image; the metric is mean average precision."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.data.images import read_image
from saccade.data.layouts import Item
from saccade.data.reading import AS_IT_IS, Reading
from saccade.data.sheet import spread
from saccade.errors import InputError
from saccade.tasks.base import Files
from saccade.tasks.classification.samples import ImageSamples
from saccade.tasks.classification.table import MULTI_LABEL, find_labels, scored_labels, table_readings
from saccade.tasks.classification.task import Classification
from saccade.tasks.evidence import Evidence, Floats, images_in
from saccade.tasks.multilabel.precision import average_precisions
from saccade.tasks.ratios import mean_ratio, weighted_sums

if TYPE_CHECKING:
    from saccade.report.scenes import Answer, Case
    from saccade.training.composition import Composition

THRESHOLD = 0.5
"""Probability from which on a class is predicted."""
_SHOWN = 3


class LabelSamples(ImageSamples):
    """Dataset of (image (3, H, W) uint8, classes (K,) uint8 of 0 and 1).

    Args:
        count: Number of classes.
        items: Files with the indices of their classes.
        options: Options of :class:`saccade.tasks.classification.samples.ImageSamples`.
    """

    def __init__(self, count: int, items: Sequence[Item], *options: Any, **named: Any) -> None:
        super().__init__(items, *options, **named)
        self.count = count

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        image = read_image(self.items[index].image, near=self.near, white=self.white)
        return self.transform(image), torch.from_numpy(self.target(index))

    def target(self, index: int) -> Any:
        return many_hot(self.items[index].target, self.count)


def many_hot(labels: Sequence[int], count: int) -> NDArray[np.uint8]:
    """Return 1 for the classes listed and 0 for all others, (count,)."""
    found = np.zeros(count, dtype=np.uint8)
    found[list(labels)] = 1
    return found


class MultiLabel(Classification):
    """Any number of classes per image, each with a probability of its own.

    Args:
        classes: Their names.
        size: Side of the images in pixels.
        crop: Fraction of the shorter side that is scored, in the middle.
    """

    name = "multi-label"
    metric = "mAP"
    metrics = ("mAP", "macro_f1")
    image_metric = "mean probability of what is true"
    layouts: ClassVar = {
        MULTI_LABEL: "images in any folders and labels.csv: FILE,CLASS,CLASS ... or a column per class with 0 and 1",
    }
    competing = frozenset({MULTI_LABEL})
    samples = LabelSamples

    @classmethod
    def recognises(cls, folder: Path, reading: Reading = AS_IT_IS) -> Mapping[str, str]:
        found, _ = table_readings(folder, reading)
        return {name: words for name, words in found.items() if name in cls.layouts}

    @classmethod
    def _listed_files(cls, folder: Path, reading: Reading, layout: str) -> Files:
        return find_labels(folder, reading, layout)

    @classmethod
    def _scored(
        cls, folder: Path, classes: Sequence[str], reading: Reading, layout: str
    ) -> tuple[tuple[Item, ...], str | None]:
        return scored_labels(folder, classes, reading, layout)

    @classmethod
    def examined(cls, files: Files, *given: Any, **named: Any) -> Files:
        found = super().examined(files, *given, **named)
        items = (*found.train, *found.val)
        without = sum(not item.target for item in items)
        several = sum(len(item.target) > 1 for item in items)
        said = f"{without} of {len(items)} images have no class, {several} have several"
        return replace(found, meaning=(*found.meaning, said))

    @classmethod
    def array_target(cls, files: Files, item: Item) -> Any:
        return many_hot(item.target, len(files.classes))

    @classmethod
    def tally(cls, files: Files, item: Item, size: tuple[int, int]) -> Any:
        return many_hot(item.target, len(files.classes)).astype(np.int64)

    @classmethod
    def sheet_rows(cls, files: Files, columns: int) -> list[tuple[str, list[Item]]]:
        rows = [
            (name, spread([item for item in files.train if index in item.target], columns))
            for index, name in enumerate(files.classes)
        ]
        none = spread([item for item in files.train if not item.target], columns)
        return [row for row in (*rows, ("no class", none)) if row[1]]

    @classmethod
    def owns(cls, network: str) -> bool:
        return False

    def fitted(
        self, net: nn.Module, *, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None
    ) -> Self:
        task = copy.copy(self)
        if label_smoothing:
            raise InputError(f"--label-smoothing: the loss of {self.name} has no such option", "leave it out")
        weighed = class_weights is not None and any(weight != 1 for weight in class_weights)
        task.class_weights = torch.tensor(class_weights, dtype=torch.float32) if weighed else None
        return task

    def amounts(self, target: Any) -> tuple[Any, Any]:
        there = np.flatnonzero(np.asarray(target))
        return there, np.ones(len(there), dtype=np.int64)

    def balanced(self, found: Composition) -> Floats:
        """Weights of positives: images without the class per image with it, as for torch's ``pos_weight``.

        A class of every image, or of none, has 1.
        """
        counts = np.asarray(found.counts, dtype=np.float64)
        both = (counts > 0) & (counts < found.samples)
        return np.where(both, (found.samples - counts) / np.maximum(1, counts), 1.0)

    def loss(self, outputs: Any, targets: Tensor) -> tuple[Tensor, Tensor]:
        r"""Compute the binary cross-entropy, its mean over classes summed over images, and the number of images.

        .. math:: -\frac{1}{K} \sum_k w_k y_k \log p_k + (1 - y_k) \log (1 - p_k)

        with the weight :math:`w_k` of the positives of class k, by default 1.
        """
        weight = None if self.class_weights is None else self.class_weights.to(outputs)
        total = F.binary_cross_entropy_with_logits(outputs, targets.to(outputs), pos_weight=weight, reduction="sum")
        return total / len(self.classes), torch.tensor(len(targets), device=total.device)

    def predict(self, outputs: Any, size: tuple[int, int]) -> Tensor:
        """Probability (B, K) of each class."""
        probabilities: Tensor = outputs.float().sigmoid()
        return probabilities

    def evidence(self, predictions: Tensor, targets: Tensor, *, full: bool = False) -> Evidence:
        """Per image: the probability of each class (K), and whether the image has it (K)."""
        return {"probability": predictions.cpu().numpy(), "there": targets.to(torch.uint8).cpu().numpy()}

    def _values(self, metric: str, evidence: Evidence, weights: Floats) -> Floats:
        """A score for every row of weights."""
        given, there = evidence["probability"], evidence["there"]
        if metric == "mAP":
            each = average_precisions(given, there, weights)
            occurs = ~np.isnan(each)
            mean: Floats = np.where(occurs, each, 0).sum(axis=1) / np.maximum(1, occurs.sum(axis=1))
            return mean
        guessed, there = given >= THRESHOLD, there.astype(bool)
        counts = np.stack([2 * (guessed & there), guessed.astype(np.int64) + there], axis=-1)
        return mean_ratio(weighted_sums(counts, weights))

    def value(self, metric: str, evidence: Evidence, weights: Floats | None = None) -> float:
        rows = np.ones((1, images_in(evidence))) if weights is None else weights[None]
        return float(self._values(metric, evidence, rows)[0])

    def resampled(self, evidence: Evidence, weights: Floats) -> Floats:
        return self._values(self.metric, evidence, weights)

    def scores(self, evidence: Evidence, weights: Floats | None = None) -> dict[str, float]:
        """Mean average precision over the classes that occur, and the mean F1 of what is predicted."""
        return self.chosen_first(evidence, weights)

    def image_scores(self, evidence: Evidence) -> Floats:
        given, there = evidence["probability"].astype(np.float64), evidence["there"].astype(bool)
        mean: Floats = np.where(there, given, 1 - given).mean(axis=1)
        return mean

    def by_class(self, evidence: Evidence) -> dict[str, float | None]:
        """Average precision of each class; None for a class that no image has."""
        each = average_precisions(evidence["probability"], evidence["there"], np.ones((1, images_in(evidence))))[0]
        return {name: None if np.isnan(one) else float(one) for name, one in zip(self.classes, each, strict=True)}

    def row(self, prediction: Tensor) -> dict[str, Any]:
        """The classes of at least the threshold, the likeliest first, and the probability of every class."""
        given = dict(zip(self.classes, prediction.tolist(), strict=True))
        classes = sorted((name for name in given if given[name] >= THRESHOLD), key=lambda name: -given[name])
        return {"classes": classes, "probabilities": given}

    def row_without(self) -> dict[str, Any]:
        return {"classes": [], "probabilities": {}}

    def cells(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Column ``classes``, separated by semicolons, and a column per class with its probability."""
        return {"classes": ";".join(row["classes"])} | {
            f"probability of {name}": value for name, value in row["probabilities"].items()
        }

    def said(self, row: Mapping[str, Any]) -> str:
        given = row["probabilities"]
        if row["classes"]:
            return ", ".join(f"{name} {given[name]:.3f}" for name in row["classes"])
        best = max(given, key=given.__getitem__)
        return f"none (the likeliest is {best}, {given[best]:.3f})"

    def draw_truth(self, case: Case, target: Any) -> None:
        names = [self.classes[k] for k in np.flatnonzero(target)]
        case.truth_name = ", ".join(names) or "no class"

    def draw_answer(self, case: Case, answer: Answer, target: Any, prediction: Any) -> None:
        from saccade.report.scenes import Guess

        there, order = np.asarray(target).astype(bool), np.argsort(-prediction, kind="stable")
        shown = max(_SHOWN, int((prediction >= THRESHOLD).sum()))
        answer.guesses = [Guess(self.classes[k], float(prediction[k]), bool(there[k])) for k in order[:shown]]
        answer.right = bool(((prediction >= THRESHOLD) == there).all())
