"""What a network says of held-out images, and how often that is right."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from saccade.data import Dataset, Split
from saccade.training.loop import Look, to_input
from saccade.training.metrics import score
from saccade.training.placement import Alone, Placement
from saccade.training.sources import Batch
from saccade.training.tasks import Task


@torch.inference_mode()
def evaluate(
    model: nn.Module, task: Task, split: Split, *, device: torch.device, batch: int, which: slice = slice(None)
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Predictions and per-image counts (images, K, 2) of `model` on a split, in evaluation mode."""
    model.eval()
    images, targets = split.images[which], split.targets[which]
    predictions, counts = [], []
    for start in range(0, len(images), batch):
        chunk = torch.from_numpy(np.array(images[start : start + batch])).permute(0, 3, 1, 2)
        target = torch.from_numpy(np.array(targets[start : start + batch])).to(device)
        prediction = predicted(model, task, chunk, device)
        counts.append(task.counts(prediction, target))
        predictions.append(prediction.cpu().numpy())
    return np.concatenate(predictions), np.concatenate(counts)


def predicted(model: nn.Module, task: Task, images: Tensor, device: torch.device) -> Tensor:
    """What `model`, in evaluation mode, says of a batch."""
    return task.predict(model(to_input(images, device)), (images.shape[2], images.shape[3]))


def look_at(data: Dataset, task: Task, *, device: torch.device, batch: int, images: int = 100) -> Look:
    """Scores on a few images, spread over the split: images often lie there class by class."""
    few = slice(None, None, math.ceil(len(data.val.images) / images))

    def look(model: nn.Module) -> dict[str, float]:
        return {task.metric: score(evaluate(model, task, data.val, device=device, batch=batch, which=few)[1])}

    return look


@torch.inference_mode()
def measure(
    model: nn.Module,
    metrics: dict[str, Any],
    task: Task,
    batches: Iterable[Batch],
    where: Placement | None = None,
) -> dict[str, Any]:
    """Values of metrics over the batches of all processes; the batches are those of this process.

    Metrics of torchmetrics share their counts when they are asked for their value, so the values are those of one
    process that sees every image. Batch norms, whose statistics differ between processes, are first made those of
    process 0.

    Returns:
        Name to value: a number, or a tensor of several on the CPU.
    """
    where = where or Alone(next(model.parameters()).device)
    with _evaluating(model):
        for buffer in model.buffers():
            where.share(buffer)
        for metric in metrics.values():
            metric.to(where.device).reset()
        for images, targets in batches:
            prediction = predicted(model, task, images, where.device)
            for metric in metrics.values():
                metric.update(prediction, targets.to(where.device))
    values = {name: metric.compute().cpu() for name, metric in metrics.items()}
    return {name: value.item() if value.numel() == 1 else value for name, value in values.items()}


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    before = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(before)
