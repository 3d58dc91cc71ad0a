"""What the loop must know of a task: its loss, its predictions, and what is counted on each image.

Every metric here is a mean of ratios of counts that add up over images, so one array (images, K, 2) of numerators and
denominators serves scores, bootstraps and pictures: intersection and union of K classes, or "right" and 1 with K = 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.data import IGNORE
from saccade.errors import require
from saccade.networks.segmentation import Segmenter

Loss = Callable[[Any, Tensor], tuple[Tensor, Tensor]]


class Task(Protocol):
    """One kind of problem."""

    name: str
    metric: str

    def loss(self, logits: Any, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The training loss: its sum over valid samples or pixels, and their number, both scalars."""

    def predict(self, logits: Any, size: tuple[int, int]) -> Tensor:
        """What the network says of each image: probabilities (B, K), or classes (B, H, W)."""

    def counts(self, predictions: Tensor, targets: Tensor) -> NDArray[np.int64]:
        """(B, K, 2): numerators and denominators of each image."""

    def metrics(self, *, by_class: bool = False) -> dict[str, Any]:
        """Metrics of torchmetrics by name, updated with (predictions, targets); the first one chooses the best.

        `by_class` adds one called ``"by class"``, with a value for each.
        """


class Classification:
    """One class an image; the metric is top-1 accuracy."""

    name = "classification"
    metric = "accuracy"

    def __init__(self, num_classes: int, *, label_smoothing: float = 0.0) -> None:
        self.num_classes = num_classes
        self.label_smoothing = label_smoothing

    def loss(self, logits: Any, targets: Tensor) -> tuple[Tensor, Tensor]:
        total = F.cross_entropy(logits, targets, reduction="sum", label_smoothing=self.label_smoothing)
        return total, torch.tensor(len(targets), device=total.device)

    def predict(self, logits: Any, size: tuple[int, int]) -> Tensor:
        probabilities: Tensor = logits.float().softmax(dim=1)
        return probabilities

    def counts(self, predictions: Tensor, targets: Tensor) -> NDArray[np.int64]:
        right = (predictions.argmax(dim=1) == targets).long()
        return torch.stack([right, torch.ones_like(right)], dim=1)[:, None].cpu().numpy()

    def metrics(self, *, by_class: bool = False) -> dict[str, Any]:
        of: Any = require("torchmetrics.classification", extra="train")
        found = {self.metric: of.MulticlassAccuracy(self.num_classes, average="micro")}
        if self.num_classes > 5:
            found["top-5 accuracy"] = of.MulticlassAccuracy(self.num_classes, average="micro", top_k=5)
        return found | ({"by class": of.MulticlassAccuracy(self.num_classes, average="none")} if by_class else {})


class Segmentation:
    """One class a pixel; the metric is mean intersection over union, the counts added up over all images first.

    Args:
        num_classes: K.
        loss: Of a network that has its own, as those of :func:`saccade.segmenter` do; else the cross-entropy of logits
            at a stride with the pixel in the middle of each of their cells.
    """

    name = "segmentation"
    metric = "mIoU"

    def __init__(self, num_classes: int, loss: Loss | None = None) -> None:
        self.num_classes = num_classes
        self.own_loss = loss

    def loss(self, logits: Any, targets: Tensor) -> tuple[Tensor, Tensor]:
        if self.own_loss is not None:
            return self.own_loss(logits, targets)
        stride = targets.shape[-1] // logits.shape[-1]
        if stride > 1:
            targets = targets[:, stride // 2 :: stride, stride // 2 :: stride]
        total = F.cross_entropy(logits, targets.long(), ignore_index=IGNORE, reduction="sum")
        return total, (targets != IGNORE).sum()

    def predict(self, logits: Any, size: tuple[int, int]) -> Tensor:
        if logits.shape[-2:] != size:
            logits = F.interpolate(logits.float(), size, mode="bilinear", align_corners=False)
        classes: Tensor = logits.argmax(dim=1).to(torch.uint8)
        return classes

    def counts(self, predictions: Tensor, targets: Tensor) -> NDArray[np.int64]:
        valid = targets != IGNORE
        images = len(targets)
        k = self.num_classes
        offset = torch.arange(images, device=targets.device)[:, None, None] * (k * k)
        pairs = (offset + targets.long() * k + predictions.long())[valid]
        confusion = torch.bincount(pairs, minlength=images * k * k).view(images, k, k)
        hit = confusion.diagonal(dim1=1, dim2=2)
        union = confusion.sum(1) + confusion.sum(2) - hit
        return torch.stack([hit, union], dim=2).cpu().numpy()

    def metrics(self, *, by_class: bool = False) -> dict[str, Any]:
        """A class that is neither there nor said has no IoU (NaN), and is left out of the mean."""
        of: Any = require("torchmetrics.classification", extra="train")
        k, how = self.num_classes, {"ignore_index": IGNORE}
        found = {self.metric: of.MulticlassJaccardIndex(k, **how)}
        found["pixel accuracy"] = of.MulticlassAccuracy(k, average="micro", **how)
        if by_class:
            found["by class"] = of.MulticlassJaccardIndex(k, average="none", zero_division=math.nan, **how)
        return found


def mean_loss(task: Task, logits: Any, targets: Tensor) -> Tensor:
    """The loss of one batch alone; 0 where nothing in it is valid."""
    total, count = task.loss(logits, targets)
    return total / count.clamp(min=1)


def has_own_loss(net: nn.Module | None) -> bool:
    """Return whether a network says what its outputs in training cost, as those of :func:`saccade.segmenter` do."""
    return isinstance(net, Segmenter)


def task_for(name: str, num_classes: int, net: nn.Module | None = None) -> Task:
    """Make the task of a data set.

    Args:
        name: ``"classification"`` or ``"segmentation"``.
        num_classes: Number of classes.
        net: The network that is trained; its own loss is taken, where it has one.
    """
    if name == "classification":
        return Classification(num_classes)
    return Segmentation(num_classes, net.loss if isinstance(net, Segmenter) else None)
