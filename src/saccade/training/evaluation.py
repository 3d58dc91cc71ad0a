"""Collect what a network predicts of validation images, as the evidence that scores are computed from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from saccade.data import Arrays, Split
from saccade.finite import check_outputs
from saccade.tasks.base import Task
from saccade.tasks.evidence import Evidence, joined
from saccade.tasks.trees import moved, tensors
from saccade.training.distributed import Distributed, SingleProcess
from saccade.training.inputs import to_input
from saccade.training.loop import Validate
from saccade.training.readers import readers_explained
from saccade.training.sources import LoaderSource, Share


def predicted(model: nn.Module, task: Task, images: Tensor, device: torch.device) -> Any:
    """The predictions of `model`, in evaluation mode, on a batch.

    Raises:
        InputError: The output of the network is not finite.
    """
    outputs = model(to_input(images, device, task.statistics))
    check_outputs(model, outputs)
    return task.predict(outputs, (images.shape[2], images.shape[3]))


@torch.inference_mode()
def collect_arrays(
    model: nn.Module,
    task: Task,
    split: Split,
    *,
    device: torch.device,
    batch: int,
    which: slice = slice(None),
    full: bool = False,
    on_predictions: Callable[[Any], None] = lambda predictions: None,
) -> Evidence:
    """Evidence of `model`, in evaluation mode, on a split in memory; `which` chooses images.

    `on_predictions` is called with the predictions of each batch.
    """
    model.eval()
    chosen = np.arange(len(split.images))[which]
    found = []
    for start in range(0, len(chosen), batch):
        indices = chosen[start : start + batch]
        images = torch.from_numpy(np.array(split.images[indices])).permute(0, 3, 1, 2)
        targets = moved(tensors(split.targets, indices), device)
        predictions = predicted(model, task, images, device)
        on_predictions(predictions)
        found.append(task.evidence(predictions, targets, full=full))
    return task.settled(joined(found))


def validation_on(data: Arrays, task: Task, *, device: torch.device, batch: int, images: int = 100) -> Validate:
    """Scores on a few images, spread over the split: images often lie there class by class."""
    few = slice(None, None, math.ceil(len(data.val.images) / images))

    def validate(model: nn.Module) -> dict[str, float]:
        found = collect_arrays(model, task, data.val, device=device, batch=batch, which=few)
        return {task.metric: task.score(found)}

    return validate


@torch.inference_mode()
def collect(
    model: nn.Module,
    task: Task,
    source: LoaderSource,
    batch: int,
    where: Distributed | None = None,
    *,
    seed: int = 0,
    full: bool = False,
) -> Evidence:
    """Evidence of every sample of a source, seen by all processes together; each gets all of it.

    Batch norms, whose statistics differ between processes, are first made those of process 0.

    Args:
        model: Network, on its device.
        task: Predictions and evidence.
        source: Source of the samples.
        batch: Images at a time, in each process.
        where: Device and processes.
        seed: Seed of whatever random numbers reading draws.
        full: Collect what scores of classes and groups need, too.
    """
    where = where or SingleProcess(next(model.parameters()).device)
    share = Share(where.index, where.processes)
    idle = share.index >= len(source)  # more processes than images: it takes part with the shapes of one image
    found = []
    samples = source.once(batch, Share() if idle else share, seed=seed)
    with _evaluating(model), closing(samples), readers_explained():
        for buffer in model.buffers():
            where.share(buffer)
        for images, targets in samples:
            predictions = predicted(model, task, images, where.device)
            found.append(task.evidence(predictions, moved(targets, where.device), full=full))
            if idle:
                break
    evidence = joined(found)
    if idle:
        evidence = {name: array[:0] for name, array in evidence.items()}
    return task.settled({name: where.gather(torch.from_numpy(array)).numpy() for name, array in evidence.items()})


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    before = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(before)
